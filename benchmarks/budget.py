"""One budget for a data set against the same ratio for every chunk: `python benchmarks/budget.py FOLDER [NAME ...]`.

Volumes (FOLDER/NAME.npy; all of the folder by default) are cut into chunks, encoded both ways with the same bytes in
all, and the PSNR of the whole volume is printed (peak = max - min of the volume). The streams of the two ways differ in
nothing but their budgets. Edge chunks are as large as what is left. With --curves instead: how far the estimated curves
are from the residual layer alone, on three random chunks of each volume at five ratios.
"""

import argparse
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np

from inr_codec import decode
from inr_codec.batch.allocation import allocate, config_within
from inr_codec.batch.rate_curves import Curve, measure_chunk
from inr_codec.config import Config
from inr_codec.encoding.encoder import encode
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.runtime.threads import threads

STREAM = 30
"""Bytes of a stream beside its residual layer."""


def main() -> None:
    """Measure what was asked for, a line per volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--side", type=int, default=64, help="of a chunk")
    parser.add_argument("--planes", type=int, help="only so many planes from the middle")
    parser.add_argument("--crop", type=int, help="only so many rows and columns from the middle")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--curves", action="store_true")
    options = parser.parse_args()
    names = options.names or sorted(path.stem for path in options.folder.glob("*.npy"))
    if options.curves:
        check_curves([np.load(options.folder / f"{name}.npy") for name in names], options.side)
        return
    config = Config(ratio=options.ratio, effort=options.effort)
    print("| volume | chunks | bytes, per chunk | bytes, one budget | PSNR, per chunk | PSNR, one budget | gain |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        volume = np.load(options.folder / f"{name}.npy", mmap_mode="r")
        for axis, side in enumerate((options.planes, options.crop, options.crop)):
            first = max(volume.shape[axis] - (side or volume.shape[axis]), 0) // 2
            volume = volume[(slice(None),) * axis + (slice(first, first + (side or volume.shape[axis])),)]
        compare(name, chunks_of(volume, options.side), config)


def check_curves(volumes: list[np.ndarray], side: int) -> None:
    """Print, for each ratio, mean and standard deviation over chunks of curve - real, in dB of squared error."""
    rng = np.random.default_rng(1)
    print("| ratio | chunks | curve - residual layer, dB |\n|---|---|---|")
    chunks = []
    for volume in volumes:
        for _ in range(3):
            corner = [rng.integers(0, max(n - side, 0) + 1) for n in volume.shape]
            chunks.append(np.ascontiguousarray(volume[tuple(slice(o, o + side) for o in corner)]))
    for ratio in (400, 150, 50, 15, 5):
        gaps = []
        for chunk in chunks:
            budget = chunk.nbytes // ratio
            coded = ResidualEncoder(chunk.astype(np.float32)).encode(budget - STREAM, effort=0)
            real = float(np.square(np.rint(coded.decoded.astype(np.float64)) - chunk).sum())
            gaps.append(10 * math.log10(error(measure_chunk(chunk), len(coded.payload) + STREAM) / real))
        print(f"| {ratio} | {len(gaps)} | {np.mean(gaps):+.2f} ± {np.std(gaps):.2f} |", flush=True)


def chunks_of(volume: np.ndarray, side: int) -> list[np.ndarray]:
    """The volume in cubes of a side, smaller at its ends."""
    corners = product(*(range(0, n, side) for n in volume.shape))
    return [np.ascontiguousarray(volume[tuple(slice(o, o + side) for o in corner)]) for corner in corners]


def compare(name: str, chunks: list[np.ndarray], config: Config) -> None:
    """Print the line of one volume, and what the curves had promised."""
    start = perf_counter()
    curves = [measure_chunk(chunk) for chunk in chunks]
    seconds = perf_counter() - start
    each = [config.budget(chunk.nbytes, chunk.size) for chunk in chunks]
    shared = [int(size) for size in allocate(curves, sum(each))]
    lowest, highest = min(float(c.min()) for c in chunks), max(float(c.max()) for c in chunks)
    voxels = sum(chunk.size for chunk in chunks)

    def psnr(squares: float) -> float:
        return 20 * math.log10(highest - lowest) - 10 * math.log10(squares / voxels)

    rows = []
    for budgets in (each, shared):
        with ThreadPoolExecutor(threads()) as pool:
            results = list(pool.map(lambda job: one(*job, config), zip(chunks, budgets)))
        rows.append((sum(r[0] for r in results), psnr(sum(r[1] for r in results))))
    (plain_bytes, plain), (shared_bytes, better) = rows
    shape = " x ".join(map(str, np.max([chunk.shape for chunk in chunks], axis=0)))
    print(
        f"| {name} | {len(chunks)} of {shape} | {plain_bytes:,} | {shared_bytes:,} | {plain:.2f} | {better:.2f} "
        f"| {better - plain:+.2f} |",
        flush=True,
    )
    promised = [psnr(sum(error(c, b) for c, b in zip(curves, budgets))) for budgets in (each, shared)]
    print(
        f"<!-- {name}: curves in {seconds:.2f} s for {voxels / 1e6:.1f} Mvoxel say {promised[0]:.2f} and "
        f"{promised[1]:.2f}; budgets {min(shared)} to {max(shared)}, per chunk {max(each)} -->",
        flush=True,
    )


def one(chunk: np.ndarray, budget: int, config: Config) -> tuple[int, float]:
    """Bytes and squared error of a chunk encoded within a budget."""
    stream = encode(chunk, config_within(config, chunk.nbytes, budget))
    return len(stream), float(np.square(decode(stream).astype(np.float64) - chunk).sum())


def error(curve: Curve, size: int) -> float:
    """The squared error that a curve says a size leaves."""
    if len(curve.bytes) == 1:
        return curve.errors[0]
    return math.exp(float(np.interp(size, curve.bytes, np.log(curve.errors))))


if __name__ == "__main__":
    main()
