"""Correction layer: every voxel on a lattice of values, so that its error is bounded (or zero) on every machine.

Payload: the bound (float64, the largest error of a voxel that is not masked), kind (1 byte), what the kind needs, then
levels as `level_coder` codes them (kinds 0 and 1) or offsets as `offset_coder` does (2). Kind 0: value = lo + step x
level; step (float64), top level (varint). Kind 1: value = lo + entry `level` of a table of integers; number of entries
(varint), length of the table (varint), its first entry and the differences of the others as 4 bytes each, shuffled and
deflated. Kind 2: value = base + step x offset, the base being what the residual layer alone decodes to; step, - lowest
offset, highest offset (varints). Values stay within lo and hi; the quantiser step is in the chunk's units.

Kinds 0 and 2 of a bound above 0 are read and no longer written: their lattices hang on the range of the chunk. Kinds 3,
4 and 5 take their place, and have multiples of a step from 0 on (`lattice`): step, K (varint), then as kind 0, 2 and 1,
but for what lo and hi tell.
"""

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inr_codec.chunk.boxes import as_3d, boxes, runs
from inr_codec.chunk.intensity import Intensity, restore
from inr_codec.chunk.selection import Axes, outer
from inr_codec.errors import CorruptChunk
from inr_codec.layers.correction.error_coder import Levels
from inr_codec.layers.correction.lattice import MOST_INDEX, Multiples, limits
from inr_codec.layers.correction.level_coder import level_reader
from inr_codec.layers.correction.offset_coder import MOST_BASE, Base, offset_reader
from inr_codec.layers.correction.volume_coder import parts
from inr_codec.layers.kind import AskedValues, ValueKind
from inr_codec.layers.residual.payload import decode_residual
from inr_codec.runtime.caches import remembered
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType

STEP, TABLE, BASED, FIXED, FIXED_BASED, FIXED_TABLE = range(6)
FIXED_OF = {STEP: FIXED, BASED: FIXED_BASED, TABLE: FIXED_TABLE}
MOST_LEVELS = 1 << 31
LARGE = 1 << 22
"""Chunks of more voxels are read anew for every part that is asked for."""

AT_ONCE = 1 << 18  # voxels of which floats are held

Values = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Lattice:
    """The values that voxels may take: lo + step x level, lo + table[level], or, `based`, base + step x offset.

    step: the quantiser's, in the chunk's units. `bottom` and `top`: the lowest level or offset (0 without a base) and
    the highest. fixed: where values are its multiples instead, those of index first + level, first + table[level], or
    the index of the base + offset; `first` is the index of lo.
    """

    step: float
    top: int
    table: npt.NDArray[np.int64] | None = None
    bottom: int = 0
    based: bool = False
    fixed: Multiples | None = None
    first: int = 0

    def values(
        self, levels: Levels, intensity: Intensity, dtype: np.dtype[np.generic], base: Values | None = None
    ) -> Values:
        """What levels or offsets are, in native `dtype`: float64, integers to nearest (ties to even).

        In lo .. hi, or what the dtype holds where they are fixed.
        """
        native = dtype.newbyteorder("=")
        numbers = levels if self.table is None else self.table[levels]
        low, high = (intensity.lo, intensity.hi) if self.fixed is None else limits(native)
        with np.errstate(all="ignore"):  # damaged bytes may mean any values
            if self.fixed is None:
                values = self.step * numbers if self.table is None else numbers.astype(np.float64)
                values += intensity.lo if base is None else base.astype(np.float64, copy=False)
            else:
                start = np.float64(self.first) if base is None else self.fixed.nearest(base)
                values = self.fixed.values(np.add(start, numbers, dtype=np.float64))
            np.maximum(values, low, out=values)
            np.minimum(values, high, out=values)
            if dtype.kind != "f":
                np.rint(values, out=values)
            half = native.itemsize == 2 and dtype.kind == "f"
            return values.astype(np.float32 if half else native).astype(native, copy=False)


def pack_correction(bound: float, lattice: Lattice, data: bytes) -> bytes:
    """The payload of a lattice and its coded levels or offsets."""
    out = ByteWriter()
    fixed = lattice.fixed
    out.raw(struct.pack("<d", bound))
    kind = TABLE if lattice.table is not None else BASED if lattice.based else STEP
    out.raw(bytes([kind if fixed is None else FIXED_OF[kind]]))
    if fixed is not None:
        out.raw(struct.pack("<d", fixed.step))
        out.varint(fixed.fine)
    elif lattice.table is None:
        out.raw(struct.pack("<d", lattice.step))
    if lattice.based:
        out.varint(-lattice.bottom)
    if lattice.based or (lattice.table is None and fixed is None):
        out.varint(lattice.top)
    if lattice.table is not None:
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


