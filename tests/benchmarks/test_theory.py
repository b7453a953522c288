"""Eq. 5 of the SCI paper as benchmarks/paper/theory.py has it, against transforms and the sum as it is printed."""

import itertools

import numpy as np
import pytest
from scipy.special import jv

from benchmarks.paper import theory


@pytest.mark.parametrize(("shape", "k"), [((64,), 1), ((64,), 6), ((16, 20), 4), ((6, 8, 10), 3)])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_bessel_products_are_the_fourier_coefficients(shape: tuple, k: int, scale: float) -> None:
    """Of an actual network's output, to float precision, folded frequencies included."""
    rng = np.random.default_rng(0)
    omega, inner = rng.integers(-7, 8, (k, len(shape))), scale * rng.standard_normal((3, k))
    phases, biases, outer = rng.uniform(-3, 3, k), rng.uniform(-3, 3, 3), rng.standard_normal(3)
    network = theory.SineNetwork(omega, phases, inner, biases, outer, 0.7)
    grid = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    first = [np.sin(sum(w * axis for w, axis in zip(row, grid)) + p) for row, p in zip(omega, phases)]
    second = [np.sin(sum(w * one for w, one in zip(row, first)) + b) for row, b in zip(inner, biases)]
    output = sum(a * one for a, one in zip(outer, second)) + 0.7
    assert np.abs(np.fft.fftn(output) / output.size - theory.bessel_spectrum(network, shape)).max() < 1e-14


def test_the_sum_as_printed() -> None:
    """z = sum over t_1, t_2 of J_t1(w_1) J_t2(w_2) sin(t_1 Omega_1 v + t_2 Omega_2 v), at frequencies that no grid has;
    its terms of order 0 and 1 are what `energy_by_order` says."""
    omega, weights = np.array([1.3, 2.9]), np.array([0.8, -1.1])
    points = np.linspace(-2, 9, 200)
    by_order = np.zeros((60, points.size))
    for t in itertools.product(range(-20, 21), repeat=2):
        by_order[sum(map(abs, t))] += np.prod(jv(t, weights)) * np.sin(np.outer(points, omega) @ t)
    output = np.sin(np.sin(np.outer(points, omega)) @ weights)
    assert np.abs(by_order.sum(axis=0) - output).max() < 1e-13
    network = theory.SineNetwork(omega[:, None], np.zeros(2), weights[None], np.zeros(1), np.ones(1))
    shares, missed = theory.energy_by_order(network, points[:, None])
    expected = (by_order**2).mean(axis=1)
    assert missed < 1e-11
    assert shares == pytest.approx((expected / expected.sum())[: shares.size], abs=1e-12)
