"""The encoded chunks of a zarr array on disk, byte for byte as the codec returned them, to look at without decoding."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec import inspect
from inr_codec.errors import ConfigError, CorruptChunk

CODEC_ID = "inr_codec"

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""First index in the array and number of voxels, per axis."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Where the chunks of an array lie, and the blocks in them."""

    chunks: tuple[Box, ...] = ()
    blocks: tuple[Box, ...] = ()


def outlines_of(array: Any) -> Outlines:
    """The stored chunks of a local zarr array and the blocks of their partitions, in voxels of the array."""
    chunks: list[Box] = []
    blocks: list[Box] = []
    for first, stream in stored_streams(array):
        told = inspect(stream)
        chunks.append((first, tuple(told.shape)))
        for block in told.blocks:
            blocks.append((tuple(a + b for a, b in zip(first, block.offset)), tuple(block.shape)))
    return Outlines(tuple(chunks), tuple(blocks))


def stored_streams(array: Any) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """(first index in the array, stream) of every stored chunk of a local zarr array, format 2 or 3, sharded or not.

    Chunks that zarr leaves out because they hold nothing but the fill value are not there. Raises ConfigError for an
    array that another codec wrote or that is not in a local folder, CorruptChunk for a shard whose index is damaged.
    """
    metadata = array.metadata
    if codec_of(metadata) is None:
        raise ConfigError(
            f"expected an array with {CODEC_ID} as its last codec, got {_codecs(metadata)}: "
            "encode it with `inr-codec encode`, or in format 3 with compressors=None"
        )
    root = getattr(array.store, "root", None)
    if root is None:
        raise ConfigError(f"expected an array in a local folder, got {array.store!r}: copy it to this machine first")
    outer = array.shards or array.chunks
    for index in product(*(range(-(-side // chunk)) for side, chunk in zip(array.shape, outer))):
        file = Path(root) / array.path / metadata.encode_chunk_key(index)
        if file.exists():
            for place, stream in streams_of_key(array, index, file.read_bytes()):
                yield tuple(i * chunk for i, chunk in zip(place, array.chunks)), stream


def streams_of_key(array: Any, index: tuple[int, ...], data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """(place on the grid of chunks, stream) of all chunks in the bytes of the key at `index` of an array's keys.

    A shard's index is (offset, length) per chunk, little-endian u64, with a CRC-32C of 4 bytes. Raises CorruptChunk
    where that is damaged or points outside of the shard.
    """
    if array.shards is None:
        yield index, data
        return
    counts = tuple(side // chunk for side, chunk in zip(array.shards, array.chunks))
    size = 16 * int(np.prod(counts)) + 4
    place = array.metadata.codecs[0].index_location  # an enumeration in zarr 3.1, text in zarr 3.4
    table = data[:size] if getattr(place, "value", place) == "start" else data[-size:]
    if len(table) < size or _crc32c(table[:-4]) != table[-4:]:
        raise CorruptChunk(f"expected a sound shard index of {size} bytes, got {len(data)} bytes in all: copy it again")
    entries = np.frombuffer(table[:-4], "<u8").reshape(*counts, 2)
    for inner in product(*map(range, counts)):
        offset, length = (int(value) for value in entries[inner])
        if length != 2**64 - 1:  # zarr's mark for a chunk that is not stored
            if offset + length > len(data):
                raise CorruptChunk(f"expected a chunk at {offset} of a shard, got {len(data)} bytes: copy it again")
            yield tuple(i * n + k for i, n, k in zip(index, counts, inner)), data[offset : offset + length]


def _crc32c(data: bytes) -> bytes:
    from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

    encoded: Any = CRC32C(location="end").encode(data)
    return bytes(encoded[-4:])


def codec_of(metadata: Any) -> Any:
    """Our codec where the stored bytes of a chunk are its streams, nothing compressing them further; None elsewhere."""
    if metadata.zarr_format == 2:
        return metadata.compressor if getattr(metadata.compressor, "codec_id", None) == CODEC_ID else None
    codecs = metadata.codecs
    if len(codecs) == 1 and hasattr(codecs[0], "chunk_shape") and hasattr(codecs[0], "codecs"):
        codecs = codecs[0].codecs
    return codecs[-1] if codecs and codecs[-1].to_dict()["name"] == CODEC_ID else None


def _codecs(metadata: Any) -> str:
    if metadata.zarr_format == 2:
        return repr(metadata.compressor)
    return ", ".join(str(codec.to_dict()["name"]) for codec in metadata.codecs)
