"""SPERR (by imagecodecs): 3-D wavelets and SPECK, a size in bits per voxel."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer


def encode(chunk: NDArray, octaves: float) -> bytes:
    """With 2^octaves bits per voxel, the whole chunk at once."""
    from imagecodecs import sperr_encode

    return bytes(sperr_encode(chunk.astype(np.float32), 2.0**octaves, "bpp", chunks=chunk.shape, numthreads=1))


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """The values."""
    from imagecodecs import sperr_decode

    return sperr_decode(data, numthreads=1)


PEERS = [
    Peer(
        "SPERR", "scientific", "imagecodecs", "3-D, bits per voxel, one chunk",
        [k / 48 for k in range(4 * 48, -10 * 48, -1)], encode, decode, 8 * 48,
        lambda octaves: (2.0**octaves, ""),
    )
]  # fmt: skip
