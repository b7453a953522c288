"""How much smaller a lossless layer is with deflate's best level than with its fastest (exact_layers.LOSSLESS_HOPE).

    python -m benchmarks.studies.constants.deflate --volumes FOLDER [--names NAME ...]

Central chunks as they are, in eight levels of equal counts, and as a mask of what lies above Otsu's threshold.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.chunk.voxel_weights import otsu_threshold
from inr_codec.encoding.exact_layers import LOSSLESS_HOPE
from inr_codec.layers.lossless import pack_lossless


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk and kind: bytes of both levels."""
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        edges = np.quantile(chunk, np.arange(1, 8) / 8)
        kinds = {
            "values": chunk,
            "eight levels": np.searchsorted(edges, chunk).astype(np.uint8),
            "mask": (chunk > otsu_threshold(chunk.ravel())).astype(np.uint8),
        }
        for kind, values in kinds.items():
            sizes = [len(pack_lossless(values, level)) for level in (1, 9)]
            yield {"chunk": name, "kind": kind, "voxels": chunk.size, "bytes": sizes}


def table(rows: Sequence[Row]) -> str:
    """A line for each row, and the largest ratio."""
    ratios = [row["bytes"][0] / row["bytes"][1] for row in rows]
    lines = [
        [row["chunk"], row["kind"], *(f"{size:,}" for size in row["bytes"]), f"{ratio:.2f}"]
        for row, ratio in zip(rows, ratios)
    ]
    head = ["chunk", "kind", "bytes, level 1", "bytes, level 9", "times"]
    return f"{markdown(head, lines)}\n\nLargest: {max(ratios):.2f} (`LOSSLESS_HOPE` is {LOSSLESS_HOPE:g})."


def main() -> None:
    """Measure and print."""
    run(__file__, options(__doc__), measure, table)


if __name__ == "__main__":
    main()
