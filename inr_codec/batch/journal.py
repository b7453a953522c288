"""Journals: JSON lines that processes append while they work.

Each process writes a file of its own, one system call a line. A kill tears at most the last line, and readers skip and
count lines that are torn or not what was written. Nothing can be appended behind a URL: there each flush writes a new
file.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from inr_codec.stores.folders import Folder, LocalFolder, check_within

MAX_OPEN = 200
"""Journal files that are open at a time, at most."""
MAX_LINE = 1 << 20
"""Bytes of a line at most; longer ones are damage."""
SUFFIX = ".jsonl"

Record = dict[str, Any]
Place = tuple[str, int]
"""A file of a journal, and where in it a record begins."""


def worker_name() -> str:
    """Host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Journal:
    """A file of records that this process alone writes, from any of its threads."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = f"{name}/{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}{SUFFIX}"
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._file: int | None = None

    def append(self, record: Record) -> None:
        """Write one record; behind a URL, keep it for `flush`."""
        line = one_line(record)
        with self._lock:
            if not isinstance(self._folder, LocalFolder):
                self._lines.append(line)
                return
            if self._file is None:
                path = Path(self._folder.root, self._name)
                check_within(path.parent, self._folder.root)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if os.write(self._file, line) < len(line):  # a full disk
                os.write(self._file, b"\n")

    def flush(self) -> None:
        """Write the records that were kept."""
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            stem = self._name.removesuffix(SUFFIX)
            self._folder.write(f"{stem}-{uuid4().hex[:8]}{SUFFIX}", b"".join(lines))

    def close(self) -> None:
        """Write the records that were kept, and close the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Records:
    """(file, offset, record) of all sound records in all files of a journal; `skipped` counts the other lines.

    sound: whether a record, any table of JSON, is one of this journal.
    """

    def __init__(self, folder: Folder, name: str, sound: Callable[[Record], bool]) -> None:
        self.skipped = 0
        self._folder, self._name, self._sound = folder, name, sound

    def __iter__(self) -> Iterator[tuple[str, int, Record]]:
        for file in self._folder.names(self._name):
            if not file.endswith(SUFFIX):
                continue
            for offset, line in numbered_lines(self._folder, file):
                record = parsed(line)
                if record is None or not self._sound(record):
                    self.skipped += 1
                else:
                    yield file, offset, record


def parsed(line: bytes) -> Record | None:
    """The table in a line of JSON; None for anything else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def numbered_lines(folder: Folder, file: str) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of a file; lines of more than MAX_LINE bytes in pieces."""
    with _opened(folder, file) as lines:
        offset = 0
        while line := lines.readline(MAX_LINE):
            yield offset, line
            offset += len(line)


def _opened(folder: Folder, file: str) -> Any:
    return Path(folder.root, file).open("rb") if isinstance(folder, LocalFolder) else BytesIO(folder.read(file) or b"")


class Places:
    """Where the record of each chunk lies in the files of a journal: 13 bytes a chunk instead of the record."""

    def __init__(self, folder: Folder, count: int) -> None:
        self.known: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self._file: NDArray[np.uint32] = np.zeros(count, np.uint32)
        self._offset: NDArray[np.uint64] = np.zeros(count, np.uint64)
        self._files: list[str] = []
        self._numbers: dict[str, int] = {}
        self._folder = folder
        self._opened: dict[int, Any] = {}

    def set(self, n: int, file: str, offset: int) -> None:
        """Note that the record of chunk n begins at `offset` in `file`."""
        if file not in self._numbers:
            self._numbers[file] = len(self._files)
            self._files.append(file)
        self.known[n], self._file[n], self._offset[n] = True, self._numbers[file], offset

    def read(self, n: int) -> Record:
        """The record of chunk n."""
        k = int(self._file[n])
        if k not in self._opened:
            if len(self._opened) >= MAX_OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            self._opened[k] = _opened(self._folder, self._files[k])
        self._opened[k].seek(int(self._offset[n]))
        record: Record = json.loads(self._opened[k].readline())
        return record

    def close(self) -> None:
        """Close the files that are open."""
        for file in self._opened.values():
            file.close()
        self._opened.clear()


def one_line(record: Record) -> bytes:
    """A record as journals and the manifest have it."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
