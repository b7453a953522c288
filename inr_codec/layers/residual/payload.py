"""Residual layer: what the other layers leave of a chunk, as quantised wavelet coefficients under a context model.

Payload: quantiser step (3 bytes), mean (3), reconstruction points (3), length of the packet tree (1), tree, then the
bytes of the range coder. Step and mean are the upper 24 bits of a float32, big endian. An empty payload stands for
zeros everywhere.

A residual over four axes (type 10) has one byte more in front, the levels along the first axis (`first_axis`).
"""

import math
import struct
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from inr_codec.chunk.boxes import as_3d
from inr_codec.chunk.selection import Indices
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import Asked, Part, Shape, Unit, UnitKind
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.coefficient_coder import decode_coefficients
from inr_codec.layers.residual.first_axis import FirstAxis, most_levels
from inr_codec.layers.residual.packet_tree import unpack_packet_tree
from inr_codec.layers.residual.quantise import restored
from inr_codec.layers.residual.subbands import subbands_table
from inr_codec.layers.residual.wavelet import FloatArray, Intervals, Split
from inr_codec.runtime.caches import remembered
from inr_codec.runtime.threads import begin
from inr_codec.stream.frame import Header, Layer, LayerType

LARGE = 1 << 22
"""Chunks of more voxels are unpacked anew for every part that is read."""
HEADER = 10
Unpack = Callable[[], tuple[list[Split], FloatArray]]


def pack24(value: float) -> bytes:
    """The nearest float32 of 24 bits, and not beyond the largest."""
    bits = struct.unpack(">I", struct.pack(">f", value))[0]
    return struct.pack(">I", min(bits + 128, 0xFF7FFFFF if value < 0 else 0x7F7FFFFF) & 0xFFFFFF00)[:3]


def unpack24(data: bytes) -> float:
    """The number in three bytes; CorruptChunk if it is not finite."""
    value = float(struct.unpack(">f", data + b"\0")[0])
    if not math.isfinite(value):
        raise CorruptChunk(f"expected a finite number in a residual layer, got {value!r}: the chunk is damaged")
    return value


def residual_step(payload: bytes) -> float:
    """Quantiser step of a payload in the units of the residual, 0.0 for an empty payload."""
    if not payload:
        return 0.0
    if len(payload) < HEADER:
        raise CorruptChunk(
            f"expected a residual layer of {HEADER} bytes or more, got {len(payload)}: the chunk is cut short"
        )
    step = unpack24(payload[0:3])
    if not 1e-37 < step < 1e37:
        raise CorruptChunk(f"expected a quantiser step of 1e-37 to 1e37, got {step!r}: the chunk is damaged")
    return step


def decode_residual(
    payload: bytes, shape: tuple[int, ...], box: Intervals | None = None, along: FirstAxis | None = None
) -> FloatArray:
    """The float32 array of a payload, to be read only; with `box` = (start, stop) per axis that part, the same values.

    along: levels along the first axis, if there are any. The coefficients of payloads read in part are remembered
    (`runtime.caches`): what is read by planes is unpacked once.
    """
    return _residual(payload, shape, box, along, lambda coefficients: coefficients)()


def begin_residual(
    payload: bytes, shape: tuple[int, ...], box: Intervals | None = None, along: FirstAxis | None = None
) -> Callable[[], FloatArray]:
    """Begin `decode_residual` on another thread, as coefficients can only be read one after the other; call for it."""
    return _residual(payload, shape, box, along, begin)


def _residual(
    payload: bytes,
    shape: tuple[int, ...],
    box: Intervals | None,
    along: FirstAxis | None,
    start: Callable[[Unpack], Unpack],
) -> Callable[[], FloatArray]:
    """What gives the array, once `start` has been given what unpacks its coefficients."""
    if not payload:
        return partial(_filled, np.float32(0), shape, box)
    residual_step(payload)
    mean = np.float32(unpack24(payload[3:6]))
    if len(payload) == HEADER + payload[9]:
        return partial(_filled, mean, shape, box)
    if box is not None and all(ends == (0, n) for ends, n in zip(box, shape, strict=True)):
        box = None
    once = box is None or math.prod(shape) > LARGE
    coefficients = start(partial(_coefficients if once else _remembered_coefficients, payload, shape))

    def finish() -> FloatArray:
        splits, values = coefficients()
        return _synthesis(values if once else values.copy(), splits, mean, shape, box, along)

    return finish


