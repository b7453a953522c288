"""Bytes at the same bound on the error of every voxel, and lossless, against other tools; every result is verified.

    python -m benchmarks.studies.bounds.bounds --volumes FOLDER [--names NAME ...] [--shares 0.01 0.02] [--no-lossless]

A table of compression ratios of central chunks for each bound. Bounds are shares of max - min. Tools that work on
floats (SZ3, SPERR, ZFP) get integers as float32 and, because their results are rounded, a tolerance of the bound
rounded down plus 0.499; ZFP, which stays far below its tolerance, gets the largest of several with which the bound
holds. Needs imagecodecs.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from benchmarks.peers import missing
from inr_codec import INRCodec
from inr_codec.metrics import psnr

Array = npt.NDArray[np.generic]


def worst(chunk: Array, decoded: Array) -> float:
    """Largest error after rounding to the chunk's dtype."""
    if chunk.dtype.kind in "iu":
        decoded = np.rint(decoded.astype(np.float64))
    return float(np.abs(decoded.astype(np.float64) - chunk.astype(np.float64)).max())


def float_tools(chunk: Array, bound: float) -> dict[str, float]:
    """Compression ratios of SZ3, SPERR and ZFP within the bound, 0 where none was found."""
    import imagecodecs

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
    import imagecodecs

    planes = list(chunk.reshape(-1, *chunk.shape[-2:]))
    shuffled = np.frombuffer(chunk.tobytes(), np.uint8).reshape(-1, chunk.dtype.itemsize).T.tobytes()
    sizes = {
        "JPEG XL": sum(len(imagecodecs.jpegxl_encode(plane, lossless=True, effort=7)) for plane in planes),
        "JPEG-LS": sum(len(imagecodecs.jpegls_encode(plane)) for plane in planes),
        "zstd": len(imagecodecs.zstd_encode(shuffled, 19)),
    }
    return {name: chunk.nbytes / size for name, size in sizes.items()}


def ours(chunk: Array, bound: float, effort: Any) -> Row:
    """Our compression ratio, verified, and what it took: seconds of processors to encode a megavoxel, Mvoxel/s."""
    codec = codec_for(bound, effort)
    begun = time.process_time()
    data = codec.encode(chunk)
    encoded = time.process_time()
    decoded = codec.decode(data)
    done = time.process_time()
    error = worst(chunk, decoded)
    assert error <= bound, (error, bound)
    return {
        "inr_codec": chunk.nbytes / len(data), "psnr": psnr(chunk, decoded) if bound else None,
        "encode_s": (encoded - begun) * 1e6 / chunk.size, "decode_Mvoxel_s": chunk.size / 1e6 / (done - encoded),
    }  # fmt: skip


def codec_for(bound: float, effort: Any) -> INRCodec:
    """Within a bound on every error; lossless for 0."""
    target: dict[str, Any] = {"max_error": bound} if bound else {"lossless": True}
    return INRCodec(effort=effort, **target)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each bound and chunk, after kernels were compiled."""
    if reason := missing("imagecodecs"):
        raise SystemExit(reason)
    found = chunks(arguments.volumes, arguments.names)
    warm = np.random.default_rng(0).integers(0, 99, (16, 16, 16)).astype("u2")
    for bound in (0, 20):
        codec = codec_for(bound, arguments.effort)
        codec.decode(codec.encode(warm))
    for share in arguments.shares + [0.0] * (not arguments.no_lossless):
        for name, chunk in found.items():
            bound = share * float(np.ptp(chunk.astype(np.float64)))
            others = float_tools(chunk, bound) if share else lossless_tools(chunk)
            yield {"share": share, "chunk": name, "others": others, **ours(chunk, bound, arguments.effort)}


def table(rows: Sequence[Row]) -> str:
    """A table for each bound."""
    return "\n\n".join(_table([row for row in rows if row["share"] == share]) for share in _shares(rows))


def _shares(rows: Sequence[Row]) -> list[float]:
    return list(dict.fromkeys(row["share"] for row in rows))


def _table(rows: Sequence[Row]) -> str:
    share, lines, ahead = rows[0]["share"], [], 0
    for row in rows:
        gain = row["inr_codec"] / max(row["others"].values()) - 1
        ahead += gain > 0
        quality = "" if share == 0 else f", {'inf' if row['psnr'] is None else format(row['psnr'], '.1f')} dB"
        lines.append([
            row["chunk"], *(f"{value:.2f}" for value in (row["inr_codec"], *row["others"].values())), f"{gain:+.1%}",
            f"{row['encode_s']:.1f} s, {row['decode_Mvoxel_s']:.1f} Mvoxel/s{quality}",
        ])  # fmt: skip
    head = ["chunk", "inr_codec", *rows[0]["others"], "over the best", "encode per Mvoxel, decode"]
    title = f"Bound {share:.1%} of the range" if share else "Lossless"
    return f"## {title}\n\n{markdown(head, lines)}\n\nAhead in {ahead} of {len(rows)}."


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.02, 0.01, 0.001])
    parser.add_argument("--no-lossless", action="store_true")
    parser.add_argument("--effort", default="default")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
