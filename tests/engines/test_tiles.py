"""Arithmetic on tiles against numpy in float64."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inr_codec.engines.fused import tiles
from inr_codec.engines.fused.tiles import TILE, scratch, whole_vectors
from inr_codec.runtime.kernels import kernel

Array = NDArray[np.float32]
rows = st.integers(1, 21)
affine, transposed, outer_sum, sine, sine_cosine, turn = (
    kernel()(function)
    for function in (tiles.affine, tiles.transposed, tiles.outer_sum, tiles.sine, tiles.sine_cosine, tiles.turn)
)
MARGIN = 5  # values before and behind every array, which must stay as they are


def random_rows(seed: int, count: int) -> tuple[Array, NDArray[np.float64]]:
    """Some rows of a tile between margins, and the same as a matrix of float64."""
    flat = np.random.default_rng(seed).standard_normal(count * TILE + 2 * MARGIN).astype(np.float32)
    return flat, flat[MARGIN:-MARGIN].astype(np.float64).reshape(count, TILE)


def random_layer(seed: int, n: int, m: int) -> tuple[Array, NDArray[np.float64], NDArray[np.float64]]:
    """A layer's parameters between margins, and its matrix and bias in float64."""
    flat = np.random.default_rng(seed).standard_normal(n * m + m + 2 * MARGIN).astype(np.float32)
    exact = flat[MARGIN:-MARGIN].astype(np.float64)
    return flat, exact[: n * m].reshape(m, n), exact[n * m :, None]


def assert_within_margins(flat: Array, before: Array, expected: NDArray[np.float64]) -> None:
    """The inside is what is expected, the margins are what they were."""
    np.testing.assert_allclose(flat[MARGIN:-MARGIN], expected.reshape(-1), atol=2e-4)
    np.testing.assert_array_equal(flat[:MARGIN], before[:MARGIN])
    np.testing.assert_array_equal(flat[-MARGIN:], before[-MARGIN:])


@given(rows, rows, st.integers(0, 9))
def test_affine_is_a_product_of_matrices(n: int, m: int, seed: int) -> None:
    """Every number of inputs and outputs, at any offset, writes matrix @ source + bias and nothing else."""
    parameters, matrix, bias = random_layer(seed, n, m)
    source, x = random_rows(seed + 1, n)
    target, _ = random_rows(seed + 2, m)
    before = target.copy()
    affine(parameters, MARGIN, source, MARGIN, target, MARGIN, n, m)
    assert_within_margins(target, before, matrix @ x + bias)


@given(rows, rows, st.integers(0, 9), st.integers(0, 20))
def test_transposed_is_the_product_on_the_way_back(n: int, m: int, seed: int, more: int) -> None:
    """Of a matrix with n columns and some more, the first n give the gradient by the inputs, times what was there."""
    parameters, matrix, _ = random_layer(seed, n + more, m)
    source, x = random_rows(seed + 1, m)
    target, slopes = random_rows(seed + 2, n)
    before = target.copy()
    transposed(parameters, MARGIN, source, MARGIN, target, MARGIN, m, n, n + more)
    assert_within_margins(target, before, slopes * (matrix[:, :n].T @ x))


@given(rows, rows, st.integers(0, 9))
def test_outer_sum_adds_the_gradient_of_a_layer(n: int, m: int, seed: int) -> None:
    """delta @ source.T is added to the matrix's gradient, the sums of delta to the bias's, and nothing else."""
    gradient, matrix, bias = random_layer(seed, n, m)
    source, x = random_rows(seed + 1, n)
    delta, e = random_rows(seed + 2, m)
    before = gradient.copy()
    outer_sum(delta, MARGIN, source, MARGIN, gradient, MARGIN, n, m)
    expected = np.concatenate([(matrix + e @ x.T).reshape(-1), bias[:, 0] + e.sum(1)])
    assert_within_margins(gradient, before, expected)


@given(st.floats(0.1, 60), st.floats(0, 150), st.integers(0, 40))
def test_sine_and_cosine_are_those_of_float64(w0: float, reach: float, start: int) -> None:
    """Within 3e-7, and what half a digit of the float32 argument makes; from `start` on, up to the count."""
    count = whole_vectors(200)
    inside = slice(start, start + count)
    values = np.linspace(-reach, reach, start + count + MARGIN).astype(np.float32)
    argument = values[inside].astype(np.float64) * np.float32(w0)
    sines, slopes, alone = values.copy(), np.full_like(values, 7), values.copy()
    sine_cosine(sines, slopes, start, count, np.float32(w0))
    sine(alone, start, count, np.float32(w0))
    slack = 3e-7 + np.abs(argument) * 2.0**-24
    assert (np.abs(sines[inside] - np.sin(argument)) < slack).all()
    assert (np.abs(slopes[inside] / np.float32(w0) - np.cos(argument)) < slack).all()
    np.testing.assert_array_equal(sines, alone)
    np.testing.assert_array_equal(np.delete(sines, inside), np.delete(values, inside))
    assert (np.delete(slopes, inside) == 7).all()


@given(st.integers(1, 9), st.integers(1, TILE), st.integers(0, 40), st.integers(0, 9))
def test_turn_adds_angles(rows: int, count: int, x: int, seed: int) -> None:
    """Some voxels at the end of a tile get the sines of sums, the others nothing."""
    across, start = whole_vectors(x + count), TILE - count
    angles = np.random.default_rng(seed).uniform(-3, 3, (rows, across + 1))
    table, more = angles[:, :-1], angles[:, -1:]
    target, before = random_rows(seed, rows)
    flat = [np.ascontiguousarray(part, np.float32).reshape(-1) for part in (np.sin(table), np.cos(table))]
    phase = [np.ascontiguousarray(part, np.float32).reshape(-1) for part in (np.sin(more), np.cos(more))]
    turn(*flat, x, across, *phase, target, MARGIN + start, rows, count)
    expected = before.copy()
    expected[:, start:] = np.sin(table[:, x : x + count] + more)
    np.testing.assert_allclose(target[MARGIN:-MARGIN].reshape(rows, TILE), expected, atol=1e-6)


@given(st.integers(0, 1000))
def test_scratch_begins_where_a_cache_line_does(count: int) -> None:
    """As many zeros as asked for, at an address that 64 divides."""
    values = scratch(count)
    assert values.shape == (count,)
    assert not values.any()
    assert count == 0 or values.ctypes.data % 64 == 0
