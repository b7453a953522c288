"""The network layer: packing, hostile bytes, evaluation by blocks."""

from dataclasses import replace

import numpy as np
import pytest
import reference_network
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.layers.network.blocks import root, split
from inr_codec.layers.network.payload import (
    NetworkBlock,
    NetworkLayer,
    affine_of,
    dequantise,
    evaluate_network,
    evaluate_network_at,
    pack_network,
    std_code,
    std_size,
    unpack_network,
)
from inr_codec.networks.position import coordinates

SHAPE = (16, 20, 17)


def random_layer(seed: int, depth: int = 4, octaves: int = 0) -> NetworkLayer:
    """A partition of SHAPE with random small networks, one block flat."""
    rng = np.random.default_rng(seed)
    blocks = split(root(SHAPE))
    layer = NetworkLayer(tuple(blocks), (), depth, 35, 0 if octaves else 240, octaves)
    networks = [NetworkBlock(0, 12345, 0)]
    for _ in blocks[1:]:
        empty = NetworkBlock(int(rng.integers(depth, 20)), int(rng.integers(-9, 9)), int(rng.integers(4, 40)))
        shape = layer.shape_of(empty, 3)
        steps = tuple(int(s) for s in rng.integers(24, 36, 2 * depth))
        symbols = rng.integers(-30, 30, shape.parameters)
        networks.append(NetworkBlock(empty.size, empty.mean, empty.std_code, steps, symbols))
    return replace(layer, networks=tuple(networks))


@settings(max_examples=20)
@given(st.integers(0, 999), st.integers(2, 7), st.sampled_from([0, 1, 12]))
def test_pack_and_unpack(seed: int, depth: int, octaves: int) -> None:
    """Everything that is packed comes back."""
    layer = random_layer(seed, depth, octaves)
    back = unpack_network(pack_network(layer, SHAPE), SHAPE)
    assert (back.blocks, back.depth, back.funnel_units, back.w0) == (layer.blocks, depth, 35, layer.w0)
    assert (back.frequencies, back.architecture) == (octaves, "nerf" if octaves else "funnel")
    for a, b in zip(layer.networks, back.networks, strict=True):
        assert (a.size, a.mean, a.steps) == (b.size, b.mean, b.steps)
        if a.size:
            assert a.symbols is not None and b.symbols is not None
            np.testing.assert_array_equal(a.symbols, b.symbols)
            assert a.std_code == b.std_code


@settings(max_examples=200)
@given(st.binary(max_size=80), st.sampled_from([(16, 20, 17), (1, 1), (300,), (64, 64, 64, 8), (2**20, 2**10)]))
def test_any_bytes_are_a_layer_or_corrupt(data: bytes, shape: tuple[int, ...]) -> None:
    """Unpacking ends in a layer that covers the chunk or in CorruptChunk, whatever the bytes."""
    try:
        layer = unpack_network(data, shape)
    except (CorruptChunk, UnsupportedFormat):
        return
    assert sum(block.size for block in layer.blocks) == int(np.prod(shape))


def by_hand(layer: NetworkLayer) -> NDArray[np.float32]:
    """The whole chunk in plain numpy."""
    out = np.empty(SHAPE, np.float32)
    for block, network in zip(layer.blocks, layer.networks, strict=True):
        std, mean = affine_of(network)
        if network.size == 0:
            out[block.slices] = mean
            continue
        shape = layer.shape_of(network, 3)
        axes = [coordinates(n) for n in block.shape]
        parameters = dequantise(layer, network, shape)
        out[block.slices] = reference_network.evaluate_grid(parameters, shape, layer.w0, axes, std, mean)
    return out


@pytest.mark.parametrize("octaves", [0, 12])
def test_blocks_are_put_where_they_belong(octaves: int) -> None:
    """The evaluated chunk is that of a loop over blocks."""
    layer = random_layer(1, octaves=octaves)
    everything = [np.arange(n) for n in SHAPE]
    np.testing.assert_allclose(evaluate_network(layer, everything), by_hand(layer), atol=1e-3)


@pytest.mark.parametrize("octaves", [0, 12])
def test_any_indices(octaves: int) -> None:
    """Sorted indices along each axis pick their outer product."""
    layer = random_layer(2, octaves=octaves)
    indices = [np.array([0, 7, 8, 15]), np.array([3]), np.array([0, 1, 8, 9, 16])]
    np.testing.assert_allclose(evaluate_network(layer, indices), by_hand(layer)[np.ix_(*indices)], atol=1e-3)


@pytest.mark.parametrize("octaves", [0, 4])
def test_between_voxels(octaves: int) -> None:
    """At whole positions the resampled layer is the layer; near them it lies on the same smooth curve."""
    layer = random_layer(3, octaves=octaves)
    indices = [np.arange(n) for n in SHAPE]
    whole = evaluate_network(layer, indices)
    same = evaluate_network_at(layer, [i.astype(np.float64) for i in indices])
    np.testing.assert_array_equal(whole, same)
    tiny = evaluate_network_at(layer, [i + 1e-5 for i in indices])
    np.testing.assert_allclose(tiny, whole, atol=0.02 * float(np.ptp(whole)))


@given(st.floats(1e-9, 1.0))
def test_stored_std_is_near_and_not_below(std: float) -> None:
    """The code of a standard deviation is at most a quarter octave above it."""
    assert std <= std_size(std_code(std)) * (1 + 1e-9) <= std * 2**0.25 * (1 + 1e-6)


@settings(max_examples=300)
@given(st.binary(min_size=4, max_size=40), st.sampled_from([bytes([16, 255, 240, 0]), bytes([32 + 16, 255, 16])]))
def test_short_payloads_hold_no_giants(data: bytes, head: bytes) -> None:
    """Few bytes never unpack to more parameters than the range coder can have paid for."""
    try:
        layer = unpack_network(head + data, (64, 64, 64))
    except CorruptChunk:
        return
    assert sum(0 if n.symbols is None else len(n.symbols) for n in layer.networks) <= 8192 * (len(data) + 8)
