"""Residual layer alone: fidelity, size and speed on every volume of a folder, one thread.

    python benchmarks/residual.py --data FOLDER [--ratios 64 256] [--effort 1]

Takes the central chunk (64 x 128 x 128, thin stacks: all slices x 256 x 256) of each `.npy` volume and prints one row
per volume and ratio: bytes, PSNR (peak = max - min), bands of the splitting, seconds to encode, Mvoxel/s to decode.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.layers.residual.packet_tree import unpack_packet_tree
from inr_codec.layers.residual.payload import HEADER, decode_residual
from inr_codec.metrics import psnr


def central_chunk(volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The middle of a volume, at most 64 x 128 x 128 voxels, or all slices x 256 x 256 of fewer than 64."""
    want = (64, 128, 128) if volume.shape[0] >= 64 else (volume.shape[0], 256, 256)
    start = [max(0, (n - w) // 2) for n, w in zip(volume.shape, want)]
    return np.ascontiguousarray(volume[tuple(slice(a, a + w) for a, w in zip(start, want))])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npy volumes (z, y, x)")
    parser.add_argument("--ratios", type=int, nargs="*", default=[64, 256])
    parser.add_argument("--effort", type=int, default=1)
    args = parser.parse_args()
    warm = np.random.default_rng(0).random((8, 8, 8), np.float32)
    decode_residual(ResidualEncoder(warm).encode(200).payload, warm.shape)
    print(f"{'volume':22s} ratio   bytes PSNR dB bands encode s decode Mvoxel/s")
    for path in sorted(args.data.glob("*.npy")):
        chunk = central_chunk(np.load(path))
        for ratio in args.ratios:
            begun = time.perf_counter()
            encoder = ResidualEncoder(chunk.astype(np.float32))
            payload = encoder.encode(chunk.nbytes // ratio, args.effort).payload
            encoded = time.perf_counter()
            decoded = decode_residual(payload, chunk.shape)
            seconds = time.perf_counter() - encoded
            tree = payload[HEADER : HEADER + payload[HEADER - 1]] if payload else b""
            bands = len(unpack_packet_tree(chunk.shape, tree)[1]) if payload else 0
            print(
                f"{path.stem:22s} {ratio:5d} {len(payload):7d} {psnr(chunk, decoded):7.2f} {bands:5d} "
                f"{encoded - begun:8.2f} {chunk.size / seconds / 1e6:15.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
