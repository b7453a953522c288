"""Calls from several threads, served together.

While one call runs, others queue; the next one to run takes all of them along. An accelerator then sees the blocks of
all chunks that are being encoded as one batch, and no call waits for one that may never come.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Call(Generic[T, R]):
    def __init__(self, items: Sequence[T]) -> None:
        self.items = items
        self.results: list[R] | None = None
        self.error: Exception | None = None


class Gather(Generic[T, R]):
    """`work(items) -> results`, one call at a time, with the items of all waiting calls.

    An exception of `work` is raised in every call that was taken along. An interrupt (any other BaseException) ends
    only the call whose thread it struck; the others are served by the next.
    """

    def __init__(self, work: Callable[[Sequence[T]], list[R]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._waiting: list[_Call[T, R]] = []
        self._guard = threading.Lock()

    @property
    def waiting(self) -> int:
        """Calls that have come and are not served yet."""
        with self._guard:
            return len(self._waiting)

    def __call__(self, items: Sequence[T]) -> list[R]:
        """The results of `items`, in order."""
        call: _Call[T, R] = _Call(items)
        with self._guard:
            self._waiting.append(call)
        try:
            with self._turn:
                if call.results is None and call.error is None:
                    self._serve()
        finally:
            with self._guard:
                if call in self._waiting:
                    self._waiting.remove(call)
        if call.error is not None:
            raise call.error
        assert call.results is not None
        return call.results

    def _serve(self) -> None:
        with self._guard:
            calls = list(self._waiting)
        try:
            results = self._work([item for call in calls for item in call.items])
        except Exception as error:
            for call in calls:
                call.error = error
        else:
            for call in calls:
                call.results, results = results[: len(call.items)], results[len(call.items) :]
        with self._guard:
            self._waiting = [call for call in self._waiting if call not in calls]
