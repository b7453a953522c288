"""The sides of chunks that an array gets where nobody gives them, from what its axes are.

Axes of space are cut first, to about a megavoxel, the slowest of three half as long as the others; where there are
fewer than three, time is cut like one of them. What is left of the megavoxel goes to points in time: small volumes
share a chunk with their neighbours. The samples of a colour lie together; channels lie apart, but in arrays that are
tiny without them. Sides divide the array's evenly, so that no chunk at the edge is mostly padding. Each of these was
measured: benchmarks/studies/chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from inr_codec.errors import ConfigError

VOXELS = 1 << 20
"""Voxels of a chunk, about (benchmarks/studies/chunks)."""
TINY = 1 << 16
"""Channels share a chunk where it has fewer voxels without them (benchmarks/studies/chunks)."""
DEPTH = 0.5
"""Side along the first of three axes of space, of those along the others (benchmarks/studies/chunks)."""
SAMPLES = 4
"""Channels that an axis without a name may have, at most: one that is longer is taken for space or time."""

Index = tuple[int, ...]
Kind = Literal["space", "time", "channel", "colour", "other"]

NAMES: dict[str, Kind] = {
    **dict.fromkeys(("z", "y", "x", "plane", "slice", "row", "column", "depth", "height", "width"), "space"),
    **dict.fromkeys(("lat", "latitude", "lon", "longitude", "level", "lev", "altitude"), "space"),
    **dict.fromkeys(("t", "time", "frame", "frames"), "time"),
    **dict.fromkeys(("c", "channel", "channels", "band", "bands"), "channel"),
    **dict.fromkeys(("s", "sample", "samples", "rgb", "rgba"), "colour"),
}
"""What an axis is, by its name in lower case: OME, NIfTI, tifffile, NRRD, CF and what xarray sets often have."""


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """Sides of a chunk in voxels, one for each axis, and the names of the axes that they were chosen by.

    guessed: the source does not name its axes, or by no name that is known; the names were guessed from its shape.
    """

    sides: Index
    axes: tuple[str, ...]
    guessed: bool

    def __str__(self) -> str:
        sides, axes = (",".join(map(str, each)) for each in (self.sides, self.axes))
        source = "guessed from the shape (--chunks sets others)" if self.guessed else "as the source names them"
        return f"chunks ({sides}): axes {axes} {source}"


def chunk_shape(
    shape: Sequence[int], axes: Sequence[str | None] | None = None, *, shards: Sequence[int] | None = None
) -> ChunkShape:
    """The sides of the chunks of an array of `shape`, sides of at least 1, slowest first.

    axes: their names, as OME, NIfTI, TIFF or xarray have them ("t", "z", "latitude"; None where one has no name);
    without any that is known they are guessed. shards: sides of shards, which are filled by whole chunks. Raises
    ConfigError for axes or shards that are not as many as the sides.
    """
    shape = tuple(map(int, shape))
    for given, what in ((axes, "name"), (shards, "shard side")):
        if given is not None and len(given) != len(shape):
            raise ConfigError(f"expected a {what} for each axis of {shape!r}, got {tuple(given)!r}: give all, or none")
    names = tuple(name or "?" for name in axes or ())
    guessed = not any(name.lower() in NAMES for name in names)
    if guessed:
        names = guess(shape)
    kinds = [NAMES.get(name.lower(), "other") for name in names]
    if kinds and kinds[-1] == "channel" and 3 <= shape[-1] <= SAMPLES:  # a channel for each voxel is a colour
        kinds[-1] = "colour"
    return ChunkShape(cut(shape, kinds, shards=shards), names, guessed)


def guess(shape: Index) -> tuple[str, ...]:
    """Names of axes, by the shape alone: t, c, z, y, x from the last backwards, "?" before them.

    An axis of 3 to SAMPLES as the last is one of colours (s) where the others are much longer; an axis of at most
    SAMPLES as the first or second of four is one of channels.
    """
    if len(shape) > 2 and 3 <= shape[-1] <= SAMPLES and min(shape[-3:-1]) >= 4 * SAMPLES:
        return (*guess(shape[:-1]), "s")
    if len(shape) == 4:
        channels = next((axis for axis in (1, 0) if shape[axis] <= SAMPLES < shape[1 - axis]), None)
        return {0: ("c", "z", "y", "x"), 1: ("z", "c", "y", "x"), None: ("t", "z", "y", "x")}[channels]
    known = ("t", "c", "z", "y", "x")
    return ("?",) * (len(shape) - len(known)) + known[max(0, len(known) - len(shape)) :]


def cut(
    shape: Index,
    kinds: Sequence[Kind],
    *,
    shards: Sequence[int] | None = None,
    voxels: int = VOXELS,
    depth: float = DEPTH,
) -> Index:
    """The sides of chunks by what each axis is."""
    room = tuple(shape if shards is None else map(min, shape, shards))
    exact = [shards is not None and shards[axis] < side for axis, side in enumerate(shape)]
    dense, moments = _dense_and_others(kinds)
    share = {axis: depth if len(dense) > 2 and axis == dense[0] else 1.0 for axis in dense}
    sides, left = [1] * len(shape), float(voxels)

    def of_kind(wanted: Kind) -> list[int]:
        return [axis for axis, kind in enumerate(kinds) if kind == wanted]

    def choose(axis: int, wanted: float) -> None:
        nonlocal left
        sides[axis] = even(room[axis], wanted, exact[axis])
        left /= sides[axis]

    for axis in of_kind("colour"):
        if room[axis] <= SAMPLES:
            choose(axis, SAMPLES)
    waiting = sorted(dense, key=lambda axis: room[axis] / share[axis])
    while waiting:
        scale = (left / prod(share[axis] for axis in waiting)) ** (1 / len(waiting))
        axis = waiting.pop(0)
        choose(axis, scale * share[axis])
    for axis in moments:
        choose(axis, left)
    if prod(sides) < TINY:
        for axis in of_kind("channel"):
            if room[axis] <= left:
                choose(axis, left)
    return tuple(sides)


def _dense_and_others(kinds: Sequence[Kind]) -> tuple[list[int], list[int]]:
    """The axes that are cut together (of space, and the last of time where those are fewer than three), and others."""
    space = [axis for axis, kind in enumerate(kinds) if kind == "space"]
    others = [axis for axis, kind in enumerate(kinds) if kind in ("time", "other")][::-1]
    missing = max(0, 3 - len(space))
    return sorted(space + others[:missing]), others[missing:]


def even(length: int, wanted: float, exact: bool = False) -> int:
    """A side near `wanted` whose chunks fill a length almost: the least of how far it is off and of the last's padding.

    How far it is off counts as the logarithm of its ratio to `wanted`, padding as a share of a chunk. exact: the side
    divides the length.
    """
    if length <= wanted:
        return length
    sides = np.arange(1, min(length, max(1, int(2 * wanted))) + 1)
    padding = -length % sides / sides
    if exact:
        sides, padding = sides[padding == 0], padding[padding == 0]
    return int(sides[np.argmin(np.abs(np.log(sides / max(wanted, 1.0))) + padding)])
