"""One budget for a data set against the same ratio for every chunk.

    python -m benchmarks.studies.allocation.one_budget --volumes FOLDER [--names NAME ...] [--side 64] [--planes 64]

Volumes are cut into chunks, encoded both ways with the same bytes in all, and the PSNR of the whole volume is told
(peak = max - min of the volume). The streams of the two ways differ in nothing but their budgets. Edge chunks are as
large as what is left.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from time import perf_counter

import numpy as np

from benchmarks.harness.data import volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import decode
from inr_codec.batch.allocation import allocate
from inr_codec.batch.rate_curves import Curve, measure_chunk
from inr_codec.config import Config
from inr_codec.encoding.encoder import encode
from inr_codec.runtime.threads import threads


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each volume."""
    config = Config(ratio=arguments.ratio, effort=arguments.effort)
    for name, volume in volumes(arguments.volumes, arguments.names).items():
        for axis, side in enumerate((arguments.planes, arguments.crop, arguments.crop)):
            first = max(volume.shape[axis] - (side or volume.shape[axis]), 0) // 2
            volume = volume[(slice(None),) * axis + (slice(first, first + (side or volume.shape[axis])),)]
        yield {"volume": name, **compare(chunks_of(volume, arguments.side), config)}


def chunks_of(volume: np.ndarray, side: int) -> list[np.ndarray]:
    """The volume in cubes of a side, smaller at its ends."""
    corners = product(*(range(0, n, side) for n in volume.shape))
    return [np.ascontiguousarray(volume[tuple(slice(o, o + side) for o in corner)]) for corner in corners]


def compare(chunks: list[np.ndarray], config: Config) -> Row:
    """Bytes and PSNR both ways, and what the curves promised."""
    start = perf_counter()
    curves = [measure_chunk(chunk) for chunk in chunks]
    seconds = perf_counter() - start
    each = [config.budget(chunk.nbytes, chunk.size) or 0 for chunk in chunks]
    shared = [int(size) for size in allocate(curves, sum(each))]
    lowest, highest = min(float(c.min()) for c in chunks), max(float(c.max()) for c in chunks)
    voxels = sum(chunk.size for chunk in chunks)

    def psnr(squares: float) -> float:
        return 20 * math.log10(highest - lowest) - 10 * math.log10(squares / voxels)

    row: Row = {
        "chunks": len(chunks), "shape": [max(sides) for sides in zip(*(chunk.shape for chunk in chunks))],
        "curves_s": seconds, "voxels": voxels, "budgets": [min(shared), max(shared)],
    }  # fmt: skip
    for way, budgets in (("each", each), ("shared", shared)):
        with ThreadPoolExecutor(threads()) as pool:
            results = list(pool.map(partial(one, config), chunks, budgets))
        promised = psnr(sum(error(c, b) for c, b in zip(curves, budgets)))
        squares = sum(result[1] for result in results)
        row[way] = {"bytes": sum(result[0] for result in results), "psnr": psnr(squares), "promised": promised}
    return row


def one(config: Config, chunk: np.ndarray, budget: int) -> tuple[int, float]:
    """Bytes and squared error of a chunk encoded within a budget."""
    stream = encode(chunk, config, budget=budget).stream
    return len(stream), float(np.square(decode(stream).astype(np.float64) - chunk).sum())


def error(curve: Curve, size: int) -> float:
    """The squared error that a curve says a size leaves."""
    if len(curve.bytes) == 1:
        return curve.errors[0]
    return math.exp(float(np.interp(size, curve.bytes, np.log(curve.errors))))


def table(rows: Sequence[Row]) -> str:
    """A line for each volume."""
    lines = []
    for row in rows:
        ways = [row["each"], row["shared"]]
        gains = [ways[1][what] - ways[0][what] for what in ("psnr", "promised")]
        lines.append([
            row["volume"], f"{row['chunks']} of {' x '.join(map(str, row['shape']))}",
            *(f"{way['bytes']:,}" for way in ways), *(f"{way['psnr']:.2f}" for way in ways),
            *(f"{gain:+.2f}" for gain in gains),
        ])  # fmt: skip
    columns = ["bytes, per chunk", "bytes, one budget", "PSNR, per chunk", "PSNR, one budget", "gain", "promised"]
    return markdown(["volume", "chunks", *columns], lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--side", type=int, default=64, help="of a chunk")
    parser.add_argument("--planes", type=int, help="only so many planes from the middle")
    parser.add_argument("--crop", type=int, help="only so many rows and columns from the middle")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--effort", default="fast")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
