"""The index of a shard of zarr format 3: where the streams of its chunks lie (the default of zarr's sharding codec).

Streams one after another, and an index at the end (or, where the metadata say so, at the start): offset in the shard
and length of every chunk in C order, little-endian u64, 2^64 - 1 twice for a chunk that is not stored, then the CRC-32C
of the index.
"""

from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np

from inr_codec.errors import CorruptChunk

MISSING = 2**64 - 1
CRC_BYTES = 4

Place = tuple[int, ...]
"""Of a chunk on the grid of the chunks of its shard."""


def pack_shard(streams: Mapping[Place, bytes], grid: Place) -> bytes:
    """A shard of `grid` chunks with the index at its end; chunks without a stream read as the fill value."""
    index = np.full((*grid, 2), MISSING, "<u8")
    at = 0
    for place, stream in sorted(streams.items()):
        index[place] = at, len(stream)
        at += len(stream)
    table = index.tobytes()
    return b"".join([*(stream for _, stream in sorted(streams.items())), table, _crc32c(table)])


def index_bytes(grid: Place) -> int:
    """Bytes of the index of a shard of `grid` chunks."""
    return 16 * prod(grid) + CRC_BYTES


def unpack_shard(data: bytes, grid: Place, *, at_start: bool = False) -> dict[Place, bytes]:
    """The streams in a shard of `grid` chunks, in C order; `at_start`: where its index is.

    Raises CorruptChunk where the index is damaged or points outside of what it may.
    """
    size = index_bytes(grid)
    table = data[:size] if at_start else data[-size:]
    if len(table) < size or _crc32c(table[:-CRC_BYTES]) != table[-CRC_BYTES:]:
        raise CorruptChunk(
            f"expected a sound shard index of {size} bytes, got {len(data)} bytes in all: copy or encode it again"
        )
    index = np.frombuffer(table[:-CRC_BYTES], "<u8").reshape(*grid, 2)
    end = len(data) if at_start else len(data) - size
    streams = {}
    for place in product(*map(range, grid)):
        offset, length = (int(value) for value in index[place])
        if length != MISSING:
            if offset + length > end:
                raise CorruptChunk(
                    f"expected streams in {end} bytes of a shard, got one from {offset} to {offset + length}: copy or "
                    "encode it again"
                )
            streams[place] = data[offset : offset + length]
    return streams


def _crc32c(data: bytes) -> bytes:
    from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

    encoded: Any = CRC32C(location="end").encode(data)
    return bytes(encoded[-CRC_BYTES:])
