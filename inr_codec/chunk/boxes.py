"""Boxes that tile an array: work that goes box by box needs little memory beside the array."""

import itertools
import math
from collections.abc import Iterator, Sequence

Box = tuple[slice, ...]


def boxes(shape: Sequence[int], most: int, longest: int | None = None) -> Iterator[Box]:
    """Boxes of at most `most` voxels, no side above `longest`, that tile an array of that shape, in C order.

    They are compact: the longest side is halved first.
    """
    sides = [max(n, 1) for n in shape]
    while math.prod(sides) > most or max(sides, default=0) > (longest or most):
        axis = sides.index(max(sides))
        sides[axis] = (sides[axis] + 1) // 2
    return tiles(shape, sides)


def runs(shape: Sequence[int], most: int) -> Iterator[Box]:
    """Boxes of at most `most` voxels that tile an array, each of them contiguous in C order."""
    sides: list[int] = []
    for n in reversed(shape):
        sides.insert(0, max(min(n, most), 1))
        most //= sides[0]
    return tiles(shape, sides)


def tiles(shape: Sequence[int], sides: Sequence[int]) -> Iterator[Box]:
    """Boxes of these sides, shorter at the ends, that tile an array of that shape, in C order."""
    for start in itertools.product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))):
        yield tuple(slice(a, min(a + side, n)) for a, side, n in zip(start, sides, shape, strict=True))


def extent(box: Box) -> tuple[int, ...]:
    """Sides of a box, in voxels."""
    return tuple(side.stop - side.start for side in box)


def as_3d(shape: Sequence[int]) -> tuple[int, int, int]:
    """A shape of 1 to 4 axes as one of 3: axes of 1 in front where there are fewer, the first two of four merged."""
    padded = (1,) * (3 - len(shape)) + tuple(shape)
    return (math.prod(padded[:-2]), padded[-2], padded[-1])
