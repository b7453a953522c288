"""The encoded chunks of a zarr array, byte for byte as the codec returned them, to look at without decoding."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from inr_codec import inspect
from inr_codec.config import CODEC_ID
from inr_codec.errors import ConfigError
from inr_codec.stores.shard_index import unpack_shard

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
    """(first index in the array, stream) of every stored chunk of a zarr array, format 2 or 3, sharded or not.

    Chunks that zarr leaves out because they hold nothing but the fill value are not there. Raises ConfigError for an
    array that another codec wrote, CorruptChunk for a shard whose index is damaged.
    """
    metadata = array.metadata
    if codec_of(metadata) is None:
        raise ConfigError(
            f"expected an array with {CODEC_ID} as its last codec, got {_codecs(metadata)}: "
            "encode it with `inr-codec encode`, or in format 3 with compressors=None"
        )
    outer = array.shards or array.chunks
    for index in product(*(range(-(-side // chunk)) for side, chunk in zip(array.shape, outer))):
        data = _key(array, metadata.encode_chunk_key(index))
        if data is not None:
            for place, stream in streams_of_key(array, index, data):
                yield tuple(i * chunk for i, chunk in zip(place, array.chunks)), stream


def _key(array: Any, key: str) -> bytes | None:
    """The bytes of a key of an array, wherever its store is; None where there is none."""
    root = getattr(array.store, "root", None)
    if root is not None:
        file = Path(root) / array.path / key
        return file.read_bytes() if file.exists() else None
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    found = sync(array.store.get(f"{array.path}/{key}".lstrip("/"), default_buffer_prototype()))
    return None if found is None else bytes(found.to_bytes())


def streams_of_key(array: Any, index: tuple[int, ...], data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """(place on the grid of chunks, stream) of all chunks in the bytes of the key at `index` of an array's keys.

    Raises CorruptChunk for a shard whose index is damaged.
    """
    if array.shards is None:
        yield index, data
        return
    grid = tuple(side // chunk for side, chunk in zip(array.shards, array.chunks))
    place = array.metadata.codecs[0].index_location  # an enumeration in zarr 3.1, text in zarr 3.4
    for inner, stream in unpack_shard(data, grid, at_start=getattr(place, "value", place) == "start").items():
        yield tuple(i * n + k for i, n, k in zip(index, grid, inner)), stream


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
