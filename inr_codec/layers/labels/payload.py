"""Labels layer: a chunk of few values against their flat neighbourhoods, exact.

Payload: the dtype's name with its length (varint), as in the lossless layer, the number of distinct values (varint),
then what `label_coder` writes: those values as unsigned integers, ascending, and which of them each voxel has. A single
value stands there as it is. Any dtype of 1, 2, 4 or 8 bytes will do: values are told apart by their bits.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from inr_codec.chunk.boxes import Box, as_3d, extent, runs
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import WholeKind
from inr_codec.layers.labels.label_coder import Labels, decode_labels, encode_labels
from inr_codec.layers.lossless import read_dtype
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import FREE_VOXELS, VOXELS_PER_BYTE, Header, Layer, LayerType

SIZES = (1, 2, 4, 8)
"""Bytes that a value may have."""
PIECE = 1 << 20  # voxels whose distinct values are sorted at a time
FEW_BYTES = 2  # values of so many bytes are looked up in a table

FREE_LABELS, LABELS_PER_BYTE = 1 << 12, 1 << 3
"""A chunk has at most so many distinct values, and so many more for each byte: few bytes take little memory."""

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.unsignedinteger[Any]]


def as_bits(chunk: Array) -> Ids:
    """A chunk's values as unsigned integers of the same size."""
    return chunk.view(f"u{chunk.dtype.itemsize}")


def distinct(bits: Ids) -> Ids:
    """The values of a chunk, ascending."""
    return np.unique(np.concatenate([np.unique(bits[box]) for box in runs(bits.shape, PIECE)]))


def lookup(bits: Ids, ids: Ids) -> Callable[[Box], Labels]:
    """What gives the labels of a box: the places of its values in `ids`."""
    if bits.dtype.itemsize > FEW_BYTES:
        return lambda box: np.ascontiguousarray(np.searchsorted(ids, bits[box]), np.int32)
    table = np.zeros(256**bits.dtype.itemsize, np.int32)
    table[ids] = np.arange(ids.size)
    return lambda box: table[bits[box]]


def volume_of(shape: Sequence[int]) -> tuple[int, int, int]:
    """The three axes that a chunk is coded with: those of 1 dropped, all before the last two merged."""
    return as_3d([n for n in shape if n != 1])


def pack_labels(chunk: Array, most: int | None = None) -> bytes | None:
    """The payload for a native C-ordered chunk of one voxel or more; None for more than `most` bytes, or its own."""
    out = ByteWriter()
    name = chunk.dtype.str.encode("ascii")
    out.varint(len(name))
    out.raw(name)
    volume = volume_of(chunk.shape)
    bits = as_bits(chunk).reshape(volume)
    ids = distinct(bits)
    out.varint(ids.size)
    room = max((chunk.nbytes if most is None else min(most, chunk.nbytes)) - len(out.getvalue()), 0)
    data: bytes | None
    if ids.size == 1:
        data = ids.astype(ids.dtype.newbyteorder("<")).tobytes()
    elif ids.size > FREE_LABELS + LABELS_PER_BYTE * room:
        return None
    else:
        data = encode_labels(lookup(bits, ids), volume, ids.size, room, ids.astype(np.uint64))
    if data is None or ids.size > FREE_LABELS + LABELS_PER_BYTE * len(data):
        return None
    out.raw(data.ljust(-((FREE_VOXELS - chunk.size) // VOXELS_PER_BYTE), b"\0"))
    if len(out.getvalue()) > (chunk.nbytes if most is None else most):
        return None
    return out.getvalue()


def unpack_head(payload: bytes, shape: tuple[int, ...]) -> tuple[np.dtype[Any], int, bytes]:
    """The dtype, the number of distinct values, and what is coded; CorruptChunk for what cannot be."""
    data = ByteReader(payload)
    dtype = read_dtype(data)
    if dtype.itemsize not in SIZES:
        raise CorruptChunk(f"expected labels of {SIZES} bytes, got dtype {dtype}: the chunk is damaged")
    count = data.varint()
    most = min(math.prod(shape), 256**dtype.itemsize)
    coded = data.rest()
    if math.prod(shape) > FREE_VOXELS + VOXELS_PER_BYTE * len(coded):
        raise CorruptChunk(f"expected labels of fewer voxels in {len(coded)} bytes, got {shape}: the chunk is damaged")
    most = min(most, FREE_LABELS + LABELS_PER_BYTE * len(coded))
    if not 0 < count <= most:
        raise CorruptChunk(f"expected 1 to {most} labels, got {count}: the chunk is damaged")
    return dtype, count, coded


def unpack_dtype(payload: bytes) -> np.dtype[Any]:
    """The dtype of a payload's chunk."""
    return read_dtype(ByteReader(payload))


def unpack_labels(payload: bytes, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> Array:
    """The chunk in a payload, in its own byte order."""
    dtype, count, data = unpack_head(payload, shape)
    out: Array = np.empty(shape, dtype, order)
    table = np.zeros(1, dtype)
    if count == 1:
        table[:] = np.frombuffer(ByteReader(data).raw(dtype.itemsize), dtype.newbyteorder("<"))
        out[...] = table[0]
        return out
    ids = np.zeros(count, np.uint64)
    axes = out.squeeze()
    lead = axes.shape[:-2]
    volume = volume_of(shape)
    for box, labels in decode_labels(data, volume, count, ids):
        if not any(side.start for side in box):
            table = _values(ids, dtype)
        if volume[0] == 1:
            axes[box[-axes.ndim :]] = table[labels].reshape(extent(box[-axes.ndim :]))
            continue
        for plane, number in enumerate(range(box[0].start, box[0].stop)):
            axes[np.unravel_index(number, lead)] = table[labels[plane]]
    return out


def _values(ids: npt.NDArray[np.uint64], dtype: np.dtype[Any]) -> Array:
    """The values that stand for ids; CorruptChunk unless these ascend and have that many bytes."""
    if int(ids[-1]) >> 8 * dtype.itemsize or (ids[1:] <= ids[:-1]).any():
        raise CorruptChunk(f"expected ascending labels of {dtype.itemsize} bytes, got others: the chunk is damaged")
    bits = ids.astype(f"u{dtype.itemsize}")
    return bits.view(dtype.newbyteorder("=")).astype(dtype)


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    unpack_head(payload, header.shape)
    return 0


KIND = WholeKind(
    type=LayerType.LABELS, name="labels", exact=True, array=unpack_labels, dtype=unpack_dtype, weigh=_weigh, since=2
)
