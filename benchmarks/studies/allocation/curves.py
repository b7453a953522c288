"""How far the curves of the allocation are from the residual layer alone.

    python -m benchmarks.studies.allocation.curves --volumes FOLDER [--names NAME ...] [--side 32]

Three random chunks of each volume at five ratios: squared error that the curve says, over that of the layer, in dB.
"""

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from benchmarks.studies.allocation.one_budget import error
from inr_codec.batch.rate_curves import measure_chunk
from inr_codec.layers.residual.encode import ResidualEncoder

STREAM = 30
"""Bytes of a stream beside its residual layer."""
RATIOS = (400, 150, 50, 15, 5)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each ratio: the gaps of all chunks."""
    rng = np.random.default_rng(1)
    chunks = []
    for volume in volumes(arguments.volumes, arguments.names).values():
        for _ in range(3):
            corner = [rng.integers(0, max(n - arguments.side, 0) + 1) for n in volume.shape]
            chunks.append(np.ascontiguousarray(volume[tuple(slice(o, o + arguments.side) for o in corner)]))
    for ratio in RATIOS:
        gaps = []
        for chunk in chunks:
            coded = ResidualEncoder(chunk.astype(np.float32)).encode(chunk.nbytes // ratio - STREAM, effort=0)
            real = float(np.square(np.rint(coded.decoded.astype(np.float64)) - chunk).sum())
            gaps.append(10 * math.log10(error(measure_chunk(chunk), len(coded.payload) + STREAM) / real))
        yield {"ratio": ratio, "gaps": gaps}


def table(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over chunks."""
    return markdown(["ratio", "chunks", "curve - residual layer, dB"], [
        [f"{row['ratio']}", f"{len(row['gaps'])}", f"{np.mean(row['gaps']):+.2f} ± {np.std(row['gaps']):.2f}"]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--side", type=int, default=32, help="of a chunk")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
