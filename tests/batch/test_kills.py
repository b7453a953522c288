"""Drivers always end: their workers are killed, at work and while they start, and none comes any more."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from samples import FAST, field

from inr_codec import batch
from inr_codec.batch import cluster, store
from inr_codec.errors import IncompleteArray

CHUNKS = (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}
MAIN = "from inr_codec.cli import script; script()"
MOST = 300
"""Seconds that a driver of these tests may take."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:distributed", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def workers_of(driver: int) -> list[psutil.Process]:
    """The worker processes that a driver has started."""
    try:
        children = psutil.Process(driver).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver with one local worker, in the environment in which it once waited for ever; ended with the test."""
    np.save(tmp_path / "source.npy", field((16, 64, 48), np.uint16))
    arguments = ["encode", tmp_path / "source.npy", tmp_path / "a.zarr", "--ratio", 20, "--chunks", "8,16,16"]
    arguments += ["--effort", "fast", "--set", "steps=200", "--scheduler", "local", "--workers", 1]
    environment = os.environ | {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "2s"}
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    yield process
    for child in workers_of(process.pid):
        child.kill()
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_driver_outlives_its_workers(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    """The first worker is killed while it starts, the next ones at work: the driver starts others and completes."""
    end, killed = time.monotonic() + MOST, set[int]()
    begun = Path(store.state_of(str(tmp_path / "a.zarr")), "journal")
    while driver.poll() is None and len(killed) < 3 and time.monotonic() < end:
        for worker in workers_of(driver.pid):
            if worker.pid not in killed and (not killed or begun.exists()):
                killed.add(worker.pid)
                worker.send_signal(signal.SIGKILL)
        time.sleep(0.1)
    said = driver.communicate(timeout=MOST)[1]
    assert len(killed) == 3
    assert driver.returncode == 0, said
    summary = json.loads(Path(store.state_of(str(tmp_path / "a.zarr")), "summary.json").read_text())
    assert summary["failed"] == 0 and summary["done"] + summary["empty"] == 24


@pytest.mark.slow
def test_a_driver_without_workers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker stays alive, the run ends with IncompleteArray within PATIENCE seconds, and a rerun completes."""
    monkeypatch.setattr(cluster, "PATIENCE", 3.0)
    source, target = str(tmp_path / "source.npy"), str(tmp_path / "a.zarr")
    np.save(source, field((16, 32, 32), np.uint16))
    batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    batch.measure(target, batch.Here(1))
    with cluster.connected("local", workers=1) as one:
        assert one.keeper is not None
        monkeypatch.setattr(one.keeper, "look_after", lambda: None)
        for nanny in one.keeper.cluster.workers.values():  # nothing starts it again
            nanny.close_gracefully()
        for worker in workers_of(os.getpid()):
            worker.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(IncompleteArray, match="run the same command again"):
            batch.encode(target, one)
        assert time.monotonic() - begun < 60
    assert batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)["failed"] == 0
