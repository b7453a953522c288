"""What the driver for large arrays costs: `python benchmarks/scale.py jobs` and `python benchmarks/scale.py workers`.

jobs: a million chunks that hold nothing but the fill value, so that all is done except a fit: planned, submitted,
read, journalled, accounted for. Prints jobs/s and the greatest memory of driver, scheduler and workers.
workers: the same chunks encoded by one worker process of one thread and by two.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client

from inr_codec import batch
from inr_codec.batch import run
from inr_codec.batch.cluster import Cluster

SIDE = 4


def main() -> None:
    """Parse the command line and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    modes = parser.add_subparsers(required=True)
    jobs = modes.add_parser("jobs")
    jobs.add_argument("--side", type=int, default=100, help="chunks along each of three axes")
    jobs.add_argument("--batch", type=int, help="jobs of a task (default: as the plan says)")
    jobs.set_defaults(run=measure_jobs)
    workers = modes.add_parser("workers")
    workers.add_argument("--volume", help="an npy file (default: a random field of 64 x 256 x 256)")
    workers.add_argument("--chunks", type=int, nargs="+", default=[64, 64, 64])
    workers.add_argument("--effort", default="fast")
    workers.add_argument("--ratio", type=float, default=100)
    workers.set_defaults(run=measure_workers)
    options = vars(parser.parse_args())
    os.environ |= {"INR_CODEC_THREADS": "1", "OMP_NUM_THREADS": "1"}
    options.pop("run")(**options)


def measure_jobs(side: int, batch: int | None) -> None:
    """A million chunks of nothing."""
    with tempfile.TemporaryDirectory() as folder, cluster(2) as (client, scheduler, workers):
        source, target = f"{folder}/source.zarr", f"{folder}/target.zarr"
        shape = (side * SIDE,) * 3
        zarr.create_array(source, shape=shape, chunks=(SIDE,) * 3, dtype="u2", fill_value=0)
        if batch is not None:
            run.batch_size = lambda plan, at_a_time: batch
        executor = Cluster(client)
        seconds = {}
        for name, step in steps(source, target, executor).items():
            begun = time.monotonic()
            step()
            seconds[name] = time.monotonic() - begun
            print(f"{name:<8} {seconds[name]:8.1f} s  {side**3 / seconds[name]:8.0f} chunks/s", flush=True)
        print(f"driver    {peak(os.getpid()) / 1e6:8.0f} MB")
        print(f"scheduler {peak(scheduler) / 1e6:8.0f} MB")
        for worker in workers:
            print(f"worker    {peak(worker) / 1e6:8.0f} MB")
        state = sum(file.stat().st_size for file in Path(f"{target}.batch").rglob("*") if file.is_file())
        print(f"state     {state / 1e6:8.0f} MB")


def steps(source: str, target: str, executor: Any) -> dict[str, Any]:
    """The steps of encode_array, to be timed one by one."""
    settings = {"ratio": 100, "effort": "fast"}
    return {
        "plan": lambda: batch.prepare(source, target, settings, chunks=(SIDE,) * 3),
        "measure": lambda: batch.measure(target, executor),
        "encode": lambda: batch.encode(target, executor),
        "finish": lambda: batch.finish(target),
        "again": lambda: batch.encode(target, executor),
    }


def measure_workers(volume: str | None, chunks: list[int], effort: str, ratio: float) -> None:
    """One worker, then two; a small array first, so that kernels are compiled."""
    with tempfile.TemporaryDirectory() as folder:
        if volume is None:
            volume = f"{folder}/field.npy"
            np.save(volume, field((64, 256, 256)))
        settings = {"ratio": ratio, "effort": effort}
        seconds = {}
        for count in (1, 2):
            with cluster(count) as (client, _, _):
                np.save(f"{folder}/warm.npy", field((16 * 2 * count, 32, 32)))
                options: dict[str, Any] = {"client": client, "per_chunk": True}
                warm = f"{folder}/warm{count}.zarr"
                batch.encode_array(f"{folder}/warm.npy", warm, settings, chunks=(16, 32, 32), **options)
                begun = time.monotonic()
                done = batch.encode_array(volume, f"{folder}/{count}.zarr", settings, chunks=tuple(chunks), **options)
                seconds[count] = time.monotonic() - begun
            voxels = np.load(volume, mmap_mode="r").size
            print(
                f"{count} workers: {done['chunks']} chunks in {seconds[count]:.1f} s, "
                f"{voxels / seconds[count] / 1e3:.1f} kvoxel/s, {done['seconds']:.1f} s of work",
                flush=True,
            )
        print(f"two are {seconds[1] / seconds[2]:.2f} times as fast as one")


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
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"expected VmHWM in /proc/{process}/status, found none: this needs Linux")


if __name__ == "__main__":
    main()
