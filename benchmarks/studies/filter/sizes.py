"""Where the numbers come from by which the encoder chooses the size of a filter and prices its bytes.

    python -m benchmarks.studies.filter.sizes --volumes FOLDER [--names NAME ...] [--ratios 64 256]

On the residual layer of each central chunk a filter of every size is fitted at the best effort, its bytes free. Tells
the dB that each takes off (`SIZES`), how they go with what the probe takes off (`PROBE_POWER`, `PROBE_MOST`), and the
dB that twice the bytes take off in the residual layer, measured and by the formula of `price_of_byte` (`STEEPER`).
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.encoding.choose_layers import STEEPER, Candidate, price_of_byte
from inr_codec.layers.filter import encode as encoder
from inr_codec.layers.filter.encode import PROBE, PROBE_MOST, PROBE_POWER, SIZES, encode_filter
from inr_codec.layers.residual.encode import EncodedResidual, ResidualEncoder

ROOM = 1 << 14
"""Bytes that a filter may take: more than any needs."""
AROUND = 0.9, 1.11
"""Budgets of the residual layer, as shares of the given one, between which the gain of a byte is measured."""
LEAST = 0.02
"""dB that the probe must take off for its cell to count for `PROBE_POWER`."""


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk and ratio, all in dB: of the probe, of each size, of twice the bytes."""
    for name, values in chunks(arguments.volumes, arguments.names).items():
        unit = UnitChunk(normalise(values, Intensity(float(values.min()), float(values.max()))))
        for ratio in arguments.ratios:
            n_bytes = values.nbytes // ratio
            coded = ResidualEncoder(unit.unit).encode(n_bytes)
            best = Candidate((), coded.decoded, unit.squared_error(coded.decoded), coded.step)
            share = price_of_byte(unit, best, n_bytes) / STEEPER
            ends = [ResidualEncoder(unit.unit).encode(int(part * n_bytes)) for part in AROUND]
            errors = [unit.squared_error(end.decoded) for end in ends]
            fits = {size: fit(unit, coded, size) for size in SIZES}
            yield {
                "chunk": name, "ratio": ratio, "probe": max(probe for probe, _ in fits.values()),
                "sizes": {f"{size}": gain for size, (_, gain) in fits.items()},
                "twice": decibels(errors[0] / errors[1]) / math.log2(AROUND[1] / AROUND[0]),
                "twice_by_formula": decibels(math.exp(share * n_bytes * math.log(2))),
            }  # fmt: skip


def decibels(ratio: float) -> float:
    """Of squared errors."""
    return 10 * math.log10(ratio)


def fit(unit: UnitChunk, coded: EncodedResidual, size: tuple[int, ...]) -> tuple[float, float]:
    """dB that the probe takes off, and a filter of that size."""
    left: list[float] = []

    def only(_: object, probe: float, *__: object) -> list[tuple[int, ...]]:
        left.append(probe)
        return [size]

    with mock.patch.object(encoder, "_sizes", only):
        found = encode_filter(unit, coded.decoded, coded.step, ROOM, 1e-12, effort="best")
    before = unit.squared_error(coded.decoded)
    return decibels(1 / left[0]), decibels(before / found[1]) if found else 0.0


def table(rows: Sequence[Row]) -> str:
    """Three tables: sizes, the power, the price."""
    sizes = {f"{size}": decibels(1 / share) for size, share in SIZES.items()}
    lines = [
        [f"{row['chunk']} {row['ratio']}x", f"{row['probe']:.2f}", *(f"{row['sizes'][size]:.2f}" for size in sizes)]
        for row in rows
    ]
    means = [float(np.mean([row["sizes"][size] for row in rows])) for size in sizes]
    lines.append(["mean", f"{np.mean([row['probe'] for row in rows]):.2f}", *(f"{mean:.2f}" for mean in means)])
    lines.append(["`SIZES`", f"{sizes[f'{PROBE}']:.2f}", *(f"{value:.2f}" for value in sizes.values())])
    of_size = markdown(["dB taken off", "probe", *sizes], lines)
    counted = [row for row in rows if row["probe"] > LEAST]
    x = np.log([row["probe"] / sizes[f"{PROBE}"] for row in counted for _ in sizes])
    y = np.log([max(row["sizes"][size], 0.01) / sizes[size] for row in counted for size in sizes])
    power = float(x @ y / (x @ x)) if len(counted) else math.nan
    most = float(np.exp(y.reshape(-1, len(sizes)).mean(1)).max()) if len(counted) else math.nan
    slopes = [
        [f"{row['chunk']} {row['ratio']}x", f"{row['twice']:.2f}", f"{row['twice_by_formula']:.2f}"] for row in rows
    ]
    steeper = math.exp(np.mean([math.log(row["twice"] / row["twice_by_formula"]) for row in rows]))
    return (
        f"{of_size}\n\nA size takes off (probe / usual probe)^{power:.2f} times its usual dB (`PROBE_POWER` is "
        f"{PROBE_POWER:g}), {most:.2f} times at most, mean of a cell's sizes (`PROBE_MOST` is {PROBE_MOST:g}).\n\n"
        f"{markdown(['twice the bytes, dB', 'measured', 'formula'], slopes)}\n\n"
        f"Measured over formula: {steeper:.2f} in the geometric mean (`STEEPER` is {STEEPER:g})."
    )


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[64, 256])
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
