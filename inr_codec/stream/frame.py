"""The frame of a stream: header, checksum and the list of typed layers (see FORMAT.md)."""

import math
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from inr_codec.chunk.intensity import DTYPES, Intensity
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.stream.byteio import ByteReader, ByteWriter

# Format, frozen (FORMAT.md section 1).
MAGIC = b"INR"
VERSION = 1
MAX_VOXELS = 2**31 - 1
MAX_DIMENSIONS = 32
LOSSLESS_DTYPE = 31  # dtype code of streams whose lossless layer carries its own dtype
BIG_ENDIAN, FORTRAN = 64, 128
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


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream says of its chunk. `dtype` is native; `big_endian` and `fortran` say what to convert it to."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] | None
    big_endian: bool
    fortran: bool
    intensity: Intensity | None
    reached: Reached | None

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)


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
    out = ByteWriter()
    code = LOSSLESS_DTYPE if header.dtype is None else DTYPES.index(header.dtype.str[1:])
    out.uint(code | BIG_ENDIAN * header.big_endian | FORTRAN * header.fortran, 1)
    out.uint(len(header.shape), 1)
    for n in header.shape:
        out.varint(n)
    if header.dtype is not None and header.intensity is not None:
        ends = np.array([header.intensity.lo, header.intensity.hi], np.float64).astype(header.dtype)
        out.raw(ends.astype(header.dtype.newbyteorder("<")).tobytes())
        _pack_reached(header.reached, out)
    for layer in layers:
        out.uint(layer.type, 1)
        out.varint(len(layer.payload))
        out.raw(layer.payload)
    missing = least_bytes(header, work) - len(MAGIC) - 5 - len(out.getvalue())
    if missing > 0:
        out.uint(PADDING, 1)
        out.varint(max(missing - 2, 0))
        out.raw(bytes(max(missing - 2, 0)))
    body = out.getvalue()
    return MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body


def unpack_stream(data: bytes) -> tuple[Header, list[Layer]]:
    """Header and layers of a stream, of whatever type; CorruptChunk or UnsupportedFormat for anything else."""
    if len(data) < 10 or data[:3] != MAGIC:
        raise CorruptChunk(
            f"expected a stream that starts with {MAGIC!r}, got {data[:10]!r}: these bytes are not from inr_codec, "
            "or damaged"
        )
    if data[3] != VERSION:
        raise UnsupportedFormat(
            f"expected format version {VERSION}, got {data[3]}: install a release of inr_codec that reads version "
            f"{data[3]}"
        )
    body = data[8:]
    stored, real = int.from_bytes(data[4:8], "little"), zlib.crc32(body)
    if stored != real:
        raise CorruptChunk(
            f"expected checksum {stored:08x}, got {real:08x}: the chunk is damaged or cut short, restore it from a copy"
        )
    stream = ByteReader(body)
    first = stream.uint(1)
    ndim = stream.uint(1)
    if ndim > MAX_DIMENSIONS:
        raise CorruptChunk(f"expected at most {MAX_DIMENSIONS} dimensions, got {ndim}: the chunk is damaged")
    shape = tuple(stream.varint() for _ in range(ndim))
    if math.prod(shape) > MAX_VOXELS or max(shape, default=0) > MAX_VOXELS:
        raise CorruptChunk(f"expected at most {MAX_VOXELS} voxels, got shape {shape}: the chunk is damaged")
    code = first & 31
    dtype = intensity = reached = None
    if code != LOSSLESS_DTYPE:
        if code >= len(DTYPES) or not 1 <= ndim <= 4 or 0 in shape:
            raise CorruptChunk(
                f"expected a known dtype and 1 to 4 sides above 0, got dtype {code} and shape {shape}: the chunk is "
                "damaged"
            )
        dtype = np.dtype(DTYPES[code])
        ends = np.frombuffer(stream.raw(2 * dtype.itemsize), dtype.newbyteorder("<"))
        intensity = Intensity(float(ends[0]), float(ends[1]))
        if not (intensity.lo <= intensity.hi and math.isfinite(intensity.hi - intensity.lo)):
            raise CorruptChunk(f"expected a finite range of intensities, got {intensity}: the chunk is damaged")
        reached = _unpack_reached(stream)
    header = Header(shape, dtype, bool(first & BIG_ENDIAN), bool(first & FORTRAN), intensity, reached)
    if len(data) < least_bytes(header):
        raise CorruptChunk(
            f"expected at least {least_bytes(header)} bytes for {header.size} voxels, got {len(data)}: the chunk is "
            "damaged"
        )
    layers = []
    while rest := stream.remaining:
        kind, length = stream.uint(1), stream.varint()
        if kind == PADDING and length == stream.remaining and not any(stream.raw(length)):
            break
        if length > rest:
            raise CorruptChunk(f"expected a layer of at most {rest} bytes, got {length}: the chunk is damaged")
        layers.append(Layer(kind, stream.raw(length)))
    return header, layers
