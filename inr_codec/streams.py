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
    if not _written_by_us(metadata):
        raise ConfigError(
            f"expected an array with {CODEC_ID} as its last codec, got {_codecs(metadata)}: "
            "encode it with `inr-codec encode`, or in format 3 with compressors=None"
        )
    root = getattr(array.store, "root", None)
    if root is None:
        raise ConfigError(f"expected an array in a local folder, got {array.store!r}: copy it to this machine first")
    outer = array.shards or array.chunks
    counts = [-(-side // chunk) for side, chunk in zip(array.shape, outer)]
    for index in product(*map(range, counts)):
        file = Path(root) / array.path / metadata.encode_chunk_key(index)
        if not file.exists():
            continue
        start = tuple(i * chunk for i, chunk in zip(index, outer))
        if array.shards is None:
            yield start, file.read_bytes()
        else:
            yield from _streams_of_shard(file, start, array.shards, array.chunks, metadata.codecs[0])


def _streams_of_shard(
    file: Path, start: tuple[int, ...], shard: tuple[int, ...], chunks: tuple[int, ...], codec: Any
) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """The streams in one shard: its index is (offset, length) per chunk, little-endian u64 with a CRC of 4 bytes."""
    counts = tuple(side // chunk for side, chunk in zip(shard, chunks))
    data, index_bytes = file.read_bytes(), 16 * int(np.prod(counts)) + 4
    index = data[-index_bytes:] if codec.index_location.value == "end" else data[:index_bytes]
    if len(index) < index_bytes:
        raise CorruptChunk(
            f"expected a shard index of {index_bytes} bytes, got {len(index)} in {str(file)!r}: copy it again"
        )
    entries = np.frombuffer(index[:-4], "<u8").reshape(*counts, 2)
    for inner in product(*map(range, counts)):
        offset, length = (int(value) for value in entries[inner])
        if length != 2**64 - 1:  # zarr's mark for a chunk that is not stored
            first = tuple(a + i * chunk for a, i, chunk in zip(start, inner, chunks))
            yield first, data[offset : offset + length]


def _written_by_us(metadata: Any) -> bool:
    """Whether the stored bytes of a chunk are a stream: the codec is there and nothing compresses what it returns."""
    if metadata.zarr_format == 2:
        return getattr(metadata.compressor, "codec_id", None) == CODEC_ID
    codecs = metadata.codecs
    if len(codecs) == 1 and hasattr(codecs[0], "chunk_shape") and hasattr(codecs[0], "codecs"):
        codecs = codecs[0].codecs
    return bool(codecs) and codecs[-1].to_dict()["name"] == CODEC_ID


def _codecs(metadata: Any) -> str:
    if metadata.zarr_format == 2:
        return repr(metadata.compressor)
    return ", ".join(str(codec.to_dict()["name"]) for codec in metadata.codecs)
