"""What the chunk looks like around a voxel: the features that the filter layer's network sees.

With u the decoded chunk (unit intensities, continued beyond its borders by its outermost voxels) and the squashing
s(x) = x / (1 + |x|), the features of voxel v are, in this order,

- s((u(v + t) - u(v)) / scale) + s((u(v - t) - u(v)) / scale) for every pair +-t of `neighbours`: voxels at most one
  step away along one or two axes (near), and those two and three steps away along one axis;
- the mean of |s((u(v + t) - u(v)) / scale)| over the near ones, at +t and -t;
- s((mean of u over the box of 3 voxels a side around v - u(v)) / scale), and the same for 7 voxels a side;
- s((u(v) - centre) / width).

Everything is in float32, and the order of operations is the same for every voxel, wherever a box of voxels begins.
Work is done on slabs of a chunk that are padded by `REACH` voxels and flat, so that a neighbour is a fixed step away
whatever the number of axes.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_codec.kernels import kernel
from inr_codec.tiles import TILE

REACH = 3
"""How far along each axis the features of a voxel depend on other voxels."""
SLAB = 1 << 18  # voxels of a slab, about

Array = NDArray[np.float32]


def neighbours(dims: int) -> list[tuple[int, ...]]:
    """One offset t of every pair +-t: near ones in lexicographic order, then two and three steps along each axis."""
    near = [t for t in itertools.product((-1, 0, 1), repeat=dims) if t > (0,) * dims and sum(map(abs, t)) <= 2]
    far = [tuple(distance * (a == b) for b in range(dims)) for distance in (2, 3) for a in range(dims)]
    return near + far


def count_features(dims: int) -> int:
    """Number of features of a chunk with `dims` axes."""
    return len(neighbours(dims)) + 4


@kernel(fastmath={"contract", "nsz"}, boundscheck=False, inline="never")
def _line_means(source, stride, small, large, target_small, target_large):  # type: ignore[no-untyped-def]
    """One pass of both box means: means of three and of seven voxels `stride` apart."""
    inside = len(source) - 6 * stride
    third, seventh = np.float32(1 / 3), np.float32(1 / 7)
    a, b, c = small[2 * stride :], small[3 * stride :], small[4 * stride :]
    to = target_small[3 * stride :]
    for i in range(inside):
        to[i] = ((a[i] + c[i]) + b[i]) * third
    d, e, f, g = large, large[stride:], large[2 * stride :], large[3 * stride :]
    h, k, m = large[4 * stride :], large[5 * stride :], large[6 * stride :]
    to = target_large[3 * stride :]
    for i in range(inside):
        to[i] = (((f[i] + h[i]) + (e[i] + k[i])) + ((d[i] + m[i]) + g[i])) * seventh


def _box_means(values: Array, strides: Sequence[int]) -> tuple[Array, Array]:
    """Means over the boxes of 3 and of 7 voxels a side, by one pass per axis; true where a box lies inside."""
    small = large = values
    for stride in strides:
        targets = np.zeros_like(values), np.zeros_like(values)
        _line_means(values, stride, small, large, *targets)
        small, large = targets
    return small, large


@kernel(fastmath={"contract", "nsz"}, boundscheck=False, inline="never", error_model="numpy")
def tile_features(values, small, large, steps, near, settings, at, target):  # type: ignore[no-untyped-def]
    """Features of the voxels at, at + 1, ... of one tile of a slab, one after the other in `target`.

    settings: 1 / scale, centre, 1 / width. The first `near` of the pairs of steps are the near ones.
    """
    inverse, centre, narrow = settings[0], settings[1], settings[2]
    one = np.float32(1)
    share = np.float32(0.5) / np.float32(near)
    here = values[at : at + TILE]
    k = len(steps) * TILE
    activity = target[k : k + TILE]
    three, seven = target[k + TILE : k + 2 * TILE], target[k + 2 * TILE : k + 3 * TILE]
    itself = target[k + 3 * TILE : k + 4 * TILE]
    for j in range(TILE):
        activity[j] = np.float32(0)
    for k in range(len(steps)):
        above = values[at + steps[k] : at + steps[k] + TILE]
        below = values[at - steps[k] : at - steps[k] + TILE]
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
def _gather(values, small, large, steps, near, settings, first, last, wanted, out):  # type: ignore[no-untyped-def]
    """out[k] <- the features of the k-th wanted voxel of a slab."""
    inputs = out.shape[1]
    tile = np.zeros(inputs * TILE, np.float32)
    row = 0
    for start in range(first, last, TILE):
        found = False
        for j in range(min(TILE, last - start)):
            found |= wanted[start + j]
        if found:
            tile_features(values, small, large, steps, near, settings, start, tile)
            for j in range(min(TILE, last - start)):
                if wanted[start + j]:
                    for i in range(inputs):
                        out[row, i] = tile[i * TILE + j]
                    row += 1


@dataclass(frozen=True, slots=True)
class Slab:
    """Some rows of a chunk with `REACH` voxels around them, flat, with `TILE` zeros behind.

    values, small, large: the voxels and the two box means. steps: how far away the pairs' neighbours are. The rows
    lie between `first` and `last`, and at `inside` when `values` takes on `shape`.
    """

    values: Array
    small: Array
    large: Array
    steps: NDArray[np.int64]
    near: int
    shape: tuple[int, ...]
    first: int
    last: int

    @property
    def inside(self) -> tuple[slice, ...]:
        """Where the rows themselves are."""
        return tuple(slice(REACH, n - REACH) for n in self.shape)

    def features(self, settings: Array, wanted: NDArray[np.bool_]) -> Array:
        """Features, (n, inputs), of the n voxels of the rows where `wanted`, in C order."""
        flags = np.zeros(self.shape, np.bool_)
        flags[self.inside] = wanted
        out = np.empty((int(wanted.sum()), count_features(len(self.shape))), np.float32)
        _gather(
            self.values, self.small, self.large, self.steps, self.near, settings, self.first, self.last,
            flags.reshape(-1), out,
        )  # fmt: skip
        return out


def make_slab(chunk: Array, rows: slice) -> Slab:
    """Rows start .. stop of a chunk, ready for the kernels."""
    start, stop = max(rows.start - REACH, 0), min(rows.stop + REACH, len(chunk))
    widths = [(REACH - rows.start + start, REACH + rows.stop - stop)] + [(REACH, REACH)] * (chunk.ndim - 1)
    padded = np.pad(chunk[start:stop], widths, mode="edge")
    values = np.zeros(padded.size + TILE, np.float32)
    values[: padded.size] = padded.reshape(-1)
    strides = [n // padded.itemsize for n in padded.strides]
    small, large = _box_means(values, strides)
    steps = np.array(neighbours(chunk.ndim), np.int64) @ np.array(strides, np.int64)
    near = len(steps) - 2 * chunk.ndim
    first = REACH * sum(strides)
    return Slab(values, small, large, steps, near, padded.shape, first, padded.size - first)


def slab_rows(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of a chunk's slabs, in order."""
    thick = max(SLAB // max(int(np.prod(shape[1:])), 1), 2 * REACH)
    for start in range(0, shape[0], thick):
        yield slice(start, min(start + thick, shape[0]))
