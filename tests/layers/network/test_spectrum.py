"""Spectrum concentration (eq. 9) against a full transform in double precision."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.errors import ConfigError
from inr_codec.layers.network.spectrum import Form, spectrum_concentration

shapes = st.lists(st.integers(1, 17), min_size=1, max_size=4).map(tuple).filter(lambda s: np.prod(s) <= 4000)
forms = st.sampled_from(["magnitude", "centred"])


def oracle(values: npt.NDArray[np.float32], top_m: int, form: Form) -> float:
    """Eq. 9 as written: the full spectrum, sorted."""
    spectrum = np.abs(np.fft.fftn(values.astype(np.float64))).ravel()
    if form == "centred":
        spectrum[0] = 0
    ordered = np.sort(spectrum)[::-1]
    return float(ordered[:top_m].sum() / ordered.sum())


@given(shapes, st.integers(0, 2**32), st.integers(1, 40), forms, st.sampled_from([0.0, 1.0, 30000.0]))
def test_equals_the_full_transform(shape: tuple[int, ...], seed: int, top_m: int, form: Form, offset: float) -> None:
    """The half spectrum with pairs counted twice gives D of the full spectrum, for any shape, M, form and offset."""
    values = (np.random.default_rng(seed).exponential(1, shape) * 100 + offset).astype(np.float32)
    if values.size == 1:
        assert spectrum_concentration(values, top_m, form) == 1
        return
    assert spectrum_concentration(values, top_m, form) == pytest.approx(oracle(values, top_m, form), rel=1e-4)


@given(shapes, st.integers(0, 2**32), forms)
def test_scale_free_and_growing_with_m(shape: tuple[int, ...], seed: int, form: Form) -> None:
    """D ignores a factor (also one that would overflow), is in (0, 1], does not fall with M, and ends at 1."""
    values = np.random.default_rng(seed).random(shape).astype(np.float32) + 1
    whole = [spectrum_concentration(values, m, form) for m in (1, 2, 3, 7, values.size)]
    assert whole[0] > 0
    assert whole[-1] == pytest.approx(1, rel=1e-5)
    assert all(a <= b * (1 + 1e-6) for a, b in pairwise(whole))
    assert spectrum_concentration(values * np.float32(2.0**120), 1, form) == pytest.approx(whole[0], rel=1e-6)
    assert spectrum_concentration(values * np.float32(2.0**-100), 1, form) == pytest.approx(whole[0], rel=1e-6)


def test_centred_ignores_an_offset_and_the_papers_form_does_not() -> None:
    """Adding a constant changes the paper's D and leaves the centred D alone."""
    values = np.random.default_rng(0).random((8, 12, 10)).astype(np.float32)
    for form, same in (("centred", True), ("magnitude", False)):
        a, b = (spectrum_concentration(v, 1, form) for v in (values, values + np.float32(8)))  # type: ignore[arg-type]
        assert (a == pytest.approx(b, rel=1e-4)) is same


@pytest.mark.parametrize("form", ["magnitude", "centred"])
@pytest.mark.parametrize("value", [0, 0.1, -3, 65535, 1e30])
def test_constant_is_fully_concentrated(value: float, form: Form) -> None:
    """A constant block has D = 1 in both forms, never a division by zero or noise of rounding."""
    assert spectrum_concentration(np.full((9, 7, 13), value, np.float32), 1, form) == 1


def test_a_sine_is_two_frequencies() -> None:
    """A whole number of sine periods is one conjugate pair: D = 1/2 for M = 1 and 1 for M = 2."""
    wave = np.tile(np.sin(2 * np.pi * 3 * np.arange(32) / 32), (4, 1)).astype(np.float32)
    assert spectrum_concentration(wave, 1, "centred") == pytest.approx(0.5, rel=1e-4)
    assert spectrum_concentration(wave, 2, "centred") == pytest.approx(1, rel=1e-4)


def test_input_is_not_written_and_bad_settings_are_refused() -> None:
    """The block is left as it was; M = 0 and an unknown form raise ConfigError."""
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values.flags.writeable = False
    spectrum_concentration(values)
    assert (values.ravel() == np.arange(24)).all()
    with pytest.raises(ConfigError, match="top_m"):
        spectrum_concentration(values, 0)
    with pytest.raises(ConfigError, match="form"):
        spectrum_concentration(values, 1, "power")  # type: ignore[arg-type]
