"""Values of quantised coefficients: weights of their norms, reconstruction points."""

import numpy as np
import numpy.typing as npt
from numba import njit

from inr_codec.bands import Bands
from inr_codec.wavelet import FloatArray, norms

Levels = npt.NDArray[np.int32]

POINTS = 3  # reconstruction points: of magnitude 1, of 2, of more
_ZERO_POINT, _POINT_UNIT = 128, 256


def weigh(values: FloatArray, bands: Bands, *, back: bool = False) -> None:
    """Multiply coefficients in place by the norms of what they give, so that one step suits all; `back`: divide."""
    for band in bands.order:
        box = values[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size))]
        for axis in (a for a in range(3) if band.levels[a]):
            along = norms(values.shape[axis], band.levels[axis])[band.offset[axis] :][: band.size[axis]]
            factor = (1 / along if back else along).reshape([-1 if a == axis else 1 for a in range(3)])
            box *= factor


def centroids(values: FloatArray, levels: Levels, step: float) -> bytes:
    """Where coefficients of each magnitude lie on average: one byte per point, 128 + 256 (mean - magnitude)."""
    flat, level = values.reshape(-1), levels.reshape(-1)
    live = np.flatnonzero(level)
    magnitude = np.abs(level[live])
    excess = np.abs(flat[live]) / np.float32(step) - magnitude
    out = []
    for m in range(1, POINTS + 1):
        chosen = excess[np.minimum(magnitude, POINTS) == m]
        mean = float(chosen.mean(dtype=np.float64)) if chosen.size else 0.0
        out.append(min(max(round(mean * _POINT_UNIT) + _ZERO_POINT, 0), 255))
    return bytes(out)


@njit(nogil=True, cache=True)
def _dequantise(levels, step, offsets, out):  # type: ignore[no-untyped-def]
    for i in range(levels.size):
        m = levels[i]
        if m > 0:
            out[i] = (np.float32(m) + offsets[min(m, POINTS) - 1]) * step
        elif m < 0:
            out[i] = (np.float32(m) - offsets[min(-m, POINTS) - 1]) * step


def dequantise(levels: Levels, step: float, points: bytes) -> FloatArray:
    """Weighted coefficients: sign x (magnitude + (point - 128) / 256) x step, zero for zero."""
    out = np.zeros(levels.shape, np.float32)
    offsets = ((np.frombuffer(points, np.uint8).astype(np.float32) - _ZERO_POINT) / _POINT_UNIT).astype(np.float32)
    _dequantise(levels.reshape(-1), np.float32(step), offsets, out.reshape(-1))
    return out
