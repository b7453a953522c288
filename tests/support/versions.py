"""Streams of any version of the format, packed again from their header and layers."""

import numpy as np
from forging import sealed

from inr_codec.stream.byteio import ByteWriter
from inr_codec.stream.frame import (
    BIG_ENDIAN,
    CODES,
    FORTRAN,
    LOSSLESS_DTYPE,
    PADDING,
    Header,
    Layer,
    _pack_reached,
    least_bytes,
    pack_stream,
)


def repacked(header: Header, layers: list[Layer], work: int = 0) -> bytes:
    """A stream of the header's own version."""
    return _first(header, layers, work) if header.version == 1 else pack_stream(header, layers, work)


def _first(header: Header, layers: list[Layer], work: int) -> bytes:
    """Version 1, which is read and no longer written."""
    out = ByteWriter()
    code = LOSSLESS_DTYPE if header.dtype is None else CODES.index(header.dtype.str[1:])
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
    missing = least_bytes(header, work) - 8 - len(out.getvalue())
    if missing > 0:
        out.uint(PADDING, 1)
        out.varint(max(missing - 2, 0))
        out.raw(bytes(max(missing - 2, 0)))
    return sealed(b"INR\x01" + bytes(4) + out.getvalue())
