"""What the driver for large arrays costs, and what a chunk does, in three commands.

    python -m benchmarks.studies.scale.scale jobs [--side 100] [--batch 1]
    python -m benchmarks.studies.scale.scale workers [--volumes FOLDER --names NAME]
    python -m benchmarks.studies.scale.scale memory --chunks 256 256 256 [--effort default] [--max-error 100]

jobs: a million chunks that hold nothing but the fill value, so that all is done except a fit: planned, submitted,
read, journalled, accounted for. Tells chunks/s and the greatest memory of driver, scheduler and workers.
workers: the same chunks encoded by one worker process of one thread and by two; without a volume, of a random field of
64 x 256 x 256.
memory: the most that a process of --threads takes which encodes one chunk, of a random field, and what of that is
beyond what it takes before.
"""

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import zarr
from distributed import Client

from benchmarks.harness.data import volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options
from benchmarks.harness.study import run as run_study
from inr_codec import INRCodec, batch
from inr_codec.batch import run
from inr_codec.batch.cluster import Cluster
from inr_codec.batch.report import write_report
from inr_codec.batch.verify import verify

SIDE = 4


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of one of the three."""
    os.environ |= {"INR_CODEC_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if arguments.what == "jobs":
        yield from measure_jobs(arguments.side, arguments.batch)
    elif arguments.what == "memory":
        target = {"ratio": arguments.ratio} if arguments.max_error is None else {"max_error": arguments.max_error}
        yield measure_memory(tuple(arguments.chunks), target | {"effort": arguments.effort}, arguments.threads)
    else:
        volume = field((64, 256, 256))
        if arguments.names:
            (volume,) = volumes(arguments.volumes, arguments.names).values()
        yield from measure_workers(volume, tuple(arguments.chunks), arguments.effort, arguments.ratio)


def measure_jobs(side: int, at_a_time: int | None) -> Iterator[Row]:
    """side^3 chunks of nothing."""
    size = vars(run)["batch_size"] if at_a_time is None else lambda *_: at_a_time
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster(2) as (client, scheduler, workers),
        mock.patch.object(run, "batch_size", size),
    ):
        source, target = f"{folder}/source.zarr", f"{folder}/target.zarr"
        shape = (side * SIDE,) * 3
        zarr.create_array(source, shape=shape, chunks=(SIDE,) * 3, dtype="u2", fill_value=0)
        for name, step in steps(source, target, Cluster(client)).items():
            begun = time.monotonic()
            step()
            seconds = time.monotonic() - begun
            yield {"what": name, "seconds": seconds, "chunks_s": side**3 / seconds}
        for name, process in {"driver": os.getpid(), "scheduler": scheduler, "worker": workers[0]}.items():
            yield {"what": f"memory of {name}", "MB": peak(process) / 1e6}
        state = sum(file.stat().st_size for file in Path(f"{target}.batch").rglob("*") if file.is_file())
        yield {"what": "journals and manifest", "MB": state / 1e6}


def steps(source: str, target: str, executor: Any) -> dict[str, Any]:
    """The steps of encode_array, to be timed one by one."""
    settings = {"ratio": 100, "effort": "fast"}
    return {
        "plan": lambda: batch.prepare(source, target, settings, chunks=(SIDE,) * 3),
        "measure": lambda: batch.measure(target, executor),
        "encode": lambda: batch.encode(target, executor),
        "finish": lambda: batch.finish(target),
        "again": lambda: batch.encode(target, executor),
        "verify": lambda: verify(target),
        "report": lambda: write_report(target, f"{target}.html"),
    }


def measure_workers(volume: np.ndarray, chunks: tuple[int, ...], effort: str, ratio: float) -> Iterator[Row]:
    """One worker, then two; a small array first, so that kernels are compiled."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/volume.npy", volume)
        settings = {"ratio": ratio, "effort": effort}
        for count in (1, 2):
            with cluster(count) as (client, _, _):
                np.save(f"{folder}/warm.npy", field((16 * 2 * count, 32, 32)))
                options: dict[str, Any] = {"client": client, "per_chunk": True}
                warm = f"{folder}/warm{count}.zarr"
                batch.encode_array(f"{folder}/warm.npy", warm, settings, chunks=(16, 32, 32), **options)
                begun = time.monotonic()
                target = f"{folder}/{count}.zarr"
                done = batch.encode_array(f"{folder}/volume.npy", target, settings, chunks=chunks, **options)
                seconds = time.monotonic() - begun
            yield {
                "what": f"{count} workers", "chunks": done["chunks"], "seconds": seconds,
                "kvoxel_s": volume.size / seconds / 1e3, "work_s": done["seconds"],
            }  # fmt: skip


