"""The lossless layer: what networks cannot hold (or what deflates below the budget), bytes shuffled and deflated."""

import math
import re
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import extent, runs
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import WholeKind
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import LayerType

KINDS = "biufcmMSU"
PIECE = 1 << 22  # bytes that are inflated at a time
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
    return _read_dtype(ByteReader(payload))


def _read_dtype(data: ByteReader) -> np.dtype[Any]:
    name = data.raw(data.varint())
    try:
        if NAME.fullmatch(name):
            dtype: np.dtype[Any] = np.dtype(name.decode("ascii"))
            if dtype.str.encode("ascii") == name:
                return dtype
    except (TypeError, ValueError):
        pass
    raise CorruptChunk(f"expected the name of a dtype of kind {KINDS}, got {name!r:.80}: the chunk is damaged")


def unpack_lossless(payload: bytes, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> NDArray[np.generic]:
    """The chunk in a payload, native byte order."""
    data = ByteReader(payload)
    dtype = _read_dtype(data)
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        data.deflated(0)
        return np.zeros(shape, dtype, order)
    data.expect_deflated(size)
    out: NDArray[np.generic] = np.empty(shape, dtype, order)
    planes = np.ndarray((*shape, dtype.itemsize), np.uint8, out, strides=(*out.strides, 1))
    parts = list(runs(shape, PIECE))
    sizes = [math.prod(extent(part)) for part in parts]
    pieces = data.deflated_pieces(sizes * dtype.itemsize)
    for byte in range(dtype.itemsize):
        for part, piece in zip(parts, pieces):
            planes[..., byte][part] = np.frombuffer(piece, np.uint8).reshape(extent(part))
    return out


KIND = WholeKind(type=LayerType.LOSSLESS, name="lossless", exact=True, array=unpack_lossless, dtype=unpack_dtype)