def _unpack(payload: bytes, intensity: Intensity) -> tuple[Lattice, bytes]:
    unpack_bound(payload)
    data = ByteReader(payload)
    data.raw(8)
    kind = data.uint(1)
    fixed, first, last = None, 0, 0
    if kind in FIXED_OF.values():
        fixed, first, last = _read_fixed(data, intensity)
        kind = next(plain for plain, other in FIXED_OF.items() if other == kind)
    if fixed is not None and kind == STEP:
        return Lattice(fixed.step, last - first, fixed=fixed, first=first), data.rest()
    if fixed is not None and kind == BASED:
        bottom, top = data.varint(), data.varint()
        if max(bottom, top) >= MOST_LEVELS:
            raise CorruptChunk(f"expected less than 2^31 offsets, got {-bottom} to {top}: the chunk is damaged")
        return Lattice(fixed.step, top, None, -bottom, True, fixed, first), data.rest()
    if kind in (STEP, BASED):
        step = float(struct.unpack("<d", data.raw(8))[0])
        bottom = data.varint() if kind == BASED else 0
        top = data.varint()
        if not (math.isfinite(step) and step > 0 and max(bottom, top) < MOST_LEVELS):
            got = f"{step!r}, {-bottom} to {top}"
            raise CorruptChunk(f"expected a step above 0 and less than 2^31 levels, got {got}: the chunk is damaged")
        return Lattice(step, top, None, -bottom, kind == BASED), data.rest()
    if kind != TABLE:
        raise CorruptChunk(f"expected a correction of kind {STEP} to {FIXED_TABLE}, got {kind}: the chunk is damaged")
    count, table = _table_head(data)
    raw = table.deflated(4 * count)
    gaps = np.frombuffer(raw, np.uint8).reshape(4, -1).T.copy().view("<u4").reshape(-1)
    step = 1.0 if fixed is None else fixed.step
    return Lattice(step, count - 1, np.cumsum(gaps, dtype=np.int64), fixed=fixed, first=first), data.rest()


def _read_fixed(data: ByteReader, intensity: Intensity) -> tuple[Multiples, int, int]:
    """The multiples of a step, and the indices of lo and hi among them."""
    step, fine = float(struct.unpack("<d", data.raw(8))[0]), data.varint()
    if not (math.isfinite(step) and step > 0 and fine < MOST_LEVELS):
        raise CorruptChunk(f"expected a step above 0 and a K below 2^31, got {step!r}, {fine}: the chunk is damaged")
    found = Multiples(step, fine)
    ends = ends_of(found, intensity)
    if ends is None:
        raise CorruptChunk(f"expected a range below 2^31 steps, got {intensity} and {step!r}: the chunk is damaged")
    return found, *ends


def ends_of(fixed: Multiples, intensity: Intensity) -> tuple[int, int] | None:
    """The indices of lo and hi; None where they are too far away, or too far from one another."""
    with np.errstate(all="ignore"):
        ends = fixed.nearest(np.array([intensity.lo, intensity.hi]))
    if not (np.abs(ends) < MOST_INDEX).all() or ends[1] - ends[0] >= MOST_LEVELS:
        return None
    return int(ends[0]), int(ends[1])


def _table_head(data: ByteReader) -> tuple[int, ByteReader]:
    """Number of entries of a table, and its deflated bytes, which may be as many."""
    count, length = data.varint(), data.varint()
    if not 0 < count < MOST_LEVELS:
        raise CorruptChunk(f"expected a table of 1 to 2^31 values, got {count}: the chunk is damaged")
    table = ByteReader(data.raw(length))
    table.expect_deflated(4 * count)
    return count, table


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    """Everything but the table and the levels."""
    unpack_bound(payload)
    if [layer.type for layer in below] not in ([], [LayerType.RESIDUAL]):
        raise CorruptChunk("expected a correction alone or on a residual layer, got other layers: the chunk is damaged")
    data = ByteReader(payload)
    data.raw(8)
    kind = data.uint(1)
    assert header.intensity is not None
    if kind == FIXED_TABLE:
        _read_fixed(data, header.intensity)
    if kind in (TABLE, FIXED_TABLE):
        _table_head(data)
    else:
        _unpack(payload, header.intensity)
    if (kind in (BASED, FIXED_BASED)) != bool(below):
        raise CorruptChunk("expected a residual layer where a correction has a base: the chunk is damaged")
    return 0


def base_values(residual: bytes, shape: tuple[int, ...], intensity: Intensity, dtype: np.dtype[np.generic]) -> Values:
    """What a residual layer alone decodes to, the same bits on every machine."""
    out = np.empty(shape, dtype.newbyteorder("="))
    _fill_base(out, residual, intensity)
    return out


def _fill_base(out: Values, residual: bytes, intensity: Intensity) -> None:
    """out <- that, in any byte order and order of memory."""
    unit = decode_residual(residual, out.shape)
    for box in boxes(out.shape, AT_ONCE):
        out[box] = restore(unit[box], intensity, out.dtype)


