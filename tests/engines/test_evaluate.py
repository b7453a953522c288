"""The fused evaluation against plain numpy, and grids against points."""

import numpy as np
import pytest
import reference_network
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.engines.fused.evaluate import evaluate_grid, evaluate_points
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters

shapes = st.lists(st.integers(1, 14), min_size=1, max_size=5)
sides = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@settings(max_examples=40)
@given(sides, shapes, st.integers(0, 99), st.floats(0.5, 40), st.sampled_from([0, 0, 3, 12]))
def test_fused_grid_is_the_reference(
    side: tuple[int, ...], hidden: list[int], seed: int, w0: float, octaves: int
) -> None:
    """Every grid, width, frequency and architecture gives what numpy gives, within float32 accuracy."""
    shape = NetworkShape((len(side), *hidden, 1), octaves)
    parameters = initial_parameters(shape, w0, np.random.default_rng(seed))
    axes = [coordinates(n) for n in side]
    fused = evaluate_grid(parameters, shape, w0, axes, 2.0, 0.25)
    assert fused.shape == side
    np.testing.assert_allclose(
        fused, reference_network.evaluate_grid(parameters, shape, w0, axes, 2.0, 0.25), atol=3e-5
    )


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, 140), st.sampled_from([0, 5]))
def test_rows_longer_than_a_tile(seed: int, extra: int, octaves: int) -> None:
    """Rows that end inside a tile, at its end and beyond it are all whole."""
    shape = NetworkShape((2, 7, 5, 1), octaves)
    parameters = initial_parameters(shape, 15.0, np.random.default_rng(seed))
    axes = [coordinates(3), coordinates(64 + extra)]
    np.testing.assert_allclose(
        evaluate_grid(parameters, shape, 15.0, axes),
        reference_network.evaluate_grid(parameters, shape, 15.0, axes),
        atol=3e-5,
    )


@pytest.mark.parametrize("octaves", [0, 12])
def test_a_part_of_the_grid_is_that_part(octaves: int) -> None:
    """Evaluating fewer coordinates changes nothing about the others (beyond rounding)."""
    shape = NetworkShape((3, 12, 6, 6, 1), octaves)
    parameters = initial_parameters(shape, 15.0, np.random.default_rng(3))
    axes = [coordinates(n) for n in (6, 9, 40)]
    whole = evaluate_grid(parameters, shape, 15.0, axes)
    part = evaluate_grid(parameters, shape, 15.0, [axes[0][2:3], axes[1][::4], axes[2][5:17]])
    np.testing.assert_allclose(part, whole[2:3, ::4, 5:17], atol=1e-6)


@pytest.mark.parametrize("octaves", [0, 12])
def test_points_and_grid_agree(octaves: int) -> None:
    """Scattered points give the grid's values."""
    shape = NetworkShape((2, 12, 6, 6, 1), octaves)
    parameters = initial_parameters(shape, 15.0, np.random.default_rng(3))
    axes = [coordinates(11), coordinates(13)]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(2, -1)
    np.testing.assert_allclose(
        evaluate_points(parameters, shape, 15.0, points),
        evaluate_grid(parameters, shape, 15.0, axes).reshape(-1),
        atol=1e-6,
    )


@pytest.mark.parametrize("octaves", [0, 12])
def test_an_empty_grid_is_empty(octaves: int) -> None:
    """No coordinates along an axis, no work."""
    shape = NetworkShape((2, 3, 1), octaves)
    parameters = initial_parameters(shape, 15.0, np.random.default_rng(3))
    assert evaluate_grid(parameters, shape, 15.0, [coordinates(4), coordinates(4)[:0]]).shape == (4, 0)
