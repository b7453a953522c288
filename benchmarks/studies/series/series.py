"""Levels along the first of four axes: what series gain, in two orders of their axes.

    python -m benchmarks.studies.series.series [--ratios 16 64] [--effort default]

Made-up series of volumes (t, z, y, x), 16 bits: a volume repeated with noise, one that fades while another comes, a
texture that drifts by (0.7, 1.3) voxels a step. Each is coded as (t, z, y, x) and as (z, y, x, t), with the residual of
three axes alone (*merged*: the first two are one), and with what the encoder chooses.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, inspect, metrics
from inr_codec.layers.residual.first_axis import most_levels

ORDERS = {"t, z, y, x": (0, 1, 2, 3), "z, y, x, t": (1, 2, 3, 0)}
CASES = "merged", "chosen"


def made_up() -> dict[str, np.ndarray]:
    """The series, uint16."""
    rng = np.random.default_rng(0)

    def blobs(shape: tuple[int, ...], width: float) -> np.ndarray:
        values = gaussian_filter(rng.standard_normal(shape), width)
        return (values - values.min()) / np.ptp(values)

    still, comes = blobs((16, 48, 48), 1.5), blobs((16, 48, 48), 3)
    wide = blobs((8, 104, 104), 1.2)
    share = np.linspace(0, 1, 16)
    found = {
        "repeated, 2 % noise": np.stack([still + 0.02 * rng.standard_normal(still.shape) for _ in share]),
        "fades, 0.5 % noise": np.stack(
            [(1 - s) * still + s * comes + 0.005 * rng.standard_normal(still.shape) for s in share]
        ),
        "drifts": np.stack([shift(wide, (0, 0.7 * t, 1.3 * t), mode="wrap")[:, 20:84, 20:84] for t in range(16)]),
    }
    return {
        name: np.rint(60000 * (values - values.min()) / np.ptp(values)).astype("u2") for name, values in found.items()
    }


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each series, ratio, order and case."""
    for name, values in made_up().items():
        for ratio in arguments.ratios:
            for order, axes in ORDERS.items():
                array = np.ascontiguousarray(values.transpose(axes))
                for case in CASES:
                    begun = time.process_time()
                    levels = most_levels if case == "chosen" else lambda side: 0
                    with mock.patch("inr_codec.encoding.choose_layers.most_levels", levels):
                        data = INRCodec(ratio=ratio, effort=arguments.effort).encode(array)
                    yield {
                        "series": name, "ratio": ratio, "order": order, "case": case,
                        "psnr": metrics.psnr(array, INRCodec(ratio=2).decode(data)),
                        "layers": list(inspect(data).layers), "processor_s": time.process_time() - begun,
                    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each series, ratio and order."""
    found = {(row["series"], row["ratio"], row["order"], row["case"]): row for row in rows}
    lines = []
    for series, ratio, order in dict.fromkeys((row["series"], row["ratio"], row["order"]) for row in rows):
        line = [series, f"{ratio}", order]
        for case in CASES:
            row = found.get((series, ratio, order, case))
            told = "not measured"
            if row is not None:
                told = f"{row['psnr']:.2f}, {row['processor_s']:.0f} s, {' + '.join(row['layers'])}"
            line.append(told)
        lines.append(line)
    return markdown(["series", "ratio", "order of axes", *(f"{case}: dB" for case in CASES)], lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, volumes=False)
    parser.add_argument("--ratios", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--effort", default="default")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
