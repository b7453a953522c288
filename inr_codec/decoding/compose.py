"""Adding up the layers of a stream: what decoder and encoder both do with them.

Layers act in the order of the stream. Each is asked for its output on some voxels (the outer product of sorted indices
along each axis) and asks the layers before it for what it needs: the same voxels, or a few more around them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import Box, boxes
from inr_codec.chunk.intensity import Intensity, restore
from inr_codec.chunk.selection import Indices
from inr_codec.errors import CorruptChunk
from inr_codec.layers.correction.payload import fill_corrected
from inr_codec.layers.deblocking.filter import apply_deblock, face_positions, faces, halo_indices
from inr_codec.layers.filter.payload import REACH, apply_filter
from inr_codec.layers.network.blocks import Block
from inr_codec.layers.network.payload import evaluate_network, unpack_network
from inr_codec.layers.residual.payload import begin_residual, decode_residual
from inr_codec.stream.frame import Layer, LayerType

ADDITIVE = (LayerType.NETWORK, LayerType.DEBLOCK, LayerType.RESIDUAL, LayerType.FILTER)
AT_ONCE, LONGEST = 1 << 21, 1 << 16
"""Voxels that layers are added up for at a time (a chunk of 128 a side), and the longest side of such a box."""


def chunk_values(
    layers: Sequence[Layer], shape: tuple[int, ...], indices: Indices, intensity: Intensity, dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Values at the outer product of `indices`, before the mask, in native `dtype`."""
    out: NDArray[np.generic] = np.zeros([len(index) for index in indices], dtype.newbyteorder("="))
    fill_values(out, layers, shape, indices, intensity, dtype)
    return out


def fill_values(
    out: NDArray[np.generic],
    layers: Sequence[Layer],
    shape: tuple[int, ...],
    indices: Indices,
    intensity: Intensity,
    dtype: np.dtype[np.generic],
) -> None:
    """out, which holds zeros, <- values at the outer product of `indices`, box by box, in any order of memory."""
    kinds = [layer.type for layer in layers if layer.type != LayerType.MASK]
    if intensity.constant:
        if np.asarray(intensity.lo, dtype).tobytes().strip(b"\0"):
            out[...] = intensity.lo
        return
    if LayerType.CORRECTION not in kinds:
        for box, unit in _unit_boxes(layers, shape, indices):
            out[box] = restore(unit, intensity, dtype)
        return
    if kinds not in ([LayerType.CORRECTION], [LayerType.RESIDUAL, LayerType.CORRECTION]):
        names = [kind.name.lower() for kind in kinds]
        raise CorruptChunk(f"expected a correction, alone or of a residual layer, got {names}: the chunk is damaged")
    payloads = {layer.type: layer.payload for layer in layers}
    residual = payloads.get(LayerType.RESIDUAL)
    fill_corrected(out, payloads[LayerType.CORRECTION], shape, indices, intensity, dtype, residual)


def unit_values(layers: Sequence[Layer], shape: tuple[int, ...], indices: Indices) -> NDArray[np.float32]:
    """Unit intensities at the outer product of `indices`; CorruptChunk when the layers do not fit together."""
    out = np.zeros([len(index) for index in indices], np.float32)
    for box, unit in _unit_boxes(layers, shape, indices):
        out[box] = unit
    return out


