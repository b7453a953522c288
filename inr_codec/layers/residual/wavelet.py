"""CDF 9/7 wavelet of an array of any dimension, in place, by lifting in float32.

A transform is a list of *splits* (axis, offset, size): cut the box [offset, offset + size) of the array along one axis
into its low half, ceil(n / 2) samples stored first, and its high half. For one line x of length n, with s = x[0::2] and
d = x[1::2], the four lifting steps are

    d[i] += a (s[i] + s[i+1])      s[i] += b (d[i-1] + d[i])
    d[i] += c (s[i] + s[i+1])      s[i] += e (d[i-1] + d[i])      s *= sqrt(2) / K,  d *= -K / sqrt(2)

with whole-sample symmetric ends. Every output is computed by the same roundings wherever the arithmetic is IEEE 754
(no contraction, no reordering), also when only a box of the array is inverted.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import parallel_map, threads

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Split = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Axis, and offset and size of the box that is split along it."""
Intervals = tuple[tuple[int, int], ...]
"""(start, stop) of a box along each axis."""

_A, _B = np.float32(-1.586134342059924), np.float32(-0.052980118572961)
_C, _E = np.float32(0.882911075530934), np.float32(0.443506852043971)
_LOW, _HIGH = np.float32(1.149604398860242), np.float32(-0.869864451624781)
_LOW_BACK, _HIGH_BACK = np.float32(0.869864451624781), np.float32(-1.149604398860242)
_HALO = 3  # samples of either half that an output needs on each side
_SHARE = 1 << 16  # samples that are worth another thread
_WIDTH = 64  # columns lifted at a time: their tile stays in the cache


@inner()
def _add_to_high(low: FloatArray, high: FloatArray, k: np.float32, n_low: int, n_high: int, width: int) -> None:
    """d[i] += k (s[i] + s[i + 1]) in a tile: low, s, is float32 (n_low, at least width), high, d, (n_high, ...)."""
    for i in range(n_high):
        j = min(i + 1, n_low - 1)
        for x in range(width):
            high[i, x] += k * (low[i, x] + low[j, x])


@inner()
def _add_to_low(low: FloatArray, high: FloatArray, k: np.float32, n_low: int, n_high: int, width: int) -> None:
    """s[i] += k (d[i - 1] + d[i]) in a tile."""
    for i in range(n_low):
        h, j = max(i - 1, 0), min(i, n_high - 1)
        for x in range(width):
            low[i, x] += k * (high[h, x] + high[j, x])


@inner()
def _spread_high(low: FloatArray, high: FloatArray, k: np.float32, n_low: int, n_high: int, width: int) -> None:
    """The transpose of `_add_to_high`."""
    for i in range(n_high):
        j = min(i + 1, n_low - 1)
        for x in range(width):
            low[i, x] += k * high[i, x]
        for x in range(width):
            low[j, x] += k * high[i, x]


@inner()
def _spread_low(low: FloatArray, high: FloatArray, k: np.float32, n_low: int, n_high: int, width: int) -> None:
    """The transpose of `_add_to_low`."""
    for i in range(n_low):
        h, j = max(i - 1, 0), min(i, n_high - 1)
        for x in range(width):
            high[h, x] += k * low[i, x]
        for x in range(width):
            high[j, x] += k * low[i, x]


@inner()
def _lift(
    low: FloatArray, high: FloatArray, n_low: int, n_high: int, width: int, transpose: bool
) -> tuple[np.float32, np.float32]:
    """Forward lifting of one tile, or the transpose of inverse lifting; returns the factors of low and high."""
    if transpose:
        _spread_high(low, high, -_A, n_low, n_high, width)
        _spread_low(low, high, -_B, n_low, n_high, width)
        _spread_high(low, high, -_C, n_low, n_high, width)
        _spread_low(low, high, -_E, n_low, n_high, width)
        return _LOW_BACK, _HIGH_BACK
    _add_to_high(low, high, _A, n_low, n_high, width)
    _add_to_low(low, high, _B, n_low, n_high, width)
    _add_to_high(low, high, _C, n_low, n_high, width)
    _add_to_low(low, high, _E, n_low, n_high, width)
    return _LOW, _HIGH


