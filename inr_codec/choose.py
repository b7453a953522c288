"""Which layers a chunk gets, and how many bytes each: whatever leaves the least squared error at the same total."""

import math

import numpy as np
from numpy.typing import NDArray

from inr_codec.bitstream import Layer, LayerType
from inr_codec.config import Config
from inr_codec.deblock import STRENGTHS, choose_faces, faces
from inr_codec.encode_network import encode_network
from inr_codec.intensity import UnitChunk
from inr_codec.network_layer import evaluate_network, unpack_network
from inr_codec.reconstruct import deblock_strength, pack_deblock
from inr_codec.selection import all_indices

STRONGEST = 4 * round(math.log2(STRENGTHS[-1]))  # of the rms error's code, so that every strength has one
FRAME = 4
"""Bytes that the frame of one layer takes at most: its type and its length."""

DEBLOCK_RESERVE = 8
"""Bytes kept back for a deblocking layer, beside one bit per face."""


def choose_layers(chunk: UnitChunk, n_bytes: int, config: Config) -> list[Layer]:
    """Layers of at most `n_bytes` bytes in all, framing included; none (a constant chunk) if nothing fits."""
    return network_layers(chunk, n_bytes, config)[0]


def network_layers(chunk: UnitChunk, n_bytes: int, config: Config) -> tuple[list[Layer], NDArray[np.float32]]:
    """Networks and, where it lowers the error, the deblocking filter; and the unit intensities that they decode to."""
    unit = chunk.unit
    wanted = config.deblock is not False
    payload = encode_network(chunk, n_bytes - FRAME - DEBLOCK_RESERVE * wanted, config)
    if payload is None:
        return [], np.zeros_like(unit)
    layers = [Layer(LayerType.NETWORK, payload)]
    layer = unpack_network(payload, unit.shape)
    decoded = evaluate_network(layer, all_indices(unit.shape))
    room = n_bytes - 2 * FRAME - len(payload) - 1 - (len(faces(layer.blocks)) + 7) // 8
    if not wanted or len(layer.blocks) == 1 or room < 0:
        return layers, decoded
    rms = math.sqrt(max(chunk.squared_error(decoded), 1e-18))
    code = min(max(round(-4 * math.log2(rms)), STRONGEST), 255)
    which, bits, filtered = choose_faces(unit, decoded, layer.blocks, deblock_strength(code), valid=chunk.valid)
    if not any(bits):
        return layers, decoded
    packed = pack_deblock(code - 4 * round(math.log2(STRENGTHS[which])), bits)
    return [*layers, Layer(LayerType.DEBLOCK, packed)], filtered
