"""Subbands of a residual layer looked at coefficient by coefficient: FORMAT.md, sections 6.3 and 6.4, word by word."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Place = tuple[int, int, int]
FACES = [(0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]


class Subband(Protocol):
    """A leaf of the tree."""

    size: Place
    depth: Place
    high: Place


def ordered(bands: Sequence[Any]) -> list[Any]:
    """By ascending (-sum of levels, levels, number of high axes, high flags)."""
    return sorted(bands, key=lambda band: (-sum(band.depth), band.depth, sum(band.high), band.high))


def relatives(bands: Sequence[Subband], i: int) -> tuple[int, int, list[int]]:
    """Level class and orientation of a band, and its cousins."""
    split = [axis for axis in range(3) if any(band.depth[axis] for band in bands)]
    taken = sorted(bands[i].depth[axis] for axis in split)
    level = min(max(taken[len(taken) // 2] - 1, 0), 7) if taken else 0
    z, y, x = bands[i].high
    orientation = 4 * z + 2 * y + x
    same = [k for k in range(i) if any(bands[k].high) and bands[k].depth == bands[i].depth]
    return level, orientation, same if orientation else []


def parent_of(bands: Sequence[Subband], i: int) -> tuple[int, Place]:
    """The parent of a band and the shifts to it; -1 where there is none."""
    found = []
    for k in range(i if any(bands[i].high) else 0):
        apart = tuple(a - b for a, b in zip(bands[k].depth, bands[i].depth, strict=True))
        if bands[k].high == bands[i].high and min(apart) >= -1 and any(apart):
            found.append((sum(map(abs, apart)), -k, apart))
    if not found:
        return -1, (0, 0, 0)
    _, k, apart = min(found)
    return -k, apart  # type: ignore[return-value]


class Coded:
    """Levels of all bands, each an array of the band's size; what is not coded yet is 0 there."""

    def __init__(self, bands: Sequence[Subband], levels: list[np.ndarray], i: int) -> None:
        self.levels, self.i = levels, i
        self.level, self.orientation, self.cousins = relatives(bands, i)
        self.kind = 8 * self.level + self.orientation
        self.parent, self.shifts = parent_of(bands, i)

    def at(self, band: int, place: Sequence[int]) -> int:
        """A level, 0 outside of the band."""
        inside = all(0 <= n < side for n, side in zip(place, self.levels[band].shape, strict=True))
        return int(self.levels[band][tuple(place)]) if inside else 0

    def magnitude(self, band: int, place: Sequence[int]) -> int:
        """m'."""
        m = min(abs(self.at(band, place)), 599)
        return min(m, 20) + math.isqrt(max(m - 20, 0))

    def sign(self, band: int, place: Sequence[int]) -> int:
        """s."""
        level = self.at(band, place)
        return int(np.sign(level)) * min(abs(level), 4)

    def cell(self, band: int, place: Sequence[int]) -> int:
        """The bit of a cell."""
        box = tuple(slice(4 * n, 4 * n + 4) for n in place)
        return int(min(place) >= 0 and self.levels[band][box].any())

    def up(self, place: Sequence[int]) -> Place:
        """Where a place of the band lies in the parent."""
        return tuple(n >> h if h >= 0 else n << -h for n, h in zip(place, self.shifts, strict=True))  # type: ignore[return-value]

    def features(self, place: Place) -> tuple[list[int], int, int]:
        """f0 .. f15 of a coefficient, A and B."""

        def n(*steps: Place) -> int:
            return sum(self.magnitude(self.i, [a + b for a, b in zip(place, step)]) for step in steps)

        f = [n((0, 0, -1)), n((0, -1, 0)), n((-1, 0, 0)), n((0, -1, -1), (0, -1, 1)), n((-1, 0, -1), (-1, 0, 1))]
        f += [n((-1, -1, 0), (-1, 1, 0)), n((-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1))]
        f += [n((0, 0, -2)), n((0, -2, 0)), n((-2, 0, 0)), 0, 0, 0]
        if self.parent >= 0:
            towards = [1 if h <= 0 or (2 * k >> h) & 1 else -1 for k, h in zip(place, self.shifts)]

            def p(*steps: Place) -> int:
                places = ([a + b * d for a, b, d in zip(self.up(place), step, towards)] for step in steps)
                return sum(self.magnitude(self.parent, there) for there in places)

            f[10], f[11] = p((0, 0, 0)), p((1, 0, 0), (0, 1, 0), (0, 0, 1))
            f[12] = p((-1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 1, 0), (0, 1, 1), (1, 0, 1))
        beside = [[a + b for a, b in zip(place, step)] for step in FACES]
        c = max(1, len(self.cousins))
        a = 8 * sum(self.magnitude(k, place) for k in self.cousins) // c
        b = 8 * sum(self.magnitude(k, there) for k in self.cousins for there in beside) // c
        return [*f, a >> 3, b >> 3, 1], a, b


def coarse(v: int) -> int:
    """Octaves of v + 1 in 2 parts, at most 15."""
    v = min(v, 2047) + 1
    e = v.bit_length() - 1
    return min(2 * e + ((2 * v) >> e) - 2, 15)


def fine(v: int) -> int:
    """Octaves of v + 8 in 4 parts, less those of 8, at most 39."""
    v = min(max(v, 0), 8191) + 8
    e = v.bit_length() - 1
    return min(4 * e + ((4 * v) >> e) - 16, 39)
