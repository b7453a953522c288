"""What is looked at of an array, what a pixel measures, and how much lies at which frequency."""

import numpy as np
import pytest

from inr_codec.errors import ConfigError
from inr_codec.picture.panels import nice_length
from inr_codec.picture.scene import Scene
from inr_codec.picture.spectrum import radial_power

U2 = np.dtype("u2")


def test_times_and_channels_are_held() -> None:
    """Times at their middle, channels at the first; planes across each axis of space are those of the array."""
    values = np.arange(5 * 2 * 6 * 7 * 8).reshape(5, 2, 6, 7, 8)
    scene = Scene(values.shape, values.dtype, ("t", "c", "z", "y", "x"))
    for across, plane in enumerate((values[2, 0, 3], values[2, 0, :, 3], values[2, 0, :, :, 3])):
        np.testing.assert_array_equal(scene.cut(values, across, 3), plane)


def test_three_samples_of_8_bits_are_a_colour() -> None:
    """As the last axis; of 16 bits, or elsewhere, they are channels."""
    values = np.arange(4 * 5 * 3, dtype="u1").reshape(4, 5, 3)
    scene = Scene(values.shape, values.dtype, ("y", "x", "s"))
    np.testing.assert_array_equal(scene.cut(values, 0, 0), values)
    assert Scene((4, 5, 3), U2, ("y", "x", "s")).cut(values, 0, 0).shape == (4, 5)


def test_boxes_are_seen_where_a_plane_crosses_them() -> None:
    """Their sides along the two axes of the plane; others are not there."""
    scene = Scene((2, 9, 20, 30), U2, ("c", "z", "y", "x"))
    boxes = [((0, 0, 5, 10), (1, 4, 6, 7)), ((1, 0, 5, 10), (1, 4, 6, 7)), ((0, 4, 0, 0), (1, 5, 20, 30))]
    assert scene.outlines(boxes, 0, 3) == [((5, 10), (6, 7))]
    assert scene.outlines(boxes, 1, 6) == [((0, 10), (4, 7)), ((4, 0), (5, 30))]


def test_a_voxel_measures_what_the_source_says() -> None:
    """In the unit as it is written; nothing where there is none."""
    scene = Scene((2, 9, 20, 30), U2, ("c", "z", "y", "x"), (1, 2, 0.5, 0.4), "micrometer")
    assert scene.sizes() == (2, 0.5, 0.4) and scene.measured == "µm"
    assert Scene((9, 20, 30), U2).measured is None
    assert Scene((9, 20, 30), U2, None, (2, 1, 1), "pixel").measured is None


def test_what_is_no_image_is_refused() -> None:
    """One axis of space, or no voxels."""
    for shape in ((9,), (0, 9, 9)):
        with pytest.raises(ConfigError, match="2 axes of space"):
            Scene(shape, U2)


@pytest.mark.parametrize(("most", "length"), [(1, 1), (0.99, 0.5), (34, 20), (50, 50), (0.013, 0.01), (999, 500)])
def test_a_scale_bar_has_a_round_length(most: float, length: float) -> None:
    """1, 2 or 5 times a power of ten, the largest that fits."""
    assert nice_length(most) == pytest.approx(length)


def test_the_power_of_white_noise_is_its_variance() -> None:
    """At every frequency, whatever the size of a pixel; a wave stands out at its own."""
    rng = np.random.default_rng(0)
    planes = [5 + 3 * rng.standard_normal((64, 96)) for _ in range(40)]
    frequency, power = radial_power(planes, (0.5, 0.5))
    assert frequency.max() == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(power[2:], 9, rtol=0.2)
    wave = np.cos(2 * np.pi * np.arange(96) / 8) * np.ones((64, 1))
    frequency, power = radial_power([wave])
    assert frequency[power.argmax()] == pytest.approx(1 / 8, abs=0.02)
