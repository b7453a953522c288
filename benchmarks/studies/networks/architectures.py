"""PSNR of the three architectures at the same bytes: 240 x 240 pictures of 16 bits, and cubes of 64.

    python -m benchmarks.studies.networks.architectures --pictures FILE --volumes FOLDER --names NAME ...
        [--efforts fast default] [--rates 0.3 1.2] [--seconds 2 --seeds 2]

FILE: .npz whose first 3-D array holds pictures (the middle 240 x 240 of every n-th is taken); without it there are
cubes alone. --seconds: every encoding takes so many processor seconds: its steps follow from two short ones. One thread
is meant (OMP_NUM_THREADS=1 INR_CODEC_THREADS=1).
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.harness.data import volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, inspect

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "funnel": {"architecture": "funnel", "layers": "network"},
    "siren": {"architecture": "siren"},
    "siren, 16 bits": {"architecture": "siren", "bits": 16},
    "nerf": {"architecture": "nerf"},
}
PROBES = (300, 1200)


def middle(array: np.ndarray, side: int) -> np.ndarray:
    """The central cube or square."""
    return array[tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in array.shape)]


def pictures(path: str, count: int) -> list[np.ndarray]:
    """`count` pictures, evenly spaced in the file."""
    arrays = np.load(path)
    stack = next(arrays[name] for name in arrays.files if arrays[name].ndim == 3)
    return [middle(stack[len(stack) * (2 * k + 1) // (2 * count)], 240).astype(np.uint16) for k in range(count)]


def steps_within(seconds: float, chunk: np.ndarray, options: dict[str, Any]) -> int:
    """Steps of a fit that make an encoding last so many processor seconds, by a line through two short ones."""
    INRCodec(steps=PROBES[0], **options).encode(chunk)  # compiles
    spent = []
    for steps in PROBES:
        start = time.process_time()
        INRCodec(steps=steps, **options).encode(chunk)
        spent.append(time.process_time() - start)
    each = max(spent[1] - spent[0], 1e-3) / (PROBES[1] - PROBES[0])
    return max(PROBES[0], int(PROBES[0] + (seconds - spent[0]) / each))


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for pictures and for cubes at every effort or time, rate and architecture."""
    sets: list[tuple[str, list[np.ndarray], float]] = []
    if arguments.pictures:
        sets.append(("pictures", pictures(arguments.pictures, arguments.count), 1.0))
    cubes = [middle(volume, 64).copy() for volume in volumes(arguments.volumes, arguments.names).values()]
    sets.append(("cubes", cubes, 0.1))
    limits = [*arguments.efforts, *arguments.seconds]
    for name, chunks, share in sets:
        for limit, rate, title in itertools.product(limits, arguments.rates, ARCHITECTURES):
            yield {"chunks": name, "limit": limit, "bpv": rate * share, "architecture": title} | encode_all(
                chunks, limit, rate * share, ARCHITECTURES[title], arguments.seeds
            )


def encode_all(
    chunks: list[np.ndarray], limit: str | float, bpv: float, chosen: dict[str, Any], seeds: int
) -> dict[str, Any]:
    """PSNR of every chunk and seed, parameters and blocks of the first, mean processor seconds.

    limit: an effort, or processor seconds.
    """
    told, spent = [], 0.0
    effort = limit if isinstance(limit, str) else "default"
    options: dict[str, Any] = {"bpv": bpv, "effort": effort} | chosen
    for chunk in chunks:
        steps = None if isinstance(limit, str) else steps_within(limit, chunk, options)
        for seed in range(seeds):
            start = time.process_time()
            data = INRCodec(seed=seed, steps=steps, **options).encode(chunk)
            spent += time.process_time() - start
            told.append(inspect(data))
    return {
        "psnr": [one.psnr for one in told], "parameters": told[0].parameters, "blocks": len(told[0].blocks),
        "processor_s": spent / len(told),
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    head = ["chunks", "limit", "bits per voxel", "architecture", "PSNR, mean", "each", "parameters", "blocks", "s"]
    return markdown(head, [
        [
            row["chunks"], f"{row['limit']}", f"{row['bpv']:g}", row["architecture"], f"{np.mean(row['psnr']):.2f}",
            " ".join(f"{value:.2f}" for value in row["psnr"]), f"{row['parameters']}", f"{row['blocks']}",
            f"{row['processor_s']:.1f}",
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--pictures", metavar="FILE")
    parser.add_argument("--efforts", nargs="*", default=["fast", "default"])
    parser.add_argument("--seconds", nargs="*", type=float, default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", nargs="+", type=float, default=[0.3, 1.2])
    parser.add_argument("--count", type=int, default=3, help="of pictures")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
