"""Typical parts of a volume: a quiet one, a median one and a busy one, by what a look at many of them tells."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError

LOOKS = 64
"""Chunks that are looked at, spread evenly over the grid of chunks."""
LOOK_VOXELS = 1 << 15
"""Voxels of each, in its middle, that are read for that."""
PLACES = {"quiet": 0.1, "median": 0.5, "busy": 0.95}
"""Of the chunks in the order of what varies in them: which is taken for which part."""

DIFFERENCES = {1: 3, 2: 2, 3: 1}
"""Order of the differences along each axis that the noise is told from, by the number of axes."""

Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of a volume: what it stands for, its first index and its values."""

    name: str
    first: Index
    values: NDArray[Any]


def typical(array: Any, chunks: Index, voxels: int) -> list[Sample]:
    """The middle parts, of about `voxels` voxels each, of a quiet, a median and a busy chunk of an array.

    Chunks are ordered by the standard deviation of the values in their middles; such as hold one value only, or none
    that is finite, are passed over. Of an array with fewer than three others there are fewer samples. Raises
    ConfigError where there is none.
    """
    corners = list(_spread(array.shape, chunks))
    looks = [(float(_variation(_middle(array, corner, chunks, LOOK_VOXELS)[1])), corner) for corner in corners]
    busy = sorted((look for look in looks if look[0] > 0), key=lambda look: look[0])
    if not busy:
        raise ConfigError("expected a part of the volume that holds more than one value, found none: name another")
    chosen: dict[Index, str] = {}
    for name, place in reversed(PLACES.items()):
        chosen.setdefault(busy[round(place * (len(busy) - 1))][1], name)
    found = [Sample(name, *_middle(array, corner, chunks, voxels)) for corner, name in chosen.items()]
    order = list(PLACES)
    return sorted(found, key=lambda sample: order.index(sample.name))


def _spread(shape: Index, chunks: Index) -> Iterator[Index]:
    """First indices of at most LOOKS chunks, spread evenly over the grid in C order; no slivers at the edges."""
    grid = [max(1, round(side / chunk)) for side, chunk in zip(shape, chunks)]
    count = prod(grid)
    for number in np.unique(np.linspace(0, count - 1, min(LOOKS, count)).astype(int)):
        yield tuple(int(i) * chunk for i, chunk in zip(np.unravel_index(number, grid), chunks))


def _middle(array: Any, corner: Index, chunks: Index, voxels: int) -> tuple[Index, NDArray[Any]]:
    """First index and values of the middle of a chunk: its shape, shrunk to about so many voxels."""
    sides = [min(chunk, side - first) for chunk, side, first in zip(chunks, array.shape, corner)]
    wanted = list(sides)
    while prod(wanted) > voxels and (longest := max(wanted)) > 1:
        wanted = [ceil(0.9 * side) if side == longest and side > 1 else side for side in wanted]
        if max(wanted) == longest:
            wanted[wanted.index(longest)] -= 1
    first = tuple(at + (side - want) // 2 for at, side, want in zip(corner, sides, wanted))
    region = tuple(slice(at, at + want) for at, want in zip(first, wanted))
    return first, np.ascontiguousarray(array[region])


def _variation(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.std(dtype=np.float64)) if finite.size else 0.0


def noise(values: NDArray[Any]) -> float:
    """The standard deviation of the noise in an image or volume, in units of the data; 0 where none is found.

    From differences along all axes longer than DIFFERENCES (of the last three), in which smooth structure cancels:
    1.4826 times the median of their absolute values, over what differences do to the deviation of white noise (after
    Donoho 1994, who takes the finest wavelets). Where most differences are 0 there is no noise; a background of one
    value beside a noisy object does not count.
    """
    detail = values.astype(np.float64)
    axes = [axis for axis in range(values.ndim) if values.shape[axis] > max(DIFFERENCES.values())][-3:]
    order = DIFFERENCES.get(len(axes), 0)
    for axis in axes:
        detail = np.diff(detail, order, axis=axis)
    detail = np.abs(detail[np.isfinite(detail)]) / comb(2 * order, order) ** (len(axes) / 2)
    moving = detail[detail > 0]
    return float(1.4826 * np.median(moving)) if axes and 2 * moving.size > detail.size else 0.0
