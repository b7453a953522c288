"""The rough model that trees are compared by, against its definition coefficient by coefficient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.packet_tree import choose_packet_tree
from inr_codec.layers.residual.tree_cost import costs_along_last


def slow_cost(steps: np.ndarray, lam: float) -> float:
    """Distortion + lam x bits of a subband whose coefficients are given in quantiser steps."""
    total = 0.0
    for z in range(0, steps.shape[0], 4):
        for y in range(0, steps.shape[1], 4):
            for x in range(0, steps.shape[2], 4):
                cell = np.abs(steps[z : z + 4, y : y + 4, x : x + 4].astype(np.float64)).ravel()
                live = cell[cell >= 0.8]
                total += (cell[cell < 0.8] ** 2).sum() + 0.083 * live.size
                if live.size:
                    p = live.size / cell.size
                    entropy = -p * np.log2(p) - (0 if p == 1 else (1 - p) * np.log2(1 - p))
                    total += lam * (1 + cell.size * entropy + (1.5 + 1.8 * np.log2(live)).sum())
    return total


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40)),
    st.integers(0, 2**32),
    st.sampled_from([0.03, 0.5, 4.0, 1e-6]),
)
def test_costs_of_all_depths_are_those_of_the_definition(shape: tuple[int, int, int], seed: int, step: float) -> None:
    """Whole, high and low parts after each split along x, weighed along all axes, cost what the model says."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(0, 1, shape).astype(np.float32)
    wz, wy = (rng.uniform(0.5, 1.5, n).astype(np.float32) for n in shape[:2])
    scale = (wz[:, None, None] * wy[:, None]) / np.float32(step)
    depth, n = 0, shape[2]
    expected, low = [slow_cost(values * scale, 0.1)], values
    while n >= 2 and depth < 5:
        work = low.copy()
        wavelet.forward(work, [(2, (0, 0, 0), work.shape)])
        half, depth = (n + 1) // 2, depth + 1
        weights = wavelet.norms(shape[2], depth)
        expected += [slow_cost(part * scale * w, 0.1) for part, w in (
            (work[..., half:], weights[half:]), (work[..., :half], weights[:half]),
        )]  # fmt: skip
        low, n = np.ascontiguousarray(work[..., :half]), half
    assert costs_along_last(values, wz, wy, step, 0.1, depth) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", [(16, 16, 16), (1, 9, 31), (5, 1, 1)])
def test_rounding_does_not_decide_between_trees(shape: tuple[int, int, int]) -> None:
    """Values and step times 1 + 2^-20 get the same tree, although splits in either order cost the same otherwise."""
    values = np.random.default_rng(0).normal(0, 1, shape).cumsum(2).astype(np.float32)
    chosen = choose_packet_tree(values, 0.5, 0.1)
    near = np.float32(1 + 2**-20)
    assert choose_packet_tree(values * near, 0.5 * float(near), 0.1) == chosen


def test_a_step_below_all_precision_gives_some_tree() -> None:
    """Coefficients of 10^30 steps have finite costs."""
    values = np.random.default_rng(0).normal(0, 1, (8, 9, 10)).astype(np.float32)
    assert choose_packet_tree(values, 1e-30, 0.1) == choose_packet_tree(values, 1e-25, 0.1)
