"""Random kills: drivers, workers, nannies and schedulers of batch runs, at any moment.

    python -m tests.trust.kills [SECONDS] [SEED]

An episode encodes an array, on workers that the driver starts or on a cluster of its own whose processes are started
again when they have ended. One process after the other is struck, from the first second on or once chunks are being
encoded: ended (SIGKILL), or stopped (SIGSTOP) for some seconds and then continued or ended. A driver that has ended is
started again, until one ends with status 0. After each of them every key that is there must hold the bytes of an
encoding that nobody disturbed, after the last one every key must be there, and `verify` must find nothing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from samples import FAST, field

from inr_codec import batch

CHUNKS = (8, 16, 16)
SHAPE = (32, 96, 64)
OPTIONS = {"ratio": 20, **FAST}
MAIN = "from inr_codec.cli import script; script()"
MOST = 900.0
"""Seconds after which a driver counts as one that does not end."""
EVERY = 1.5
"""Seconds between two strikes, on average."""
STRUCK = 4
"""Drivers of an episode that are struck at most; those after them are left alone."""
COUNTS = ("episodes", "drivers", "lost", "torn", "unnoticed", "wrong", "endless", "chunks", "attempts above 1")


def run(seconds: float, seed: int = 0) -> dict[str, Any]:
    """Episodes for so many seconds: how many kills of whom, and what was found."""
    rng, found = np.random.default_rng(seed), Counter(dict.fromkeys(COUNTS, 0))
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "source.npy")
        np.save(source, field(SHAPE, "u2"))
        batch.encode_array(str(source), f"{place}/undisturbed.zarr", OPTIONS, chunks=CHUNKS)
        expected = keys(Path(place, "undisturbed.zarr"))
        while time.monotonic() < end:
            episode(rng, source, Path(place, f"{found['episodes']}.zarr"), expected, found)
            print(json.dumps(found), flush=True)
    return {"seconds": seconds, **found}


def keys(target: Path) -> dict[str, bytes]:
    """What lies under the keys of an array (not what is being written)."""
    files = (path for path in target.rglob("*") if path.is_file() and not path.name.startswith((".", "zarr.json")))
    return {str(path.relative_to(target)): path.read_bytes() for path in files}


def episode(rng: np.random.Generator, source: Path, target: Path, expected: dict[str, bytes], found: Counter) -> None:
    """One array, from the first driver to the one that completes it."""
    with cluster() if rng.random() < 0.5 else alone() as (scheduler, others):
        for number in range(STRUCK + 4):
            status = driven(rng if number < STRUCK else None, source, target, scheduler, others, found)
            there = keys(target) if target.exists() else {}
            found["torn"] += sum(there[key] != expected.get(key) for key in there)
            if status == 0:
                found["unnoticed"] += len(expected.keys() - there.keys())
                break
        else:
            found["lost"] += len(expected)
            return
    checked = subprocess.run([sys.executable, "-c", MAIN, "verify", target], capture_output=True, check=False)
    found["wrong"] += checked.returncode != 0
    lines = map(json.loads, Path(f"{target}.batch", "manifest.jsonl").read_text().splitlines())
    attempts = [record["attempts"] for record in lines if "attempts" in record]
    found["episodes"] += 1
    found["chunks"] += len(attempts)
    found["attempts above 1"] += sum(count > 1 for count in attempts)


def driven(rng: Any, source: Path, target: Path, scheduler: str, others: Any, found: Counter) -> int | None:
    """One driver and what strikes it and those that work for it; its exit status, None where it does not end."""
    words = ["encode", source, target, "--ratio", OPTIONS["ratio"], "--chunks", ",".join(map(str, CHUNKS))]
    words += [word for name, value in FAST.items() for word in ("--set", f"{name}={value}")]
    words += ["--scheduler", scheduler, *(["--workers", 2] if scheduler == "local" else [])]
    log = Path(f"{target}.log").open("a")
    driver = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)], stdout=log, stderr=log, start_new_session=True
    )
    found["drivers"] += 1
    end, begun = time.monotonic() + MOST, time.monotonic()
    strikes = [] if rng is None else list(np.cumsum(rng.exponential(EVERY, rng.integers(7))))
    at_work = rng is not None and rng.random() < 0.7
    journal = Path(f"{target}.batch", "journal")
    known = size_of(journal)
    try:
        while driver.poll() is None and time.monotonic() < end:
            if at_work and size_of(journal) == known:
                begun = time.monotonic()
            elif strikes and time.monotonic() - begun > strikes[0]:
                strikes.pop(0)
                strike(rng, {**others(), **workers_of(driver.pid), driver.pid: "driver"}, found)
            others()
            time.sleep(0.05)
        if driver.poll() is None:
            found["endless"] += 1
    finally:
        with suppress(ProcessLookupError):  # workers that a killed driver has left behind end as well
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        log.close()
    return driver.returncode


def size_of(journal: Path) -> int:
    """Bytes of all journals: more of them tell that chunks are encoded."""
    return sum(file.stat().st_size for file in journal.glob("*")) if journal.exists() else 0


def strike(rng: np.random.Generator, victims: dict[int, str], found: Counter) -> None:
    """End one process, or stop it for a while; each kind is as likely as any other."""
    kind = rng.choice(sorted(set(victims.values())))
    process = int(rng.choice([number for number, name in victims.items() if name == kind]))
    with suppress(ProcessLookupError):
        if rng.random() < 0.6:
            os.kill(process, signal.SIGKILL)
            found[f"{kind} killed"] += 1
            return
        os.kill(process, signal.SIGSTOP)
        found[f"{kind} stopped"] += 1
        time.sleep(float(rng.exponential(5)))
        os.kill(process, signal.SIGKILL if rng.random() < 0.3 else signal.SIGCONT)


def workers_of(driver: int) -> dict[int, str]:
    """The workers that a driver has started itself."""
    with suppress(psutil.Error):
        children = psutil.Process(driver).children()
        return {child.pid: "worker" for child in children if "spawn_main" in " ".join(child.cmdline())}
    return {}


@contextmanager
def alone() -> Iterator[tuple[str, Any]]:
    """No cluster: the driver starts its workers."""
    yield "local", dict


@contextmanager
def cluster() -> Iterator[tuple[str, Any]]:
    """Address of a scheduler, and a function that starts what has ended again and names all processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, dask = f"tcp://127.0.0.1:{port}", [sys.executable, "-m", "dask"]
    commands = {
        "scheduler": [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        "first nanny": [*dask, "worker", address, "--nthreads", "1", "--no-dashboard"],
        "second nanny": [*dask, "worker", address, "--nthreads", "1", "--no-dashboard"],
    }
    running: dict[str, subprocess.Popen[bytes]] = {}

    def ended(process: subprocess.Popen[bytes]) -> None:
        """A process and those that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def supervise() -> dict[int, str]:
        names = {}
        for name, command in commands.items():
            if name not in running or running[name].poll() is not None:
                if name in running:
                    ended(running[name])
                quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": place}
                running[name] = subprocess.Popen(command, start_new_session=True, **quiet)
            names[running[name].pid] = name.split()[-1]
            if name != "scheduler":
                names |= workers_of(running[name].pid)
        return names

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        try:
            supervise()
            yield address, supervise
        finally:
            for process in running.values():
                ended(process)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    print(json.dumps(run(*map(float, sys.argv[1:2] or ["1800"]), *map(int, sys.argv[2:3]))))
