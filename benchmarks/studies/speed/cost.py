"""What encoding and decoding cost: cold start, seconds and memory against chunk size, ratio and number of blocks.

    python -m benchmarks.studies.speed.cost [--quick]

Each row runs in a process of its own, so that peak memory (the resident set, as the system counts it) is that row's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run


def volume(shape: tuple[int, ...]) -> np.ndarray:
    """Tissue-like synthetic data: band-limited structures of several scales and sensor noise, uint16."""
    rng = np.random.default_rng(0)
    field = np.zeros(shape, np.float32)
    for octave in range(1, 6):
        spectrum = np.fft.rfftn(rng.standard_normal(shape, np.float32))
        radius = np.sqrt(
            sum(
                f**2
                for f in np.meshgrid(
                    *[np.fft.fftfreq(n) for n in shape[:-1]], np.fft.rfftfreq(shape[-1]), indexing="ij"
                )
            )
        )
        layer = np.fft.irfftn(spectrum * np.exp(-((radius * 2 ** (7 - octave)) ** 2)), shape, axes=range(len(shape)))
        layer -= layer.mean()
        field += (np.abs(layer / (layer.std() + 1e-9)) * 0.7 ** (octave - 1)).astype(np.float32)
    field += 0.05 * rng.standard_normal(shape, np.float32)
    return np.clip(field * 4000, 0, 65535).astype(np.uint16)


def one(shape: tuple[int, ...], options: dict) -> Row:
    """Encode and decode one chunk; seconds, megabytes and PSNR."""
    from inr_codec import INRCodec, decode, metrics

    warm = INRCodec(**(options | {"effort": "fast", "steps": 50}))
    warm.decode(warm.encode(volume((16, 16, 32))))
    chunk = volume(shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    data = INRCodec(**options).encode(chunk)
    encode = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    out = decode(data)
    return {
        "shape": list(shape), "options": options, "bytes": len(data), "psnr": metrics.psnr(chunk, out),
        "encode_s": encode, "encode_kvoxel_s": chunk.size / encode / 1e3,
        "decode_Mvoxel_s": chunk.size / (time.perf_counter() - begin) / 1e6,
        "chunk_MB": chunk.nbytes / 1e6, "base_MB": before / 1e3, "peak_MB": peak / 1e3,
        "allowed_MB": before / 1e3 + 12 * chunk.nbytes / 1e6 + 300,
    }  # fmt: skip


READ = "import inr_codec; inr_codec.decode(open(sys.argv[1] + {layers!r}, 'rb').read())"
WRITE = """import numpy, inr_codec
inr_codec.INRCodec(ratio=50, effort='fast', steps=100, layers={layers!r}).encode(numpy.load(sys.argv[1] + '.npy'))"""
COLD = {
    "import inr_codec": "import inr_codec",
    "import, first decode, networks alone": READ.format(layers="network"),
    "import, first decode, every layer": READ.format(layers="auto"),
    "import, first encode, networks alone": WRITE.format(layers="network"),
    "import, first encode, every layer": WRITE.format(layers="auto"),
}


def cold_start() -> Iterator[Row]:
    """Seconds of a fresh process, with kernels compiled before (cached) and without."""
    from inr_codec import INRCodec

    with tempfile.TemporaryDirectory() as folder:
        stream, chunk = f"{folder}/stream", volume((32, 32, 32))
        np.save(f"{stream}.npy", chunk)
        for layers in ("network", "auto"):
            data = INRCodec(ratio=50, effort="fast", steps=100, layers=layers).encode(chunk)
            Path(stream + layers).write_bytes(data)
        for name, code in COLD.items():
            row: Row = {"start": name}
            for cache in ("cached", "compiling"):
                environment = dict(os.environ)
                if cache == "compiling":
                    environment["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
                timed = f"import sys, time\nt = time.perf_counter()\n{code}\n"
                timed += "print(time.perf_counter() - t, time.process_time())"
                done = _python(["-c", timed, stream], environment)
                row[cache] = dict(zip(("wall_s", "processor_s"), map(float, done.split())))
            yield row


def _python(arguments: list[str], environment: dict[str, str]) -> str:
    """What another interpreter prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of the cold start, then of chunks."""
    yield from cold_start()
    full = (64, 128, 128)
    base = {"effort": "fast"} if arguments.quick else {}
    sizes = [(32, 32, 32), (64, 64, 64)] + ([] if arguments.quick else [full, (128, 128, 128)])
    jobs: list[tuple[tuple[int, ...], dict]] = [(shape, {"ratio": 128} | base) for shape in sizes]
    jobs += [(sizes[1], {"ratio": ratio} | base) for ratio in (32, 64, 256, 1024)]
    jobs += [(sizes[1], {"ratio": 128, "layers": "network", "max_blocks": blocks} | base) for blocks in (1, 8, 64)]
    if not arguments.quick:
        jobs += [(full, {"ratio": 64, "effort": effort}) for effort in ("fast", "default", "best")]
    for job in jobs:
        yield json.loads(_python(["-m", "benchmarks.studies.speed.cost", "--row", json.dumps(job)], dict(os.environ)))


def table(rows: Sequence[Row]) -> str:
    """The table of cold starts and that of chunks."""
    cold = [
        [
            row["start"],
            *(f"{row[cache]['wall_s']:.2f}, {row[cache]['processor_s']:.2f}" for cache in ("cached", "compiling")),
        ]
        for row in rows
        if "start" in row
    ]
    chunks = [
        [
            " x ".join(map(str, row["shape"])), ", ".join(f"{name}={value}" for name, value in row["options"].items()),
            f"{row['psnr']:.2f}", f"{row['encode_s']:.2f}", f"{row['encode_kvoxel_s']:.0f}",
            f"{row['decode_Mvoxel_s']:.1f}", f"{row['peak_MB'] - row['base_MB']:.0f}",
            "yes" if row["peak_MB"] <= row["allowed_MB"] else "NO",
        ]
        for row in rows
        if "shape" in row
    ]  # fmt: skip
    head = [
        "chunk",
        "options",
        "PSNR, dB",
        "encode, s",
        "kvoxel/s",
        "decode, Mvoxel/s",
        "peak, MB",
        "12 x chunk + 300 MB",
    ]
    start = ["", "cached: wall, processor, s", "compiled first: wall, processor, s"]
    return f"{markdown(start, cold)}\n\n{markdown(head, chunks)}"


def main() -> None:
    """Measure and print; with --row, in a process of its own, one row."""
    if sys.argv[1:2] == ["--row"]:
        shape, chosen = json.loads(sys.argv[2])
        print(json.dumps(one(tuple(shape), chosen)))
        return
    parser = options(__doc__, volumes=False)
    parser.add_argument("--quick", action="store_true", help="small chunks and fast effort only")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
