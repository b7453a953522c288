"""PSNR of the three architectures at the same bytes: 240 x 240 pictures of 16 bits, and cubes of 64.

    python benchmarks/architectures.py PICTURES VOLUME [--efforts fast default] [--rates 0.3 1.2]

PICTURES: .npz whose first 3-D array holds pictures (the middle 240 x 240 of every n-th is taken); VOLUME: .npy, 3-D.
"""

import argparse
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


def middle(array: np.ndarray, side: int) -> np.ndarray:
    """The central cube or square."""
    return array[tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in array.shape)]


def pictures(path: str, count: int) -> list[np.ndarray]:
    """`count` pictures, evenly spaced in the file."""
    arrays = np.load(path)
    stack = next(arrays[name] for name in arrays.files if arrays[name].ndim == 3)
    return [middle(stack[len(stack) * (2 * k + 1) // (2 * count)], 240).astype(np.uint16) for k in range(count)]


def report(name: str, chunks: list[np.ndarray], rates: list[float], efforts: list[str]) -> None:
    """One line per effort, rate and architecture: mean PSNR, each chunk's, parameters of one, processor seconds."""
    for effort in efforts:
        for rate in rates:
            for title, options in ARCHITECTURES.items():
                start = time.process_time()
                told = [inspect(INRCodec(bpv=rate, effort=effort, **options).encode(chunk)) for chunk in chunks]
                seconds = (time.process_time() - start) / len(chunks)
                each = " ".join(f"{one.psnr:.2f}" for one in told)
                mean = np.mean([one.psnr for one in told])
                print(
                    f"{name} {effort} {rate} {title}: {mean:.2f} dB ({each}), {told[0].parameters} parameters, "
                    f"{len(told[0].blocks)} blocks, {seconds:.1f} s",
                    flush=True,
                )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("volume")
    parser.add_argument("--efforts", nargs="+", default=["fast", "default"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.3, 1.2])
    parser.add_argument("--count", type=int, default=3)
    arguments = parser.parse_args()
    report("pictures", pictures(arguments.pictures, arguments.count), arguments.rates, arguments.efforts)
    cube = middle(np.load(arguments.volume, mmap_mode="r"), 64).copy()
    report("cube", [cube], [rate / 10 for rate in arguments.rates], arguments.efforts)


if __name__ == "__main__":
    main()
