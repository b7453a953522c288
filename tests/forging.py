"""Damaged bytes as a forger, or a bug in a writer, would make them: with a checksum that fits."""

import zlib

from inr_codec import CorruptChunk, UnsupportedFormat, decode, inspect
from inr_codec.bitstream import unpack_stream

LARGEST = 2**22
"""Voxels of arrays that are decoded here."""


def sealed(data: bytes) -> bytes:
    """The same bytes with a checksum that fits, as a forger (or a bug in a writer) would make them."""
    return data[:4] + zlib.crc32(data[8:]).to_bytes(4, "little") + data[8:]


def reads_or_refuses(data: bytes) -> str:
    """Decode, inspect and decode a part: each gives an array of the header's shape or one of the two errors."""
    try:
        header, _ = unpack_stream(data)
        if header.size > LARGEST:
            return "too large to try"
        told = inspect(data)
        values = decode(data)
        assert (values.shape, values.dtype) == (told.shape, told.dtype)
        part = (..., slice(1)) if values.ndim else ()
        assert decode(data, selection=part).shape == values[part].shape
    except (CorruptChunk, UnsupportedFormat):
        return "refused"
    return "read"
