"""Bytes at the same bound on the error of every voxel, and lossless, against other tools; every result is verified.

    python benchmarks/bounds.py FOLDER [--shares 0.01 0.02] [--no-lossless] [--volumes neuron mr_t1] [--effort best]

Takes the central chunk (64 x 128 x 128, thin stacks: all slices x 256 x 256) of each `.npy` volume in FOLDER and prints
a table of compression ratios. Bounds are shares of max - min. Tools that work on floats (SZ3, SPERR, ZFP) get integers
as float32 and, because their results are rounded, a tolerance of the bound rounded down plus 0.499; ZFP, which stays
far below its tolerance, gets the largest of several with which the bound holds. Needs imagecodecs.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt

from inr_codec import INRCodec
from inr_codec.metrics import psnr

Array = npt.NDArray[np.generic]


def central_chunk(volume: Array) -> Array:
    """The middle of a volume, at most 64 x 128 x 128 voxels, or all slices x 256 x 256 of fewer than 64."""
    want = (64, 128, 128) if volume.shape[0] >= 64 else (volume.shape[0], 256, 256)
    start = [max(0, (n - w) // 2) for n, w in zip(volume.shape, want)]
    return np.ascontiguousarray(volume[tuple(slice(a, a + w) for a, w in zip(start, want))])


def worst(chunk: Array, decoded: npt.NDArray[np.floating]) -> float:
    """Largest error after rounding to the chunk's dtype."""
    if chunk.dtype.kind in "iu":
        decoded = np.rint(decoded.astype(np.float64))
    return float(np.abs(decoded.astype(np.float64) - chunk).max())


def float_tools(chunk: Array, bound: float) -> dict[str, float]:
    """Compression ratios of SZ3, SPERR and ZFP within the bound, 0 where none was found."""
    values = chunk.astype(np.float32)
    limit = np.floor(bound) + 0.499 if chunk.dtype.kind in "iu" else bound
    shape, dtype = values.shape, values.dtype
    tools: dict[str, tuple[Callable[[float], bytes], Callable[[bytes], Array]]] = {
        "SZ3": (
            lambda t: imagecodecs.sz3_encode(values, mode="abs", abs=t),
            lambda data: imagecodecs.sz3_decode(data, shape, dtype),
        ),
        "SPERR": (
            lambda t: imagecodecs.sperr_encode(values, level=t, mode="pwe"),
            lambda data: imagecodecs.sperr_decode(data),
        ),
        "ZFP": (
            lambda t: imagecodecs.zfp_encode(values, level=t, mode="a"),
            lambda data: imagecodecs.zfp_decode(data),
        ),
    }
    out = {}
    for name, (encode, decode) in tools.items():
        sizes = []
        for factor in (1.0, 2.0, 4.0, 8.0) if name == "ZFP" else (1.0, 0.99):
            data = encode(limit * factor)
            if worst(chunk, np.asarray(decode(data)).reshape(shape)) <= bound:
                sizes.append(len(data))
        out[name] = chunk.nbytes / min(sizes) if sizes else 0.0
    return out


def lossless_tools(chunk: Array) -> dict[str, float]:
    """Compression ratios of JPEG XL (effort 7) and JPEG-LS by planes, and of zstd (level 19) after shuffling bytes."""
    planes = list(chunk.reshape(-1, *chunk.shape[-2:]))
    shuffled = np.frombuffer(chunk.tobytes(), np.uint8).reshape(-1, chunk.dtype.itemsize).T.tobytes()
    sizes = {
        "JPEG XL": sum(len(imagecodecs.jpegxl_encode(plane, lossless=True, effort=7)) for plane in planes),
        "JPEG-LS": sum(len(imagecodecs.jpegls_encode(plane)) for plane in planes),
        "zstd": len(imagecodecs.zstd_encode(shuffled, 19)),
    }
    return {name: chunk.nbytes / size for name, size in sizes.items()}


def ours(chunk: Array, bound: float, effort: str) -> tuple[float, str]:
    """Our compression ratio, verified, and a remark on what it took."""
    codec = INRCodec(lossless=True) if bound == 0 else INRCodec(max_error=bound, effort=effort)
    begun = time.process_time()
    data = codec.encode(chunk)
    encoded = time.process_time()
    decoded = codec.decode(data)
    done = time.process_time()
    error = worst(chunk, decoded)
    assert error <= bound, (error, bound)
    rate = chunk.size / 1e6 / (done - encoded)
    quality = "" if bound == 0 else f", {psnr(chunk, decoded):.1f} dB"
    return chunk.nbytes / len(data), f"{(encoded - begun) * 1e6 / chunk.size:.1f} s, {rate:.1f} Mvoxel/s{quality}"


def main() -> None:
    """Print one table for each bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of .npy volumes (z, y, x)")
    parser.add_argument("--volumes", nargs="*", help="names without .npy (default: all)")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.001, 0.01, 0.02])
    parser.add_argument("--no-lossless", action="store_true")
    parser.add_argument("--effort", default="default")
    args = parser.parse_args()
    names = args.volumes or sorted(path.stem for path in args.folder.glob("*.npy"))
    chunks = {name: central_chunk(np.load(args.folder / f"{name}.npy")) for name in names}
    warm = np.random.default_rng(0).integers(0, 99, (16, 16, 16)).astype("u2")
    for codec in (INRCodec(lossless=True), INRCodec(max_error=20, effort=args.effort)):
        codec.decode(codec.encode(warm))
    for share in args.shares + [0.0] * (not args.no_lossless):
        print(f"\n## {f'bound {share:.1%} of the range' if share else 'lossless'}\n", flush=True)
        ahead = 0
        for k, (name, chunk) in enumerate(chunks.items()):
            bound = share * float(np.ptp(chunk.astype(np.float64)))
            others = float_tools(chunk, bound) if share else lossless_tools(chunk)
            ratio, remark = ours(chunk, bound, args.effort)
            if k == 0:
                print("| chunk | inr_codec | " + " | ".join(others) + " | over the best | encode per Mvoxel, decode |")
                print("|---|---|" + "---|" * len(others) + "---|---|")
            gain = ratio / max(others.values()) - 1
            ahead += gain > 0
            cells = " | ".join(f"{value:.2f}" for value in others.values())
            print(f"| {name} | {ratio:.2f} | {cells} | {gain:+.1%} | {remark} |", flush=True)
        print(f"\nAhead in {ahead} of {len(chunks)}.")


if __name__ == "__main__":
    main()
