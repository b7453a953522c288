"""Settings of the running process, never stored: how many threads work, and how work is stopped.

`INR_CODEC_THREADS` sets the number of threads (default: the processors this process may use), of which BLAS takes
none of its own (see `blas`).
The same number bounds how many chunks are encoded at a time, and so does `INR_CODEC_MEMORY`, the bytes that this may
take (see `limits`).
`INR_CODEC_ENGINE` sets the engine of every fit: fused (default), torch or triton. The last two work on the device that
`INR_CODEC_DEVICE` names (default: cuda where there is one, else cpu).
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from inr_codec.errors import ConfigError
from inr_codec.runtime.limits import encoding_bytes, memory

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
    """A stop flag that the threads of one call share, and the thread that called."""

    def __init__(self) -> None:
        self.stop = False
        self.caller = threading.current_thread()


ABANDONED = ("asyncio", "zarr_pool")
"""Names of threads that work for an event loop: once the interpreter ends, nobody takes what they do."""
_ended: set[str] = set()
"""Beginnings of the names of threads whose work is to stop; "" stands for all of them."""


def cancelled() -> bool:
    """Whether the call that this thread works for has been interrupted, or nobody waits for it any more."""
    job: _Job | None = getattr(_inside, "job", None)
    if job is not None and job.stop:
        return True
    return bool(_ended) and (job.caller if job else threading.current_thread()).name.startswith(tuple(_ended))


def stop_if_cancelled() -> None:
    """KeyboardInterrupt where the work of this thread is no longer wanted."""
    if cancelled():
        raise KeyboardInterrupt


def stop_all() -> None:
    """What all threads do is no longer wanted: the process ends upon an interrupt."""
    _ended.add("")


def _at_exit() -> None:
    """Before the interpreter waits for threads: those that an interrupt left behind stop soon."""
    interrupted = getattr(sys, "last_type", None)
    if interrupted is not None and issubclass(interrupted, KeyboardInterrupt):
        stop_all()
    _ended.update(ABANDONED)


if hasattr(threading, "_register_atexit"):
    threading._register_atexit(_at_exit)


_free = threading.Condition()
_encoding: list[float] = []
"""Bytes of memory for each chunk that is being encoded."""


@contextmanager
def one_of_few(voxels: int) -> Iterator[None]:
    """Wait until a chunk of so many voxels may be encoded: fewer than `threads()` others are, and all of them together
    take no more than `limits.memory()`. A single one always may.

    Callers on the process's own threads pass, and those that are `few_already`; so do all with an engine that fits the
    chunks of many callers together.
    """
    if getattr(_inside, "job", None) is not None or getattr(_inside, "few", False) or engine() != "fused":
        yield
        return
    wanted, most = encoding_bytes(voxels), memory()
    with _free:
        while _encoding and (len(_encoding) >= threads() or sum(_encoding) + wanted > most):
            _free.wait(0.2)
            stop_if_cancelled()
        _encoding.append(wanted)
    try:
        yield
    finally:
        with _free:
            _encoding.remove(wanted)
            _free.notify_all()


@contextmanager
def few_already() -> Iterator[None]:
    """What this thread encodes in here has been counted by whoever started it, in threads and memory."""
    _inside.few = True
    try:
        yield
    finally:
        _inside.few = False


def _after_fork() -> None:
    """Threads of the parent that were in `one_of_few` are gone in the child."""
    global _free
    _free = threading.Condition()
    _encoding.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def begin(function: Callable[[], R]) -> Callable[[], R]:
    """Begin function() on one of the process's threads, if there are several; call what is returned for its result."""
    if threads() == 1 or getattr(_inside, "job", None) is not None:
        return function
    return _shared_pool().submit(_work, _Job(), function).result


def _work(job: _Job, function: Callable[[], R]) -> R:
    _inside.job = job
    try:
        stop_if_cancelled()
        return function()
    finally:
        _inside.job = None


def _unless_cancelled(function: Callable[[T], R], item: T) -> R:
    stop_if_cancelled()
    return function(item)


def parallel_map(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """[function(item) for item in items], on the process's threads; in order. Safe to nest (inner calls run serially).

    An exception (KeyboardInterrupt too) stops the items that have not started, sets `cancelled` for the others, and is
    raised once they have returned.
    """
    jobs = list(items)
    if len(jobs) < 2 or threads() == 1 or getattr(_inside, "job", None) is not None:
        return [_unless_cancelled(function, item) for item in jobs]
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
