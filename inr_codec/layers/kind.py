"""What the rest of the package asks of a layer.

Each layer has one record of these classes, `KIND` in its payload module; `table` lists them. There are four stages:
layers that work on unit intensities, one that gives values instead, layers that are laid over values, and one that
stands alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import Intensity
from inr_codec.chunk.selection import Axes, Indices, at
from inr_codec.stream.frame import Header, Layer

Shape = tuple[int, ...]
Unit = NDArray[np.float32]
"""Unit intensities, 0 to 1 across the chunk's range, not clipped."""
Values = NDArray[np.generic]
"""Values of the chunk, in its native dtype."""


@dataclass(frozen=True, slots=True)
class Part:
    """Unit intensities of a box of the chunk that starts at `start`."""

    values: Unit
    start: Shape

    def at(self, indices: Indices) -> Unit:
        """Those at the outer product of indices of the chunk."""
        return at(self.values, [index - start for index, start in zip(indices, self.start, strict=True)])


@dataclass(frozen=True, slots=True)
class AskedValues:
    """What a layer is asked for that gives values or is laid over them: as `Asked`, of as many voxels as there are."""

    payload: bytes
    below: Sequence[Layer]
    shape: Shape
    indices: Axes


@dataclass(frozen=True, slots=True)
class Asked:
    """What one layer is asked for: its output at the outer product of `indices` of a chunk of that shape.

    below: the layers that act before it, in order. begun: what gives the work that `begin` started.
    """

    payload: bytes
    below: Sequence[Layer]
    shape: Shape
    indices: Indices
    begun: Callable[[], Part] | None = None


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """A kind of layer. type: its number in the format.

    exact: whether it decodes to the same bits on every machine, whatever the engine. describe: fields of `Inspection`
    that a payload in a chunk of that shape tells. weigh: multiplications that evaluating the whole chunk takes, where
    the payload decides how many there are for a voxel; CorruptChunk for a payload that cannot belong to the header and
    the layers below, as far as that is known without evaluating it. since: the version of the format that it came with.
    """

    type: int
    name: str
    exact: bool
    describe: Callable[[bytes, Shape], dict[str, Any]] = lambda payload, shape: {}
    weigh: Callable[[bytes, Sequence[Layer], Header], int] = lambda payload, below, header: 0
    since: int = 1


@dataclass(frozen=True, kw_only=True)
class UnitKind(LayerKind):
    """A layer whose output are unit intensities.

    apply: the output, a new array, from what is asked, the output of the layers below (None where there are none) and
    the indices that this lies at, which are those that `needs` gave. begin: work on the hull of all that will be asked
    for (start, stop of each axis), which may start before the layers below; the last argument says whether there are
    any. sample: the output at any positions, in voxels, of a layer that is defined between voxels. on_gpu: whether
    `decoding.gpu` evaluates it.
    """

    apply: Callable[[Asked, Unit | None, Indices], Unit]
    needs: Callable[[Asked], Indices] = lambda asked: asked.indices
    begin: Callable[[bytes, Shape, tuple[tuple[int, int], ...], bool], Callable[[], Part]] | None = None
    sample: Callable[[bytes, Shape, Sequence[NDArray[np.float64]]], Unit] | None = None
    on_gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class ValueKind(LayerKind):
    """A layer whose output are values of the chunk; it reads the layers below itself.

    fill: values, which are zeros, <- what is asked, for a chunk of that range. bound: the largest error of any voxel.
    """

    fill: Callable[[AskedValues, Intensity, Values], None]
    bound: Callable[[bytes], float]


@dataclass(frozen=True, kw_only=True)
class CoverKind(LayerKind):
    """A layer that is laid over values: values <- what it holds, at the outer product of the indices asked for."""

    cover: Callable[[AskedValues, Values], None]


@dataclass(frozen=True, kw_only=True)
class WholeKind(LayerKind):
    """A layer that stands alone and holds the chunk with a dtype of its own, in an order of memory."""

    array: Callable[[bytes, Shape, Literal["C", "F"]], NDArray[Any]]
    dtype: Callable[[bytes], np.dtype[Any]]
