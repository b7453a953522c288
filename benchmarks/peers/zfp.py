"""ZFP (by imagecodecs): 3-D, fixed accuracy.

ZFP rounds its tolerance down to a power of two; so that every tolerance can be had, values are scaled to make it one.
Values are coded about the chunk's mean: blocks of a 256th of the tolerance cost one bit. Scale and mean: 8 bytes.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer


def encode(chunk: NDArray, octaves: float) -> bytes:
    """With a tolerance of 2^-octaves of the chunk's range."""
    from imagecodecs import zfp_encode

    whole = int(np.floor(octaves))
    scale = 2.0 ** (octaves - whole) / max(float(np.ptp(chunk)), 1e-30)
    known = np.array([chunk.mean(dtype=np.float64), scale], np.float32)
    unit = ((chunk - np.float64(known[0])) * np.float64(known[1])).astype(np.float32)
    return known.tobytes() + bytes(zfp_encode(unit, 2.0**-whole, mode="a"))


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """The values."""
    from imagecodecs import zfp_decode

    mean, scale = np.frombuffer(data[:8], np.float32).astype(np.float64)
    return (zfp_decode(data[8:]) / scale + mean).astype(np.float32)


PEERS = [
    Peer(
        "ZFP", "scientific", "imagecodecs", "3-D, fixed accuracy, about the mean",
        [k / 32 for k in range(16 * 32, -10 * 32, -1)], encode, decode, 14 * 32,
    )
]  # fmt: skip
