"""Damaged bytes as a forger, or a bug in a writer, would make them: with a checksum that fits."""

import zlib
from functools import cache

import numpy as np
from places import GOLDEN

from inr_codec import CorruptChunk, UnsupportedFormat, decode, inspect
from inr_codec.chunk.intensity import Intensity
from inr_codec.entropy.integers import IntegerEncoder
from inr_codec.layers.network.prior import read_prior
from inr_codec.stream.frame import Header, Reached, unpack_stream

LARGEST = 2**22
"""Voxels of arrays that are decoded here."""


def sealed(data: bytes) -> bytes:
    """The same bytes with a checksum that fits, as a forger (or a bug in a writer) would make them."""
    return data[:4] + zlib.crc32(data[8:]).to_bytes(4, "little") + data[8:]


def reads_or_refuses(data: bytes, largest: int = LARGEST) -> str:
    """Decode, inspect and decode a part: each gives an array of the header's shape or one of the two errors."""
    try:
        header, _ = unpack_stream(data)
        if header.size > largest:
            return "too large to try"
        told = inspect(data)
        values = decode(data)
        assert (values.shape, values.dtype) == (told.shape, told.dtype)
        part = (..., slice(1)) if values.ndim else ()
        assert decode(data, selection=part).shape == values[part].shape
    except (CorruptChunk, UnsupportedFormat):
        return "refused"
    return "read"


@cache
def golden(name: str) -> bytes:
    """A stream of the golden files."""
    prior = GOLDEN / f"{name}.prior"
    if prior.exists():
        read_prior(prior.read_text())
    return (GOLDEN / f"{name}.inr").read_bytes()


def header_of(shape: tuple[int, ...], dtype: str = "f4") -> Header:
    """A plain header."""
    return Header(shape, np.dtype(dtype), False, False, Intensity(0.0, 100.0), Reached(30.0, 0.1))


def network_of(depth: int, *integers: tuple[int, int]) -> bytes:
    """A payload of integers by slot; the tree of a chunk of less than 16 voxels a side takes none."""
    tensors = 2 * depth
    code = IntegerEncoder(5 + 2 * tensors, np.array([0] * (5 + tensors) + [1] * tensors, np.int64))
    for slot, value in integers:
        code.put(slot, np.array([value], np.int64))
    return bytes([depth, 16]) + (240).to_bytes(2, "little") + code.finish()