@kernel()
def _forward_columns(flat, starts, stride, n, width, transpose):  # type: ignore[no-untyped-def]
    """Split lines of n samples, `stride` apart, for the `width` neighbours of every start.

    flat: float32, the array. starts: int64, where in it the first sample of each first line is.
    """
    n_low, n_high = (n + 1) // 2, n // 2
    together = min(_WIDTH, width)
    low, high = np.empty((n_low, together), np.float32), np.empty((n_high, together), np.float32)
    for start in starts:
        for k in range(0, width, _WIDTH):
            w = min(_WIDTH, width - k)
            for i in range(n_low):
                o = start + k + 2 * i * stride
                for x in range(w):
                    low[i, x] = flat[o + x]
            for i in range(n_high):
                o = start + k + (2 * i + 1) * stride
                for x in range(w):
                    high[i, x] = flat[o + x]
            scale_low, scale_high = _lift(low, high, n_low, n_high, w, transpose)
            for i in range(n_low):
                o = start + k + i * stride
                for x in range(w):
                    flat[o + x] = low[i, x] * scale_low
            for i in range(n_high):
                o = start + k + (n_low + i) * stride
                for x in range(w):
                    flat[o + x] = high[i, x] * scale_high


@kernel()
def _inverse_columns(flat, starts, stride, n, width, first, last):  # type: ignore[no-untyped-def]
    """Join the halves of lines, samples first..last - 1 only; the inverse of `_forward_columns`."""
    n_low = (n + 1) // 2
    i0, i1 = max(0, first // 2 - _HALO), last // 2 + 1 + _HALO
    m_low, m_high = min(n_low, i1) - i0, min(n // 2, i1) - i0
    together = min(_WIDTH, width)
    low, high = np.empty((m_low, together), np.float32), np.empty((m_high, together), np.float32)
    for start in starts:
        for k in range(0, width, _WIDTH):
            w = min(_WIDTH, width - k)
            for i in range(m_low):
                o = start + k + (i0 + i) * stride
                for x in range(w):
                    low[i, x] = flat[o + x] * _LOW_BACK
            for i in range(m_high):
                o = start + k + (n_low + i0 + i) * stride
                for x in range(w):
                    high[i, x] = flat[o + x] * _HIGH_BACK
            _add_to_low(low, high, -_E, m_low, m_high, w)
            _add_to_high(low, high, -_C, m_low, m_high, w)
            _add_to_low(low, high, -_B, m_low, m_high, w)
            _add_to_high(low, high, -_A, m_low, m_high, w)
            for y in range(first, last):
                o = start + k + y * stride
                line = low[y // 2 - i0] if y % 2 == 0 else high[y // 2 - i0]
                for x in range(w):
                    flat[o + x] = line[x]


@kernel()
def _forward_rows(flat, starts, n, transpose):  # type: ignore[no-untyped-def]
    """Split contiguous lines of n samples; flat and starts: as for `_forward_columns`, a start for each line."""
    n_low, n_high = (n + 1) // 2, n // 2
    together = min(16, starts.size)
    low, high = np.empty((n_low, together), np.float32), np.empty((n_high, together), np.float32)
    for block in range(0, starts.size, 16):
        w = min(16, starts.size - block)
        for x in range(w):
            o = starts[block + x]
            for i in range(n_low):
                low[i, x] = flat[o + 2 * i]
            for i in range(n_high):
                high[i, x] = flat[o + 2 * i + 1]
        scale_low, scale_high = _lift(low, high, n_low, n_high, w, transpose)
        for x in range(w):
            o = starts[block + x]
            for i in range(n_low):
                flat[o + i] = low[i, x] * scale_low
            for i in range(n_high):
                flat[o + n_low + i] = high[i, x] * scale_high


@kernel()
def _inverse_rows(flat, starts, n, first, last):  # type: ignore[no-untyped-def]
    """Join the halves of contiguous lines, samples first..last - 1 only."""
    n_low = (n + 1) // 2
    i0, i1 = max(0, first // 2 - _HALO), last // 2 + 1 + _HALO
    m_low, m_high = min(n_low, i1) - i0, min(n // 2, i1) - i0
    together = min(16, starts.size)
    low, high = np.empty((m_low, together), np.float32), np.empty((m_high, together), np.float32)
    for block in range(0, starts.size, 16):
        w = min(16, starts.size - block)
        for x in range(w):
            o = starts[block + x] + i0
            for i in range(m_low):
                low[i, x] = flat[o + i] * _LOW_BACK
            o += n_low
            for i in range(m_high):
                high[i, x] = flat[o + i] * _HIGH_BACK
        _add_to_low(low, high, -_E, m_low, m_high, w)
        _add_to_high(low, high, -_C, m_low, m_high, w)
        _add_to_low(low, high, -_B, m_low, m_high, w)
        _add_to_high(low, high, -_A, m_low, m_high, w)
        for x in range(w):
            o = starts[block + x]
            for y in range(first, last):
                flat[o + y] = low[y // 2 - i0, x] if y % 2 == 0 else high[y // 2 - i0, x]


def _starts(shape: tuple[int, ...], axis: int, needed: list[IntArray]) -> IntArray:
    """Offsets of the lines along `axis` through the needed indices; columns: one per run of contiguous neighbours."""
    total = np.zeros(1, np.int64)
    stride = 1
    last = len(shape) - 1
    for a in range(last, -1, -1):
        if a != axis:
            index = needed[a][:1] if a == last else needed[a]
            total = (index[:, None] * stride + total[None, :]).ravel()
        else:
            total = total + needed[a][0] * stride
        stride *= shape[a]
    return np.ascontiguousarray(total)


def _each(lift: Any, flat: FloatArray, starts: IntArray, samples: int, *rest: Any) -> None:
    """Run a kernel on the lines from `starts`, each of so many samples, on as many threads as that is worth."""
    parts = np.array_split(starts, min(threads(), 1 + starts.size * samples // _SHARE))
    parallel_map(lambda part: lift(flat, part, *rest), parts)


def forward(values: FloatArray, splits: list[Split], *, transpose: bool = False) -> None:
    """Transform a C-contiguous float32 array in place; `transpose`: apply the transpose of `inverse` instead."""
    flat = values.reshape(-1)
    last = values.ndim - 1
    for axis, offset, size in splits:
        starts = _starts(values.shape, axis, [np.arange(o, o + n) for o, n in zip(offset, size)])
        n, width = size[axis], size[last]
        if axis == last:
            _each(_forward_rows, flat, starts, n, n, transpose)
        else:
            stride = int(np.prod(values.shape[axis + 1 :]))
            _each(_forward_columns, flat, starts, n * width, stride, n, width, transpose)


def _sources(first: int, stop: int, n: int) -> IntArray:
    """The samples of both halves that the outputs first..stop - 1 of n need."""
    i0, i1 = max(0, first // 2 - _HALO), stop // 2 + 1 + _HALO
    return np.concatenate([np.arange(i0, min(i1, (n + 1) // 2)), (n + 1) // 2 + np.arange(i0, min(i1, n // 2))])


def inverse(values: FloatArray, splits: list[Split], box: Intervals | None = None) -> None:
    """Invert `forward` in place.

    With `box` = (start, stop) per axis only that part of the result is right: the same values as without, for less
    work. The rest is left in an unspecified state.
    """
    needed = [np.arange(*(box[a] if box else (0, n)), dtype=np.int64) for a, n in enumerate(values.shape)]
    plan = []
    for axis, offset, size in splits:
        inside = [k[(k >= o) & (k < o + n)] for k, o, n in zip(needed, offset, size)]
        if all(k.size for k in inside):
            plan.append((axis, offset[axis], size[axis], inside))
            if box:
                o = offset[axis]
                sources = _sources(int(inside[axis][0]) - o, int(inside[axis][-1]) + 1 - o, size[axis])
                needed[axis] = np.union1d(needed[axis], sources + o)
    flat = values.reshape(-1)
    for axis, o, n, inside in reversed(plan):
        first, stop = int(inside[axis][0]) - o, int(inside[axis][-1]) + 1 - o
        inside[axis] = np.array([o])
        starts = _starts(values.shape, axis, inside)
        if axis == values.ndim - 1:
            _each(_inverse_rows, flat, starts, n, n, first, stop)
        else:
            stride, width = int(np.prod(values.shape[axis + 1 :])), int(inside[-1][-1] - inside[-1][0]) + 1
            _each(_inverse_columns, flat, starts, n * width, stride, n, width, first, stop)


@lru_cache(maxsize=256)
def norms(n: int, depth: int) -> FloatArray:
    """Euclidean norms of what unit coefficients give after `depth` >= 1 splits of the low part of a line of n samples.

    First those of the low part, ceil(n / 2^depth), then those of the last high part, ceil(n / 2^(depth - 1)) in all.
    They are near 1, and up to 1.3 at the ends. A long line has those of a short one of the same n modulo 2^depth, its
    middle repeated.
    """
    m = min(n, (16 << depth) + n % (1 << depth))
    sizes = [m]
    for _ in range(depth):
        sizes.append((sizes[-1] + 1) // 2)
    unit = np.eye(m, dtype=np.float32)
    inverse(unit, [(0, (0, 0), (k, m)) for k in sizes[:-1]])
    short = np.sqrt(np.square(unit, dtype=np.float64).sum(axis=0)).astype(np.float32)
    repeats = (n - m) >> depth
    low, high = short[: sizes[-1]], short[sizes[-1] : sizes[-2]]
    out = np.concatenate([part for half in (low, high) for part in (half[:8], np.repeat(half[8:9], repeats), half[8:])])
    out.flags.writeable = False
    return out
