"""The frame of a stream: header, checksum and the list of typed layers (see FORMAT.md)."""

import math
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from inr_codec.chunk.intensity import DTYPES, Intensity
from inr_codec.chunk.view import View, exponent, scaled
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.stream.byteio import ByteReader, ByteWriter

# Format, frozen (FORMAT.md sections 1 and 1.1).
MAGIC = b"INR"
OLDEST, VERSION = 1, 2
"""The versions that are read; the last one is written."""
MAX_VOXELS = 2**31 - 1
MAX_DIMENSIONS = 32
CODES = (*DTYPES, "u8", "i8", "c8", "c16", "b1")
"""Kinds and sizes in the order of their codes; version 1 has those that layers see."""
MOST_WHOLE = 2**53  # magnitude of integers of 64 bits that layers hold
LOSSLESS_DTYPE = 31  # dtype code of streams whose lossless layer carries its own dtype
FIGURES, BIG_ENDIAN, FORTRAN = 32, 64, 128  # flags of the first byte; figures are always there in version 1
ONE_VALUE, NOTES = 64, 128  # flags of the second byte
LAST = 128  # flag of a layer's type: its payload is all that is left
MISSED = 1  # number of the note that tells which targets were missed
PSNR_UNIT = 256  # the reached PSNR is stored in 1/256 dB
NOT_MEASURED = 0xFFFF
FREE_VOXELS, VOXELS_PER_BYTE = 1 << 20, 1 << 14
"""A stream of layers holds at most so many voxels, and so many more for each byte: few bytes are little work."""
FREE_WORK, WORK_PER_BYTE = 1 << 33, 1 << 26
"""Networks and filters of a stream take at most so many multiplications, and so many more for each byte."""
PADDING = 0  # layer type of the zeros that make a stream long enough for its voxels


class LayerType(IntEnum):
    """The kinds of layer; their codes in the format."""

    NETWORK = 1
    MASK = 2
    LOSSLESS = 3
    RESIDUAL = 4
    FILTER = 5
    DEBLOCK = 6
    CORRECTION = 7
    LABELS = 8
    MISSING = 9
    RESIDUAL4D = 10


class Missed(IntEnum):
    """Why a stream takes more bytes than were asked for; their codes in the format."""

    KIND = 1
    SMALL = 2
    MASK = 3
    LABELS = 4
    FEW = 5
    BYTES = 6

    @property
    def text(self) -> str:
        """In words."""
        return {
            Missed.KIND: "no lossy layer holds such values, so they are stored exactly",
            Missed.SMALL: "so few bytes hold no stream",
            Missed.MASK: "which voxels are missing takes more bytes alone",
            Missed.LABELS: "labels are stored exactly",
            Missed.FEW: "arrays of so few voxels are stored exactly",
            Missed.BYTES: "bytes, and one axis of integers, may be what a filter made, and are stored exactly",
        }[self]


@dataclass(frozen=True, slots=True)
class Layer:
    """One typed part of a stream, packed."""

    type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reached:
    """Fidelity at encoding over voxels that are not masked: PSNR in dB (peak hi - lo), greatest error / (hi - lo)."""

    psnr: float
    max_error: float


EXACT = Reached(math.inf, 0.0)


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream says of its chunk. `dtype` is native; `big_endian` and `fortran` say what to convert it to.

    dtype: None where the lossless layer names it. version: of the format. missed: why the stream is larger than what
    was asked for. replaced: the range of the values that one value stands for, where it is not exact (version 2).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] | None
    big_endian: bool
    fortran: bool
    intensity: Intensity | None
    reached: Reached | None
    version: int = VERSION
    missed: tuple[Missed, ...] = ()
    replaced: Intensity | None = None

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def range(self) -> Intensity | None:
        """The range of the voxels that were encoded and are not masked, as far as it is known."""
        return self.replaced or self.intensity

    @property
    def view(self) -> View:
        """How layers see the chunk."""
        assert self.dtype is not None
        return View(self.shape, self.dtype)

    @property
    def exponent(self) -> int:
        """The power of two that layers see the values divided by."""
        assert self.dtype is not None and self.intensity is not None
        return 0 if self.version < 2 else exponent(self.intensity, self.dtype)

    def seen(self) -> "Header":
        """The header of the chunk that the layers see; itself in version 1 and without a dtype."""
        if self.version < 2 or self.dtype is None or self.intensity is None:
            return self
        view = self.view
        intensity = scaled(self.intensity, self.exponent)
        return replace(self, shape=view.seen_shape, dtype=view.seen_dtype, intensity=intensity)


