"""JPEG of 8 and of 12 bits (libjpeg-turbo by imagecodecs): a mosaic of planes, Huffman tables of its own.

The standard's quantisation tables, which no option of imagecodecs replaces.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer
from benchmarks.peers.support import mosaic, scaling


def _peer(bits: int, guess: int) -> Peer:
    def compress(picture: NDArray, quality: float) -> bytes:
        from imagecodecs import jpeg8_encode

        return jpeg8_encode(picture, int(quality), optimize=True, bitspersample=bits)

    def expand(data: bytes) -> NDArray:
        from imagecodecs import jpeg8_decode

        return jpeg8_decode(data)

    encode, decode = mosaic.coder(compress, expand, bits)
    settings = f"{bits} bits, one mosaic of all planes, optimised Huffman tables"
    levels = scaling.levels(np.arange(100, 0, -1), shaded=bits > 8)
    return Peer(f"JPEG, {bits} bits", "image", "imagecodecs", settings, levels, encode, decode, guess, scaling.describe)


PEERS = [_peer(8, 88), _peer(12, 110)]
