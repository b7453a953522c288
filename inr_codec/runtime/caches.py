"""What this process remembers of data it has seen: one limit in bytes, one call that forgets all of it.

`remembered` keeps the results of unpacking, so that planes read one after the other from one chunk unpack it once. All
results together take at most `INR_CODEC_CACHE` bytes (default: 2^28, 256 MB; 0 keeps nothing); those used longest ago
go first. `kept` keeps a few opened things (arrays, programs). Tables that follow from shapes alone are small, and stay.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from inr_codec.runtime.limits import whole_number

P = ParamSpec("P")
R = TypeVar("R")

LIMIT = 1 << 28
"""Bytes that are remembered unless `INR_CODEC_CACHE` says otherwise."""

_lock = threading.RLock()
_results: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
_bytes = 0
_forget: list[Callable[[], None]] = []


def limit() -> int:
    """How many bytes all remembered results may take."""
    return whole_number("INR_CODEC_CACHE", LIMIT, "bytes")


def remembered(size: Callable[[R], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function of hashable arguments whose results are remembered; `size` tells the bytes that a result takes.

    Results are handed to many callers: they must not be changed. Bytes among the arguments count as well.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            key = (function, args, tuple(sorted(kwargs.items())))
            with _lock:
                if key in _results:
                    _results.move_to_end(key)
                    result: R = _results[key][0]
                    return result
            result = function(*args, **kwargs)
            _keep(key, result, size(result) + sum(len(value) for value in args if isinstance(value, bytes)))
            return result

        return call

    return decorate


def _keep(key: Hashable, result: Any, size: int) -> None:
    """Remember a result, forgetting others where all together would take too much."""
    global _bytes
    most = limit()
    if size > most:
        return
    with _lock:
        _bytes += size - _results.pop(key, (None, 0))[1]
        _results[key] = result, size
        while _bytes > most:
            _bytes -= _results.popitem(last=False)[1][1]


def kept(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`functools.lru_cache(most)`, which `clear_caches` empties."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached = lru_cache(maxsize=most)(function)
        _forget.append(cached.cache_clear)
        return wraps(function)(cached)  # type: ignore[return-value]

    return decorate


def _after_fork() -> None:
    """A thread of the parent may have held the lock: it is gone in the child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def cached_bytes() -> int:
    """Bytes that all remembered results take now."""
    return _bytes


def clear_caches() -> None:
    """Forget everything that this process remembers of data it has seen: unpacked layers, opened arrays and programs.

    Compiled kernels, tables that follow from shapes, and the priors of codecs stay.
    """
    global _bytes
    with _lock:
        _results.clear()
        _bytes = 0
    for forget in _forget:
        forget()
