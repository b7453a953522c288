"""CDF 9/7 wavelet of an array of any dimension, in place, by lifting in float32.

A transform is a list of *splits* (axis, offset, size): cut the box [offset, offset + size) of the array along one axis
into its low half, ceil(n / 2) samples stored first, and its high half. For one line x of length n, with s = x[0::2] and
d = x[1::2], the four lifting steps are

    d[i] += a (s[i] + s[i+1])      s[i] += b (d[i-1] + d[i])
    d[i] += c (s[i] + s[i+1])      s[i] += e (d[i-1] + d[i])      s *= sqrt(2) / K,  d *= -K / sqrt(2)

with whole-sample symmetric ends. Every output is computed by the same roundings wherever the arithmetic is IEEE 754
(no contraction, no reordering), also when only a box of the array is inverted.
"""

import math
from collections.abc import Iterator, Sequence
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
Tile = tuple[int, int, int, int, int, int]
"""Of lines that are lifted together: samples of their low and of their high halves, how many lines, from where one
starts to the next, from one sample to the next, and how far the low halves reach."""

_A, _B = np.float32(-1.586134342059924), np.float32(-0.052980118572961)
_C, _E = np.float32(0.882911075530934), np.float32(0.443506852043971)
_LOW, _HIGH = np.float32(1.149604398860242), np.float32(-0.869864451624781)
_LOW_BACK, _HIGH_BACK = np.float32(0.869864451624781), np.float32(-1.149604398860242)
_ZERO = np.float32(0)
_HALO = 3  # samples of either half that an output needs on each side
_SHARE = 1 << 16  # samples that are worth another thread
_TILE, _WIDTH = 1 << 11, 64
"""Samples of either half that are lifted together, so that they stay in the cache; and columns, at least."""

# Lines are lifted in tiles: the low halves in one buffer, the high halves in another. Sample i of line l lies at
# l * line + i * d in the first and l * line + (i + 1) * d in the second: d is 1 and line n // 2 + 2 in a tile of rows,
# line is 1 and d the number of lines in one of columns. So a lifting step of all lines is one loop, and what lies
# between them has room for the mirrored ends. Unsigned indices spare the loops a test that keeps numba from vectorising
# them.


@inner()
def copied(to: FloatArray, t: int, source: FloatArray, s: int, n: int) -> None:
    """to[t + i] = source[s + i] for all i < n."""
    first, other = np.uint64(t), np.uint64(s)
    for i in range(np.uint64(n)):
        to[first + i] = source[other + i]


@inner()
def scaled(to: FloatArray, t: int, source: FloatArray, s: int, k: np.float32, n: int) -> None:
    """to[t + i] = k source[s + i]."""
    first, other = np.uint64(t), np.uint64(s)
    for i in range(np.uint64(n)):
        to[first + i] = source[other + i] * k


@inner()
def _zip(to: FloatArray, t: int, even: FloatArray, e: int, odd: FloatArray, o: int, n: int) -> None:
    """to[t + 2i] = even[e + i], to[t + 2i + 1] = odd[o + i]."""
    first, second, evens, odds = np.uint64(t), np.uint64(t + 1), np.uint64(e), np.uint64(o)
    for i in range(np.uint64(n)):
        to[first + i + i] = even[evens + i]
        to[second + i + i] = odd[odds + i]


@inner()
def _unzip(even: FloatArray, e: int, odd: FloatArray, o: int, source: FloatArray, s: int, n: int) -> None:
    """The inverse of `_zip`."""
    first, second, evens, odds = np.uint64(s), np.uint64(s + 1), np.uint64(e), np.uint64(o)
    for i in range(np.uint64(n)):
        even[evens + i] = source[first + i + i]
        odd[odds + i] = source[second + i + i]


@inner()
def _add(to: FloatArray, t: int, source: FloatArray, d: int, k: np.float32, n: int) -> None:
    """to[t + i] += k (source[i] + source[i + d])."""
    first, other = np.uint64(t), np.uint64(d)
    for i in range(np.uint64(n)):
        to[first + i] += k * (source[i] + source[other + i])


