"""What writing a chunk in parts costs: each write decodes the chunk, changes a part and encodes all of it again.

    python -m benchmarks.studies.rewrites.rewrites --volumes FOLDER [--names NAME ...]

Central chunks of 16 planes of 64 x 64, written whole, in four parts and plane by plane, from an empty chunk on. PSNR
and largest error against the volume, and the bytes at the end.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, decode, metrics

PLANES, SIDE = 16, 64
PARTS = {"whole": PLANES, "four parts": PLANES // 4, "planes": 1}
"""Planes of a write."""


def recipes(values: Any) -> dict[str, dict[str, Any]]:
    """Targets that are compared."""
    bound = max(round(0.01 * float(np.ptp(values))), 1)
    return {"ratio=20": {"ratio": 20}, "psnr=40": {"psnr": 40}, "max_error: 1 % of the range": {"max_error": bound}}


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk, target and way of writing."""
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        start = [max((n - side) // 2, 0) for n, side in zip(chunk.shape, (PLANES, SIDE, SIDE))]
        values = chunk[tuple(slice(a, a + side) for a, side in zip(start, (PLANES, SIDE, SIDE)))]
        if len(values) < PLANES:
            continue
        for target, recipe in recipes(values).items():
            codec = INRCodec(effort="fast", **recipe)
            for way, planes in PARTS.items():
                now = np.zeros_like(values)
                data = b""
                for z in range(0, PLANES, planes):
                    now[z : z + planes] = values[z : z + planes]
                    data = codec.encode(now)
                    now = decode(data)
                error = np.abs(now.astype("f8") - values).max()
                psnr = metrics.psnr(values, now)
                yield {
                    "chunk": name,
                    "target": target,
                    "written": way,
                    "bytes": len(data),
                    "psnr": psnr,
                    "error": error,
                }


def table(rows: Sequence[Row]) -> str:
    """A line for each chunk and target."""
    found = {(row["chunk"], row["target"], row["written"]): row for row in rows}
    lines = []
    for chunk, target in dict.fromkeys((row["chunk"], row["target"]) for row in rows):
        three = [found[chunk, target, way] for way in PARTS if (chunk, target, way) in found]
        told = [f"{row['psnr']:.2f} / {row['error']:.0f} / {row['bytes']:,}" for row in three]
        lines.append([chunk, target, *told, *["not measured"] * (len(PARTS) - len(told))])
    return markdown(["chunk", "target", *(f"{way}: dB / largest error / bytes" for way in PARTS)], lines)


def main() -> None:
    """Measure and print."""
    run(__file__, options(__doc__), measure, table)


if __name__ == "__main__":
    main()