def _unit_boxes(
    layers: Sequence[Layer], shape: tuple[int, ...], indices: Indices
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Boxes of the outer product of `indices`, and the unit intensities there."""
    active = [layer for layer in layers if layer.type in ADDITIVE]
    order = [ADDITIVE.index(layer.type) for layer in active]
    if order != sorted(set(order)):
        raise CorruptChunk(
            f"expected each layer once and in order, got {[layer.type.name for layer in active]}: the chunk is damaged"
        )
    if any(len(index) == 0 for index in indices):
        return
    reach = REACH if LayerType.FILTER in [layer.type for layer in active] else 0
    residual: Callable[[], Part] | None = None
    for k, layer in enumerate(active):
        if layer.type == LayerType.RESIDUAL:
            ends = tuple(
                (max(int(index[0]) - reach, 0), min(int(index[-1]) + reach + 1, n))
                for index, n in zip(indices, shape, strict=True)
            )
            residual = _part(layer.payload, shape, ends, beside=k > 0)
    for box in boxes([len(index) for index in indices], AT_ONCE, LONGEST):
        yield box, _after(active, shape, [index[side] for index, side in zip(indices, box, strict=True)], residual)


@dataclass(frozen=True, slots=True)
class Part:
    """Values of a box of the chunk that starts at `start`."""

    values: NDArray[np.float32]
    start: tuple[int, ...]

    def at(self, indices: Indices) -> NDArray[np.float32]:
        """Those at the outer product of indices of the chunk."""
        return _at(self.values, [index - start for index, start in zip(indices, self.start, strict=True)])


def _part(
    payload: bytes, shape: tuple[int, ...], ends: tuple[tuple[int, int], ...], beside: bool
) -> Callable[[], Part]:
    """What decodes the residual layer when it is first called; `beside`: begun now, beside the layers before it."""
    decoded = begin_residual(payload, shape, ends) if beside else partial(decode_residual, payload, shape, ends)
    return cache(lambda: Part(decoded(), tuple(start for start, _ in ends)))


def _after(
    layers: Sequence[Layer], shape: tuple[int, ...], indices: Indices, residual: Callable[[], Part] | None
) -> NDArray[np.float32]:
    """The output of the last of `layers`, a new array."""
    if not layers:
        return np.zeros([len(index) for index in indices], np.float32)
    *before, layer = layers
    if layer.type == LayerType.NETWORK:
        return evaluate_network(unpack_network(layer.payload, shape), indices)
    if layer.type == LayerType.DEBLOCK:
        return _deblocked(before, layer, shape, indices)
    if layer.type == LayerType.FILTER:
        return _filtered(before, layer, shape, indices, residual)
    assert layer.type == LayerType.RESIDUAL and residual is not None
    if not before:
        return np.array(residual().at(indices), order="C")
    values = _after(before, shape, indices, None)
    values += residual().at(indices)
    return values


def _deblocked(before: Sequence[Layer], layer: Layer, shape: tuple[int, ...], indices: Indices) -> NDArray[np.float32]:
    if not before or before[-1].type != LayerType.NETWORK:
        raise CorruptChunk("expected networks before the deblocking filter, got none: the chunk is damaged")
    blocks = unpack_network(before[-1].payload, shape).blocks
    strength, bits = unpack_deblock(layer.payload, blocks)
    needed: Indices = [
        halo_indices(index, face_positions(blocks, bits, axis), n).astype(np.intp)
        for axis, (index, n) in enumerate(zip(indices, shape, strict=True))
    ]
    values = _after(before, shape, needed, None)
    apply_deblock(values, blocks, bits, strength, needed)
    return _take(values, needed, indices)


def _filtered(
    before: Sequence[Layer], layer: Layer, shape: tuple[int, ...], indices: Indices, residual: Callable[[], Part] | None
) -> NDArray[np.float32]:
    grown: Indices = [
        np.arange(max(int(index[0]) - REACH, 0), min(int(index[-1]) + REACH + 1, n))
        for index, n in zip(indices, shape, strict=True)
    ]
    return _take(apply_filter(_after(before, shape, grown, residual), layer.payload), grown, indices)


def _take(values: NDArray[np.float32], have: Sequence[NDArray[np.intp]], want: Indices) -> NDArray[np.float32]:
    """The part of `values` (at the outer product of `have`) at the outer product of `want`."""
    if all(len(h) == len(w) for h, w in zip(have, want, strict=True)):
        return values
    return np.ascontiguousarray(_at(values, [np.searchsorted(h, w) for h, w in zip(have, want, strict=True)]))


def _at(values: NDArray[np.float32], places: Sequence[NDArray[np.intp]]) -> NDArray[np.float32]:
    """Values at the outer product of ascending indices; a view where those are ranges."""
    if all(place[-1] - place[0] == len(place) - 1 for place in places):
        return values[tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)]
    return values[np.ix_(*places)]


def pack_deblock(strength_code: int, bits: Sequence[int]) -> bytes:
    """Payload of the deblocking layer: its strength is 2^(-code / 4) unit intensities; one bit per internal face."""
    return bytes([strength_code]) + np.packbits(np.array(bits, np.uint8)).tobytes()


def deblock_strength(code: int) -> float:
    """Strength of a code."""
    return float(2.0 ** (-code / 4))


def unpack_deblock(payload: bytes, blocks: Sequence[Block]) -> tuple[float, list[int]]:
    """Strength and face bits of a payload."""
    count = len(faces(blocks))
    if len(payload) != 1 + (count + 7) // 8:
        raise CorruptChunk(
            f"expected {1 + (count + 7) // 8} bytes of deblocking for {count} faces, got {len(payload)}: the chunk "
            "is damaged"
        )
    return deblock_strength(payload[0]), [
        int(bit) for bit in np.unpackbits(np.frombuffer(payload[1:], np.uint8))[:count]
    ]
