"""Residual layer: what the other layers leave of a chunk, as quantised wavelet coefficients under a context model.

Payload: step (3 bytes), mean (3), reconstruction points (3), length of the tree (1), tree, then the bytes of the range
coder. `step` and `mean` are the upper 24 bits of a float32, big endian. An empty payload stands for zeros everywhere.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from inr_codec.chunk.boxes import as_3d
from inr_codec.errors import CorruptChunk
from inr_codec.layers.residual import coefficient_coder as coefficients
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.packet_tree import unpack_tree
from inr_codec.layers.residual.quantise import restored
from inr_codec.layers.residual.subbands import bands_table
from inr_codec.layers.residual.wavelet import Box, FloatArray, Step
from inr_codec.runtime.threads import begin

REMEMBERED = 8
"""Payloads whose coefficients are kept for the next part that is read: at most 4 LARGE bytes each."""
LARGE = 1 << 22
# Format, frozen (FORMAT.md section 6.1).
HEADER = 10
Unpack = Callable[[], tuple[list[Step], FloatArray]]


def pack24(value: float) -> bytes:
    """The nearest float32 of 24 bits, and not beyond the largest."""
    bits = struct.unpack(">I", struct.pack(">f", value))[0]
    return struct.pack(">I", min(bits + 128, 0xFF7FFFFF if value < 0 else 0x7F7FFFFF) & 0xFFFFFF00)[:3]


def unpack24(data: bytes) -> float:
    """The number in three bytes; CorruptChunk if it is not finite."""
    value = float(struct.unpack(">f", data + b"\0")[0])
    if not math.isfinite(value):
        raise CorruptChunk(f"the residual layer holds finite numbers, got {value!r}; the chunk is damaged")
    return value


def residual_step(payload: bytes) -> float:
    """Quantiser step of a payload in the units of the residual, 0.0 for an empty payload."""
    if not payload:
        return 0.0
    if len(payload) < HEADER:
        raise CorruptChunk(f"a residual layer has at least {HEADER} bytes, got {len(payload)}; the chunk is cut short")
    step = unpack24(payload[0:3])
    if not 1e-37 < step < 1e37:
        raise CorruptChunk(f"the step of a residual layer is a positive number, got {step!r}; the chunk is damaged")
    return step


def decode_residual(payload: bytes, shape: tuple[int, ...], box: Box | None = None) -> FloatArray:
    """The float32 array of a payload, to be read only; with `box` = (start, stop) per axis that part, the same values.

    The coefficients of payloads read in part are remembered, up to `REMEMBERED` of them: what is read by planes is
    unpacked once.
    """
    return _residual(payload, shape, box, lambda coefficients: coefficients)()


def begin_residual(payload: bytes, shape: tuple[int, ...], box: Box | None = None) -> Callable[[], FloatArray]:
    """Begin `decode_residual` on another thread, as coefficients can only be read one after the other; call for it."""
    return _residual(payload, shape, box, begin)


def _residual(
    payload: bytes, shape: tuple[int, ...], box: Box | None, start: Callable[[Unpack], Unpack]
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
        steps, values = coefficients()
        return _synthesis(values if once else values.copy(), steps, mean, shape, box)

    return finish


def _synthesis(
    values: FloatArray, steps: list[Step], mean: np.float32, shape: tuple[int, ...], box: Box | None
) -> FloatArray:
    """Invert the transform in place; the part `box` of the array."""
    part = box
    if box is not None and len(shape) < 3:
        part = ((0, 1),) * (3 - len(shape)) + box
    elif box is not None and len(shape) == 4:
        part = ((box[0][0] * shape[1], box[0][1] * shape[1]), *box[2:])
    wavelet.inverse(values, steps, part)
    out = np.ascontiguousarray(values.reshape(shape)[tuple(slice(a, b) for a, b in box or ())])
    with np.errstate(all="ignore"):
        out += mean
    return out


def _filled(value: np.float32, shape: tuple[int, ...], box: Box | None) -> FloatArray:
    """One value everywhere; takes no memory and cannot be written to."""
    return np.broadcast_to(value, shape if box is None else [stop - start for start, stop in box])


def _coefficients(payload: bytes, shape: tuple[int, ...]) -> tuple[list[Step], FloatArray]:
    """The splitting and the dequantised coefficients of a payload."""
    flat, start = as_3d(shape), HEADER + payload[9]
    if len(payload) < start:
        raise CorruptChunk(
            f"the tree of a residual layer ends at byte {start}, got {len(payload)}; the chunk is cut short"
        )
    steps, leaves = unpack_tree(flat, payload[HEADER:start])
    bands = bands_table(flat, leaves)
    q = coefficients.decode(payload[start:], bands, flat)
    if q is None:
        raise CorruptChunk(
            f"the coefficients of a residual layer go on past its end at {len(payload)}; the chunk is damaged"
        )
    values = q.view(np.float32)
    restored(q, bands, residual_step(payload), payload[6:9], values)
    return steps, values


_remembered_coefficients = lru_cache(maxsize=REMEMBERED)(_coefficients)
