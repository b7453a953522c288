"""Who works on a target: processes with parts of one plan, or one process alone that changes or finishes it.

Each of them has a file in the folder `.owners` of the state, with its host, process, plan and part, and writes it anew
every BEAT seconds. Whoever comes looks at the others after writing its own file; of two that may not work together at
most one goes on. Files of processes that have ended are deleted: on this host when the process is not there any more,
those of other hosts when they are STALE seconds old.

Limits. Clocks of hosts must agree to a minute. Network file systems must show a new file to other hosts before these
look (NFS with attribute caching may take seconds: then two that begin in the same moment may both go on), object stores
must list what was put (S3, GCS and Azure do). So tasks ask for the plan's id before they write as well.
"""

import json
import math
import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from inr_codec.batch.journal import parsed
from inr_codec.batch.store import absolute, split_target
from inr_codec.errors import ConfigError
from inr_codec.stores.folders import SCRATCH, Folder, LocalFolder, open_folder

FOLDER = ".owners"
BEAT, STALE = 10.0, 120.0
"""Seconds between two writes of an owner's file, and after which one from another host counts for nothing."""
TRIES = 5
"""Two that begin in the same moment see each other, give way, and try again after a random time."""

_here: set[str] = set()
"""Owners that are threads of this process."""
_alone: ContextVar[tuple[str, ...]] = ContextVar("targets that this thread has alone", default=())


@dataclass(frozen=True)
class Owner:
    """A process at work. inner: path of the target in its store. plan: None for one that works alone."""

    name: str
    inner: str
    plan: str | None
    part: tuple[int, int]
    host: str
    process: str
    beat: float

    def excludes(self, other: "Owner") -> bool:
        """Whether two may not work at the same time: on one target, unless on different parts of one plan."""
        a, b = ([part for part in one.inner.split("/") if part] for one in (self, other))
        if a[: len(b)] != b[: len(a)]:
            return False
        shared = self.plan is not None and self.plan == other.plan and a == b
        return not (shared and self.part[1] == other.part[1] and self.part[0] != other.part[0])

    def is_gone(self) -> bool:
        """Whether its process has ended, as far as can be told from here."""
        if self.host != _host() or os.name == "nt":
            return abs(time.time() - self.beat) > STALE
        return self.name not in _here if self.process == _process(os.getpid()) else not _runs(self.process)


def _host() -> str:
    """This host since it was started, and its namespace of processes: a container may have the host's name."""
    names = [socket.gethostname()]
    with suppress(OSError):
        names += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(names)


def _process(pid: int) -> str:
    """A process by its number and, where the system tells, the time at which it began."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text()
        fields = state.rpartition(")")[2].split()
        return f"{pid} {'gone' if fields[0] in 'ZX' else fields[19]}"
    return str(pid)


def _runs(process: str) -> bool:
    pid = int(process.partition(" ")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _process(pid) == process


@contextmanager
def working(target: str, plan: str, part: tuple[int, int]) -> Iterator[None]:
    """Be one of the owners of a target, with a part of its plan; ConfigError where others do not allow it."""
    with _owning(target, plan, part):
        yield


@contextmanager
def alone(target: str) -> Iterator[None]:
    """Be the only owner of a target and of what lies in it; ConfigError where others are at work."""
    with _owning(target, None, (1, 1)):
        token = _alone.set((*_alone.get(), absolute(target.rstrip("/"))))
        try:
            yield
        finally:
            _alone.reset(token)


@contextmanager
def _owning(target: str, plan: str | None, part: tuple[int, int]) -> Iterator[None]:
    path = absolute(target.rstrip("/"))
    if any(path == mine or path.startswith(f"{mine}/") for mine in _alone.get()):
        yield
        return
    root, inner = split_target(path)
    folder = open_folder(f"{root}.batch/{FOLDER}")
    name = f"{uuid4().hex}.json"
    owner = Owner(name, inner, plan, part, _host(), _process(os.getpid()), time.time())
    _here.add(name)
    ended = threading.Event()
    try:
        _enter(folder, owner, target)
        beating = threading.Thread(target=_beat, args=(folder, owner, ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
    finally:
        _here.discard(name)
        with suppress(OSError):
            folder.delete(name)
            _tidy(folder)


def _enter(folder: Folder, owner: Owner, target: str) -> None:
    """Write the owner's file unless others exclude it."""
    for left in reversed(range(TRIES)):
        _write(folder, owner)
        others = [other for other in _others(folder, owner.name) if owner.excludes(other)]
        for other in [other for other in others if other.is_gone()]:
            folder.delete(other.name)
            others.remove(other)
        if not others:
            return
        folder.delete(owner.name)
        if left:
            time.sleep(random.uniform(0.05, 0.2))
    other = others[0]
    doing = "works on it alone" if other.plan is None else f"encodes part {other.part[0]} of {other.part[1]}"
    raise ConfigError(
        f"expected {target!r} to be free, process {other.process.partition(' ')[0]} on {other.host.partition(' ')[0]} "
        f"{doing} (seen {max(time.time() - other.beat, 0):.0f} s ago): wait for its end, or stop it; if its host is "
        f"gone, try again in {STALE:.0f} s"
    )


def _write(folder: Folder, owner: Owner) -> None:
    for left in reversed(range(TRIES)):
        try:
            folder.write(owner.name, json.dumps(asdict(owner) | {"beat": time.time()}).encode())
            return
        except FileNotFoundError:  # the last owner has just removed the folder
            if not left:
                raise


def _others(folder: Folder, name: str) -> Iterator[Owner]:
    """The other owners; files that are damaged are of none."""
    for found in folder.names(""):
        if found == name or not found.endswith(".json"):
            continue
        record = parsed(folder.read(found) or b"")
        if record is not None and _is_owner(record, found):
            yield Owner(**record | {"part": tuple(record["part"])})


def _is_owner(record: dict[str, Any], name: str) -> bool:
    part, texts = record.get("part"), [record.get(one) for one in ("inner", "host", "process")]
    return (
        record.keys() == Owner.__dataclass_fields__.keys()
        and record["name"] == name
        and all(isinstance(text, str) and (text or k == 0) for k, text in enumerate(texts))
        and re.fullmatch(r"\d{1,9}( \w+)?", record["process"]) is not None
        and isinstance(record["plan"], str | None)
        and isinstance(part, list)
        and [type(number) for number in part] == [int, int]
        and isinstance(record["beat"], float)
        and math.isfinite(record["beat"])
    )


def _beat(folder: Folder, owner: Owner, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):  # a full disk, a store that is away for a moment
            _write(folder, owner)


def _tidy(folder: Folder) -> None:
    """Remove the folder of the last owner."""
    if isinstance(folder, LocalFolder):
        for path in (Path(folder.root, SCRATCH), Path(folder.root), Path(folder.root).parent):
            path.rmdir()  # an OSError, which the caller passes over, where something is in it
