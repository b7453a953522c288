"""Funnel shapes, their parameters and where they start."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.network import (
    coordinates,
    funnel_shape,
    initial_parameters,
    size_for_budget,
    smallest_size,
)

dims = st.integers(1, 4)
depths = st.integers(2, 9)
ratios = st.integers(1, 80)


@given(dims, st.integers(1, 60), depths, ratios)
def test_growing_a_funnel_adds_parameters(n: int, size: int, depth: int, units: int) -> None:
    """One neuron more never gives fewer parameters, and the widths sum up to the size."""
    size = max(size, smallest_size(depth))
    small, large = funnel_shape(n, size, depth, units), funnel_shape(n, size + 1, depth, units)
    assert large.parameters > small.parameters
    assert small.depth == depth
    assert (sum(small.widths[2:-1]) or small.widths[1]) == size


@given(dims, st.integers(50, 5000), depths, ratios)
def test_budget_is_used_and_kept(n: int, budget: int, depth: int, units: int) -> None:
    """The chosen size fits the budget, and the next one does not (or the smallest network is already too large)."""
    size = size_for_budget(n, budget, depth, units)
    if funnel_shape(n, smallest_size(depth), depth, units).parameters <= budget:
        assert (
            funnel_shape(n, size, depth, units).parameters
            <= budget
            < funnel_shape(n, size + 1, depth, units).parameters
        )
    else:
        assert size == smallest_size(depth)


def test_first_layer_is_funnel_ratio_times_as_wide() -> None:
    """f_r = 2.2 (35/16) with 20 neurons in each of 5 later layers opens with 44."""
    assert funnel_shape(3, 100, 7, 35).widths == (3, 44, 20, 20, 20, 20, 20, 1)


def test_tensors_tile_the_parameter_vector() -> None:
    """W_1, b_1, W_2, ... follow each other without gaps."""
    shape = funnel_shape(3, 17, 5, 35)
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


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_coordinates_span_the_block(length: int) -> None:
    """Equally spaced from -1 to 1; a single voxel sits at 0."""
    expected = np.linspace(-1, 1, length) if length > 1 else [0.0]
    np.testing.assert_allclose(coordinates(length), expected, atol=1e-6)
