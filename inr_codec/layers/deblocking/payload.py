"""Payload of the deblocking layer (FORMAT.md, section 5): a strength, and one bit for each internal face."""

from collections.abc import Sequence

import numpy as np

from inr_codec.chunk.selection import Indices, take
from inr_codec.errors import CorruptChunk
from inr_codec.layers.deblocking.filter import apply_deblock, face_positions, faces, halo_indices
from inr_codec.layers.kind import Asked, Unit, UnitKind
from inr_codec.layers.network.blocks import Block
from inr_codec.layers.network.payload import unpack_network
from inr_codec.stream.frame import Header, Layer, LayerType


def pack_deblock(strength_code: int, bits: Sequence[int]) -> bytes:
    """Payload of the deblocking layer: its strength is 2^(-code / 4) unit intensities; one bit per internal face."""
    return bytes([strength_code]) + np.packbits(np.array(bits, np.uint8)).tobytes()


def deblock_strength(code: int) -> float:
    """Strength of a code."""
    return float(2.0 ** (-code / 4))


def unpack_deblock(payload: bytes, blocks: Sequence[Block]) -> tuple[float, list[int]]:
    """Strength and face bits of a payload."""
    count = len(faces(blocks))
    if len(payload) != 1 + (count + 7) // 8:
        raise CorruptChunk(
            f"expected {1 + (count + 7) // 8} bytes of deblocking for {count} faces, got {len(payload)}: the chunk "
            "is damaged"
        )
    return deblock_strength(payload[0]), [
        int(bit) for bit in np.unpackbits(np.frombuffer(payload[1:], np.uint8))[:count]
    ]


def _blocks_of(below: Sequence[Layer], shape: tuple[int, ...]) -> Sequence[Block]:
    """The blocks of the networks whose seams are filtered."""
    if not below or below[-1].type != LayerType.NETWORK:
        raise CorruptChunk("expected networks before the deblocking filter, got none: the chunk is damaged")
    return unpack_network(below[-1].payload, shape).blocks


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    unpack_deblock(payload, _blocks_of(below, header.shape))
    return 0


def _needs(asked: Asked) -> Indices:
    """Voxels on both sides of each face that is filtered."""
    blocks = _blocks_of(asked.below, asked.shape)
    _, bits = unpack_deblock(asked.payload, blocks)
    return [
        halo_indices(index, face_positions(blocks, bits, axis), n).astype(np.intp)
        for axis, (index, n) in enumerate(zip(asked.indices, asked.shape, strict=True))
    ]


def _apply(asked: Asked, values: Unit | None, have: Indices) -> Unit:
    assert values is not None
    blocks = _blocks_of(asked.below, asked.shape)
    strength, bits = unpack_deblock(asked.payload, blocks)
    apply_deblock(values, blocks, bits, strength, have)
    return take(values, have, asked.indices)


KIND = UnitKind(type=LayerType.DEBLOCK, name="deblock", exact=False, needs=_needs, apply=_apply, weigh=_weigh)
