"""Shares of parameters."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.errors import ConfigError
from inr_codec.layers.network.allocate import Rule, allocate_parameters, share
from inr_codec.layers.network.blocks import Block

weight_lists = st.lists(st.floats(0, 1e300), min_size=1, max_size=60)


@given(weight_lists, st.integers(0, 50), st.integers(0, 10**6))
def test_shares_sum_up_and_respect_the_smallest(weights: list[float], smallest: int, spare: int) -> None:
    """Shares are integers that sum to the total, none below the smallest, and order like the weights."""
    total = smallest * len(weights) + spare
    counts = share(weights, total, smallest)
    assert sum(counts) == total
    assert min(counts) >= smallest
    ordered = [counts[i] for i in np.argsort(weights, kind="stable")]
    assert all(b >= a - 1 for a, b in pairwise(ordered))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(0, 10**6))
def test_shares_are_proportional_to_within_one(weights: list[int], total: int) -> None:
    """Where no share is raised to the smallest, each is its exact proportion rounded up or down."""
    for weight, got in zip(weights, share(weights, total, 0), strict=True):
        assert abs(got - Fraction(weight * total, sum(weights))) < 1 + 1e-6


def test_raised_shares_are_taken_from_the_others_in_proportion() -> None:
    """What small blocks are lifted by is missing from the others in proportion to their weights, also in a cascade."""
    assert share([1, 100, 300], 420, 20) == [20, 100, 300]
    assert share([1, 21, 300, 300], 643, 22) == [22, 22, 300, 299]
    assert share([0, 0, 0], 10, 2) == [4, 3, 3]
    assert share([5], 7, 7) == [7]


def test_rules() -> None:
    """Each rule is proportional to what it names; size times 1/D is the paper's."""
    blocks = [Block((0,), (30,)), Block((30,), (10,))]
    spread = [0.5, 0.25]
    expected: dict[Rule, list[int]] = {
        "spectrum": [600, 400],
        "size": [750, 250],
        "concentration": [333, 667],
        "equal": [500, 500],
    }
    for rule, counts in expected.items():
        assert allocate_parameters(blocks, spread, 1000, rule=rule, smallest=10) == counts


def test_what_cannot_be_is_refused() -> None:
    """Too few parameters, unknown rules, weights that are negative or not finite, and D = 0 raise ConfigError."""
    blocks = [Block((0,), (8,)), Block((8,), (8,))]
    with pytest.raises(ConfigError, match="at least 20"):
        allocate_parameters(blocks, [1, 1], 19, smallest=10)
    with pytest.raises(ConfigError, match="allocation"):
        allocate_parameters(blocks, [1, 1], 19, rule="volume")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="concentration"):
        allocate_parameters(blocks, [1, 0], 19)
    with pytest.raises(ConfigError, match="concentration"):
        allocate_parameters(blocks, [1], 19)
    for weights in ([1, -1], [1, np.inf], [np.nan, 1], []):
        with pytest.raises(ConfigError, match="weights"):
            share(weights, 100, 1)
