"""Adding up the layers of a stream: what decoder and encoder both do with them.

Layers act in the order of the stream. Each is asked for its output on some voxels (the outer product of sorted indices
along each axis) and asks the layers below for what it needs: the same voxels, or a few more around them. What a layer
does is in `layers.table`; here is only who asks whom for which voxels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import Box, boxes
from inr_codec.chunk.intensity import Intensity, restore
from inr_codec.chunk.selection import Axes, Indices, plain
from inr_codec.layers.kind import Asked, AskedValues, Part, UnitKind, ValueKind
from inr_codec.layers.table import kind_of, split_stages
from inr_codec.stream.frame import Layer

AT_ONCE, LONGEST = 1 << 21, 1 << 16
"""Voxels that layers are added up for at a time (a chunk of 128 a side), and the longest side of such a box."""

Begun = Sequence[Callable[[], Part] | None]
"""For each layer the work that was begun for it, if any."""


def chunk_values(
    layers: Sequence[Layer], shape: tuple[int, ...], indices: Axes, intensity: Intensity, dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Values at the outer product of `indices`, before the mask, in native `dtype`."""
    out: NDArray[np.generic] = np.zeros([len(index) for index in indices], dtype.newbyteorder("="))
    fill_values(out, layers, shape, indices, intensity)
    return out


def fill_values(
    out: NDArray[np.generic], layers: Sequence[Layer], shape: tuple[int, ...], indices: Axes, intensity: Intensity
) -> None:
    """out, which holds zeros, <- values at the outer product of `indices`, in any byte order and order of memory.

    Before masks. CorruptChunk where the layers do not fit together.
    """
    native = out.dtype.newbyteorder("=")
    if intensity.constant:
        if np.asarray(intensity.lo, native).tobytes().strip(b"\0"):
            out[...] = intensity.lo
        return
    units, last = split_stages(layers)
    if last is not None:
        kind = kind_of(last)
        assert isinstance(kind, ValueKind)
        kind.fill(AskedValues(last.payload, units, shape, indices), intensity, out)
        return
    for box, unit in unit_boxes(units, shape, indices):
        out[box] = restore(unit, intensity, native)


def unit_boxes(
    layers: Sequence[Layer], shape: tuple[int, ...], indices: Axes
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Boxes of the outer product of `indices`, and the unit intensities there."""
    if any(len(index) == 0 for index in indices):
        return
    begun = _begin(layers, shape, indices)
    for box in boxes([len(index) for index in indices], AT_ONCE, LONGEST):
        part = plain([index[side] for index, side in zip(indices, box, strict=True)])
        yield box, _output(layers, begun, shape, part)


def _begin(layers: Sequence[Layer], shape: tuple[int, ...], indices: Axes) -> Begun:
    """Begin the work that layers can do for all boxes together: on the hull of what is asked for, known by its ends."""
    begun: list[Callable[[], Part] | None] = [None] * len(layers)
    hull = tuple((int(index[0]), int(index[-1]) + 1) for index in indices)
    for k in reversed(range(len(layers))):
        kind = _unit_kind(layers[k])
        if kind.begin is not None:
            begun[k] = kind.begin(layers[k].payload, shape, hull, k > 0)
        if k > 0:
            first, last = (
                kind.needs(Asked(layers[k].payload, layers[:k], shape, [np.array([pair[end]]) - end for pair in hull]))
                for end in (0, 1)
            )
            hull = tuple((int(a[0]), int(b[-1]) + 1) for a, b in zip(first, last, strict=True))
    return begun


def _output(layers: Sequence[Layer], begun: Begun, shape: tuple[int, ...], indices: Indices) -> NDArray[np.float32]:
    """The output of the last of `layers`, a new array."""
    if not layers:
        return np.zeros([len(index) for index in indices], np.float32)
    *below, layer = layers
    kind = _unit_kind(layer)
    asked = Asked(layer.payload, below, shape, indices)
    needed = kind.needs(asked)
    values = _output(below, begun[:-1], shape, needed) if below else None
    return kind.apply(replace(asked, begun=begun[-1]), values, needed)


def _unit_kind(layer: Layer) -> UnitKind:
    kind = kind_of(layer)
    assert isinstance(kind, UnitKind)
    return kind
