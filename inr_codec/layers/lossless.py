"""The lossless layer: what networks cannot hold (or what deflates below the budget), bytes shuffled and deflated."""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import extent, runs
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import WholeKind
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType

KINDS = "biufcmMSU"
PIECE = 1 << 22  # bytes that are inflated at a time
MOST_BYTES = 1 << 62  # of an array, sides of 0 counted as 1: numpy makes no larger ones
NAME = re.compile(rf"[|<>][{KINDS}]\d+(\[\w+\])?".encode())


def pack_lossless(chunk: NDArray[np.generic], level: int = 9) -> bytes:
    """Payload for a C-ordered chunk of any plain dtype: dtype string, shuffled or not, deflated."""
    out = ByteWriter()
    name = chunk.dtype.str.encode("ascii")
    out.varint(len(name))
    out.raw(name)
    size = chunk.dtype.itemsize
    data = chunk.tobytes()
    if size:
        data = np.frombuffer(data, np.uint8).reshape(-1, size).T.tobytes()
    out.raw(zlib.compress(data, level))
    return out.getvalue()


def unpack_dtype(payload: bytes) -> np.dtype[Any]:
    """The dtype of a payload's chunk."""
    return read_dtype(ByteReader(payload))


def read_dtype(data: ByteReader) -> np.dtype[Any]:
    """The dtype whose name, with its length, comes next."""
    name = data.raw(data.varint())
    try:
        if NAME.fullmatch(name):
            dtype: np.dtype[Any] = np.dtype(name.decode("ascii"))
            if dtype.str.encode("ascii") == name and dtype.itemsize:
                return dtype
    except (TypeError, ValueError):
        pass
    wanted = f"the name of a dtype of kind {KINDS} and of 1 byte or more"
    raise CorruptChunk(f"expected {wanted}, got {name!r:.80}: the chunk is damaged")


def unpack_lossless(payload: bytes, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> NDArray[np.generic]:
    """The chunk in a payload, native byte order."""
    data = ByteReader(payload)
    dtype = read_dtype(data)
    count = math.prod(shape)
    if count == 0:
        data.deflated(0)
        return np.zeros(shape, dtype, order)
    data.expect_deflated(count * dtype.itemsize)
    out: NDArray[np.generic] = np.empty(shape, dtype, order)
    planes = np.ndarray((*shape, dtype.itemsize), np.uint8, out, strides=(*out.strides, 1))
    together = max(1, PIECE // count)  # bytes of every element that one piece holds: text may have millions
    parts = [
        (*part, slice(byte, min(byte + together, dtype.itemsize)))
        for byte in range(0, dtype.itemsize, together)
        for part in runs(shape, PIECE)
    ]
    pieces = data.deflated_pieces([math.prod(extent(part)) for part in parts])
    for part, piece in zip(parts, pieces):
        *sides, some = extent(part)
        planes[part] = np.moveaxis(np.frombuffer(piece, np.uint8).reshape(some, *sides), 0, -1)
    return out


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    data = ByteReader(payload)
    size = read_dtype(data).itemsize
    data.expect_deflated(header.size * size)
    if math.prod(max(side, 1) for side in header.shape) * size > MOST_BYTES:
        raise CorruptChunk(f"expected an array that memory can hold, got shape {header.shape}: the chunk is damaged")
    return 0


KIND = WholeKind(
    type=LayerType.LOSSLESS, name="lossless", exact=True, array=unpack_lossless, dtype=unpack_dtype, weigh=_weigh
)
