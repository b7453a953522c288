"""Finding the level at which a codec meets a size: bisection along its levels, guided by what was encoded before.

Sizes fall along the levels, nearly always; where two neighbouring levels lie on either side of the size and neither
within 2 % of it, the caller interpolates between the two. Nothing is ever extrapolated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.02
MOST_ENCODES = 40


class Unreachable(Exception):
    """No level gives a size that small, or that large."""


@dataclass(frozen=True)
class Found:
    """The place of the level that meets a size, or of the neighbours on either side: the larger stream, the smaller.

    share: how far the wanted size lies from the first to the second in the logarithm of size (0 of a single level).
    """

    places: tuple[int, ...]
    share: float = 0.0


class Search:
    """Levels of one codec on one chunk; streams are made once, whatever the number of sizes that are searched."""

    def __init__(self, levels: Sequence[Any], size_at: Callable[[int], int], guess: int) -> None:
        """size_at(place) encodes at levels[place] and tells the size of the stream in bytes."""
        self.last = len(levels) - 1
        self.sizes: dict[int, int] = {}
        self._size_at, self._guess = size_at, min(guess, len(levels) - 1)

    def meet(self, wanted: int) -> Found:
        """The level whose stream has `wanted` bytes; Unreachable, with the reason, where none has."""
        for _ in range(MOST_ENCODES):
            near = min(self.sizes, key=lambda place: abs(math.log(self.sizes[place] / wanted)), default=None)
            if near is not None and abs(self.sizes[near] / wanted - 1) <= TOLERANCE:
                return Found((near,))
            small = min((place for place, size in self.sizes.items() if size <= wanted), default=None)
            before = self.last + 1 if small is None else small
            large = max((place for place, size in self.sizes.items() if size > wanted and place < before), default=None)
            if small is not None and large is not None and small - large == 1:
                ratio = math.log(self.sizes[large] / self.sizes[small])
                return Found((large, small), math.log(self.sizes[large] / wanted) / ratio)
            place = self._next(wanted, large, small)
            self.sizes[place] = self._size_at(place)
        raise Unreachable(f"not found in {MOST_ENCODES} encodings")

    def _next(self, wanted: int, large: int | None, small: int | None) -> int:
        """Where to encode next: the secant of known sizes, kept inside the bracket; every fourth time its middle."""
        if small is None:
            if large is None:
                return self._guess
            if large == self.last:
                raise Unreachable(f"its smallest stream has {self.sizes[large]} bytes, {wanted} are wanted")
            return min(self.last, max(large + 1, min(self._secant(wanted, large), large + self._stride())))
        if large is None:
            if small == 0:
                raise Unreachable(f"its largest stream has {self.sizes[small]} bytes, {wanted} are wanted")
            return max(0, min(small - 1, max(self._secant(wanted, small), small - self._stride())))
        if len(self.sizes) % 4 == 3:
            return (large + small) // 2
        a, b = math.log(self.sizes[large]), math.log(self.sizes[small])
        guess = large + round((small - large) * (a - math.log(wanted)) / (a - b))
        return min(max(guess, large + 1), small - 1)

    def _stride(self) -> int:
        return max(1, (self.last + 1) // 24) * 2 ** min(len(self.sizes), 10)

    def _secant(self, wanted: int, place: int) -> int:
        """By the slope between this place and the nearest other; a stride's guess where there is none."""
        size = math.log(self.sizes[place])
        others = sorted((other for other in self.sizes if other != place), key=lambda other: abs(other - place))
        for other in others:
            slope = (math.log(self.sizes[other]) - size) / (other - place)
            if slope < 0:
                return place + round((math.log(wanted) - size) / slope)
        return place + (self._stride() if self.sizes[place] > wanted else -self._stride())
