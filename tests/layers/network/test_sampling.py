"""Which voxels networks learn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.layers.network.sampling import PASSES, STRUCTURE, sample_by_structure, sample_evenly

SHAPES = st.sampled_from([(900,), (30, 41), (1, 24, 25), (9, 1, 10, 8), (12, 10, 9)])


def edge(shape: tuple[int, ...], seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """Flat on one side, noise on the other."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values.reshape(-1)[: values.size // 2] = 0
    return values


@given(SHAPES, st.integers(0, 9), st.booleans(), st.booleans())
def test_the_mean_over_the_picks_is_that_over_the_voxels(
    shape: tuple[int, ...], seed: int, weighted: bool, masked: bool
) -> None:
    """Weight times anything, averaged over the picks, is its average over the voxels as they count: no bias."""
    rng = np.random.default_rng(seed)
    counts = rng.uniform(0.5, 2, shape).astype(np.float32) if weighted else np.ones(shape, np.float32)
    if masked:
        counts[rng.random(shape) < 0.3] = 0
    plain = not (weighted or masked)
    sample = sample_by_structure(edge(shape, seed), None if plain else counts)
    assert sample.picks is not None and sample.weights is not None
    assert sample.mass == pytest.approx(counts.sum(), rel=1e-5)
    assert counts.reshape(-1)[sample.picks].all()
    assert len(sample.picks) == PASSES * np.count_nonzero(counts)
    anything = np.cos(np.arange(counts.size) / 40) + 2
    mean = np.mean(sample.weights[sample.picks] * anything[sample.picks])
    assert mean == pytest.approx(np.average(anything, weights=counts.reshape(-1)), rel=0.02)


def test_structure_is_seen_more_often_and_counts_less() -> None:
    """Flat voxels are picked once in two passes on average and count twice; the others make up for it."""
    values = edge((20, 30, 10), 0)
    sample = sample_by_structure(values, None)
    assert sample.picks is not None and sample.weights is not None
    seen = np.bincount(sample.picks, minlength=values.size).reshape(values.shape)
    np.testing.assert_allclose(sample.weights.reshape(values.shape)[:9], 1 / (1 - STRUCTURE), rtol=1e-6)
    assert seen[:9].mean() == pytest.approx(PASSES * (1 - STRUCTURE), rel=0.01)
    assert seen[11:].mean() > 1.4 * PASSES


@pytest.mark.parametrize("counts", [None, np.zeros((4, 5), np.float32), np.eye(4, 5, dtype=np.float32)])
def test_flat_blocks_are_seen_evenly(counts: np.ndarray | None) -> None:  # type: ignore[type-arg]
    """A constant block, and one of which nothing counts, has each voxel once that counts."""
    sample, even = sample_by_structure(np.ones((4, 5), np.float32), counts), sample_evenly(counts, 20)
    assert sample.weights is None and sample.mass == even.mass == (20 if counts is None else counts.sum())
    assert (sample.picks is None) == (counts is None)
    if counts is not None:
        np.testing.assert_array_equal(sample.picks, np.flatnonzero(counts))