@inner()
def _spread(to: FloatArray, t: int, source: FloatArray, d: int, k: np.float32, n: int) -> None:
    """to[t + i] += k source[i], and then k source[i + d]."""
    first, other = np.uint64(t), np.uint64(d)
    for i in range(np.uint64(n)):
        to[first + i] = (to[first + i] + k * source[i]) + k * source[other + i]


@inner()
def _add_to_high(low: FloatArray, high: FloatArray, k: np.float32, tile: Tile) -> None:
    """d[i] += k (s[i] + s[i + 1]) in a tile."""
    n_low, n_high, lines, line, d, n = tile
    if n_low == n_high:
        for o in range(0, lines * line, line):
            low[o + n_low * d] = low[o + (n_low - 1) * d]
    _add(high, d, low, d, k, n)


@inner()
def _add_to_low(low: FloatArray, high: FloatArray, k: np.float32, tile: Tile) -> None:
    """s[i] += k (d[i - 1] + d[i]) in a tile."""
    _, n_high, lines, line, d, n = tile
    for o in range(0, lines * line, line):
        high[o] = high[o + d]
        high[o + (n_high + 1) * d] = high[o + n_high * d]
    _add(low, 0, high, d, k, n)


@inner()
def _spread_high(low: FloatArray, high: FloatArray, k: np.float32, tile: Tile) -> None:
    """The transpose of `_add_to_high`. Products with what lies beyond the ends are -0, which changes no sum."""
    n_low, n_high, lines, line, d, n = tile
    for o in range(0, lines * line, line):
        high[o] = high[o + (n_high + 1) * d] = -k * _ZERO
    _spread(low, 0, high, d, k, n)
    if n_low == n_high:
        for o in range(0, lines * line, line):
            low[o + (n_low - 1) * d] += k * high[o + n_high * d]


@inner()
def _spread_low(low: FloatArray, high: FloatArray, k: np.float32, tile: Tile) -> None:
    """The transpose of `_add_to_low`."""
    n_low, n_high, lines, line, d, n = tile
    for o in range(0, lines * line, line):
        high[o + d] += k * low[o]
        low[o + n_low * d] = -k * _ZERO
    _spread(high, d, low, d, k, n)
    if n_low > n_high:
        for o in range(0, lines * line, line):
            high[o + n_high * d] += k * low[o + (n_low - 1) * d]


@inner()
def lift(low: FloatArray, high: FloatArray, tile: Tile) -> tuple[np.float32, np.float32]:
    """Forward lifting of a tile; returns the factors of low and high."""
    for on_high, on_low in ((_A, _B), (_C, _E)):
        _add_to_high(low, high, on_high, tile)
        _add_to_low(low, high, on_low, tile)
    return _LOW, _HIGH


@inner()
def _lift_transposed(low: FloatArray, high: FloatArray, tile: Tile) -> tuple[np.float32, np.float32]:
    """The transpose of inverse lifting."""
    for on_high, on_low in ((-_A, -_B), (-_C, -_E)):
        _spread_high(low, high, on_high, tile)
        _spread_low(low, high, on_low, tile)
    return _LOW_BACK, _HIGH_BACK


@inner()
def _lift_back(low: FloatArray, high: FloatArray, tile: Tile) -> None:
    """Inverse lifting of a tile."""
    for on_low, on_high in ((-_E, -_C), (-_B, -_A)):
        _add_to_low(low, high, on_low, tile)
        _add_to_high(low, high, on_high, tile)


@inner()
def _tile(rows: bool, n_low: int, n_high: int, lines: int) -> Tile:
    """The tile of so many lines."""
    if rows:
        return n_low, n_high, lines, n_high + 2, 1, (lines - 1) * (n_high + 2) + n_low
    return n_low, n_high, lines, 1, lines, n_low * lines


