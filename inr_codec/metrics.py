"""What compression cost and what it kept: bits per voxel, ratio, PSNR, SSIM, accuracy at a threshold, Dice.

Every function takes the original first and the decoded array second. Arrays are read slab by slab along their first
axis and compared in float64, so a `numpy.memmap` or a zarr array larger than memory will do. Voxels that do not
count (NaN or infinite in the original, or outside `mask`) are left out; a voxel that counts and decodes to NaN or
infinity is an infinite error, not a missing one.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError

Peak = float | Literal["range", "dtype"]

SLAB_VOXELS = 1 << 22
SSIM_WINDOW = 7
SSIM_K1, SSIM_K2 = 0.01, 0.03


def bits_per_voxel(encoded_bytes: int, voxels: int) -> float:
    """Bits spent on a voxel: `8 * encoded_bytes / voxels`; an array without voxels is a ConfigError."""
    if voxels < 1:
        raise ConfigError(f"expected at least one voxel, got voxels={voxels!r}: pass the array's size")
    return 8 * encoded_bytes / voxels


def compression_ratio(original_bytes: int, encoded_bytes: int) -> float:
    """How many times smaller: `original_bytes / encoded_bytes`; no encoded bytes at all is a ConfigError."""
    if encoded_bytes < 1:
        raise ConfigError(f"expected at least one encoded byte, got encoded_bytes={encoded_bytes!r}: pass len(data)")
    return original_bytes / encoded_bytes


def psnr(original: Any, decoded: Any, *, peak: Peak = "range", mask: Any = None) -> float:
    """Peak signal-to-noise ratio in dB: `10 log10(peak^2 / MSE)`.

    Shapes are equal, with any number of axes; `mask` (same shape, true = counts) restricts the comparison. `peak`
    is

    - `"range"`: max - min of the original's counted voxels, the harder and for 16-bit data the telling one;
    - `"dtype"`: the full range of the original's integer type (255 for uint8 and int8, 65535 for uint16), as the SCI
      paper's code has it, a ConfigError for floats, which have none;
    - a positive number, in units of the data.

    Equal arrays have infinite PSNR. Raises ConfigError for unequal shapes or when no voxel counts.
    """
    squares, low, high, count = 0.0, np.inf, -np.inf, 0
    for a, b in _counted(original, decoded, mask):
        with np.errstate(invalid="ignore", over="ignore"):
            squares += float(np.square(np.where(np.isfinite(b), a - b, np.inf)).sum())
        low, high, count = min(low, float(a.min())), max(high, float(a.max())), count + a.size
    _need_voxels(count)
    top = _peak_value(peak, np.dtype(original.dtype), high - low)
    if squares == 0:
        return float("inf")
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(top) - 10 * np.log10(squares / count))


def ssim(original: Any, decoded: Any, *, data_range: Peak, mask: Any = None) -> float:
    """Mean structural similarity of 1 to 3 dimensional arrays, as scikit-image's `structural_similarity` defines it.

    Uniform windows of 7 samples along every axis, sample covariance, K1 = 0.01, K2 = 0.03; the mean is over the
    windows that lie inside the array and hold only voxels that count. `data_range` is L in C1 = (K1 L)^2 and C2 =
    (K2 L)^2: a positive number in units of the data, or `"range"` or `"dtype"` as `psnr` has them. It has no
    default because the result depends on it much. Raises ConfigError for unequal shapes, more than 3 axes, a side
    below 7, or when no window counts.
    """
    _same_shape(original, decoded, mask)
    if not 1 <= original.ndim <= 3 or min(original.shape) < SSIM_WINDOW:
        raise ConfigError(
            f"expected 1 to 3 axes of at least {SSIM_WINDOW} voxels, got shape {tuple(original.shape)!r}: "
            "compare slices of thin stacks one by one"
        )
    low, high = np.inf, -np.inf
    for a, _ in _counted(original, decoded, mask):
        low, high = min(low, float(a.min())), max(high, float(a.max()))
    _need_voxels(int(low <= high))
    top = _peak_value(data_range, np.dtype(original.dtype), high - low)
    if top == 0:
        raise ConfigError('expected a data_range above 0, got "range" of a constant array: give it as a number')

    total, windows = 0.0, 0
    for part in _slabs(original.shape, overlap=SSIM_WINDOW - 1):
        a, b = (np.asarray(array[part]).astype(np.float64) for array in (original, decoded))
        counts = _counting(a, None if mask is None else mask[part])
        values, whole = _ssim_windows(a, b, counts, (low + high) / 2, top)
        total, windows = total + float(values[whole].sum()), windows + int(whole.sum())
    if windows == 0:
        raise ConfigError("expected a window whose voxels all count, got none: loosen the mask")
    return total / windows


def mean_ssim(original: Any, decoded: Any, *, data_range: float, mask: Any = None) -> float:
    """`ssim` of arrays of any number of axes, as few planes as there may be.

    The mean over the volumes of the last three axes; where those are too thin for a window, over their planes. Raises
    ConfigError as `ssim` does.
    """
    _same_shape(original, decoded, mask)
    lead = original.ndim - 3
    if lead < 0 or (lead == 0 and original.shape[0] >= SSIM_WINDOW):
        return ssim(original, decoded, data_range=data_range, mask=mask)
    lead += lead == 0 or original.shape[lead] < SSIM_WINDOW
    parts = [
        ssim(original[at], decoded[at], data_range=data_range, mask=None if mask is None else mask[at])
        for at in np.ndindex(*original.shape[:lead])
    ]
    return float(np.mean(parts))


def accuracy(original: Any, decoded: Any, threshold: float, *, mask: Any = None) -> float:
    """Share of voxels that stay on their side of `threshold` (in units of the data): the paper's Acc.(threshold).

    `mean((original >= threshold) == (decoded >= threshold))` over the voxels that count, between 0 and 1; NaN
    decodes to neither side. The paper uses it for sparse structures: threshold 200 or 500 on neurons and vessels.
    """
    kept, count = 0, 0
    for a, b in _counted(original, decoded, mask):
        kept += int(np.count_nonzero(((a >= threshold) == (b >= threshold)) & ~np.isnan(b)))
        count += a.size
    _need_voxels(count)
    return kept / count


def dice(mask_a: Any, mask_b: Any) -> float:
    """Overlap of two masks (zero = outside, same shape): `2 |A and B| / (|A| + |B|)`, 1 where both are empty."""
    _same_shape(mask_a, mask_b, None)
    both, sizes = 0, 0
    for part in _slabs(mask_a.shape):
        a, b = np.asarray(mask_a[part]) != 0, np.asarray(mask_b[part]) != 0
        both += int(np.count_nonzero(a & b))
        sizes += int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * both / sizes if sizes else 1.0


def _ssim_windows(
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    counts: npt.NDArray[np.bool_],
    shift: float,
    data_range: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """SSIM of every window inside `a`, and which windows hold only voxels that count."""
    from scipy.ndimage import minimum_filter, uniform_filter

    half = SSIM_WINDOW // 2
    inside = (slice(half, -half),) * a.ndim

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(uniform_filter(values, SSIM_WINDOW)[inside])

    whole = np.asarray(minimum_filter(counts, SSIM_WINDOW)[inside])
    lost = counts & ~np.isfinite(b)
    spoilt = mean(lost.astype(np.float64)) > 0.5 / SSIM_WINDOW**a.ndim
    # centred on the data: the variances below are differences of squares
    a = np.where(counts, a, shift) - shift
    b = np.where(counts & ~lost, b, shift) - shift
    mean_a, mean_b = mean(a), mean(b)
    unbiased = SSIM_WINDOW**a.ndim / (SSIM_WINDOW**a.ndim - 1)
    variances = unbiased * (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    mean_a, mean_b = mean_a + shift, mean_b + shift
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    # an infinite error leaves a window no similarity
    return np.where(spoilt, 0.0, luminance * structure), whole


def _counted(
    original: Any, decoded: Any, mask: Any
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """The voxels that count, slab by slab, as flat float64 pairs; slabs without any are passed over."""
    _same_shape(original, decoded, mask)
    for part in _slabs(original.shape):
        a, b = (np.asarray(array[part]).astype(np.float64) for array in (original, decoded))
        counts = _counting(a, None if mask is None else mask[part])
        if counts.any():
            yield a[counts], b[counts]


def _counting(original: npt.NDArray[np.float64], mask: Any) -> npt.NDArray[np.bool_]:
    """Which voxels count: finite in the original, and inside the mask where there is one."""
    finite = np.isfinite(original)
    return finite if mask is None else finite & np.asarray(mask, dtype=bool)


def _slabs(shape: tuple[int, ...], overlap: int = 0) -> Iterator[Any]:
    """Indices that cut the first axis into slabs of about SLAB_VOXELS voxels, neighbours sharing `overlap` rows."""
    if not shape:
        yield ()
        return
    rows = max(1, SLAB_VOXELS // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0] - overlap, rows):
        yield slice(start, start + rows + overlap)


def _same_shape(original: Any, decoded: Any, mask: Any) -> None:
    shapes = [tuple(original.shape), tuple(decoded.shape)] + ([] if mask is None else [tuple(mask.shape)])
    if len(set(shapes)) > 1:
        raise ConfigError(
            f"expected arrays of one shape, got {', '.join(map(repr, shapes))}: crop or transpose them first"
        )


def _need_voxels(count: int) -> None:
    if count == 0:
        raise ConfigError("expected a finite voxel inside the mask, got none: there is nothing to compare")


def _peak_value(peak: Peak, dtype: np.dtype[Any], data_range: float) -> float:
    if peak == "range":
        return data_range
    if peak == "dtype":
        if dtype.kind not in "iu":
            raise ConfigError(f'expected an integer array for peak "dtype", got {dtype}: use "range" or a number')
        return float(np.iinfo(dtype).max) - float(np.iinfo(dtype).min)
    if isinstance(peak, str) or not (np.isfinite(peak) and peak > 0):
        raise ConfigError(f'expected peak to be "range", "dtype" or a positive number, got {peak!r}: give one of them')
    return float(peak)
