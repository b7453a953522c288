"""What became of every chunk: lines that processes append while they work, and one manifest at the end.

A process has a file of its own, in which a line is written with one system call, so that a kill leaves at most its last
line torn; torn lines are skipped. Behind a URL, where nothing can be appended, a file is one batch.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.plan import Plan
from inr_codec.batch.shards import stored_stream
from inr_codec.batch.store import Folder, LocalFolder, array_folder, state_folder
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.inspection import inspect

JOURNAL, MEASURES = "journal", "measures"
MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
NEVER, BEGUN, FAILED, EMPTY, DONE = range(5)
STATES = {"begun": BEGUN, "failed": FAILED, "empty": EMPTY, "done": DONE}

MAX_OPEN = 200
"""Journals that are open at a time."""

Record = dict[str, Any]


def worker_name() -> str:
    """Host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Journal:
    """Appends records, from any thread, to a file that only this process writes."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = f"{name}/{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.jsonl"
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._file: int | None = None

    def append(self, record: Record) -> None:
        """Write one record; behind a URL, keep it for `flush`."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if not isinstance(self._folder, LocalFolder):
                self._lines.append(line)
                return
            if self._file is None:
                path = Path(self._folder.root, self._name)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if os.write(self._file, line) < len(line):  # a full disk
                os.write(self._file, b"\n")

    def flush(self) -> None:
        """Put what was kept."""
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            stem = self._name.removesuffix(".jsonl")
            self._folder.write(f"{stem}-{uuid4().hex[:8]}.jsonl", b"".join(lines))

    def close(self) -> None:
        """Put what was kept and close the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_lines(folder: Folder, name: str) -> Iterator[tuple[str, int, Record]]:
    """(file, offset, record) of all records in all files of a journal; torn lines are left out."""
    for file in folder.names(name):
        for offset, line in _lines(folder, file):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "n" in record:
                yield file, offset, record


def _lines(folder: Folder, file: str) -> Iterator[tuple[int, bytes]]:
    lines: Any = BytesIO(folder.read(file) or b"")
    if isinstance(folder, LocalFolder):
        lines = Path(folder.root, file).open("rb")
    with lines:
        offset = 0
        for line in lines:
            yield offset, line
            offset += len(line)


class Places:
    """Where the record of each chunk is in the files of a journal: 12 bytes a chunk instead of the record."""

    def __init__(self, folder: Folder, count: int) -> None:
        self.known: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self._file: NDArray[np.uint32] = np.zeros(count, np.uint32)
        self._offset: NDArray[np.uint64] = np.zeros(count, np.uint64)
        self._files: list[str] = []
        self._folder = folder
        self._opened: dict[int, Any] = {}

    def set(self, n: int, file: str, offset: int) -> None:
        """The record of chunk n is there."""
        if not self._files or self._files[-1] != file:
            self._files.append(file)
        self.known[n], self._file[n], self._offset[n] = True, len(self._files) - 1, offset

    def read(self, n: int) -> Record:
        """The record of chunk n."""
        k = int(self._file[n])
        if k not in self._opened:
            if len(self._opened) >= MAX_OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            local, name = isinstance(self._folder, LocalFolder), self._files[k]
            opened: Any = Path(self._folder.root, name).open("rb") if local else BytesIO(self._folder.read(name) or b"")
            self._opened[k] = opened
        self._opened[k].seek(int(self._offset[n]))
        record: Record = json.loads(self._opened[k].readline())
        return record

    def close(self) -> None:
        """Close what was opened."""
        for file in self._opened.values():
            file.close()
        self._opened.clear()


class Ledger:
    """What the journal says of every chunk: state, stored bytes, attempts, where its record is."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: NDArray[np.uint8] = np.zeros(plan.count, np.uint8)
        self.attempts: NDArray[np.uint16] = np.zeros(plan.count, np.uint16)
        self._bytes: NDArray[np.uint32] = np.zeros(plan.count, np.uint32)
        folder = state_folder(plan.target)
        self._places = Places(folder, plan.count)
        for file, offset, record in read_lines(folder, JOURNAL):
            n, state = record["n"], STATES.get(record["state"], NEVER)
            if not 0 <= n < plan.count:
                continue
            if state == BEGUN:
                self.attempts[n] += 1
            if state >= self.state[n]:
                self.state[n], self._bytes[n] = state, record.get("bytes", 0)
                self._places.set(n, file, offset)

    def todo(self) -> NDArray[np.bool_]:
        """Jobs that have a chunk which is neither stored as it was recorded nor nothing but the fill value."""
        plan, target = self.plan, array_folder(self.plan)
        need: NDArray[np.bool_] = np.zeros(plan.jobs, np.bool_)
        for job in range(plan.jobs):
            numbers = plan.chunks_of_job(job)
            states = self.state[numbers]
            if not np.isin(states, (DONE, EMPTY)).all():
                need[job] = True
            elif (states == DONE).any() and isinstance(target, LocalFolder):
                size = target.size(plan.key_of_job(job))
                need[job] = size is None or (plan.shards is None and size != self._bytes[job])
        return need

    def records(self) -> Iterator[Record]:
        """One record for every chunk, in order. What nobody reported is looked for in the store itself."""
        for n in range(self.plan.count):
            record = self._places.read(n) if self.state[n] > BEGUN else found(self.plan, n)
            yield record | {"attempts": int(self.attempts[n])}
        self._places.close()


