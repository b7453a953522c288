"""Funnel shapes, their parameters and where they start."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.networks.position import coordinates, encode_position, encoded_axes
from inr_codec.networks.shape import NetworkShape, funnel_shape, size_for_budget, smallest_size
from inr_codec.networks.start import StartSequence, initial_parameters

dims = st.integers(1, 4)
depths = st.integers(2, 9)
ratios = st.integers(1, 80)
octaves = st.sampled_from([0, 1, 12])


@given(dims, st.integers(1, 60), depths, ratios, octaves)
def test_growing_a_funnel_adds_parameters(n: int, size: int, depth: int, units: int, octaves: int) -> None:
    """One neuron more never gives fewer parameters, and the widths sum up to the size."""
    size = max(size, smallest_size(depth))
    small, large = (funnel_shape(n, wide, depth, units, octaves) for wide in (size, size + 1))
    assert large.parameters > small.parameters
    assert small.depth == depth
    assert (sum(small.widths[2:-1]) or small.widths[1]) == size


@given(dims, st.integers(50, 5000), depths, ratios, octaves)
def test_budget_is_used_and_kept(n: int, budget: int, depth: int, units: int, octaves: int) -> None:
    """The chosen size fits the budget, and the next one does not (or the smallest network is already too large)."""
    size = size_for_budget(n, budget, depth, units, octaves)
    counts = [funnel_shape(n, s, depth, units, octaves).parameters for s in (smallest_size(depth), size, size + 1)]
    if counts[0] <= budget:
        assert counts[1] <= budget < counts[2]
    else:
        assert size == smallest_size(depth)


def test_first_layer_is_funnel_ratio_times_as_wide() -> None:
    """f_r = 2.2 (35/16) with 20 neurons in each of 5 later layers opens with 44."""
    assert funnel_shape(3, 100, 7, 35).widths == (3, 44, 20, 20, 20, 20, 20, 1)


@pytest.mark.parametrize("frequencies", [0, 12])
def test_tensors_tile_the_parameter_vector(frequencies: int) -> None:
    """W_1, b_1, W_2, ... follow each other without gaps."""
    shape = funnel_shape(3, 17, 5, 35, frequencies)
    tensors = list(shape.tensors())
    assert tensors[0].start == 0 and tensors[-1].stop == shape.parameters
    assert all(a.stop == b.start for a, b in zip(tensors, tensors[1:], strict=False))


def test_initial_activations_keep_their_variance() -> None:
    """Sines of every hidden layer start with a variance near 1/2, as the initialisation promises."""
    shape = funnel_shape(3, 3 * 64, 5, 16)
    parameters = initial_parameters(shape, 30.0, np.random.default_rng(0))
    values = np.random.default_rng(1).uniform(-1, 1, (3, 4000))
    tensors = list(shape.tensors())
    for k in range(shape.depth - 1):
        matrix = parameters[tensors[2 * k]].reshape(shape.widths[k + 1], shape.widths[k])
        values = np.sin(30.0 * (matrix @ values + parameters[tensors[2 * k + 1], None]))
        assert 0.35 < values.var() < 0.6


def test_initial_rectified_activations_keep_their_size() -> None:
    """In every hidden layer of a NeRF network the mean square starts near what the sines and cosines have, 1/2."""
    shape = funnel_shape(2, 3 * 64, 5, 16, 12)
    parameters = initial_parameters(shape, 0.0, np.random.default_rng(0))
    positions = np.random.default_rng(1).uniform(-1, 1, (2, 4000)).astype(np.float32)
    seen = values = np.concatenate([encode_position(axis, 12) for axis in positions])
    tensors = list(shape.tensors())
    for k in range(shape.depth - 1):
        n, m = shape.layers[k]
        values = np.concatenate([values, seen])[:n]
        values = np.maximum(0, parameters[tensors[2 * k]].reshape(m, n) @ values + parameters[tensors[2 * k + 1], None])
        assert 0.25 < np.mean(values**2) < 1


def test_a_nerf_sees_its_coordinate_again_in_every_second_layer() -> None:
    """Layers 3, 5, ... have the encoding among their inputs, the first nothing else and the last one never."""
    assert NetworkShape((2, 9, 8, 7, 6, 5, 1), 12).layers == (
        (48, 9), (9, 8), (8 + 48, 7), (7, 6), (6 + 48, 5), (5, 1),
    )  # fmt: skip
    assert NetworkShape((2, 9, 8, 1), 12).layers == ((48, 9), (9, 8), (8, 1))
    assert NetworkShape((2, 9, 8, 7, 1)).layers == ((2, 9), (9, 8), (8, 7), (7, 1))


def test_the_encoding_is_that_of_the_paper() -> None:
    """sin and cos of 2^l pi x, l = 0 .. 11, for each axis in turn: against exact angles, in units of 2^-20 turns."""
    whole = np.array([-(2**19), -77777, -1, 0, 3, 131071, 2**19])
    positions = (whole / 2.0**19).astype(np.float32)
    table = encoded_axes(NetworkShape((2, 5, 1), 12), [positions, positions[:2]])
    assert table.shape == (48, 7)
    for octave in range(12):
        angles = 2 * np.pi * (whole * 2**octave % 2**20) / 2**20
        np.testing.assert_allclose(table[2 * octave], np.sin(angles), atol=2e-7)
        np.testing.assert_allclose(table[2 * octave + 1], np.cos(angles), atol=2e-7)
    np.testing.assert_array_equal(table[24:, :2], table[:24, :2])


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_coordinates_span_the_block(length: int) -> None:
    """Equally spaced from -1 to 1; a single voxel sits at 0."""
    expected = np.linspace(-1, 1, length) if length > 1 else [0.0]
    np.testing.assert_allclose(coordinates(length), expected, atol=1e-6)


def test_the_start_sequence_is_splitmix64() -> None:
    """Numbers of several blocks, drawn in parts, are those of the published generator in Python's integers."""

    def published(block: int, i: int) -> float:
        mask = 2**64 - 1
        z = ((block << 32) + i) * 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return ((z ^ z >> 31) >> 11) / 2**53

    for block in (0, 1, 4095):
        sequence = StartSequence(block)
        drawn = [*sequence.uniform(0, 1, 3), *sequence.uniform(0, 1, (2, 2)).reshape(-1)]
        assert drawn == [published(block, i) for i in range(1, 8)]
        assert StartSequence(block).uniform(-2, 3, 1)[0] == -2 + 5 * published(block, 1)
