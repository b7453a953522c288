"""Radial power spectra of planes: how much of an image, and of its error, lies at which fineness of detail."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from inr_codec.picture.scene import Image

BINS = 64
Floats = npt.NDArray[np.float64]


def radial_power(images: Iterable[Image], sizes: tuple[float, float] = (1.0, 1.0)) -> tuple[Floats, Floats]:
    """(frequency, power) of planes of one shape, the mean over planes and over directions.

    sizes: of a pixel, along rows and columns. Frequencies are in cycles for each unit of `sizes`, up to the half of
    one over the larger size. Power is that of the Fourier transform over its number of pixels, under a Hann window,
    the plane's mean taken off: white noise of variance v has the power v at every frequency. Pixels that are not finite
    count as the mean; of colours the mean of the three is taken. Raises ValueError where there is no plane.
    """
    total, count = None, 0
    for image in images:
        plane = image.mean(axis=2) if image.ndim == 3 else image
        finite = np.isfinite(plane)
        plane = np.where(finite, plane - (plane[finite].mean() if finite.any() else 0.0), 0.0)
        window = np.outer(*(np.hanning(side + 2)[1:-1] for side in plane.shape))
        power = np.abs(np.fft.rfft2(plane * window)) ** 2 / np.sum(window**2)
        total, count = power if total is None else total + power, count + 1
        shape = plane.shape
    if total is None:
        raise ValueError("expected a plane, got none")
    rows, columns = np.fft.fftfreq(shape[0], sizes[0]), np.fft.rfftfreq(shape[1], sizes[1])
    radius = np.hypot(rows[:, None], columns[None, :])
    top = 0.5 / max(sizes)
    bins = int(min(BINS, max(1, min(shape) // 2)))
    place = np.minimum((radius / top * bins).astype(int), bins)
    weights = np.bincount(place.ravel(), minlength=bins + 1)[:bins]
    sums = np.bincount(place.ravel(), (total / count).ravel(), minlength=bins + 1)[:bins]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / weights
    middles = (np.arange(bins) + 0.5) * top / bins
    return middles[weights > 0], means[weights > 0]
