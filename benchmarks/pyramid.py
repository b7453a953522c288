"""Coarser levels of a pyramid, encoded or derived from the finest: `python benchmarks/pyramid.py FOLDER [NAME ...]`.

A level is the mean of 2 x 2 x 2 voxels (of y and x alone where there are fewer than 32 planes), rounded, as pyramid
writers do it. Each volume's central chunk is encoded at a ratio, and so is its next level. Four ways to have that level
are compared with the level as it was (PSNR, peak = its max - min): the encoded level; every other voxel of the decoded
finest level (`decode(data, step=2)`); the mean of the decoded finest level; and, with networks alone, those evaluated
on the coarser grid (`decode(data, shape=...)`).
"""

import argparse
from pathlib import Path

import numpy as np
from volumes import central_chunk

from inr_codec import INRCodec, decode, metrics


def main() -> None:
    """A line per volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    options = parser.parse_args()
    print("| volume | bytes, finest | bytes, level | encoded | every other voxel | mean of decoded | networks |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.names or sorted(path.stem for path in options.folder.glob("*.npy")):
        finest = central_chunk(np.load(options.folder / f"{name}.npy"))
        steps = (2 if finest.shape[0] >= 32 else 1, 2, 2)
        level = coarser(finest, steps)
        codec = INRCodec(ratio=options.ratio, effort=options.effort)
        networks = INRCodec(ratio=options.ratio, effort=options.effort, layers="network", deblock=False)
        first, second, third = codec.encode(finest), codec.encode(level), networks.encode(finest)
        ways = [
            decode(second),
            decode(first, step=steps),
            coarser(decode(first), steps),
            decode(third, shape=level.shape),
        ]
        scores = " | ".join(f"{metrics.psnr(level, way):.2f}" for way in ways)
        print(f"| {name} | {len(first):,} | {len(second):,} | {scores} |", flush=True)


def coarser(values: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Means of boxes of `steps` voxels, rounded."""
    shape = [n // step for n, step in zip(values.shape, steps)]
    whole = values[tuple(slice(0, n * step) for n, step in zip(shape, steps))].astype(np.float64)
    boxes = whole.reshape([side for n, step in zip(shape, steps) for side in (n, step)])
    return np.rint(boxes.mean(axis=(1, 3, 5))).astype(values.dtype)


if __name__ == "__main__":
    main()