def _pack_reached(reached: Reached | None, out: ByteWriter) -> None:
    if reached is None:
        out.uint(NOT_MEASURED, 2)
        out.uint(NOT_MEASURED, 2)
        return
    psnr = NOT_MEASURED - 1 if math.isinf(reached.psnr) else math.floor(reached.psnr * PSNR_UNIT)
    out.uint(min(max(psnr, 0), NOT_MEASURED - 1), 2)
    out.uint(min(math.ceil(reached.max_error * 0x8000), NOT_MEASURED - 1), 2)


def _unpack_reached(data: ByteReader) -> Reached | None:
    psnr, error = data.uint(2), data.uint(2)
    if psnr == NOT_MEASURED:
        return None
    return Reached(math.inf if psnr == NOT_MEASURED - 1 else psnr / PSNR_UNIT, error / 0x8000)


def least_bytes(header: Header, work: int = 0) -> int:
    """Bytes that a stream has at least: 0 where one value fills the chunk, and for a lossless layer.

    work: multiplications that networks and filters take.
    """
    if header.intensity is None or header.intensity.constant:
        return 0
    return max(-((FREE_VOXELS - header.size) // VOXELS_PER_BYTE), -((FREE_WORK - work) // WORK_PER_BYTE), 0)


def pack_stream(header: Header, layers: list[Layer], work: int = 0) -> bytes:
    """A whole stream: magic, version, CRC-32 of all that follows it, header, layers, padding if it is too short.

    work: as for `least_bytes`.
    """
    assert header.version == VERSION
    out = ByteWriter()
    _pack_header(header, out)
    missing = least_bytes(header, work) - len(MAGIC) - 5 - len(out.getvalue())
    missing -= sum(len(layer.payload) + 1 + _varint_bytes(len(layer.payload)) for layer in layers[:-1])
    missing -= len(layers[-1].payload) + 1 if layers else 0
    if missing > 0:
        out.uint(PADDING, 1)
        out.varint(max(missing - 2, 0))
        out.raw(bytes(max(missing - 2, 0)))
    for layer in layers[:-1]:
        out.uint(layer.type, 1)
        out.varint(len(layer.payload))
        out.raw(layer.payload)
    for layer in layers[-1:]:
        out.uint(layer.type | LAST, 1)
        out.raw(layer.payload)
    body = out.getvalue()
    return MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body


def _values(values: list[float], kind: np.dtype[np.generic]) -> bytes:
    return np.array(values, np.float64).astype(kind).astype(kind.newbyteorder("<")).tobytes()


def _varint_bytes(value: int) -> int:
    return max(-(-value.bit_length() // 7), 1)


def _pack_header(header: Header, out: ByteWriter) -> None:
    code = LOSSLESS_DTYPE if header.dtype is None else CODES.index(header.dtype.str[1:])
    plain = header.dtype is None or header.intensity is None
    one = not plain and header.intensity is not None and header.intensity.constant
    exact = one and header.reached == EXACT
    reached = None if one and header.replaced is None else header.reached
    figures = not plain and (reached is not None or one) and not exact
    out.uint(code | FIGURES * figures | BIG_ENDIAN * header.big_endian | FORTRAN * header.fortran, 1)
    out.uint(len(header.shape) | ONE_VALUE * one | NOTES * bool(header.missed), 1)
    for n in header.shape:
        out.varint(n)
    if header.dtype is not None and header.intensity is not None:
        kind = header.view.seen_dtype
        out.raw(_values([header.intensity.lo, header.intensity.hi][: 2 - one], kind))
        if figures:
            _pack_reached(reached, out)
        if one and reached is not None and header.replaced is not None:
            out.raw(_values([header.replaced.lo, header.replaced.hi], kind))
    if header.missed:
        out.uint(MISSED, 1)
        out.varint(len(header.missed))
        out.raw(bytes(header.missed))
        out.uint(0, 1)


def unpack_stream(data: bytes) -> tuple[Header, list[Layer]]:
    """Header and layers of a stream, of whatever type; CorruptChunk or UnsupportedFormat for anything else."""
    if len(data) < 10 or data[:3] != MAGIC:
        raise CorruptChunk(
            f"expected a stream that starts with {MAGIC!r}, got {data[:10]!r}: these bytes are not from inr_codec, "
            "or damaged"
        )
    version = data[3]
    if not OLDEST <= version <= VERSION:
        raise UnsupportedFormat(
            f"expected format version {OLDEST} or {VERSION}, got {version}: install a release of inr_codec that reads "
            f"version {version}"
        )
    body = data[8:]
    stored, real = int.from_bytes(data[4:8], "little"), zlib.crc32(body)
    if stored != real:
        raise CorruptChunk(
            f"expected checksum {stored:08x}, got {real:08x}: the chunk is damaged or cut short, restore it from a copy"
        )
    stream = ByteReader(body)
    header = _unpack_header(stream, version)
    if len(data) < least_bytes(header):
        raise CorruptChunk(
            f"expected at least {least_bytes(header)} bytes for {header.size} voxels, got {len(data)}: the chunk is "
            "damaged"
        )
    return header, _unpack_layers(stream, version)


def _unpack_header(stream: ByteReader, version: int) -> Header:
    first, second = stream.uint(1), stream.uint(1)
    ndim = second & 63 if version > 1 else second
    if ndim > MAX_DIMENSIONS:
        raise CorruptChunk(f"expected at most {MAX_DIMENSIONS} dimensions, got {ndim}: the chunk is damaged")
    shape = tuple(stream.varint() for _ in range(ndim))
    if math.prod(shape) > MAX_VOXELS or max(shape, default=0) > MAX_VOXELS:
        raise CorruptChunk(f"expected at most {MAX_VOXELS} voxels, got shape {shape}: the chunk is damaged")
    code, flags = first & 31, second & ~63 if version > 1 else 0
    big_endian, fortran = bool(first & BIG_ENDIAN), bool(first & FORTRAN)
    if code == LOSSLESS_DTYPE:
        if version > 1 and (first & FIGURES or flags & ONE_VALUE):
            raise CorruptChunk("expected no figures beside a lossless layer, got some: the chunk is damaged")
        missed = _unpack_notes(stream) if flags & NOTES else ()
        return Header(shape, None, big_endian, fortran, None, None, version, missed)
    known, axes = (len(DTYPES), 4) if version == 1 else (len(CODES), MAX_DIMENSIONS)
    if code >= known or ndim > axes or 0 in shape or (version == 1 and ndim == 0):
        raise CorruptChunk(
            f"expected a known dtype and 1 to {axes} sides above 0, got dtype {code} and shape {shape}: the chunk is "
            "damaged"
        )
    header = Header(shape, np.dtype(CODES[code]), big_endian, fortran, None, None, version)
    kind, one = header.view.seen_dtype, bool(flags & ONE_VALUE)
    ends = np.frombuffer(stream.raw((2 - one) * kind.itemsize), kind.newbyteorder("<"))
    intensity = Intensity(float(ends[0]), float(ends[-1]))
    if not (intensity.lo <= intensity.hi and math.isfinite(intensity.hi / 2 - intensity.lo / 2)):
        raise CorruptChunk(f"expected a finite range of intensities, got {intensity}: the chunk is damaged")
    measured = version == 1 or first & FIGURES
    reached = _unpack_reached(stream) if measured else EXACT if one else None
    replaced = None
    if one and measured and reached is not None:
        ends = np.frombuffer(stream.raw(2 * kind.itemsize), kind.newbyteorder("<"))
        replaced = Intensity(float(ends[0]), float(ends[1]))
        if not (replaced.lo <= replaced.hi and math.isfinite(replaced.hi / 2 - replaced.lo / 2)):
            raise CorruptChunk(f"expected a finite range of intensities, got {replaced}: the chunk is damaged")
    if version == 1 and not math.isfinite(intensity.hi - intensity.lo):
        raise CorruptChunk(f"expected a finite range of intensities, got {intensity}: the chunk is damaged")
    most = 1 if header.dtype == np.dtype("b1") else MOST_WHOLE if kind.kind in "iu" else math.inf
    if (version > 1 and intensity.constant != one) or max(-intensity.lo, intensity.hi) > most:
        raise CorruptChunk(f"expected one value or a range of at most {most}, got {intensity}: the chunk is damaged")
    missed = _unpack_notes(stream) if flags & NOTES else ()
    return replace(header, intensity=intensity, reached=reached, missed=missed, replaced=replaced)


def _unpack_notes(stream: ByteReader) -> tuple[Missed, ...]:
    """Reasons for which a target was missed. Other notes, and other reasons, are passed over."""
    missed: tuple[Missed, ...] = ()
    while tag := stream.uint(1):
        payload = stream.raw(stream.varint())
        if tag == MISSED:
            missed = tuple(Missed(code) for code in payload if code in Missed.__members__.values())
    return missed


def _unpack_layers(stream: ByteReader, version: int) -> list[Layer]:
    layers = []
    while rest := stream.remaining:
        kind = stream.uint(1)
        if version > 1 and kind & LAST:
            layers.append(Layer(kind & ~LAST, stream.rest()))
            break
        length = stream.varint()
        if length > rest:
            raise CorruptChunk(f"expected a layer of at most {rest} bytes, got {length}: the chunk is damaged")
        payload = stream.raw(length)
        if kind == PADDING and not any(payload) and (version > 1 or not stream.remaining):
            continue
        layers.append(Layer(kind, payload))
    return layers