def measure_memory(shape: tuple[int, ...], settings: dict[str, Any], threads: int) -> Row:
    """One chunk in a process of its own; a small one first, so that kernels are compiled."""
    os.environ["INR_CODEC_THREADS"] = str(threads)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        small = pool.submit(encode_one, (24,) * len(shape), settings).result()
        great = pool.submit(encode_one, shape, settings).result()
    voxels = math.prod(shape)
    beyond = great["peak"] - small["now"]
    return {
        "what": "memory of a chunk", "chunk": " x ".join(map(str, shape)), **settings, "threads": threads,
        "MB": great["peak"] / 1e6, "bytes_voxel": beyond / voxels, "cpu_s": great["seconds"],
    }  # fmt: skip


def encode_one(shape: tuple[int, ...], settings: dict[str, Any]) -> dict[str, float]:
    """Encode a random field in this process: its greatest memory so far, what it has at the end, CPU seconds."""
    volume = field(shape)
    with suppress(OSError):  # the field itself took more
        Path("/proc/self/clear_refs").write_text("5")
    begun = time.process_time()
    INRCodec(**settings).encode(volume)
    seconds = time.process_time() - begun
    return {"peak": peak(os.getpid()), "now": memory(os.getpid(), "VmRSS"), "seconds": seconds}


def field(shape: tuple[int, ...]) -> np.ndarray:
    """White noise, smoothed along each axis, as 16-bit integers."""
    values = np.random.default_rng(0).standard_normal(shape)
    for axis in range(len(shape)):
        for _ in range(3):
            values += np.roll(values, 1, axis) + np.roll(values, -1, axis)
    values = (values - values.min()) / np.ptp(values)
    return (values * 40000).astype("u2")


@contextmanager
def cluster(count: int) -> Iterator[tuple[Client, int, list[int]]]:
    """A client, the process id of its scheduler and those of `count` workers of one thread each."""
    dask = [sys.executable, "-m", "dask"]
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/scheduler.json"
        flags = ["--scheduler-file", place, "--no-dashboard"]
        quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "cwd": folder}
        started = [subprocess.Popen([*dask, "scheduler", *flags, "--port", "0"], **quiet)]
        while not Path(place).exists():
            time.sleep(0.1)
        one = ["--nthreads", "1", "--no-nanny", "--local-directory", folder]
        started += [subprocess.Popen([*dask, "worker", *flags, *one], **quiet) for _ in range(count)]
        try:
            with Client(scheduler_file=place) as client:
                client.wait_for_workers(count)
                yield client, started[0].pid, [process.pid for process in started[1:]]
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()


def peak(process: int) -> int:
    """The greatest memory that a living process has had (Linux), in bytes."""
    return memory(process, "VmHWM")


def memory(process: int, which: str) -> int:
    """Bytes that a living process has (VmRSS) or has had at most (VmHWM), as Linux tells it."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"expected {which} in /proc/{process}/status, found none: this needs Linux")


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return markdown(columns, [[_text(row.get(name)) for name in columns] for row in rows])


def _text(value: Any) -> str:
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value}"


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("what", choices=("jobs", "workers", "memory"))
    parser.add_argument("--side", type=int, default=100, help="jobs: chunks along each of three axes")
    parser.add_argument("--batch", type=int, help="jobs of a task (default: as the plan says)")
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 64, 64], help="workers, memory: sides of a chunk")
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--max-error", type=float, help="memory: in the place of --ratio")
    parser.add_argument("--threads", type=int, default=2, help="memory: of the process")
    run_study(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
