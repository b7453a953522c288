"""Typical parts of a volume, and the noise in them."""

import numpy as np
import pytest

from inr_codec.errors import ConfigError
from inr_codec.trials.samples import noise, typical

RNG = np.random.default_rng(0)


def test_parts_are_quiet_median_and_busy() -> None:
    """Of chunks that vary more and more, those at 10, 50 and 95 % of the order; a constant one counts for nothing."""
    array = RNG.standard_normal((21 * 4, 8, 8)) * np.repeat(np.arange(21), 4)[:, None, None]
    found = typical(array, (4, 8, 8), 1 << 20)
    assert [sample.name for sample in found] == ["quiet", "median", "busy"]
    places = [sample.first[0] / 4 for sample in found]
    assert places == pytest.approx([3, 11, 19], abs=3) and places == sorted(places)
    for sample in found:
        np.testing.assert_array_equal(sample.values, array[sample.first[0] : sample.first[0] + 4])


def test_a_part_is_the_middle_of_its_chunk() -> None:
    """Shrunk to about the voxels that were asked for, longest sides first, in an array of one chunk."""
    array = RNG.standard_normal((10, 64, 60))
    (sample,) = typical(array, (10, 64, 60), 10 * 32 * 32)
    assert 0.7 * 10240 < sample.values.size <= 10240 and sample.values.shape[0] == 10
    middles = [2 * first + side for first, side in zip(sample.first, sample.values.shape)]
    assert middles == pytest.approx([10, 64, 60], abs=1)


def test_slivers_at_the_edges_are_not_typical() -> None:
    """Chunks less than half as long as others are not looked at."""
    found = typical(RNG.standard_normal((10, 10, 50)), (10, 10, 16), 1 << 20)
    assert {sample.values.shape for sample in found} == {(10, 10, 16)}


def test_nothing_to_try_is_said() -> None:
    """A constant volume, and one without a finite value."""
    for array in (np.ones((8, 8, 8)), np.full((8, 8, 8), np.nan)):
        with pytest.raises(ConfigError, match="more than one value"):
            typical(array, (4, 4, 4), 64)


@pytest.mark.parametrize("shape", [(4096,), (100, 100), (20, 40, 40), (2, 20, 40, 40), (1, 1, 90, 90)])
def test_the_noise_is_found_under_structure(shape: tuple[int, ...]) -> None:
    """White noise of deviation 3 on waves of 200, within 10 %."""
    waves = 200 * np.cos(sum(axis / 9 for axis in np.ogrid[tuple(slice(0, side) for side in shape)]))
    assert noise(waves + 3 * RNG.standard_normal(shape)) == pytest.approx(3, rel=0.1)


def test_a_background_of_one_value_has_no_noise() -> None:
    """Not even where a small part of the volume is noisy; holes are passed over."""
    values = np.zeros((16, 32, 32))
    values[:4, :8] = RNG.standard_normal((4, 8, 32))
    assert noise(values) == 0
    values = RNG.standard_normal((16, 32, 32))
    values[5] = np.nan
    assert noise(values) == pytest.approx(1, rel=0.1)
