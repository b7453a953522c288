"""What decoding takes for each voxel, layer by layer: bytes beside the array that comes back, and CPU time.

    python -m tests.trust.memory

Streams of noise, or of what a layer holds at most, in cubes, planes and lines of two sizes, as u1: what grows from one
to the other is what a voxel takes. A process of its own decodes, on one thread.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from forging import header_of

from inr_codec.chunk.boxes import as_3d
from inr_codec.chunk.intensity import Intensity
from inr_codec.layers.correction.level_coder import encode_levels
from inr_codec.layers.correction.offset_coder import encode_offsets
from inr_codec.layers.correction.payload import Lattice, base_levels, base_values, pack_correction
from inr_codec.layers.residual.coefficient_coder import encode_coefficients
from inr_codec.layers.residual.packet_tree import mallat_tree, pack_packet_tree, unpack_packet_tree
from inr_codec.layers.residual.subbands import subbands_table
from inr_codec.stream.frame import Layer, LayerType, pack_stream, unpack_stream
from tests.promises.test_bombs import bombs
from tests.trust.worst import QUIET, Decoder, Found

SHAPES = {
    "cube": ((128, 128, 128), (160, 160, 160)),
    "plane": ((1448, 1448), (2048, 2048)),
    "line": ((1 << 21,), (1 << 22,)),
    "3 planes": ((3, 836, 836), (3, 1182, 1182)),
}
"""A smaller and a larger chunk of each kind: the smaller one is as large as what is decoded at a time."""
LATTICE = Lattice(1.0, 9, None, -9, True)
INTENSITY = Intensity(0.0, 100.0)


def residual(shape: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """The payload of a residual layer of noise, under the classical tree."""
    flat = as_3d(shape)
    tree = pack_packet_tree(flat, mallat_tree(flat))
    bands = subbands_table(flat, unpack_packet_tree(flat, tree)[1])
    data, _ = encode_coefficients(2 * rng.standard_normal(flat, np.float32), bands, 1.0, 0.01)
    return bytes.fromhex("3c8000 3f0000 808080") + bytes([len(tree)]) + tree + data


def streams(shape: tuple[int, ...]) -> Iterator[tuple[str, bytes]]:
    """(layers, stream) of a chunk of u1 of that shape."""
    rng, header = np.random.default_rng(0), header_of(shape, "u1")
    base = Layer(LayerType.RESIDUAL, residual(shape, rng))
    yield "residual", pack_stream(header, [base])
    numbers = rng.integers(-9, 10, as_3d(shape)).astype(np.int32)
    alone = pack_correction(0.0, Lattice(1.0, 18), encode_levels(numbers + 9, 18)[0])
    yield "correction", pack_stream(header, [Layer(LayerType.CORRECTION, alone)])
    levels, span = base_levels(base_values(base.payload, shape, INTENSITY, np.dtype("u1")), INTENSITY, LATTICE)
    offsets = encode_offsets(numbers, levels, span, -9, 9)
    based = Layer(LayerType.CORRECTION, pack_correction(9.0, LATTICE, offsets))
    yield "residual, correction", pack_stream(header, [base, based])
    few = bombs(*shape)
    for name in ("network", "filter", "mask", "inflated"):
        layers = unpack_stream(few[name])[1]
        told = ", ".join(LayerType(layer.type).name.lower() for layer in layers)
        yield told, few[name]


def run(_: float) -> dict[str, Any]:
    """A row for each kind of layers and of chunk."""
    os.environ |= QUIET
    take, rows = Decoder(), []
    try:
        for kind, (small, large) in SHAPES.items():
            for (name, less), (_, more) in zip(streams(small), streams(large), strict=True):
                rows.append({"layers": name, "chunk": kind, "Mvoxel": round(math.prod(large) / 1e6, 1)})
                rows[-1] |= grown(take(less), take(more))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    finally:
        take.close()
    return {"rows": rows}


def grown(first: Found, second: Found) -> dict[str, float]:
    """Bytes and nanoseconds of each further voxel; MB of the larger chunk."""
    voxels = second.voxels - first.voxels
    return {
        "bytes a voxel": round((second.bytes - first.bytes) / voxels, 1),
        "ns a voxel": round(1e9 * (second.seconds - first.seconds) / voxels),
        "MB": round(second.bytes / 1e6),
    }


if __name__ == "__main__":
    print(json.dumps(run(0), indent=1))
