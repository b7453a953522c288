"""What encoding and decoding cost: cold start, seconds and memory against chunk size, ratio and number of blocks.

    python benchmarks/cost.py [--quick]

Each row runs in a process of its own, so that peak memory (the resident set, as the system counts it) is that row's.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np


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


def one(shape: tuple[int, ...], options: dict) -> dict:
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
        "shape": "x".join(map(str, shape)), **options, "bytes": len(data), "psnr": metrics.psnr(chunk, out),
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


def cold_start() -> None:
    """Seconds of a fresh process, with kernels compiled before (cached) and without."""
    import os
    import tempfile

    from inr_codec import INRCodec

    with tempfile.TemporaryDirectory() as folder:
        stream, chunk = f"{folder}/stream", volume((32, 32, 32))
        np.save(f"{stream}.npy", chunk)
        for layers in ("network", "auto"):
            with open(stream + layers, "wb") as file:
                file.write(INRCodec(ratio=50, effort="fast", steps=100, layers=layers).encode(chunk))
        for cache in ("cached", "compiling"):
            for name, code in COLD.items():
                environment = dict(os.environ)
                if cache == "compiling":
                    environment["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
                timed = f"import sys, time\nt = time.perf_counter()\n{code}\n"
                timed += "print(time.perf_counter() - t, time.process_time())"
                done = subprocess.run(
                    [sys.executable, "-c", timed, stream], env=environment, capture_output=True, text=True, check=True
                )
                wall, processor = map(float, done.stdout.split())
                print(f"{name:38s} {cache:10s} {wall:6.2f} s, of a processor {processor:6.2f} s", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small chunks and fast effort only")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        shape, options = json.loads(arguments.row)
        print(json.dumps(one(tuple(shape), options)))
        return
    cold_start()
    full = (64, 128, 128)
    base = {"effort": "fast"} if arguments.quick else {}
    sizes = [(32, 32, 32), (64, 64, 64)] + ([] if arguments.quick else [full, (128, 128, 128)])
    jobs = [(shape, {"ratio": 128} | base) for shape in sizes]
    jobs += [(sizes[1], {"ratio": ratio} | base) for ratio in (32, 64, 256, 1024)]
    jobs += [(sizes[1], {"ratio": 128, "layers": "network", "max_blocks": blocks} | base) for blocks in (1, 8, 64)]
    if not arguments.quick:
        jobs += [(full, {"ratio": 64, "effort": effort}) for effort in ("fast", "default", "best")]
    for shape, options in jobs:
        done = subprocess.run(
            [sys.executable, __file__, "--row", json.dumps([shape, options])],
            capture_output=True,
            text=True,
            check=True,
        )
        row = json.loads(done.stdout)
        within = "within" if row["peak_MB"] <= row["allowed_MB"] else "ABOVE"
        print(
            f"{row['shape']:12s} {json.dumps(options):75s} {row['psnr']:6.2f} dB  encode {row['encode_s']:6.2f} s "
            f"{row['encode_kvoxel_s']:6.0f} kvoxel/s  decode {row['decode_Mvoxel_s']:6.1f} Mvoxel/s  "
            f"peak {row['peak_MB'] - row['base_MB']:5.0f} MB above start, {within} 12 x chunk + 300",
            flush=True,
        )


if __name__ == "__main__":
    main()
