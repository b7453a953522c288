"""Fits of several threads as one call, for engines that are fast only when they fit many networks at once.

Threads that encode chunks are a `Crowd`. Once every one of them waits for a fit or has no chunk left, one of them fits
the blocks of all.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from inr_codec.engines.task import FitOutcome, FitTask

Engine = Callable[[Sequence[FitTask]], list[FitOutcome]]


class _Call:
    def __init__(self, tasks: Sequence[FitTask], engine: Engine) -> None:
        self.tasks, self.engine = tasks, engine
        self.outcomes: list[FitOutcome] | None = None
        self.error: BaseException | None = None

    @property
    def served(self) -> bool:
        return self.outcomes is not None or self.error is not None


class Rendezvous:
    """Where threads meet: `_expected` counts those that will still ask for fits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._expected = 0
        self._waiting: list[_Call] = []
        self._inside = threading.local()

    def expect(self, more: int) -> None:
        """So many more threads will come (fewer, if negative)."""
        with self._changed:
            self._expected += more
            self._changed.notify_all()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is one of those that are expected."""
        self._inside.here = True
        try:
            yield
        finally:
            self._inside.here = False

    def fit(self, tasks: Sequence[FitTask], engine: Engine) -> list[FitOutcome]:
        """`engine(tasks)`, together with the tasks of all that are expected; at once for other threads."""
        if not getattr(self._inside, "here", False):
            return engine(tasks)
        call = _Call(tasks, engine)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not call.served and not self._complete():
                self._changed.wait()
            taken = [] if call.served else [other for other in self._waiting if other.engine is engine]
            self._waiting = [other for other in self._waiting if other not in taken]
        if taken:
            self._serve(taken, engine)
        if call.error is not None:
            raise call.error
        assert call.outcomes is not None
        return call.outcomes

    def _complete(self) -> bool:
        """Whether nobody is missing: those whose calls are being served are, until they come again."""
        return len(self._waiting) >= self._expected

    def _serve(self, calls: list[_Call], engine: Engine) -> None:
        """Fit all calls as one; where that fails, one by one, so that only those fail that must."""
        try:
            outcomes = engine([task for call in calls for task in call.tasks])
            for call in calls:
                call.outcomes, outcomes = outcomes[: len(call.tasks)], outcomes[len(call.tasks) :]
        except Exception as error:
            for call in calls:
                try:
                    if len(calls) == 1:
                        raise error
                    call.outcomes = engine(call.tasks)
                except Exception as own:
                    call.error = own
        except BaseException as interrupt:
            for call in calls:
                call.error = interrupt
        with self._changed:
            self._changed.notify_all()


_process = Rendezvous()
fit_joined = _process.fit


class Crowd:
    """Encoding `chunks` chunks on `threads` threads: `with crowd.turn():` around each chunk."""

    def __init__(self, chunks: int, threads: int) -> None:
        self._left, self._threads = chunks, threads
        self._lock = threading.Lock()
        _process.expect(min(chunks, threads))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One chunk. A thread stays expected while there are chunks for it."""
        try:
            with _process.inside():
                yield
        finally:
            with self._lock:
                self._left -= 1
                leaves = self._left < self._threads
            if leaves:
                _process.expect(-1)
