"""How long this process has compiled kernels, as numba tells: time that belongs to no rate."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

from inr_codec.progress import Progress

KIND = "numba:compile"
COMPILING = "inr-codec: compiling kernels, once on this machine, up to a minute"


class _Stopwatch(event.Listener):
    """Seconds in which any thread was compiling; `tell` is called once, when that begins."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell
        self._lock = threading.Lock()
        self._running, self._begin, self._seconds = 0, 0.0, 0.0

    def on_start(self, event: Any) -> None:
        """A compilation begins, perhaps within another one."""
        with self._lock:
            tell, self._tell = self._tell, None
            if not self._running:
                self._begin = time.monotonic()
            self._running += 1
        if tell is not None:
            tell()

    def on_end(self, event: Any) -> None:
        """A compilation ends."""
        with self._lock:
            self._running -= 1
            if not self._running:
                self._seconds += time.monotonic() - self._begin

    def clock(self) -> float:
        """Seconds, standing still while anything compiles."""
        with self._lock:
            now = self._begin if self._running else time.monotonic()
            return now - self._seconds


@contextmanager
def compiling(tell: Callable[[], None]) -> Iterator[Callable[[], float]]:
    """A clock that stands still while kernels are compiled; `tell` is called when the first of them is."""
    watch = _Stopwatch(tell)
    with event.install_listener(KIND, watch):
        yield watch.clock


@contextmanager
def drawn(verb: str, chunks: int, voxels: int, *, shown: bool) -> Iterator[Progress]:
    """A progress bar on stderr whose rate and time left know nothing of compiling, which is told in a line."""
    bars: list[Progress] = []
    with compiling(lambda: bars[0].say(COMPILING)) as clock:
        bars.append(Progress(verb, chunks, voxels, stream=sys.stderr, shown=shown, clock=clock))
        try:
            yield bars[0]
        finally:
            bars[0].close()
