"""PSNR of the three architectures at the same bytes: 240 x 240 pictures of 16 bits, and cubes of 64.

    python benchmarks/architectures.py PICTURES VOLUME ... [--efforts fast default] [--rates 0.3 1.2]
    python benchmarks/architectures.py PICTURES VOLUME ... --efforts --seconds 2 --seeds 2

PICTURES: .npz whose first 3-D array holds pictures (the middle 240 x 240 of every n-th is taken); VOLUME: .npy, 3-D.
--seconds: every encoding takes so many processor seconds: its steps follow from two short ones. One thread is meant
(OMP_NUM_THREADS=1 INR_CODEC_THREADS=1).
"""

import argparse
import itertools
import time
from typing import Any

import numpy as np

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


def report(
    name: str, chunks: list[np.ndarray], rates: list[float], efforts: list[str], seconds: list[float], seeds: int
) -> None:
    """One line per effort or time, rate and architecture: mean PSNR, each chunk's, parameters of one, processor
    seconds."""
    for limit, rate, (title, options) in itertools.product([*efforts, *seconds], rates, ARCHITECTURES.items()):
        timed = not isinstance(limit, str)
        options = {"bpv": rate, "effort": "default" if timed else limit} | options
        told, spent = [], 0.0
        for chunk in chunks:
            steps = steps_within(limit, chunk, options) if timed else None
            for seed in range(seeds):
                start = time.process_time()
                data = INRCodec(seed=seed, steps=steps, **options).encode(chunk)
                spent += time.process_time() - start
                told.append(inspect(data))
        each = " ".join(f"{one.psnr:.2f}" for one in told)
        print(
            f"{name} {limit} {rate} {title}: {np.mean([one.psnr for one in told]):.2f} dB ({each}), "
            f"{told[0].parameters} parameters, {len(told[0].blocks)} blocks, {spent / len(told):.1f} s",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("volumes", nargs="+")
    parser.add_argument("--efforts", nargs="*", default=["fast", "default"])
    parser.add_argument("--seconds", nargs="*", type=float, default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", nargs="+", type=float, default=[0.3, 1.2])
    parser.add_argument("--count", type=int, default=3)
    arguments = parser.parse_args()
    how = (arguments.efforts, arguments.seconds, arguments.seeds)
    report("pictures", pictures(arguments.pictures, arguments.count), arguments.rates, *how)
    cubes = [middle(np.load(path, mmap_mode="r"), 64).copy() for path in arguments.volumes]
    report("cubes", cubes, [rate / 10 for rate in arguments.rates], *how)


if __name__ == "__main__":
    main()
