import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from inr_codec import metrics
from inr_codec.errors import ConfigError

SMALL = arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)


def volume(shape, dtype, seed=0):
    """A smooth array with noise, and a copy that is off by a few levels."""
    rng = np.random.default_rng(seed)
    smooth = sum(
        np.sin(np.arange(n) / 3).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        for axis, n in enumerate(shape)
    )
    values = 100 + 20 * smooth + rng.normal(0, 3, shape)
    return values.astype(dtype), (values + rng.normal(0, 4, shape)).astype(dtype)


def test_bits_per_voxel_and_ratio_agree():
    """A ratio R of 16-bit voxels is 16 / R bits per voxel."""
    assert metrics.compression_ratio(2_000, 20) == 100
    assert metrics.bits_per_voxel(20, 1_000) == pytest.approx(16 / 100)


@pytest.mark.parametrize("shape", [(50,), (20, 31), (12, 17, 9), (3, 8, 9, 10)])
def test_psnr_matches_scikit_image(shape):
    """With the same peak, PSNR is scikit-image's in any number of dimensions."""
    a, b = volume(shape, np.uint16)
    span = int(a.max()) - int(a.min())
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=span))
    assert metrics.psnr(a, b, peak="dtype") == pytest.approx(peak_signal_noise_ratio(a, b, data_range=65535))
    assert metrics.psnr(a, b, peak=50) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=50))


@pytest.mark.parametrize("shape", [(40,), (16, 21), (7, 30, 12), (25, 11, 9)])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "f8"])
def test_ssim_matches_scikit_image(shape, dtype):
    """SSIM is scikit-image's default (uniform window, sample covariance) in one to three dimensions."""
    a, b = volume(shape, dtype)
    native = np.dtype(dtype).newbyteorder("=")
    expected = structural_similarity(a.astype(native), b.astype(native), data_range=77.0)
    assert metrics.ssim(a, b, data_range=77.0) == pytest.approx(expected, abs=1e-9)


def test_slabs_change_nothing():
    """Arrays of several slabs are compared without a seam: the numbers are those of the whole."""
    a, b = volume((metrics.SLAB_VOXELS // 2000 + 20, 2000), np.float32)
    found = [metrics.psnr(a, b), metrics.ssim(a, b, data_range="range"), metrics.accuracy(a, b, 100)]
    span, error = float(np.ptp(a)), np.mean((a.astype(float) - b) ** 2)
    expected = [20 * math.log10(span) - 10 * math.log10(error), structural_similarity(a, b, data_range=span)]
    assert found == pytest.approx([*expected, np.mean((a > 100) == (b > 100))], rel=1e-5)


@given(arrays.arrays(np.int16, SMALL), st.data())
def test_equal_arrays_are_perfect(a, data):
    """What is equal has infinite PSNR, full accuracy at any threshold and a Dice coefficient of one."""
    threshold = data.draw(st.floats(-40_000, 40_000))
    assert metrics.psnr(a, a) == math.inf
    assert metrics.accuracy(a, a, threshold) == 1
    assert metrics.dice(a > threshold, a > threshold) == 1


@given(arrays.arrays(bool, SMALL), st.randoms(use_true_random=False))
def test_dice_counts_voxels(a, random):
    """Dice is symmetric, lies in [0, 1] and equals its definition by sets of indices."""
    b = np.array([random.random() < 0.5 for _ in range(a.size)], dtype=np.uint8).reshape(a.shape)
    in_a, in_b = ({tuple(i) for i in np.argwhere(mask)} for mask in (a, b))
    expected = 2 * len(in_a & in_b) / (len(in_a) + len(in_b)) if in_a or in_b else 1
    assert metrics.dice(a, b) == metrics.dice(b, a) == pytest.approx(expected)


def test_accuracy_is_the_share_on_the_same_side():
    """A voxel is right when original and decoded lie on one side of the threshold, which is itself above."""
    original, decoded = np.array([0, 199, 200, 900]), np.array([150, 200, 201, 100])
    assert metrics.accuracy(original, decoded, 200) == 2 / 4


def test_what_does_not_count_is_left_out():
    """NaN, infinity and voxels outside the mask of the original change no metric, whatever they decode to."""
    a, b = volume((9, 10, 20), np.float32)
    holes, damaged = np.full((9, 10, 30), np.nan, np.float32), np.zeros((9, 10, 30), np.float32)
    holes[..., :20], damaged[..., :20] = a, b
    holes[..., -1] = np.inf
    mask = np.ones((9, 10, 30), bool)
    mask[..., 20:] = False
    masked = np.where(mask, holes, np.float32(1e6))
    for metric, options in [
        (metrics.psnr, {}),
        (metrics.ssim, {"data_range": "range"}),
        (metrics.accuracy, {"threshold": 100}),
    ]:
        expected = pytest.approx(metric(a, b, **options), rel=1e-6)
        assert metric(holes, damaged, **options) == expected
        assert metric(masked, damaged, mask=mask, **options) == expected


def test_a_lost_voxel_is_an_infinite_error():
    """A finite voxel that decodes to NaN is an error, not a gap."""
    a, b = volume((9, 10, 20), np.float32)
    before = metrics.ssim(a, b, data_range="range")
    b[4, 5, 6] = np.nan
    assert metrics.psnr(a, b) == -math.inf
    assert 0 < metrics.ssim(a, b, data_range="range") < before
    assert metrics.accuracy(a, a * np.nan, 100) == 0


def test_a_constant_original_has_no_range():
    """A constant comes back exact (infinite PSNR) or not at all well (minus infinity)."""
    a = np.full((8, 8), 7, np.uint8)
    assert metrics.psnr(a, a) == math.inf
    assert metrics.psnr(a, a + np.uint8(1)) == -math.inf


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metrics.psnr(np.zeros((2, 3)), np.zeros((3, 2))), "one shape"),
        (lambda: metrics.psnr(np.zeros(3), np.zeros(3), mask=np.ones(2, bool)), "one shape"),
        (lambda: metrics.psnr(np.full(3, np.nan), np.zeros(3)), "nothing to compare"),
        (lambda: metrics.psnr(np.zeros(3), np.zeros(3), peak="dtype"), "integer"),
        (lambda: metrics.psnr(np.zeros(3), np.zeros(3), peak=-1), "positive number"),
        (lambda: metrics.psnr(np.zeros(3), np.zeros(3), peak="max"), "positive number"),
        (lambda: metrics.ssim(np.zeros((5, 9)), np.zeros((5, 9)), data_range=1.0), "at least 7"),
        (lambda: metrics.ssim(np.zeros((8, 9)), np.zeros((8, 9)), data_range="range"), "constant"),
        (lambda: metrics.ssim(np.zeros((9,) * 4), np.zeros((9,) * 4), data_range=1.0), "1 to 3 axes"),
        (lambda: metrics.dice(np.zeros(3), np.zeros(4)), "one shape"),
        (lambda: metrics.bits_per_voxel(3, 0), "voxel"),
        (lambda: metrics.compression_ratio(3, 0), "byte"),
    ],
)
def test_a_comparison_that_means_nothing_is_refused(call, said):
    """Errors are ConfigError and say what was expected."""
    with pytest.raises(ConfigError, match=said):
        call()
