"""Shards: the streams of many chunks under one key, and the place where they wait until all of them are there.

A shard is its streams one after another and an index at the end: (offset, length) of every chunk in C order, little
u64, 2^64 - 1 twice for a chunk that is not stored, then the CRC-32C of the index (zarr's sharding codec as it is set by
default).
"""

from math import prod
from typing import Any

import numpy as np

from inr_codec.batch.plan import Plan
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.layers.table import open_stream
from inr_codec.stores.folders import Folder

MISSING = 2**64 - 1
SPOOL = "spool"


def pack_shard(plan: Plan, streams: dict[int, bytes]) -> bytes:
    """A shard of the streams of its chunks by number; chunks without one read as the fill value."""
    index = np.full((*_per_shard(plan), 2), MISSING, "<u8")
    at = 0
    for n, stream in sorted(streams.items()):
        index[_inside(plan, n)] = at, len(stream)
        at += len(stream)
    table = index.tobytes()
    return b"".join([*(stream for _, stream in sorted(streams.items())), table, _crc32c(table)])


def unpack_shard(plan: Plan, job: int, data: bytes) -> dict[int, bytes]:
    """The streams in a shard by number of the chunk; CorruptChunk where the index is damaged or points outside."""
    size = 16 * prod(_per_shard(plan))
    table, crc = data[-size - 4 : -4], data[-4:]
    if len(table) < size or _crc32c(table) != crc:
        raise CorruptChunk(f"expected a shard that ends in an index, got {len(data)} bytes: encode it again")
    index = np.frombuffer(table, "<u8").reshape(*_per_shard(plan), 2)
    streams = {}
    for n in plan.chunks_of_job(job):
        offset, length = (int(value) for value in index[_inside(plan, n)])
        if length != MISSING:
            if offset + length > len(data) - size - 4:
                raise CorruptChunk(f"expected streams in {len(data)} bytes, got one at {offset}: encode it again")
            streams[n] = data[offset : offset + length]
    return streams


def stored_stream(plan: Plan, target: Folder, n: int) -> bytes | None:
    """The stream of a chunk in the store; None where there is none. CorruptChunk for a damaged shard."""
    job = plan.job_of(n)
    data = target.read(plan.key_of_job(job))
    if data is None or plan.shards is None:
        return data
    return unpack_shard(plan, job, data).get(n)


def valid(plan: Plan, stream: bytes | None) -> bool:
    """Whether bytes are a whole stream of a chunk of this array."""
    if stream is None:
        return False
    try:
        return open_stream(stream)[0].shape == plan.chunks
    except (CorruptChunk, UnsupportedFormat):
        return False


def spooled(plan: Plan, job: int, n: int) -> str:
    """Where the stream of a chunk waits for the others of its shard, in the state folder."""
    return f"{SPOOL}/{job}/{n}"


def _per_shard(plan: Plan) -> tuple[int, ...]:
    return tuple(shard // chunk for shard, chunk in zip(plan.shards or plan.chunks, plan.chunks))


def _inside(plan: Plan, n: int) -> tuple[int, ...]:
    return tuple(i % per for i, per in zip(plan.index_of(n), _per_shard(plan)))


def _crc32c(data: bytes) -> bytes:
    from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

    encoded: Any = CRC32C(location="end").encode(data)
    return bytes(encoded[-4:])
