"""What `weights="foreground"` moves.

    python -m benchmarks.studies.region.region --volumes FOLDER [--names NAME ...] [--ratio 100]

PSNR over all voxels, inside and outside Otsu's threshold of the original (peak = max - min of the chunk), the share of
voxels that stay on their side of it, and the Dice overlap of what lies above it, at equal bytes.
"""

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, metrics
from inr_codec.chunk.voxel_weights import otsu_threshold


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Two rows for each chunk: without weights and with."""
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        threshold = otsu_threshold(chunk.ravel())
        inside = chunk >= threshold
        peak = float(chunk.max()) - float(chunk.min())
        for weights in (None, "foreground"):
            codec = INRCodec(ratio=arguments.ratio, effort=arguments.effort, weights=weights)
            data = codec.encode(chunk)
            decoded = codec.decode(data)
            square = (decoded.astype(np.float64) - chunk) ** 2
            parts = {"all": square, "inside": square[inside], "outside": square[~inside]}
            yield {
                "chunk": name, "foreground": float(inside.mean()), "weights": weights or "none", "bytes": len(data),
                "psnr": {part: 10 * math.log10(peak**2 / values.mean()) for part, values in parts.items()},
                "accuracy": metrics.accuracy(chunk, decoded, threshold),
                "dice": metrics.dice(inside, decoded >= threshold),
            }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    head = ["chunk", "foreground", "weights", "bytes", "all", "inside", "outside", "accuracy", "Dice"]
    return markdown(head, [
        [
            row["chunk"], f"{row['foreground']:.1%}", row["weights"], str(row["bytes"]),
            *(f"{value:.2f}" for value in row["psnr"].values()), f"{row['accuracy']:.5f}", f"{row['dice']:.4f}",
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
