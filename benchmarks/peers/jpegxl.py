"""JPEG XL (libjxl by imagecodecs): a mosaic of planes, 16 bits, effort 7.

Efforts 8 and 9 search longer for what looks alike, at seven times the time and no higher PSNR.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer
from benchmarks.peers.support import mosaic, scaling

BITS = 16


def compress(picture: NDArray, distance: float) -> bytes:
    """A bare codestream of a Butteraugli distance."""
    from imagecodecs import jpegxl_encode

    return jpegxl_encode(picture, distance=distance, effort=7, usecontainer=False, numthreads=1)


def expand(data: bytes) -> NDArray:
    """The picture."""
    from imagecodecs import jpegxl_decode

    return jpegxl_decode(data, numthreads=1)


encode, decode = mosaic.coder(compress, expand, BITS)
PEERS = [
    Peer(
        "JPEG XL", "image", "imagecodecs", "16 bits, one mosaic of all planes, VarDCT, effort 7",
        scaling.levels(0.1 * 2 ** np.arange(0, np.log2(200), 1 / 24)), encode, decode, 160, scaling.describe,
    )
]  # fmt: skip