def described(plan: Plan, n: int, state: str, **more: Any) -> Record:
    """The record of a chunk, with a value for every field."""
    record = {"n": n, "chunk": list(plan.index_of(n)), "key": plan.key_of_job(plan.job_of(n)), "state": state}
    nothing = dict.fromkeys(("budget", "psnr", "max_error", "lo", "hi", "seconds", "worker", "error"))
    return record | {"bytes": 0, "exact": False, "blocks": 0, "voxels": plan.voxels_of(n)} | nothing | more


def measured(stream: bytes) -> Record:
    """What a stream says of itself, for its record. CorruptChunk or UnsupportedFormat for bytes that are none."""
    told = inspect(stream)
    exact = told.psnr is not None and not np.isfinite(told.psnr)
    return {
        "bytes": told.bytes,
        "psnr": None if told.psnr is None or exact else round(told.psnr, 3),
        "exact": exact,
        "max_error": told.max_error,
        "lo": told.lo,
        "hi": told.hi,
        "blocks": len(told.blocks),
    }


def found(plan: Plan, n: int) -> Record:
    """The record of a chunk whose process did not live to write it, from the store."""
    try:
        stream = stored_stream(plan, array_folder(plan), n)
        if stream is not None:
            return described(plan, n, "done", **measured(stream))
    except (CorruptChunk, UnsupportedFormat) as error:
        return described(plan, n, "failed", error=str(error))
    return described(plan, n, "failed", error="never encoded")


def read_manifest(target: str) -> Iterator[Record]:
    """The records of a finished target, in order of the chunks; none where there is no manifest."""
    folder = state_folder(target)
    if folder.size(MANIFEST) is None:
        return
    for _, line in _lines(folder, MANIFEST):
        yield json.loads(line)


def write_manifest(plan: Plan) -> Record:
    """Merge the journals into the manifest and the summary, which is returned."""
    folder = state_folder(plan.target)
    scores: list[float] = []
    failed: list[Record] = []
    summary = {"chunks": plan.count, "done": 0, "empty": 0, "failed": 0, "bytes": 0}
    seconds = 0.0
    parts: list[bytes] = []
    for record in Ledger(plan).records():
        parts.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        summary[record["state"]] += 1
        summary["bytes"] += record["bytes"]
        seconds += record["seconds"] or 0.0
        if record["psnr"] is not None:
            scores.append(record["psnr"])
        if record["state"] == "failed" and len(failed) < 100:
            failed.append({name: record[name] for name in ("chunk", "key", "error", "attempts")})
    folder.write(MANIFEST, b"".join(parts))
    whole = summary | {
        "budget": plan.total_bytes,
        "nbytes": plan.nbytes,
        "mean_psnr": float(np.mean(scores)) if scores else None,
        "seconds": round(seconds, 3),
        "recipe_hash": plan.recipe_hash,
        "first_failed": failed,
    }
    folder.write(SUMMARY, json.dumps(whole, indent=1).encode())
    return whole