@inner()
def _together(rows: bool, n_low: int, n_high: int, lines: int) -> int:
    """How many lines a tile takes."""
    return int(min(_TILE // (n_high + 2) + 1 if rows else max(_WIDTH, _TILE // n_low), lines))


@kernel()
def _forward(flat, starts, stride, n, width, transpose):  # type: ignore[no-untyped-def]
    """Split lines of n samples, `stride` apart, for the `width` neighbours of every start; contiguous lines one by one.

    flat: float32, the array. starts: int64, where in it the first sample of each first line is.
    """
    rows = stride == 1
    n_low, n_high = (n + 1) // 2, n // 2
    together = _together(rows, n_low, n_high, starts.size if rows else width)
    low, high = np.zeros((n_high + 2) * together, np.float32), np.zeros((n_high + 2) * together, np.float32)
    for block in range(0, starts.size, together if rows else 1):
        for k in range(0, 1 if rows else width, together):
            lines = min(together, starts.size - block if rows else width - k)
            start = starts[block] + k
            tile = _tile(rows, n_low, n_high, lines)
            _, _, _, line, d, _ = tile
            if rows:
                for x in range(lines):
                    _unzip(low, x * line, high, x * line + 1, flat, starts[block + x], n_high)
                    if n_low > n_high:
                        low[x * line + n_high] = flat[starts[block + x] + n - 1]
            else:
                for i in range(n_low):
                    copied(low, i * d, flat, start + 2 * i * stride, d)
                for i in range(n_high):
                    copied(high, (i + 1) * d, flat, start + (2 * i + 1) * stride, d)
            scale_low, scale_high = _lift_transposed(low, high, tile) if transpose else lift(low, high, tile)
            for i in range(lines if rows else n_low):
                o = starts[block + i] if rows else start + i * stride
                scaled(flat, o, low, i * line if rows else i * d, scale_low, n_low if rows else d)
            for i in range(lines if rows else n_high):
                o = starts[block + i] + n_low if rows else start + (n_low + i) * stride
                scaled(flat, o, high, i * line + 1 if rows else (i + 1) * d, scale_high, n_high if rows else d)


@kernel()
def _inverse(flat, starts, stride, n, width, first, last):  # type: ignore[no-untyped-def]
    """Join the halves of lines, samples first..last - 1 only; the inverse of `_forward`."""
    rows = stride == 1
    i0, i1 = max(0, first // 2 - _HALO), last // 2 + 1 + _HALO
    n_low = min((n + 1) // 2, i1) - i0
    n_high = min(n // 2, i1) - i0
    to_high = (n + 1) // 2 * stride
    pair, pairs = (first + 1) // 2, last // 2 - (first + 1) // 2  # of samples, both of which are wanted
    together = _together(rows, n_low, n_high, starts.size if rows else width)
    low, high = np.zeros((n_high + 2) * together, np.float32), np.zeros((n_high + 2) * together, np.float32)
    for block in range(0, starts.size, together if rows else 1):
        for k in range(0, 1 if rows else width, together):
            lines = min(together, starts.size - block if rows else width - k)
            start = starts[block] + k
            tile = _tile(rows, n_low, n_high, lines)
            _, _, _, line, d, _ = tile
            for i in range(lines if rows else n_low):
                o = starts[block + i] + i0 if rows else start + (i0 + i) * stride
                scaled(low, i * line if rows else i * d, flat, o, _LOW_BACK, n_low if rows else d)
            for i in range(lines if rows else n_high):
                o = to_high + (starts[block + i] + i0 if rows else start + (i0 + i) * stride)
                scaled(high, i * line + 1 if rows else (i + 1) * d, flat, o, _HIGH_BACK, n_high if rows else d)
            _lift_back(low, high, tile)
            if rows:
                for x in range(lines):
                    start, o = starts[block + x], x * line - i0
                    if pairs > 0:
                        _zip(flat, start + 2 * pair, low, o + pair, high, o + pair + 1, pairs)
                    if first % 2 == 1:
                        flat[start + first] = high[o + pair]
                    if last % 2 == 1:
                        flat[start + last - 1] = low[o + last // 2]
            else:
                for i in range((first + 1) // 2, (last + 1) // 2):
                    copied(flat, start + 2 * i * stride, low, (i - i0) * d, d)
                for i in range(first // 2, last // 2):
                    copied(flat, start + (2 * i + 1) * stride, high, (i - i0 + 1) * d, d)


def _starts(shape: tuple[int, ...], axis: int, needed: Sequence[IntArray]) -> IntArray:
    """Offsets of the lines along `axis` through the needed indices; columns: one per run of contiguous neighbours."""
    total = np.zeros(1, np.int64)
    stride = 1
    last = len(shape) - 1
    for a in range(last, -1, -1):
        index = needed[a][:1] if a in (axis, last) else needed[a]
        total = np.add.outer(index * stride, total).ravel()
        stride *= shape[a]
    return total


def _each(lift: Any, flat: FloatArray, starts: IntArray, samples: int, *rest: Any) -> None:
    """Run a kernel on the lines from `starts`, each of so many samples, on as many threads as that is worth."""
    parts = min(threads(), starts.size, 1 + starts.size * samples // _SHARE)
    if parts == 1:
        lift(flat, starts, *rest)
    else:
        parallel_map(lambda part: lift(flat, part, *rest), np.array_split(starts, parts))


def forward(values: FloatArray, splits: list[Split], *, transpose: bool = False) -> None:
    """Transform a C-contiguous float32 array in place; `transpose`: apply the transpose of `inverse` instead."""
    flat = values.reshape(-1)
    last = values.ndim - 1
    for axis, offset, size in splits:
        starts = _starts(values.shape, axis, _within(offset, size))
        n, width = size[axis], 1 if axis == last else size[last]
        _each(_forward, flat, starts, n * width, math.prod(values.shape[axis + 1 :]), n, width, transpose)


def _within(offset: tuple[int, ...], size: tuple[int, ...]) -> list[IntArray]:
    """The indices of a box along each axis."""
    return [np.arange(o, o + n) for o, n in zip(offset, size)]


def _sources(first: int, stop: int, n: int) -> IntArray:
    """The samples of both halves that the outputs first..stop - 1 of n need."""
    i0, i1 = max(0, first // 2 - _HALO), stop // 2 + 1 + _HALO
    return np.concatenate([np.arange(i0, min(i1, (n + 1) // 2)), (n + 1) // 2 + np.arange(i0, min(i1, n // 2))])


def _needed(shape: tuple[int, ...], splits: list[Split], box: Intervals) -> Iterator[tuple[Split, list[IntArray]]]:
    """The splits that a box of the result needs, and the indices that it needs of what each is the split of."""
    needed = [np.arange(*ends) for ends in box]
    for split in splits:
        axis, offset, size = split
        inside = [k[(k >= o) & (k < o + n)] for k, o, n in zip(needed, offset, size)]
        if all(k.size for k in inside):
            yield split, inside
            first, stop = int(inside[axis][0]) - offset[axis], int(inside[axis][-1]) + 1 - offset[axis]
            needed[axis] = np.union1d(needed[axis], _sources(first, stop, size[axis]) + offset[axis])


def inverse(values: FloatArray, splits: list[Split], box: Intervals | None = None) -> None:
    """Invert `forward` in place.

    With `box` = (start, stop) per axis only that part of the result is right: the same values as without, for less
    work. The rest is left in an unspecified state.
    """
    flat = values.reshape(-1)
    last = values.ndim - 1
    plan = [(split, _within(*split[1:])) for split in splits] if box is None else _needed(values.shape, splits, box)
    for (axis, offset, size), inside in reversed(list(plan)):
        o, n = offset[axis], size[axis]
        first, stop = int(inside[axis][0]) - o, int(inside[axis][-1]) + 1 - o
        inside[axis] = np.array([o])
        width = 1 if axis == last else int(inside[-1][-1] - inside[-1][0]) + 1
        starts = _starts(values.shape, axis, inside)
        _each(_inverse, flat, starts, n * width, math.prod(values.shape[axis + 1 :]), n, width, first, stop)


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
