"""SZ3 (by imagecodecs): 3-D prediction with an absolute error bound, of float32 values."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer


def encode(chunk: NDArray, octaves: float) -> bytes:
    """Every voxel within 2^-octaves of the chunk's range."""
    from imagecodecs import sz3_encode

    bound = float(np.ptp(chunk)) * 2.0**-octaves
    return bytes(sz3_encode(chunk.astype(np.float32), "abs", abs=bound))


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """The values."""
    from imagecodecs import sz3_decode

    return sz3_decode(data, shape, np.float32)


PEERS = [
    Peer(
        "SZ3", "scientific", "imagecodecs", "3-D, interpolation and Lorenzo predictors, absolute error bound",
        [k / 64 for k in range(14 * 64, 0, -1)], encode, decode, 12 * 64,
    )
]  # fmt: skip
