"""BLAS on one thread while chunks are encoded, and on as many as before afterwards.

The package has threads of its own. Those of numpy's BLAS would run beside them, and `INR_CODEC_THREADS` does not bind
them.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_working = 0
_before: list[int] = []
"""Threads of each library before the first caller came in."""


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries that numpy loaded; looked for once, as that takes milliseconds."""
    import numpy  # noqa: F401
    from threadpoolctl import ThreadpoolController

    found: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


def _set(counts: Sequence[int]) -> None:
    for library, count in zip(_libraries(), counts):
        library.set_num_threads(count)
        # from threadpoolctl 3.8 on the thread that sets a number keeps all others from it, until it lets go
        getattr(library, "clear_controlling_thread", lambda: None)()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS works on the calling thread; the number that it had is restored once no caller is in here any more.

    It is a number of the process: what others compute meanwhile takes one thread too. Where another thread of the
    process is inside of a limit of threadpoolctl's own, its number holds.
    """
    global _working, _before
    with _lock:
        if _working == 0:
            _before = [library.num_threads for library in _libraries()]
            _set([1] * len(_before))
        _working += 1
    try:
        yield
    finally:
        with _lock:
            _working = max(_working - 1, 0)  # 0 in a child that was forked in here
            if _working == 0:
                _set(_before)


def _after_fork() -> None:
    """Threads of the parent that were in here are gone in the child."""
    global _lock, _working
    _lock = threading.Lock()
    if _working:
        _working = 0
        _set(_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
