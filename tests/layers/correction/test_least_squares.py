"""Recursive least squares: after every voxel the weights are those that a solver of the whole problem finds."""

import numpy as np
import pytest

from inr_codec.layers.correction.least_squares import FORGETTING, learn, restart


@pytest.mark.parametrize(("n", "steps"), [(1, 40), (3, 80), (17, 60)])
@pytest.mark.parametrize("spread", [0.3, 4.0])
def test_weights_are_those_of_numpy(n: int, steps: int, spread: float) -> None:
    """Weighted least squares by numpy.linalg.lstsq: the start w = 0, P = I is an observation of weight 1 of each
    weight; older ones are forgotten by FORGETTING, but where P has grown to a trace of n."""
    rng = np.random.default_rng(n)
    inputs = spread * rng.uniform(0.5, 1.5, (steps, n)) * rng.choice([-1, 1], (steps, n))
    truth = rng.normal(size=n)
    targets = inputs @ truth + 0.1 * rng.normal(size=steps)
    weights, inverse, scratch = np.empty(n), np.empty((n, n)), np.empty(n)
    restart(weights, inverse)
    rows, wanted, counts = np.eye(n), np.zeros(n), np.ones(n)
    for x, d in zip(inputs, targets, strict=True):
        grown = np.trace(np.linalg.inv((rows.T * counts) @ rows)) >= n - 1e-9
        rows, wanted, counts = np.vstack([rows, x]), np.append(wanted, d), np.append(FORGETTING * counts, 1.0)
        if grown:
            counts /= FORGETTING
        learn(weights, inverse, x, d - weights @ x, scratch)
        root = np.sqrt(counts)
        expected = np.linalg.lstsq(root[:, None] * rows, root * wanted, rcond=None)[0]
        np.testing.assert_allclose(weights, expected, rtol=1e-8, atol=1e-10)
        assert np.array_equal(inverse, inverse.T)
    assert np.abs(weights - truth).max() < 0.5 / spread
