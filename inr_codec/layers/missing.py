"""The layer of missing voxels: what the mask layer holds, coded as labels are, under contexts.

Payload: extent (varints), number of bit patterns (varint), the bits of the padding where there is some, the patterns;
then, where there are patterns, what `label_coder` writes for the classes of the voxels inside of the extent.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import AskedValues, CoverKind
from inr_codec.layers.labels.label_coder import decode_labels, encode_labels
from inr_codec.layers.labels.payload import volume_of
from inr_codec.layers.mask import MAX_PATTERNS, Mask, lay_over
from inr_codec.runtime.caches import remembered
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType


def pack_missing(mask: Mask, shape: tuple[int, ...], most: int | None = None) -> bytes | None:
    """The payload of a mask of a chunk of that shape; None for more than `most` bytes, or for a voxel's worth each."""
    out = ByteWriter()
    for n in mask.extent:
        out.varint(n)
    out.varint(len(mask.patterns))
    if mask.extent != shape:
        out.raw(mask.fill)
    for pattern in mask.patterns:
        out.raw(pattern)
    if mask.classes is not None:
        classes = mask.classes.reshape(volume_of(mask.extent))
        room = classes.size if most is None else most - len(out.getvalue())
        data = encode_labels(
            lambda box: classes[box].astype(np.int32, order="C"), classes.shape, len(mask.patterns) + 1, max(room, 0)
        )
        if data is None:
            return None
        out.raw(data)
    return out.getvalue()


def unpack_missing(payload: bytes, shape: tuple[int, ...], itemsize: int) -> Mask:
    """The mask in a payload; CorruptChunk if it does not fit a chunk of that shape and itemsize."""
    extent, fill, patterns, data = _head(payload, shape, itemsize)
    if not patterns:
        return Mask(extent, fill, patterns, None)
    volume = volume_of(extent)
    classes = np.empty(volume, np.uint8)
    for box, labels in decode_labels(data, volume, len(patterns) + 1):
        classes[box] = labels
    return Mask(extent, fill, patterns, classes.reshape(extent))


def _head(
    payload: bytes, shape: tuple[int, ...], itemsize: int
) -> tuple[tuple[int, ...], bytes, tuple[bytes, ...], bytes]:
    """Extent, bits of the padding (zeros where there is none), patterns, coded classes."""
    data = ByteReader(payload)
    extent = tuple(data.varint() for _ in shape)
    count = data.varint()
    inside = all(e <= n for e, n in zip(extent, shape, strict=True))
    if not inside or count > MAX_PATTERNS or (count and not math.prod(extent)):
        got = f"{extent} and {count}"
        raise CorruptChunk(
            f"expected a mask inside {shape} and at most {MAX_PATTERNS} masked values, got {got}: the chunk is damaged"
        )
    fill = data.raw(itemsize) if extent != shape else bytes(itemsize)
    patterns = tuple(data.raw(itemsize) for _ in range(count))
    return extent, fill, patterns, data.rest()


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    assert header.dtype is not None
    _head(payload, header.shape, header.dtype.itemsize)
    return 0


def _bytes_of(mask: Mask) -> int:
    return 0 if mask.classes is None else mask.classes.nbytes


_remembered = remembered(_bytes_of)(unpack_missing)
"""Masks of chunks that are read in part: their neighbouring planes are read next."""


def _cover(asked: AskedValues, values: NDArray[np.generic]) -> None:
    whole = values.shape == tuple(asked.shape)
    mask = (unpack_missing if whole else _remembered)(asked.payload, asked.shape, values.dtype.itemsize)
    lay_over(values, mask, asked.indices)


KIND = CoverKind(type=LayerType.MISSING, name="missing", exact=True, cover=_cover, weigh=_weigh, since=2)
