"""Settings of the running process, never stored: how many threads work, and how work is stopped.

`INR_CODEC_THREADS` sets the number of threads (default: the processors this process may use).
`INR_CODEC_ENGINE` sets the engine of every fit: fused (default), torch or triton. The last two work on the device that
`INR_CODEC_DEVICE` names (default: cuda where there is one, else cpu).
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from inr_codec.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

_lock = threading.Lock()
_pool: tuple[int, ThreadPoolExecutor] | None = None
_inside = threading.local()


def threads() -> int:
    """How many threads one call may keep busy."""
    text = os.environ.get("INR_CODEC_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"expected INR_CODEC_THREADS to be a number above 0, got {text!r}: set it to one or unset it")
    return int(text)


def engine() -> str:
    """Name of the fit engine."""
    return os.environ.get("INR_CODEC_ENGINE", "fused")


def _shared_pool() -> ThreadPoolExecutor:
    """One pool for the process, whoever calls; a new one after a fork, where the old one's threads are gone."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = (os.getpid(), ThreadPoolExecutor(threads(), thread_name_prefix="inr_codec"))
        return _pool[1]


class _Job:
    """A stop flag that the threads of one call share."""

    def __init__(self) -> None:
        self.stop = False


def cancelled() -> bool:
    """Whether the call that this thread works for has been interrupted."""
    job: _Job | None = getattr(_inside, "job", None)
    return job is not None and job.stop


def begin(function: Callable[[], R]) -> Callable[[], R]:
    """Begin function() on one of the process's threads, if there are several; call what is returned for its result."""
    if threads() == 1 or getattr(_inside, "job", None) is not None:
        return function
    return _shared_pool().submit(_work, _Job(), function).result


def _work(job: _Job, function: Callable[[], R]) -> R:
    _inside.job = job
    try:
        return function()
    finally:
        _inside.job = None


def parallel_map(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """[function(item) for item in items], on the process's threads; in order. Safe to nest (inner calls run serially).

    An exception (KeyboardInterrupt too) stops the items that have not started, sets `cancelled` for the others, and is
    raised once they have returned.
    """
    jobs = list(items)
    if len(jobs) < 2 or threads() == 1 or getattr(_inside, "job", None) is not None:
        return [function(item) for item in jobs]
    job = _Job()
    futures: list[Future[R]] = []
    try:
        for item in jobs:
            futures.append(_shared_pool().submit(_work, job, partial(function, item)))
        return [future.result() for future in futures]
    except BaseException:
        job.stop = True
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()
        raise