def _synthesis(
    values: FloatArray,
    splits: list[Split],
    mean: np.float32,
    shape: tuple[int, ...],
    box: Intervals | None,
    along: FirstAxis | None,
) -> FloatArray:
    """Invert the transform in place; the part `box` of the array."""
    part = box
    if box is not None and len(shape) < 3:
        part = ((0, 1),) * (3 - len(shape)) + box
    elif box is not None and len(shape) == 4:
        rows = (0, shape[0]) if along else box[0]
        part = ((rows[0] * shape[1], rows[1] * shape[1]), *box[2:])
    wavelet.inverse(values, splits, part)
    if along:
        along.inverse(values, box)
    out = np.ascontiguousarray(values.reshape(shape)[tuple(slice(a, b) for a, b in box or ())])
    with np.errstate(all="ignore"):
        out += mean
    return out


def _filled(value: np.float32, shape: tuple[int, ...], box: Intervals | None) -> FloatArray:
    """One value everywhere; takes no memory and cannot be written to."""
    return np.broadcast_to(value, shape if box is None else [stop - start for start, stop in box])


def _tree_end(payload: bytes) -> int:
    """Where the tree ends and levels begin."""
    end = HEADER + payload[9]
    if len(payload) < end:
        raise CorruptChunk(
            f"expected {end} bytes to the end of a residual layer's tree, got {len(payload)}: the chunk is cut short"
        )
    return end


def _coefficients(payload: bytes, shape: tuple[int, ...]) -> tuple[list[Split], FloatArray]:
    """The splits of the tree and the dequantised coefficients, float32 with three axes, of a payload."""
    flat, start = as_3d(shape), _tree_end(payload)
    splits, leaves = unpack_packet_tree(flat, payload[HEADER:start])
    bands = subbands_table(flat, leaves)
    q = decode_coefficients(payload[start:], bands, flat)
    if q is None:
        raise CorruptChunk(
            f"expected levels to end with a residual layer's {len(payload)} bytes, got more: the chunk is damaged"
        )
    values = q.view(np.float32)
    restored(q, bands, residual_step(payload), payload[6:9], values)
    return splits, values


def _bytes_of(found: tuple[list[Split], FloatArray]) -> int:
    return found[1].nbytes


_remembered_coefficients = remembered(_bytes_of)(_coefficients)


def first_axis(payload: bytes, shape: tuple[int, ...]) -> FirstAxis:
    """The levels along the first axis of a payload of type 10; CorruptChunk if they cannot be."""
    levels = payload[0] if payload else 0
    if len(shape) != 4 or not 1 <= levels <= most_levels(shape[0]):
        raise CorruptChunk(
            f"expected 1 to {most_levels(shape[0])} levels along the first of four axes, got {levels} in a chunk of "
            f"{len(shape)}: the chunk is damaged"
        )
    return FirstAxis(tuple(shape), levels)


def _begin(payload: bytes, shape: Shape, ends: tuple[tuple[int, int], ...], beside: bool) -> Callable[[], Part]:
    """What gives the box when it is first called; begun now where there are layers below, which take time as well."""
    decoded = begin_residual(payload, shape, ends) if beside else partial(decode_residual, payload, shape, ends)
    return cache(lambda: Part(decoded(), tuple(start for start, _ in ends)))


def _apply(asked: Asked, values: Unit | None, have: Indices) -> Unit:
    assert asked.begun is not None
    if values is None:
        return np.array(asked.begun().at(asked.indices), order="C")
    values += asked.begun().at(asked.indices)
    return values


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    if payload:
        residual_step(payload)
        unpack24(payload[3:6])
        _tree_end(payload)
    return 0


def _begin_over_four(
    payload: bytes, shape: Shape, ends: tuple[tuple[int, int], ...], beside: bool
) -> Callable[[], Part]:
    """As `_begin`."""
    start = begin_residual if beside else partial(partial, decode_residual)
    decoded = start(payload[1:], shape, ends, first_axis(payload, shape))
    return cache(lambda: Part(decoded(), tuple(start for start, _ in ends)))


def _weigh_over_four(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    first_axis(payload, header.shape)
    return _weigh(payload[1:], below, header)


KIND = UnitKind(type=LayerType.RESIDUAL, name="residual", exact=True, apply=_apply, begin=_begin, weigh=_weigh)
OVER_FOUR = UnitKind(
    type=LayerType.RESIDUAL4D, name="residual4d", exact=True, apply=_apply, begin=_begin_over_four,
    weigh=_weigh_over_four, since=2,
)  # fmt: skip
"""A residual with levels along the first of four axes."""
