"""Coarser levels of a pyramid, encoded or derived from the finest.

    python -m benchmarks.studies.pyramid.coarser_levels --volumes FOLDER [--names NAME ...] [--ratio 100]

A level is the mean of 2 x 2 x 2 voxels (of y and x alone where there are fewer than 32 planes), rounded, as pyramid
writers do it. Each volume's central chunk is encoded at a ratio, and so is its next level. Four ways to have that level
are compared with the level as it was (PSNR, peak = its max - min): the encoded level; every other voxel of the decoded
finest level (`decode(data, step=2)`); the mean of the decoded finest level; and, with networks alone, those evaluated
on the coarser grid (`decode(data, shape=...)`).
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, decode, metrics


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk."""
    for name, finest in chunks(arguments.volumes, arguments.names).items():
        steps = (2 if finest.shape[0] >= 32 else 1, 2, 2)
        level = coarser(finest, steps)
        codec = INRCodec(ratio=arguments.ratio, effort=arguments.effort)
        networks = INRCodec(ratio=arguments.ratio, effort=arguments.effort, layers="network", deblock=False)
        first, second, third = codec.encode(finest), codec.encode(level), networks.encode(finest)
        ways = {
            "encoded": decode(second),
            "every other voxel": decode(first, step=steps),
            "mean of decoded": coarser(decode(first), steps),
            "networks": decode(third, shape=level.shape),
        }
        psnr = {way: metrics.psnr(level, values) for way, values in ways.items()}
        yield {"volume": name, "finest_bytes": len(first), "level_bytes": len(second), "psnr": psnr}


def coarser(values: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Means of boxes of `steps` voxels, rounded."""
    shape = [n // step for n, step in zip(values.shape, steps)]
    whole = values[tuple(slice(0, n * step) for n, step in zip(shape, steps))].astype(np.float64)
    boxes = whole.reshape([side for n, step in zip(shape, steps) for side in (n, step)])
    return np.rint(boxes.mean(axis=(1, 3, 5))).astype(values.dtype)


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    head = ["volume", "bytes, finest", "bytes, level", *rows[0]["psnr"]]
    return markdown(head, [
        [
            row["volume"], f"{row['finest_bytes']:,}", f"{row['level_bytes']:,}",
            *(f"{value:.2f}" for value in row["psnr"].values()),
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
