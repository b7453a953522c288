"""The values that a correction lets voxels take: multiples of a step, whatever else is in the chunk.

What was decoded lies on the lattice of its bound; to encode it again, in any chunk, changes nothing. So errors never
add up, however often parts of a chunk are written anew. A step has few binary digits: its multiples are numbers of the
dtype, exactly, as far as a float of the dtype can tell so many of them apart; from there on a power of two takes its
place. That is index(v) and its inverse, in float64 (FORMAT.md, section 10.5):

    value(i) = s i for |i| <= K,   sign(i) (s K + 2^floor(log2 s) (|i| - K)) beyond

Integers have K = 0, which stands for no end: their step is odd, or that of all values.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DIGITS = {2: 4, 4: 8, 8: 8}
"""Binary digits of a step, by the bytes of a float; one of 8 is at most 0.8 % narrower than the bound allows."""
FINE = {2: 1 << 7, 4: 1 << 16, 8: 0}
"""K: multiples of a step of so many digits, up to this one, are numbers of the dtype."""
MOST_INDEX = 1 << 46
MARGIN = 1 - 2.0**-20
"""Of the bound, for floats of 64 bits: quotients are rounded as they are."""


@dataclass(frozen=True, slots=True)
class Multiples:
    """value(i) for integers i. step > 0; fine: K, 0 for no end."""

    step: float
    fine: int = 0

    @property
    def coarse(self) -> float:
        """The step beyond K: the largest power of two that is not above `step`."""
        return math.ldexp(0.5, math.frexp(self.step)[1])

    def index(self, values: npt.NDArray[Any]) -> Floats:
        """Where values lie between the indices, float64; not a number for those that are none."""
        size = np.abs(values, dtype=np.float64)
        found = size / self.step
        if self.fine:
            far = found > self.fine
            found[far] = self.fine + (size[far] - self.step * self.fine) / self.coarse
        signed: Floats = np.copysign(found, values)
        return signed

    def nearest(self, values: npt.NDArray[Any]) -> Floats:
        """The nearest indices, whole numbers; the upper one of two."""
        found: Floats = np.floor(self.index(values) + 0.5)
        return found

    def values(self, index: Floats) -> Floats:
        """value(i), changing `index` in place."""
        if self.fine:
            far = np.abs(index) > self.fine
            rest = np.abs(index[far]) - self.fine
            signs = np.sign(index[far])
        index *= self.step
        if self.fine:
            index[far] = signs * (self.step * self.fine + self.coarse * rest)
        return index


def widest(bound: float, dtype: np.dtype[Any]) -> Multiples:
    """The multiples that lie at most `bound` > 0 from every value of a dtype, of the widest step of its digits."""
    if dtype.kind != "f":
        return Multiples(2.0 * int(min(bound, 2**52)) + 1)
    digits = DIGITS[dtype.itemsize]
    fraction, power = math.frexp(2 * bound * (MARGIN if dtype.itemsize == 8 else 1))
    return Multiples(math.ldexp(math.floor(math.ldexp(fraction, digits)), power - digits), FINE[dtype.itemsize])


def limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the greatest number of a dtype that layers see, as float64."""
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        return -most, most
    most = 2.0**53 if dtype.itemsize == 8 else float(np.iinfo(dtype).max)
    return max(float(np.iinfo(dtype).min), -(2.0**53)), most
