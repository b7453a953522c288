"""Correction layer: every voxel on a lattice of values, so that its error is bounded (or zero) on every machine.

Payload: the bound (float64, the largest error of a voxel that is not masked), kind (1 byte), what the kind needs, then
the levels as `predictive` codes them. Kind 0: value = lo + step x level; step (float64), top level (varint). Kind 1:
value = lo + entry `level` of a table of integers; number of entries (varint), length of the table (varint), its
first entry and the differences of the others as 4 bytes each, shuffled and deflated. Values above hi become hi.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from inr_codec.bytestream import ByteReader, ByteWriter
from inr_codec.errors import CorruptChunk
from inr_codec.intensity import Intensity
from inr_codec.predictive import Levels, decode_levels
from inr_codec.selection import Indices

STEP, TABLE = 0, 1
MOST_LEVELS = 1 << 31
REMEMBERED, LARGE = 8, 1 << 22
"""Layers whose levels are kept for the next part that is read, and the most voxels that such a chunk has."""
VOXELS_PER_BYTE = 1 << 19
"""No byte holds the levels of more voxels: a bit costs 2^-16 at least."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The values that voxels may take: lo + step x level, or lo + table[level]; `top` is the last level."""

    step: float
    top: int
    table: npt.NDArray[np.int64] | None = None

    def values(self, levels: Levels, intensity: Intensity, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        """Values of levels in native `dtype`: float64, clipped to hi, integers rounded to nearest (ties to even)."""
        native = dtype.newbyteorder("=")
        offsets = self.step * levels if self.table is None else self.table[levels].astype(np.float64)
        values = np.minimum(intensity.lo + offsets, intensity.hi)
        if dtype.kind != "f":
            np.rint(values, out=values)
        with np.errstate(all="ignore"):
            return values.astype(np.float32 if native.itemsize == 2 and dtype.kind == "f" else native).astype(native)


def as_3d(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Three axes: leading axes of 1 where there are fewer, the first two merged where there are four."""
    padded = (1,) * (3 - len(shape)) + tuple(shape)
    return (math.prod(padded[:-2]), padded[-2], padded[-1])


def pack_correction(bound: float, lattice: Lattice, data: bytes) -> bytes:
    """The payload of a lattice and its coded levels."""
    out = ByteWriter()
    out.raw(struct.pack("<d", bound))
    if lattice.table is None:
        out.raw(bytes([STEP]) + struct.pack("<d", lattice.step))
        out.varint(lattice.top)
    else:
        out.raw(bytes([TABLE]))
        out.varint(lattice.top + 1)
        packed = pack_gaps(np.diff(lattice.table, prepend=0))
        out.varint(len(packed))
        out.raw(packed)
    out.raw(data)
    return out.getvalue()


def pack_gaps(gaps: npt.NDArray[np.int64]) -> bytes:
    """Differences of a table's entries, 4 bytes each, first all lowest bytes, deflated."""
    return zlib.compress(np.frombuffer(gaps.astype("<u4").tobytes(), np.uint8).reshape(-1, 4).T.tobytes(), 9)


def unpack_bound(payload: bytes) -> float:
    """The largest error of a voxel, in the chunk's units."""
    bound = float(struct.unpack("<d", ByteReader(payload).raw(8))[0])
    if not (math.isfinite(bound) and bound >= 0):
        raise CorruptChunk(f"expected a bound of 0 or more, got {bound!r}: the chunk is damaged")
    return bound


def _unpack(payload: bytes) -> tuple[Lattice, bytes]:
    unpack_bound(payload)
    data = ByteReader(payload)
    data.raw(8)
    kind = data.uint(1)
    if kind == STEP:
        step, top = float(struct.unpack("<d", data.raw(8))[0]), data.varint()
        if not (math.isfinite(step) and step > 0 and top < MOST_LEVELS):
            raise CorruptChunk(f"expected a step above 0 and at most 2^31 levels, got {step!r}, {top}: damaged chunk")
        return Lattice(step, top), data.rest()
    if kind != TABLE:
        raise CorruptChunk(f"expected a correction of kind {STEP} or {TABLE}, got {kind}: the chunk is damaged")
    count, length = data.varint(), data.varint()
    if not 0 < count < MOST_LEVELS:
        raise CorruptChunk(f"expected a table of 1 to 2^31 values, got {count}: the chunk is damaged")
    raw = ByteReader(data.raw(length)).deflated(4 * count)
    gaps = np.frombuffer(raw, np.uint8).reshape(4, -1).T.copy().view("<u4").reshape(-1)
    return Lattice(1.0, count - 1, np.cumsum(gaps, dtype=np.int64)), data.rest()


def _decode(payload: bytes, shape: tuple[int, ...]) -> tuple[Lattice, Levels]:
    lattice, data = _unpack(payload)
    if math.prod(shape) > VOXELS_PER_BYTE * (len(data) + 64):
        raise CorruptChunk(f"expected levels of {math.prod(shape)} voxels, got {len(data)} bytes: the chunk is damaged")
    if lattice.top == 0:
        return lattice, np.zeros(shape, np.int32)
    levels = decode_levels(data, as_3d(shape), lattice.top)
    if levels is None:
        raise CorruptChunk(f"expected levels to end with their {len(data)} bytes, got more: the chunk is damaged")
    return lattice, levels.reshape(shape)


_remembered = lru_cache(maxsize=REMEMBERED)(_decode)


def decode_correction(
    payload: bytes, shape: tuple[int, ...], indices: Indices, intensity: Intensity, dtype: np.dtype[np.generic]
) -> npt.NDArray[np.generic]:
    """Values at the outer product of `indices`, native `dtype`, C order. The layer is read as a whole.

    Levels of chunks that are read in part are remembered.
    """
    whole = all(len(index) == n for index, n in zip(indices, shape, strict=True))
    lattice, levels = (_decode if whole or math.prod(shape) > LARGE else _remembered)(payload, shape)
    return lattice.values(levels if whole else levels[np.ix_(*indices)], intensity, dtype)
