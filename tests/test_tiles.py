"""The vectorised sine and cosine."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.tiles import sine, sine_cosine


@given(st.floats(0.1, 60), st.floats(0, 150))
def test_sine_and_cosine_are_those_of_float64(w0: float, reach: float) -> None:
    """Within 2e-7 of the exact values of the float32 argument, for arguments up to thousands."""
    values = np.linspace(-reach, reach, 257).astype(np.float32)
    argument = (values * np.float32(w0)).astype(np.float64)
    sines, cosines, alone = values.copy(), np.zeros_like(values), values.copy()
    sine_cosine(sines, cosines, 0, len(values), np.float32(w0))
    sine(alone, 0, len(values), np.float32(w0))
    slack = 3e-7 + 2e-7 * np.abs(argument) / 40  # the reduction drops digits of huge arguments
    assert (np.abs(sines - np.sin(argument)) < slack).all()
    assert (np.abs(cosines / np.float32(w0) - np.cos(argument)) < slack).all()
    np.testing.assert_array_equal(sines, alone)
