"""JPEG 2000 (OpenJPEG by imagecodecs): a mosaic of planes, the irreversible 9-7 wavelet, a bare codestream."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer
from benchmarks.peers.support import mosaic, scaling

BITS = 16


def compress(picture: NDArray, quality: float) -> bytes:
    """A codestream whose quality layer ends at so many dB (of the 16-bit range)."""
    from imagecodecs import jpeg2k_encode

    return jpeg2k_encode(picture, quality, reversible=False, codecformat="j2k", numthreads=1)


def expand(data: bytes) -> NDArray:
    """The picture."""
    from imagecodecs import jpeg2k_decode

    return jpeg2k_decode(data, numthreads=1)


encode, decode = mosaic.coder(compress, expand, BITS)
PEERS = [
    Peer(
        "JPEG 2000", "image", "imagecodecs", "16 bits, one mosaic of all planes, 9-7 wavelet, fixed PSNR",
        scaling.levels(np.arange(80, 10, -0.05), shaded=False), encode, decode, 900, scaling.describe,
    )
]  # fmt: skip