def base_levels(base: Values, intensity: Intensity, lattice: Lattice) -> tuple[Levels, int]:
    """A base in sixteenths of a quantiser step above lo (its index, where fixed), int32 (nz, ny, nx); that of hi."""
    fixed, scale = lattice.fixed, 16.0 / lattice.step
    span = (intensity.hi - intensity.lo) * scale + 0.5
    if fixed is not None:
        ends = ends_of(fixed, intensity)
        span = math.inf if ends is None else 16.0 * (ends[1] - ends[0])
    if not span < MOST_BASE:
        raise CorruptChunk(f"expected a range below 2^26 steps, got {span / 16:g}: the chunk is damaged")
    out = np.empty(base.shape, np.int32)
    for box in boxes(base.shape, AT_ONCE):
        levels = base[box].astype(np.float64)
        with np.errstate(all="ignore"):  # damaged bytes may mean any values
            if fixed is None:
                np.floor((levels - intensity.lo) * scale + 0.5, out=levels)
            else:
                np.floor((fixed.index(levels) - lattice.first) * 16.0 + 0.5, out=levels)
            out[box] = np.where(levels >= 0, np.minimum(levels, np.floor(span)), 0)
    return out.reshape(as_3d(base.shape)), int(span)


class _Window:
    """The rows of a base, in sixteenths of a step, that a part of a volume looks at.

    base: the whole of it, which is read in order, never behind what has been asked for: it may be written over there.
    """

    def __init__(self, base: Values, intensity: Intensity, lattice: Lattice) -> None:
        self._base, self._ahead = base, iter(parts(base.shape))
        self._intensity, self._lattice = intensity, lattice
        nz, ny, self._nx = as_3d(base.shape)
        self._is_line = nz * ny == 1
        self._beside = ny * self._nx if nz > 1 else 1 if self._is_line else self._nx
        self._held, self._place, self._span = np.zeros(0, np.int32), 0, 0

    def at(self, place: int, count: int) -> Base:
        """What is needed for `count` voxels in C order."""
        behind = max(place - self._beside, 0) - self._place
        pieces, self._place = [self._held[behind:]], self._place + behind
        missing = min(place + count + self._beside, self._base.size) - self._place - pieces[0].size
        while missing > 0:
            levels, self._span = base_levels(self._base[next(self._ahead)], self._intensity, self._lattice)
            pieces.append(levels.reshape(-1))
            missing -= levels.size
        self._held = np.concatenate(pieces)
        shift, width = (place - self._place, self._held.size) if self._is_line else (0, self._nx)
        snap = float(self._lattice.fixed is not None)
        return self._held.reshape(-1, width), self._place // self._nx, shift, max(self._span, 1), snap


def _fill_whole(out: Values, payload: bytes, intensity: Intensity, residual: bytes | None) -> None:
    """out, a whole chunk in any byte order and order of memory, <- its values, part by part."""
    lattice, data = _unpack(payload, intensity)
    if residual is not None:
        _fill_base(out, residual, intensity)
    reader, window = None, None
    if lattice.top > lattice.bottom and residual is None:
        reader = level_reader(data, as_3d(out.shape), lattice.top)
    elif lattice.top > lattice.bottom:
        reader = offset_reader(data, as_3d(out.shape), lattice.bottom, lattice.top)
        window = _Window(out, intensity, lattice)
    place = 0
    for box in parts(out.shape):
        values = out[box]
        if reader is None:
            numbers = np.broadcast_to(np.int32(0), values.shape)
        else:
            base = None if window is None else window.at(place, values.size)
            numbers = reader.read(values.size, base).reshape(values.shape)
        for some in runs(values.shape, AT_ONCE):
            part = values[some]
            part[...] = lattice.values(numbers[some], intensity, out.dtype, None if residual is None else part)
        place += values.size


def _bytes_of(found: Values) -> int:
    return found.nbytes


def _whole(
    payload: bytes, shape: tuple[int, ...], intensity: Intensity, dtype: np.dtype[np.generic], residual: bytes | None
) -> Values:
    out = np.empty(shape, dtype)
    _fill_whole(out, payload, intensity, residual)
    return out


_remembered = remembered(_bytes_of)(_whole)


def fill_corrected(
    out: Values,
    payload: bytes,
    shape: tuple[int, ...],
    indices: Axes,
    intensity: Intensity,
    residual: bytes | None = None,
) -> None:
    """out <- values at the outer product of `indices`. The layer is read as a whole.

    `residual`: payload of the residual layer before it, if there is one. Values of chunks that are read in part are
    remembered.
    """
    if out.size == 0:
        return
    if all(len(index) == n for index, n in zip(indices, shape, strict=True)):
        _fill_whole(out, payload, intensity, residual)
        return
    read = _remembered if math.prod(shape) <= LARGE else _whole
    values = read(payload, shape, intensity, out.dtype.newbyteorder("="), residual)
    out[...] = values[outer(indices, [0] * len(shape))]


def _fill(asked: AskedValues, intensity: Intensity, values: Values) -> None:
    residual = asked.below[0].payload if asked.below else None
    fill_corrected(values, asked.payload, asked.shape, asked.indices, intensity, residual)


KIND = ValueKind(type=LayerType.CORRECTION, name="correction", exact=True, fill=_fill, bound=unpack_bound, weigh=_weigh)
