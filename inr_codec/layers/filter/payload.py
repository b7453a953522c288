"""The filter layer: one tiny sine network that corrects the decoded chunk from what it looks like around each voxel.

With u the chunk that the layers before it add up to, in unit intensities, a voxel becomes

    u'(v) = u(v) + scale * network(features(v)),

with the features of features.py; the network has one or two hidden layers and is the h of networks/shape.py with
w0 = `W0`. It learns how blocks and wavelets fail on this chunk: deblocking, deringing and denoising in one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.selection import Indices, take
from inr_codec.engines.fused.forward import count_activations, forward
from inr_codec.engines.fused.tiles import TILE, scratch
from inr_codec.entropy.integers import IntegerDecoder, IntegerEncoder, most_parameters, padded
from inr_codec.errors import CorruptChunk
from inr_codec.layers.filter.features import REACH, Slab, count_features, over_slabs, pieces, tile_features
from inr_codec.layers.kind import Asked, Unit, UnitKind
from inr_codec.networks.shape import NetworkShape, layer_table
from inr_codec.runtime.kernels import kernel
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType

__all__ = ["REACH", "FilterLayer", "apply_filter", "filter_values", "gather_features", "pack_filter", "unpack_filter"]

# Format, frozen (FORMAT.md section 7).
W0 = 5.0
SCALE_UNIT = 8  # scale = 2^(-scale_code / 8)
WIDTH_UNIT = 4  # width = 2^(-width_code / 4)
STEP_UNIT = 4  # step = 2^(-code / 4)
MAX_HIDDEN = 64
FIRST_CODE = 16  # what the first step's code is coded as a difference to

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FilterLayer:
    """A filter in integers: parameter i of tensor t is symbols[i] * 2^(-steps[t] / 4).

    axes: which axes of the chunk have neighbours (those of more than one voxel). hidden: neurons of one or two hidden
    layers. scale_code, centre, width_code: see the module; centre is in 1/255.
    """

    axes: tuple[bool, ...]
    hidden: tuple[int, ...]
    scale_code: int
    centre: int
    width_code: int
    steps: tuple[int, ...] = ()
    symbols: NDArray[np.int64] | None = None

    @property
    def scale(self) -> float:
        """What differences are divided by, and the unit of the correction."""
        return float(2.0 ** (-self.scale_code / SCALE_UNIT))

    @property
    def shape(self) -> NetworkShape:
        """Widths of the network."""
        return NetworkShape((count_features(sum(self.axes)), *self.hidden, 1))

    @property
    def settings(self) -> Array:
        """1 / scale, centre and 1 / width, as the features want them."""
        return np.array([1 / self.scale, self.centre / 255, 2.0 ** (self.width_code / WIDTH_UNIT)], np.float32)

    def parameters(self) -> Array:
        """Symbol times step, in float64, rounded to float32."""
        assert self.symbols is not None
        values = np.empty(self.shape.parameters, np.float32)
        for code, tensor in zip(self.steps, self.shape.tensors(), strict=True):
            values[tensor] = self.symbols[tensor] * 2.0 ** (-code / STEP_UNIT)
        return values


def _slots(tensors: int) -> tuple[int, NDArray[np.int64]]:
    """Slot 0 holds the steps' codes, slots 1 .. tensors the symbols; the two share no probabilities."""
    groups = np.ones(1 + tensors, np.int64)
    groups[0] = 0
    return len(groups), groups


def pack_filter(layer: FilterLayer) -> bytes:
    """The payload of a filter layer."""
    assert layer.symbols is not None
    out = ByteWriter()
    out.uint(sum(1 << a for a, active in enumerate(layer.axes) if active), 1)
    out.uint(layer.hidden[0], 1)
    out.uint(layer.hidden[1] if len(layer.hidden) > 1 else 0, 1)
    out.uint(layer.scale_code, 1)
    out.uint(layer.centre, 1)
    out.uint(layer.width_code, 1)
    slots, groups = _slots(2 * layer.shape.depth)
    code = IntegerEncoder(slots, groups)
    before = FIRST_CODE
    for t, tensor in enumerate(layer.shape.tensors()):
        code.put(0, np.array([layer.steps[t] - before], np.int64))
        before = layer.steps[t]
        code.put(1 + t, layer.symbols[tensor])
    out.raw(padded(code.finish(), layer.shape.parameters))
    return out.getvalue()


def unpack_filter(payload: bytes, chunk_shape: Sequence[int]) -> FilterLayer:
    """The layer in a payload; CorruptChunk if it cannot be one of a chunk of this shape."""
    data = ByteReader(payload)
    bits = data.uint(1)
    axes = tuple(bool(bits >> a & 1) for a in range(len(chunk_shape)))
    if bits >> len(chunk_shape) or not bits or any(n > 1 and not active for n, active in zip(chunk_shape, axes)):
        raise CorruptChunk(
            f"expected the axes of a chunk of shape {tuple(chunk_shape)}, got bits {bits:#04x}: the chunk is damaged"
        )
    first, second = data.uint(1), data.uint(1)
    if not 1 <= first <= MAX_HIDDEN or second > MAX_HIDDEN:
        raise CorruptChunk(
            f"expected hidden layers of 1 to {MAX_HIDDEN} neurons, got {first} and {second}: the chunk is damaged"
        )
    hidden = (first, second) if second else (first,)
    layer = FilterLayer(axes, hidden, data.uint(1), data.uint(1), data.uint(1))
    rest = data.rest()
    if layer.shape.parameters > most_parameters(len(rest)):
        got = f"{layer.shape.parameters} in {len(rest)} bytes"
        raise CorruptChunk(f"expected fewer parameters of a filter, got {got}: the chunk is damaged")
    slots, groups = _slots(2 * layer.shape.depth)
    code = IntegerDecoder(rest, slots, groups)
    steps, parts = [], []
    before = FIRST_CODE
    for t, tensor in enumerate(layer.shape.tensors()):
        before += int(code.get(0, 1)[0])
        if not -64 <= before <= 255:
            raise CorruptChunk(f"expected a step's code between -64 and 255, got {before}: the chunk is damaged")
        steps.append(before)
        parts.append(code.get(1 + t, tensor.stop - tensor.start))
    return FilterLayer(
        axes, hidden, layer.scale_code, layer.centre, layer.width_code, tuple(steps), np.concatenate(parts)
    )


