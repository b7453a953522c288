"""Coefficient coder: levels come back, cost follows the information, no bytes can hurt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.coefficient_coder import decode_coefficients, encode_coefficients
from inr_codec.layers.residual.packet_tree import (
    LEAF,
    choose_packet_tree,
    mallat_tree,
    pack_packet_tree,
    subbands_of_tree,
    unpack_packet_tree,
)
from inr_codec.layers.residual.quantise import centroids, dequantise, weigh
from inr_codec.layers.residual.subbands import PAD, PARENT, subbands_table

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 23))


def plan(shape, seed=0):
    """Subbands of a tree that splits axes unevenly."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return subbands_table(shape, subbands_of_tree(shape, choose_packet_tree(values, 0.7, 0.1))[1])


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.floats(0.02, 300), st.integers(0, 5))
def test_levels_come_back(shape, spread, seed):
    """What the encoder chose is what the decoder reads, from sparse to dense, up to the largest magnitudes."""
    bands = plan(shape, seed)
    rng = np.random.default_rng(seed)
    values = (spread * rng.standard_normal(shape) ** 3).astype(np.float32)
    data, levels = encode_coefficients(values, bands, 1.0, 0.1)
    assert np.array_equal(decode_coefficients(data, bands, shape), levels)
    again, second = encode_coefficients(values, bands, 1.0, 0.1, levels)
    assert np.array_equal(decode_coefficients(again, bands, shape), second)


@pytest.mark.parametrize("large", [15, 16, 17, 1000, 2**20, 2**24])
def test_large_magnitudes(large):
    """Magnitudes around the change of code and the largest ones are coded exactly, larger ones are clipped."""
    shape = (2, 4, 4)
    bands = subbands_table(shape, subbands_of_tree(shape, [LEAF])[1])
    values = np.zeros(shape, np.float32)
    values[1, 2, 3], values[0, 1, 1] = large, -large
    data, levels = encode_coefficients(values, bands, 1.0, 0.0)
    assert levels[1, 2, 3] == min(large, 2**20)
    assert levels[0, 1, 1] == -min(large, 2**20)
    assert np.array_equal(decode_coefficients(data, bands, shape), levels)


def test_without_lambda_levels_are_rounded():
    """With bits for nothing every coefficient of a live cell is rounded to the nearest level."""
    shape = (8, 8, 8)
    bands = plan(shape)
    values = (3 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    levels = encode_coefficients(values, bands, 1.0, 0.0)[1]
    assert np.array_equal(levels, np.sign(values) * np.floor(np.abs(values) + 0.5))


def test_zero_costs_nearly_nothing_and_noise_its_entropy():
    """A million zeros fit in a few bytes; independent levels cost within 3 % of their entropy."""
    shape = (32, 64, 64)
    bands = subbands_table(shape, subbands_of_tree(shape, mallat_tree(shape))[1])
    assert len(encode_coefficients(np.zeros(shape, np.float32), bands, 1.0, 0.1)[0]) < 40
    rng = np.random.default_rng(0)
    levels = rng.geometric(0.4, shape) - 1
    values = (levels * rng.choice([-1, 1], shape)).astype(np.float32)
    data = encode_coefficients(values, bands, 1.0, 0.0)[0]
    p = np.bincount(np.abs(values).astype(int).ravel()) / values.size
    bits = -(p[p > 0] * np.log2(p[p > 0])).sum() * values.size + (values != 0).sum()
    assert bits <= 8 * len(data) <= 1.03 * bits


def test_lambda_trades_error_for_bytes():
    """A higher price of bits gives fewer bytes and more error, and a lower cost at its own price."""
    shape = (16, 32, 32)
    bands = plan(shape)
    values = np.random.default_rng(0).laplace(size=shape).astype(np.float32)
    results = {}
    for lam in (0.0, 0.1, 0.2):
        data, levels = encode_coefficients(values, bands, 1.0, lam)
        results[lam] = (8 * len(data), float(np.square(values - levels).sum()))
    assert results[0.0][0] > results[0.1][0] > results[0.2][0]
    assert results[0.0][1] < results[0.1][1] < results[0.2][1]
    for lam in (0.1, 0.2):
        cost = {k: error + lam * bits for k, (bits, error) in results.items()}
        assert cost[lam] < cost[0.0]


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=80), SHAPES)
def test_any_bytes_give_levels_or_none(data, shape):
    """Bytes that nobody wrote give some levels, or None when they end too early."""
    levels = decode_coefficients(data, plan(shape), shape)
    assert levels is None or levels.shape == shape


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.binary(max_size=40))
def test_any_tree_tiles_the_array(shape, data):
    """Whatever bytes a tree is read from, its bands tile the array, parents come earlier and stay in reach."""
    steps, leaves = unpack_packet_tree(shape, data)
    count = np.zeros(shape, int)
    for band in leaves:
        count[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size))] += 1
    assert (count == 1).all()
    assert len(leaves) == len(steps) + 1 <= 216
    bands = subbands_table(shape, leaves)
    for i, row in enumerate(bands.table):
        if row[PARENT] >= 0:
            assert row[PARENT] < i
            parent = bands.order[row[PARENT]]
            for axis, shift in enumerate(row[19:22]):
                last = bands.order[i].size[axis] - 1
                reach = last >> shift if shift >= 0 else last << -shift
                assert reach + 1 < parent.size[axis] + PAD


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.integers(0, 9))
def test_trees_come_back(shape, seed):
    """A packed tree gives the steps and bands it was made of."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    for choices in (choose_packet_tree(values, 0.7, 0.1), mallat_tree(shape), [LEAF]):
        assert unpack_packet_tree(shape, pack_packet_tree(shape, choices)) == subbands_of_tree(shape, choices)


def test_chosen_tree_costs_no_more_than_the_classical_one():
    """On data that is smooth along one axis only the chosen tree codes in fewer bytes at no larger error."""
    shape = (16, 32, 32)
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal((1, 32, 32)), 16, axis=0).astype(np.float32)
    values += 0.01 * rng.standard_normal(shape).astype(np.float32)
    sizes = []
    for choices in (choose_packet_tree(values, 0.2, 0.1), mallat_tree(shape)):
        steps, leaves = subbands_of_tree(shape, choices)
        bands = subbands_table(shape, leaves)
        work = values.copy()
        wavelet.forward(work, steps)
        weigh(work, bands)
        sizes.append(len(encode_coefficients(work, bands, 0.2, 0.1)[0]))
    assert sizes[0] < 0.8 * sizes[1]


def test_reconstruction_points_are_means():
    """A coefficient is restored at the mean of those of its magnitude, to 1/256 of a step."""
    values = np.array([0.1, 1.2, -1.3, 2.2, 2.4, -3.1, 7.5], np.float32).reshape(1, 1, -1)
    levels = np.array([0, 1, -1, 2, 2, -3, 7], np.int32).reshape(1, 1, -1)
    restored = dequantise(levels, 2.0, centroids(2 * values, levels, 2.0)).ravel()
    assert np.allclose(restored / 2, [0, 1.25, -1.25, 2.3, 2.3, -3.3, 7.3], atol=1 / 256)


def test_weighing_back_undoes_it():
    """Norms multiplied and divided give the values back."""
    values = np.random.default_rng(0).standard_normal((7, 20, 33)).astype(np.float32)
    work, bands = values.copy(), plan((7, 20, 33))
    weigh(work, bands)
    assert not np.allclose(work, values)
    weigh(work, bands, back=True)
    assert np.allclose(work, values, rtol=1e-5)
