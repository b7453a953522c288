"""How an array is looked at: which axes are those of space, which are held at one index, what a voxel measures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""First index and number of voxels per axis."""
Image = npt.NDArray[np.float64]
"""A plane, or of colours a plane and its three samples: (rows, columns) or (rows, columns, 3)."""

CHANNELS = frozenset({"c", "s", "channel", "channels", "sample", "samples", "rgb", "band", "bands"})
TIMES = frozenset({"t", "time", "frame", "frames"})
SHORT = {"micrometer": "µm", "micron": "µm", "um": "µm", "millimeter": "mm", "nanometer": "nm", "angstrom": "Å"}
"""Units as they are written at a scale bar."""


@dataclass(frozen=True)
class Scene:
    """An array of 2 axes or more, slowest first, and what is known of them.

    axes: their names. spacing: the size of a voxel along each of them, in `unit`. The last three axes that are neither
    channels nor times are those of space (z, y, x; two of an image); times and further axes are held at their middle,
    channels at the first, but three of 8 bits as the last axis are colours. Raises ConfigError for an array of fewer
    than two axes of space, or without voxels.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Sequence[str | None] | None = None
    spacing: Sequence[float] | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if len(self.space) < 2 or 0 in self.shape:
            raise ConfigError(f"expected an array with 2 axes of space or more, got shape {self.shape!r}: name another")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the axes in lower case, "" where they are not known."""
        known = self.axes if self.axes is not None and len(self.axes) == len(self.shape) else [None] * len(self.shape)
        return tuple((name or "").lower() for name in known)

    @cached_property
    def colours(self) -> bool:
        """Whether the last axis are the three samples of a colour."""
        return self.shape[-1] == 3 and self.names[-1] in CHANNELS and self.dtype == np.uint8

    @cached_property
    def space(self) -> tuple[int, ...]:
        """The axes z, y, x (y, x of an image)."""
        free = [axis for axis, name in enumerate(self.names) if name not in CHANNELS | TIMES]
        if len(free) < 3:  # a series of images: time takes the place of depth
            free = sorted([axis for axis, name in enumerate(self.names) if name in TIMES][-1:] + free)
        return tuple(free[-3:])

    @cached_property
    def held(self) -> dict[int, int]:
        """Index of every axis that is not looked along."""
        others = [axis for axis in range(len(self.shape)) if axis not in self.space]
        if self.colours:
            others.remove(len(self.shape) - 1)
        return {axis: 0 if self.names[axis] in CHANNELS else self.shape[axis] // 2 for axis in others}

    @property
    def sides(self) -> tuple[int, ...]:
        """Voxels along the axes of space."""
        return tuple(self.shape[axis] for axis in self.space)

    @property
    def middle(self) -> int:
        """The middle plane; 0 of an image."""
        return self.sides[0] // 2 if len(self.space) == 3 else 0

    def labels(self) -> tuple[str, ...]:
        """What the axes of space are called: by their names, else z, y, x."""
        return tuple(self.names[axis] or letter for axis, letter in zip(self.space, "zyx"[-len(self.space) :]))

    def sizes(self) -> tuple[float, ...]:
        """Size of a voxel along the axes of space, 1 where it is not known."""
        if self.spacing is None or len(self.spacing) != len(self.shape):
            return (1.0,) * len(self.space)
        sizes = [float(self.spacing[axis]) for axis in self.space]
        return tuple(size if np.isfinite(size) and size > 0 else 1.0 for size in sizes)

    @property
    def measured(self) -> str | None:
        """The unit of `sizes`; None where the size of a voxel is not known."""
        known = self.spacing is not None and len(self.spacing) == len(self.shape) and self.unit not in (None, "pixel")
        return SHORT.get(str(self.unit), str(self.unit)) if known else None

    def cut(self, array: Any, across: int, at: int) -> Image:
        """The plane of an array across an axis of space (0: z, of three), in double precision, colours last."""
        index: list[Any] = [slice(None)] * len(self.shape)
        for axis, held in self.held.items():
            index[axis] = held
        if len(self.space) == 3:
            index[self.space[across]] = at
        return np.asarray(array[tuple(index)]).astype(np.float64)

    def planes(self, array: Any, count: int | None = None) -> Iterator[Image]:
        """The planes along z, or `count` of them evenly spaced."""
        if len(self.space) < 3:
            yield self.cut(array, 0, 0)
            return
        depth = self.sides[0]
        numbers = range(depth) if count is None else np.unique(np.linspace(0, depth - 1, count).astype(int))
        for at in numbers:
            yield self.cut(array, 0, int(at))

    def outlines(self, boxes: Sequence[Box], across: int, at: int) -> list[Box]:
        """What a plane shows of boxes: first row and column, rows and columns."""
        seen: list[Box] = []
        rest = [axis for number, axis in enumerate(self.space) if len(self.space) < 3 or number != across]
        fixed = dict(self.held)
        if len(self.space) == 3:
            fixed[self.space[across]] = at
        for first, sides in boxes:
            if all(first[axis] <= index < first[axis] + sides[axis] for axis, index in fixed.items()):
                seen.append((tuple(first[axis] for axis in rest), tuple(sides[axis] for axis in rest)))
        return seen