@kernel(boundscheck=False)
def _filter_slab(values, small, large, strides, near, settings, first, last, parameters, layers, w0, scale, out):
    """out <- values + scale * network(features), from `first` up to `last` in a slab, all float32 and flat.

    The first six: as for `tile_features`. parameters: float32, flat, layers: int64, as `layer_table` gives them.
    """
    activations = scratch(count_activations(layers) * TILE)
    for start in range(first, last, TILE):
        tile_features(values, small, large, strides, near, settings, start, activations)
        source = forward(parameters, np.int64(0), layers, np.int64(0), activations, w0, np.bool_(False))
        for j in range(min(TILE, last - start)):
            out[start + j] = values[start + j] + scale * activations[source + j]


def _squeezed(values: Array, layer: FilterLayer) -> Array:
    """The chunk without the axes that have no neighbours."""
    shape = tuple(n for n, active in zip(values.shape, layer.axes, strict=True) if active)
    return np.ascontiguousarray(values, np.float32).reshape(shape)


def gather_features(values: Array, layer: FilterLayer, wanted: NDArray[np.bool_], places: NDArray[np.int64]) -> Array:
    """Features, (n, inputs), of the n voxels of the chunk `values` where `wanted`: the k-th in C order at places[k]."""
    chunk = _squeezed(values, layer)
    wanted = wanted.reshape(chunk.shape)
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(wanted.reshape(len(chunk), -1), axis=1))])
    out = np.empty((len(places), layer.shape.widths[0]), np.float32)

    def work(slab: Slab, rows: slice) -> None:
        slab.features(layer.settings, wanted[rows], places[before[rows.start] : before[rows.stop]], out)

    over_slabs(chunk, work)
    return out


def filter_values(values: Array, layer: FilterLayer, parameters: Array | None = None) -> Array:
    """The corrected chunk (or box of it), a new array; on all threads. parameters: in the place of the layer's own.

    Chunks whose slabs would be large, as those of a few large planes, are filtered in boxes.
    """
    chunk = _squeezed(values, layer)
    parameters = layer.parameters() if parameters is None else parameters
    out = np.empty(chunk.shape, np.float32)
    for box in pieces(chunk.shape):
        around = [slice(max(side.start - REACH, 0), min(side.stop + REACH, n)) for side, n in zip(box, chunk.shape)]
        inside = tuple(slice(side.start - more.start, side.stop - more.start) for side, more in zip(box, around))
        out[box] = _filtered(chunk[tuple(around)], layer, parameters)[inside]
    return out.reshape(values.shape)


def _filtered(chunk: Array, layer: FilterLayer, parameters: Array) -> Array:
    """The same of a chunk at once."""
    layers = layer_table(layer.shape)
    out = np.empty(chunk.shape, np.float32)

    def work(slab: Slab, rows: slice) -> None:
        _filter_slab(
            slab.values, slab.small, slab.large, slab.strides, slab.near, layer.settings, slab.first, slab.last,
            parameters, layers, np.float32(W0), np.float32(layer.scale), slab.out,
        )  # fmt: skip
        out[rows] = slab.out[: math.prod(slab.shape)].reshape(slab.shape)[slab.inside]

    over_slabs(chunk, work)
    return out


def apply_filter(decoded_unit: Array, payload: bytes) -> Array:
    """u' of the chunk u = `decoded_unit` (1 to 4 dims), a new array; CorruptChunk for bytes that are no filter of it.

    Of a contiguous box of the chunk, the voxels that lie at least `REACH` inside it (or at a border that is the
    chunk's own) get the same values as in the whole chunk.
    """
    return filter_values(decoded_unit, unpack_filter(payload, decoded_unit.shape))


def _needs(asked: Asked) -> Indices:
    """REACH voxels more on each side, as far as the chunk goes."""
    return [
        np.arange(max(int(index[0]) - REACH, 0), min(int(index[-1]) + REACH + 1, n))
        for index, n in zip(asked.indices, asked.shape, strict=True)
    ]


def _apply(asked: Asked, values: Unit | None, have: Indices) -> Unit:
    below = np.zeros([len(index) for index in have], np.float32) if values is None else values
    return take(apply_filter(below, asked.payload), have, asked.indices)


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    return header.size * unpack_filter(payload, header.shape).shape.parameters


KIND = UnitKind(type=LayerType.FILTER, name="filter", exact=False, needs=_needs, apply=_apply, weigh=_weigh)
