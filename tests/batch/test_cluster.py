"""The driver on Dask clusters: processes killed at random moments, tasks that raise, GPUs, and xarray's own writing."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray
from distributed import Client, LocalCluster
from samples import FAST, field

from inr_codec import INRCodec, INRSerializer, batch
from inr_codec.batch import cluster, manifest, tasks
from inr_codec.errors import IncompleteArray

CHUNKS = (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}
MAIN = "from inr_codec.cli import script; script()"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def keys(path: str | Path) -> dict[str, bytes]:
    """All chunks of a store."""
    return {str(file.relative_to(path)): file.read_bytes() for file in Path(path, "c").rglob("*") if file.is_file()}


def until(happened: Callable[[], Any], seconds: float = 900) -> None:
    """Wait, but not for ever."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command() -> Iterator[Command]:
    """Starts processes, whose errors can be read; none of them outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: Any) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def client() -> Iterator[Client]:
    """A cluster of one worker in this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,
    ):
        yield client


def test_killed_processes_cost_nothing_that_is_written(command: Command, tmp_path: Path) -> None:
    """A worker, the driver and the scheduler are killed in turn; the store is that of an undisturbed run, bit for bit,
    nothing that was written is written again, and every chunk is in the manifest."""
    np.save(tmp_path / "source.npy", field((32, 64, 48), np.uint16))
    source, target = str(tmp_path / "source.npy"), str(tmp_path / "a.zarr")
    encode = (sys.executable, "-c", MAIN, "encode", source, target, "--ratio", 20, "--chunks", "8,16,16")
    encode += ("--effort", "fast", "--set", "steps=200")
    moments = random.Random(os.getpid())
    seen: dict[str, int] = {}

    def stored(more: int) -> Callable[[], bool]:
        count = len(keys(target)) if Path(target).exists() else 0
        return lambda: Path(target, "c").is_dir() and len(keys(target)) >= count + more

    driver = command(*encode, "--scheduler", "local", "--workers", 2)
    until(stored(moments.randint(2, 5)))
    children = psutil.Process(driver.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    until(stored(moments.randint(2, 5)))
    driver.kill()
    driver.communicate()
    psutil.wait_procs(children, timeout=300)
    assert not any(child.is_running() for child in workers)
    seen |= {name: Path(target, name).stat().st_mtime_ns for name in keys(target)}
    assert 0 < len(seen) < 48

    address = f"tcp://127.0.0.1:{free_port()}"
    dask = (sys.executable, "-m", "dask")
    scheduler = command(
        *dask, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"
    )
    worker = command(*dask, "worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard")
    driver = command(*encode, "--scheduler", address)
    until(stored(moments.randint(2, 5)))
    scheduler.kill()
    said = driver.communicate(timeout=600)[1]
    assert driver.returncode == 1 and "is gone" in said.splitlines()[-1], said
    worker.kill()
    assert all(Path(target, name).stat().st_mtime_ns == when for name, when in seen.items())
    seen |= {name: Path(target, name).stat().st_mtime_ns for name in keys(target)}

    done = batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    batch.encode_array(source, str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    assert keys(target) == keys(tmp_path / "b.zarr")
    assert all(Path(target, name).stat().st_mtime_ns == when for name, when in seen.items())
    assert done["done"] == done["chunks"] == len(list(manifest.read_manifest(target))) == 48


def test_a_task_that_raises_fails_its_chunks_alone(client: Client, tmp_path: Path) -> None:
    """Tasks that raise, here because a folder lies where a key should, are cut in two until the guilty job is alone;
    all others are encoded."""
    source, target = str(tmp_path / "source.npy"), str(tmp_path / "a.zarr")
    np.save(source, field((16, 32, 32), np.uint16))
    plan = batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    Path(target, plan.key_of_job(5)).mkdir(parents=True)
    with pytest.raises(IncompleteArray, match=r"1 failed.*IsADirectoryError"):
        batch.encode_array(source, target, SETTINGS, chunks=CHUNKS, client=client)
    assert [record["n"] for record in manifest.read_manifest(target) if record["state"] == "failed"] == [5]
    assert len(keys(target)) == 7


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_writes_what_the_driver_writes(zarr_format: Any, client: Client, tmp_path: Path) -> None:
    """Dataset.to_zarr with an encoding, on a cluster, gives the driver's chunks, and workers read both unprepared."""
    data = xarray.Dataset({"a": (("z", "y", "x"), field((16, 24, 32)))}).chunk(dict(zip("zyx", CHUNKS)))
    data.to_zarr(tmp_path / "source.zarr", zarr_format=5 - zarr_format, consolidated=False)
    codec: dict[str, Any] = {"compressors": [INRCodec(**SETTINGS)]}
    if zarr_format == 3:
        codec = {"serializer": INRSerializer(**SETTINGS), "compressors": None}
    encoding = {"a": codec | {"chunks": CHUNKS}}
    data.to_zarr(tmp_path / "x.zarr", zarr_format=zarr_format, encoding=encoding, consolidated=False)
    options: dict[str, Any] = {"chunks": CHUNKS, "zarr_format": zarr_format, "per_chunk": True, "client": client}
    batch.encode_array(str(tmp_path / "source.zarr" / "a"), str(tmp_path / "b.zarr" / "a"), SETTINGS, **options)
    paths = [tmp_path / store / "a" for store in ("x.zarr", "b.zarr")]
    files = [{p.relative_to(path): p for path_ in [path] for p in path_.rglob("*") if p.is_file()} for path in paths]
    chunks = [{str(name): p.read_bytes() for name, p in found.items() if p.name[0] not in ".z"} for found in files]
    assert chunks[0] == chunks[1] and len(chunks[0]) == 8
    with (
        xarray.open_zarr(tmp_path / "x.zarr", chunks={}, consolidated=False) as first,
        xarray.open_zarr(tmp_path / "b.zarr", chunks={}, consolidated=False) as second,
    ):
        assert float(abs(first["a"] - second["a"]).max().compute()) == 0


def _one_chunk(*arguments: Any) -> Iterator[tasks.Tally]:
    yield tasks.Tally(chunks=len(arguments[2]))


def test_each_gpu_has_a_process(tmp_path: Path) -> None:
    """Workers of a GPU cluster see one device each, have the resource that tasks ask for, and tasks reach them."""
    with cluster.connected("local", gpus=2) as gpus:
        seen = gpus.client.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["INR_CODEC_ENGINE"]))
        assert sorted(seen.values()) == [("0", "torch"), ("1", "torch")]
        assert gpus.gpu and gpus.slots == 2
        ran = dict(enumerate(gpus.run(_one_chunk, "a", "b", [[1], [2], [3]], 1)))
        assert sorted(numbers for numbers, _ in ran.values()) == [[1], [2], [3]]
        assert [tally.chunks for _, tally in ran.values()] == [1, 1, 1]
