"""Spectrum concentration D of a block (eq. 9 of the SCI paper): how much of its spectrum lies in a few frequencies."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft

from inr_codec.errors import ConfigError

Form = Literal["magnitude", "centred"]


def spectrum_concentration(values: npt.ArrayLike, top_m: int = 1, form: Form = "magnitude") -> float:
    """D(x) = sum of the `top_m` largest |F(x)| / sum of all |F(x)|  (eq. 9), in (0, 1].

    `values` is an array of finite numbers with 1 to 4 axes; F is its discrete Fourier transform over all of them,
    with every frequency counted, also those that conjugate symmetry repeats.

    `form="magnitude"` is the paper's: it keeps the zero frequency. For non-negative values and `top_m=1` D is then
    the share of the zero frequency, which depends on the offset of the intensities and grows as blocks shrink.
    `form="centred"` leaves the zero frequency out, so D does not change with an offset. A constant block has D = 1.

    Raises ConfigError when `top_m` is below 1 or `form` is unknown.
    """
    if top_m < 1:
        raise ConfigError(f"expected top_m of at least 1, got {top_m!r}: use 1, as the paper does")
    if form not in get_args(Form):
        raise ConfigError(f"expected form to be one of {get_args(Form)}, got {form!r}: choose one of them")
    block = np.asarray(values, np.float32)
    mean = block.mean(dtype=np.float64)
    # The mean is taken off before the transform, so that a large offset costs no precision, and D is free of scale.
    centred = block - np.float32(mean)
    scale = float(np.abs(centred).max())
    if scale == 0:
        return 1.0
    centred /= np.float32(scale)
    magnitude = np.abs(fft.rfftn(centred, overwrite_x=True, workers=1))
    magnitude[(0,) * magnitude.ndim] = 0 if form == "centred" else abs(mean) / scale * block.size

    # The half spectrum holds each pair of conjugate frequencies once, but for the planes 0 and (even n) n/2.
    n = block.shape[-1]
    paired = magnitude[..., 1 : (n + 1) // 2]
    total = magnitude.sum(dtype=np.float64) + paired.sum(dtype=np.float64)
    if top_m == 1:
        return float(magnitude.max() / total)
    single = np.concatenate([magnitude[..., 0].ravel(), magnitude[..., (n + 1) // 2 :].ravel()])
    candidates = np.concatenate([_largest(single, top_m), np.repeat(_largest(paired.ravel(), top_m), 2)])
    return min(1.0, float(_largest(candidates, top_m).sum(dtype=np.float64) / total))


def _largest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """The `count` largest values, in any order; all of them when there are fewer."""
    if count >= values.size:
        return values
    return np.partition(values, values.size - count)[values.size - count :]
