"""Bytes and seconds of label images and masks, against other tools.

    python -m benchmarks.studies.labels.coding --volumes FOLDER

Needs compressed-segmentation, crackle-codec and imagecodecs.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.labels import labelled, masks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.layers.labels.payload import pack_labels, unpack_labels
from inr_codec.layers.lossless import pack_lossless
from inr_codec.runtime.kernels import kernel

OURS = "inr_codec"
TEMPLATE = [(-2, -1), (-2, 0), (-2, 1), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (0, -4), (0, -3), (0, -2)]
TEMPLATE += [(0, -1), (-1, 3), (-1, -3), (-2, 2), (-2, -2)]
"""JBIG2's generic template of 16 pixels, its four adaptive ones at their usual places (ITU-T T.88, 6.2.5.3)."""


@kernel()
def _cost(bits, counts, template):
    """Bits of an adaptive binary coder (n + 1/2 of each value seen) under a template, plane by plane; (nz, ny, nx)."""
    total = 0.0
    nz, ny, nx = bits.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                context = 0
                for k in range(template.shape[0]):
                    b, a = y + template[k, 0], x + template[k, 1]
                    if 0 <= b and 0 <= a < nx:
                        context |= int(bits[z, b, a]) << k
                bit = int(bits[z, y, x])
                total -= np.log2((counts[context, bit] + 0.5) / (counts[context, 0] + counts[context, 1] + 1))
                counts[context, bit] += 1
    return total


def jbig2(volume: NDArray) -> int:
    """Bytes of two values under JBIG2's contexts, by an ideal arithmetic coder whose model goes on across planes."""
    values = np.unique(volume)
    counts = np.zeros((1 << len(TEMPLATE), 2))
    return int(np.ceil(_cost(volume == values[-1], counts, np.array(TEMPLATE)) / 8))


def peers(volume: NDArray, short: NDArray) -> dict[str, Callable[[], int]]:
    """Name -> bytes of a volume (z, y, x); short: its labels as 1, 2 or 4 bytes for what takes no more."""
    import compressed_segmentation
    import crackle
    import imagecodecs
    from numcodecs import Zstd  # type: ignore[import-untyped]

    plain = volume.view("u1") if volume.dtype == bool else volume
    unsigned = plain.view(f"u{plain.itemsize}")
    wide = np.asfortranarray(unsigned.astype("u4" if unsigned.itemsize < 8 else "u8").T)
    found: dict[str, Callable[[], int]] = {
        "crackle": lambda: min(
            len(crackle.compress(np.asfortranarray(unsigned.T), allow_pins=pins, markov_model_order=order))
            for pins in (0, 1) for order in (0, 5)
        ),
        "compressed segmentation": lambda: len(compressed_segmentation.compress(wide, block_size=(8, 8, 8))),
        "the same, deflated": lambda: len(
            zlib.compress(compressed_segmentation.compress(wide, block_size=(8, 8, 8)), 9)
        ),
        "zstd -19": lambda: len(Zstd(19).encode(np.ascontiguousarray(plain))),
        "deflate -9": lambda: len(pack_lossless(plain)),
    }  # fmt: skip
    if short.itemsize <= 2:
        found["PNG"] = lambda: sum(len(imagecodecs.png_encode(plane, level=9)) for plane in short)
        found["JPEG-LS"] = lambda: sum(len(imagecodecs.jpegls_encode(plane)) for plane in short)
    if short.max() == 1:
        found["JBIG2 contexts"] = lambda: jbig2(volume)
    return found


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """Its result, and seconds of this thread's processor."""
    start = time.thread_time()
    return work(), time.thread_time() - start


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each image and tool."""
    pack_labels(np.eye(40, dtype="u1"))  # compiles
    unpack_labels(pack_labels(np.eye(40, dtype="u1")) or b"", (40, 40))
    for kind, images in (("labels", labelled(arguments.volumes)), ("mask", masks())):
        for name, image in images:
            volume = np.ascontiguousarray(image).reshape((-1, *image.shape[-2:]))
            ids, labels = np.unique(volume, return_inverse=True)
            short = labels.reshape(volume.shape).astype(np.min_scalar_type(ids.size - 1))
            told = {"kind": kind, "image": name, "shape": list(image.shape), "dtype": str(image.dtype), "ids": ids.size}
            start = time.thread_time()
            data = pack_labels(volume)
            written = time.thread_time() - start
            assert data is not None
            start = time.thread_time()
            decoded = unpack_labels(data, volume.shape)
            read = time.thread_time() - start
            assert decoded.tobytes() == volume.tobytes()
            yield {**told, "tool": OURS, "bytes": len(data), "write": written, "read": read}
            for tool, work in peers(volume, short).items():
                size, seconds = timed(work)
                yield {**told, "tool": tool, "bytes": size, "write": seconds}
            share = np.count_nonzero(short) / short.size
            if kind == "mask":
                bits = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
                yield {**told, "tool": "entropy of one voxel", "bytes": int(np.ceil(bits * short.size / 8)), "write": 0}


def table(rows: Sequence[Row]) -> str:
    """Bytes by image and tool, for labels and masks; then the speed."""
    parts = []
    for kind in ("labels", "mask"):
        mine = [row for row in rows if row["kind"] == kind]
        tools = list(dict.fromkeys(row["tool"] for row in mine))
        lines = []
        for name in dict.fromkeys(row["image"] for row in mine):
            of = {row["tool"]: row for row in mine if row["image"] == name}
            row = of[OURS]
            others = [r["bytes"] for tool, r in of.items() if tool not in (OURS, "entropy of one voxel")]
            best = min(others) if others else 0
            voxels = int(np.prod(row["shape"])) / 1e6
            sizes = [f"{of[tool]['bytes']:,}" if tool in of else "" for tool in tools]
            speed = f"{voxels / row['write']:.1f}, {voxels / row['read']:.1f}"
            what = f"{' x '.join(map(str, row['shape']))} {row['dtype']}, {row['ids']:,}"
            lines.append([name, what, *sizes, f"{best / row['bytes']:.2f}", speed])
        head = ["image", "shape, dtype, ids", *tools, "best other / ours", "Mvoxel/s written, read"]
        parts.append(markdown(head, lines))
    return "\n\n".join(parts)


def main() -> None:
    """Measure and print."""
    run(__file__, options(__doc__), measure, table)


if __name__ == "__main__":
    main()
