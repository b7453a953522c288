"""What is measured of a decoded chunk, whatever coded it."""

import numpy as np
from numpy.typing import NDArray

from inr_codec import metrics


def measure(chunk: NDArray, decoded: NDArray, thresholds: list[float]) -> dict:
    """psnr (dB, peak = max - min of the chunk), ssim (L = the same range; 3-D windows, of stacks of fewer than 7 planes
    the mean over planes), max_error (units of the data) and accuracy at every threshold.
    """
    error = np.abs(chunk.astype(np.float64) - decoded.astype(np.float64))
    return {
        "psnr": metrics.psnr(chunk, decoded),
        "ssim": _ssim(chunk, decoded),
        "max_error": float(error.max()),
        "accuracy": {f"{threshold:g}": metrics.accuracy(chunk, decoded, threshold) for threshold in thresholds},
    }


def _ssim(chunk: NDArray, decoded: NDArray) -> float:
    if len(chunk) >= metrics.SSIM_WINDOW:
        return metrics.ssim(chunk, decoded, data_range="range")
    span = float(chunk.max()) - float(chunk.min())
    return float(np.mean([metrics.ssim(a, b, data_range=span) for a, b in zip(chunk, decoded)]))
