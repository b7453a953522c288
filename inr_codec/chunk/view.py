"""How the layers of a stream see its chunk: one to four axes of real numbers (FORMAT.md section 1.1).

Layers hold numbers of 1 to 4 axes. A chunk of other axes or another dtype is shown to them as such an array, of which
nothing is copied where strides can tell it: complex numbers as two parts along a first axis, booleans as the numbers 0
and 1, axes of length 1 not at all, and of more than four axes the first ones as one. Floats of 64 bits that are far
from 1 are shown times a power of two, so that neither their squares nor their range leave the dtype.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import DTYPES, Intensity
from inr_codec.chunk.selection import Axes

# Format, frozen (FORMAT.md section 1.1).
SHOWN = {"u8": "u8", "i8": "i8", "c8": "f4", "c16": "f8", "b1": "u1"} | {name: name for name in DTYPES}
"""The dtype that layers see, by that of the chunk."""
MOST_AXES = 4
FAR = 500
"""Floats of 64 bits are scaled where the greatest magnitude is at least 2^FAR, or below 2^-FAR."""


def shown(dtype: np.dtype[Any]) -> bool:
    """Whether layers can hold chunks of this dtype."""
    return dtype.str[1:] in SHOWN


@dataclass(frozen=True, slots=True)
class View:
    """What layers see of a chunk of `shape` (no side 0) and native `dtype`, and back."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def seen_dtype(self) -> np.dtype[Any]:
        """The dtype that layers see."""
        return np.dtype(SHOWN[self.dtype.str[1:]])

    @property
    def parts(self) -> int:
        """Numbers of which an element consists: 2 where complex."""
        return 2 if self.dtype.kind == "c" else 1

    @property
    def long(self) -> tuple[int, ...]:
        """The sides that layers see before axes are merged, at least one."""
        return (2,) * (self.parts == 2) + tuple(n for n in self.shape if n > 1) or (1,)

    @property
    def merged(self) -> int:
        """How many of the first of these become one axis."""
        return max(len(self.long) - MOST_AXES + 1, 1)

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """The shape that layers see: 1 to 4 axes."""
        return (math.prod(self.long[: self.merged]), *self.long[self.merged :])

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """What layers see of an array of the chunk's shape and dtype, or of its axes cut to some indices.

        Shares memory with the array unless axes are merged that are not in C order, or with the two parts.
        """
        if self.dtype.kind == "b":
            array = array.view("u1")
        if self.parts == 2:
            real = array.real
            sides, strides = (2, *real.shape), (real.dtype.itemsize, *real.strides)
            array = np.lib.stride_tricks.as_strided(real, sides, strides)
        array = self._long(array)
        return array.reshape(-1, *array.shape[self.merged :]) if self.merged > 1 else array

    def of_each(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array with one number for each element of the chunk (a weight, a label), as layers see the chunk."""
        both = np.broadcast_to(array, (2, *array.shape)) if self.parts == 2 else array
        return self._long(both).reshape(self.seen_shape)

    def inside(self, extent: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which elements, as layers see them, lie in a box at the chunk's start."""
        found = np.zeros(self.shape, np.bool_)
        found[tuple(slice(0, n) for n in extent)] = True
        return self.of_each(found)

    def _long(self, array: NDArray[Any]) -> NDArray[Any]:
        """Without the axes of length 1 of the chunk (which may be shorter here), a part axis first."""
        if self.long == (1,):
            return array.reshape(1)
        sides = (2,) * (self.parts == 2) + self.shape
        return array[tuple(slice(None) if n > 1 else 0 for n in sides)]

    def indices(self, axes: Axes) -> Axes:
        """Where the outer product of indices along the chunk's axes lies along the axes that layers see."""
        long = [range(2)] * (self.parts == 2) + [axis for axis, n in zip(axes, self.shape, strict=True) if n > 1]
        long = long or [range(1)]
        if self.merged == 1:
            return long
        first = np.zeros(1, np.intp)
        for axis, n in zip(long[: self.merged], self.long):
            first = np.add.outer(first * n, np.asarray(axis, np.intp)).reshape(-1)
        whole = len(first) == self.seen_shape[0]
        return [range(len(first)) if whole else first, *long[self.merged :]]


def exponent(intensity: Intensity, dtype: np.dtype[Any]) -> int:
    """The power of two that a chunk of that range is divided by before layers see it; 0 where it is left as it is."""
    if dtype.str[1:] not in ("f8", "c16"):
        return 0
    power = math.frexp(max(abs(intensity.lo), abs(intensity.hi)))[1]
    return power if abs(power) >= FAR else 0


def scaled(intensity: Intensity, power: int) -> Intensity:
    """A range divided by 2^power."""
    if power == 0:
        return intensity
    return Intensity(math.ldexp(intensity.lo, -power), math.ldexp(intensity.hi, -power))


def padding_extent(array: NDArray[Any]) -> tuple[int, ...]:
    """The part of an array (native, C order) outside of which all bits are those of its last element.

    0 along every axis where that is all of it. This is how zarr fills the chunks at an array's edge.
    """
    bits = array.view(f"u{array.dtype.itemsize}" if array.dtype.itemsize < 16 else "V16")
    corner = bits[tuple(n - 1 for n in array.shape)]
    extent = list(array.shape)
    for axis in range(array.ndim):
        inner = bits[tuple(slice(0, n) for n in extent)]
        others = tuple(k for k in range(array.ndim) if k != axis)
        odd = np.flatnonzero((inner != corner).any(axis=others)) if inner.size else np.zeros(0, np.intp)
        extent[axis] = int(odd[-1]) + 1 if odd.size else 0
    return tuple(extent) if all(extent) else (0,) * array.ndim
