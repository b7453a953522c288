"""What the chunk looks like around a voxel: the features that the filter layer's network sees.

With u the decoded chunk (unit intensities, continued beyond its borders by its outermost voxels) and the squashing
s(x) = x / (1 + |x|), the features of voxel v are, in this order,

- s((u(v + t) - u(v)) / scale) + s((u(v - t) - u(v)) / scale) for every pair +-t of `neighbours`: voxels at most one
  step away along one or two axes (near), and those two and three steps away along one axis;
- the mean of |s((u(v + t) - u(v)) / scale)| over the near ones, at +t and -t;
- s((mean of u over the box of 3 voxels a side around v - u(v)) / scale), and the same for 7 voxels a side;
- s((u(v) - centre) / width).

Everything is in float32, and the order of operations is the same for every voxel, wherever a box of voxels begins.
Work is done on slabs of a chunk that are padded by `REACH` voxels and flat, so that a neighbour is a fixed stride away
whatever the number of axes.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import Box, tiles
from inr_codec.engines.fused.tiles import TILE
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import parallel_map, threads

# Format, frozen (FORMAT.md section 7.2).
REACH = 3
"""How far along each axis the features of a voxel depend on other voxels."""
SLAB = 1 << 18  # voxels of a slab, about
LARGEST = 1 << 20  # voxels of a slab with what is around it, about; a thread holds four numbers for each
CACHED = 1 << 15  # voxels whose box means are made at a time, about

Array = NDArray[np.float32]
T = TypeVar("T")


def neighbours(dims: int) -> list[tuple[int, ...]]:
    """One offset t of every pair +-t: near ones in lexicographic order, then two and three steps along each axis."""
    near = [t for t in itertools.product((-1, 0, 1), repeat=dims) if t > (0,) * dims and sum(map(abs, t)) <= 2]
    far = [tuple(distance * (a == b) for b in range(dims)) for distance in (2, 3) for a in range(dims)]
    return near + far


def count_features(dims: int) -> int:
    """Number of features of a chunk with `dims` axes."""
    return len(neighbours(dims)) + 4


@kernel(fastmath={"contract", "nsz"}, boundscheck=False, inline="never")
def _line_means(small, large, stride, to_small, to_large):  # type: ignore[no-untyped-def]
    """to_small, to_large <- means of three and of seven voxels of small and large, `stride` apart, from the first on.

    All float32 and flat; the sources go on for 2 and 6 strides beyond their targets.
    """
    third, seventh = np.float32(1 / 3), np.float32(1 / 7)
    a, b, c = small[2 * stride :], small[3 * stride :], small[4 * stride :]
    for i in range(len(to_small)):
        to_small[i] = ((a[i] + c[i]) + b[i]) * third
    d, e, f, g = large, large[stride:], large[2 * stride :], large[3 * stride :]
    h, k, m = large[4 * stride :], large[5 * stride :], large[6 * stride :]
    for i in range(len(to_large)):
        to_large[i] = (((f[i] + h[i]) + (e[i] + k[i])) + ((d[i] + m[i]) + g[i])) * seventh


def _box_means(values: Array, small: Array, large: Array, rows: int, strides: Sequence[int]) -> None:
    """small, large <- means over the boxes of 3 and of 7 voxels a side, by one pass per axis; true where a box fits.

    Some rows of the slab at a time: the second and later passes find what they need in the cache.
    """
    together = max(1, CACHED // strides[0])
    spare = np.zeros((2, 2, together * strides[0]), np.float32)
    for row in range(REACH, rows - REACH, together):
        begin, end = row * strides[0], min(row + together, rows - REACH) * strides[0]
        sources = [values[begin - REACH * strides[0] : end + REACH * strides[0]]] * 2
        for k, stride in enumerate(strides):
            last = k == len(strides) - 1
            targets = [small[begin:end], large[begin:end]] if last else list(spare[k % 2, :, : end - begin])
            edge = REACH * stride if k else 0
            _line_means(*sources, stride, *(target[edge : len(target) - edge] for target in targets))
            sources = targets


@inner(fastmath={"contract", "nsz"})
def tile_features(
    values: Array, small: Array, large: Array, strides: NDArray[np.int64], near: int, settings: Array, at: int,
    target: Array,
) -> None:  # fmt: skip
    """target <- features of the voxels at, at + 1, ... of one tile of a slab, TILE values of each feature.

    values, small, large: float32, flat, the slab's voxels and their two box means. strides: int64, from a voxel to one
    of each pair of neighbours; the first `near` of them are the near ones. settings: float32: 1 / scale, centre,
    1 / width. target: float32, flat.
    """
    inverse, centre, narrow = settings[0], settings[1], settings[2]
    one = np.float32(1)
    share = np.float32(0.5) / np.float32(near)
    here = values[at : at + TILE]
    k = len(strides) * TILE
    activity = target[k : k + TILE]
    three, seven = target[k + TILE : k + 2 * TILE], target[k + 2 * TILE : k + 3 * TILE]
    itself = target[k + 3 * TILE : k + 4 * TILE]
    for j in range(TILE):
        activity[j] = np.float32(0)
    for k in range(len(strides)):
        above = values[at + strides[k] : at + strides[k] + TILE]
        below = values[at - strides[k] : at - strides[k] + TILE]
        row = target[k * TILE : k * TILE + TILE]
        weight = share if k < near else np.float32(0)
        for j in range(TILE):
            a = (above[j] - here[j]) * inverse
            b = (below[j] - here[j]) * inverse
            a = a / (one + abs(a))
            b = b / (one + abs(b))
            row[j] = a + b
            activity[j] += weight * (abs(a) + abs(b))
    for j in range(TILE):
        a = (small[at + j] - here[j]) * inverse
        b = (large[at + j] - here[j]) * inverse
        c = (here[j] - centre) * narrow
        three[j] = a / (one + abs(a))
        seven[j] = b / (one + abs(b))
        itself[j] = c / (one + abs(c))


@kernel(boundscheck=False)
def _gather(values, small, large, strides, near, settings, first, last, wanted, places, out):  # type: ignore[no-untyped-def]
    """out[places[k]] <- the features of the k-th wanted voxel between `first` and `last` of a slab.

    The first six: as for `tile_features`. wanted: bool, flat, of the slab. places: int64. out: float32 (any, features).
    """
    inputs = out.shape[1]
    tile = np.zeros(inputs * TILE, np.float32)
    row = 0
    for start in range(first, last, TILE):
        found = False
        for j in range(min(TILE, last - start)):
            found |= wanted[start + j]
        if found:
            tile_features(values, small, large, strides, near, settings, start, tile)
            for j in range(min(TILE, last - start)):
                if wanted[start + j]:
                    for i in range(inputs):
                        out[places[row], i] = tile[i * TILE + j]
                    row += 1


@dataclass(frozen=True, slots=True)
class Slab:
    """Some rows of a chunk with `REACH` voxels around them, flat, with room for a tile behind.

    values, small, large: the voxels and the two box means. out: room for as many. strides: how far away the pairs'
    neighbours are. The rows lie between `first` and `last`, and at `inside` when `values` takes on `shape`.
    """

    values: Array
    small: Array
    large: Array
    out: Array
    strides: NDArray[np.int64]
    near: int
    shape: tuple[int, ...]
    first: int
    last: int

    @property
    def inside(self) -> tuple[slice, ...]:
        """Where the rows themselves are."""
        return tuple(slice(REACH, n - REACH) for n in self.shape)

    def features(self, settings: Array, wanted: NDArray[np.bool_], places: NDArray[np.int64], out: Array) -> None:
        """out, (any, inputs), at `places` <- features of the voxels of the rows where `wanted`, in C order."""
        flags = np.zeros(self.shape, np.bool_)
        flags[self.inside] = wanted
        _gather(
            self.values, self.small, self.large, self.strides, self.near, settings, self.first, self.last,
            flags.reshape(-1), places, out,
        )  # fmt: skip


class Slabs:
    """The slabs of a chunk, one at a time: each takes the memory of the one before, as new memory is slow."""

    def __init__(self, chunk: Array) -> None:
        self._chunk = chunk
        self._sides = tuple(n + 2 * REACH for n in chunk.shape[1:])
        self._row = math.prod(self._sides)
        self._memory = np.zeros((4, (_thickness(chunk.shape) + 2 * REACH) * self._row + TILE), np.float32)

    def at(self, rows: slice) -> Slab:
        """Rows start .. stop of the chunk, ready for the kernels."""
        values, small, large, out = self._memory
        shape = (rows.stop - rows.start + 2 * REACH, *self._sides)
        size = math.prod(shape)
        self._fill(values[:size].reshape(shape), rows)
        along = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        _box_means(values, small, large, shape[0], along)
        strides = np.array(neighbours(len(shape)), np.int64) @ np.array(along, np.int64)
        first = REACH * sum(along)
        return Slab(values, small, large, out, strides, len(strides) - 2 * len(shape), shape, first, size - first)

    def _fill(self, padded: Array, rows: slice) -> None:
        """padded <- the rows and what is around them, continued beyond the chunk by its outermost voxels."""
        start, stop = max(rows.start - REACH, 0), min(rows.stop + REACH, len(self._chunk))
        filled = [slice(start - rows.start + REACH, stop - rows.start + REACH)]
        filled += [slice(REACH, n - REACH) for n in self._sides]
        padded[tuple(filled)] = self._chunk[start:stop]
        for axis, side in enumerate(filled):
            line = np.moveaxis(padded, axis, 0)
            line[: side.start] = line[side.start]
            line[side.stop :] = line[side.stop - 1]


def _thickness(shape: tuple[int, ...]) -> int:
    """Rows of a chunk's slabs, but for the last one."""
    return min(max(SLAB // max(math.prod(shape[1:]), 1), 2 * REACH), shape[0])


def pieces(shape: tuple[int, ...]) -> Iterator[Box]:
    """Boxes that tile a chunk, whose slabs have at most about LARGEST voxels with what is around them."""
    sides = list(shape)
    while math.prod(n + 2 * REACH for n in (_thickness(tuple(sides)), *sides[1:])) > LARGEST:
        axis = sides.index(max(sides))
        sides[axis] = (sides[axis] + 1) // 2
    return tiles(shape, sides)


def over_slabs(chunk: Array, work: Callable[[Slab, slice], T]) -> list[T]:
    """work(slab, rows) for the slabs of a chunk, in order; on all threads."""
    thick = _thickness(chunk.shape)
    rows = [slice(start, min(start + thick, len(chunk))) for start in range(0, len(chunk), thick)]
    each = -(-len(rows) // threads())

    def run(first: int) -> list[T]:
        slabs = Slabs(chunk)
        return [work(slabs.at(these), these) for these in rows[first : first + each]]

    return list(itertools.chain.from_iterable(parallel_map(run, range(0, len(rows), each))))
