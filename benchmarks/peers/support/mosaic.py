"""All planes of a chunk in one picture, so that an image codec pays for one header.

Planes lie row by row in a grid that is about as wide as high; every other column is mirrored left to right and every
other row upside down, so that neighbouring planes meet in edges that are alike (JPEG 2000 needs a fifth fewer bytes).
Places that are left over hold the last plane again.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.support import scaling


def mosaic(planes: NDArray) -> NDArray:
    """(n, y, x) to (rows y, columns x)."""
    rows, columns = _grid(len(planes))
    last = len(planes) - 1
    return np.ascontiguousarray(
        np.vstack(
            [np.hstack([_flip(planes[min(r * columns + c, last)], r, c) for c in range(columns)]) for r in range(rows)]
        )
    )


def planes(picture: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The planes of a mosaic of them."""
    n, y, x = shape
    columns = _grid(n)[1]
    places = [divmod(k, columns) for k in range(n)]
    return np.stack([_flip(picture[r * y : r * y + y, c * x : c * x + x], r, c) for r, c in places])


def coder(
    compress: Callable[[NDArray, float], bytes], expand: Callable[[bytes], NDArray], bits: int
) -> tuple[Callable[[NDArray, scaling.Level], bytes], Callable[[bytes, tuple[int, ...], np.dtype], NDArray]]:
    """encode and decode of a peer from compress(picture, quality) and expand(bytes) of an image codec."""

    def encode(chunk: NDArray, level: scaling.Level) -> bytes:
        header, grey = scaling.to_grey(chunk, bits, level[1])
        return header + bytes(compress(mosaic(grey.astype(np.uint8) if bits == 8 else grey), level[0]))

    def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
        size = scaling.header_size(dtype)
        return scaling.from_grey(data[:size], planes(expand(data[size:]), shape), bits, dtype)

    return encode, decode


def _grid(count: int) -> tuple[int, int]:
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def _flip(plane: NDArray, row: int, column: int) -> NDArray:
    return plane[:: -1 if row % 2 else 1, :: -1 if column % 2 else 1]
