"""Voxel weights: what a squared error counts at each voxel, given by the user or by a rule on intensity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.view import View
from inr_codec.errors import ConfigError

REGION = 16.0
"""How many times as much a voxel counts inside the region that a rule names (benchmarks/studies/region)."""
BINS = 256


def voxel_weights(
    chunk: NDArray[Any],
    weights: NDArray[Any] | str | float | None,
    view: View,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32] | None:
    """Weights of a chunk as layers see it, float32, 1 on average where not masked; None if all are equal.

    weights: an array of the chunk's shape; or a number t, for the region of values >= t; or "foreground", for the
    region above Otsu's threshold of the chunk. valid: False where masked, of the shape that layers see. Raises
    ConfigError for an array that does not fit.
    """
    if weights is None:
        return None
    seen = view.of(chunk)
    counted = np.ones(seen.shape, np.bool_) if valid is None else valid
    if isinstance(weights, np.ndarray):
        raw = view.of_each(_checked(weights, chunk.shape))
    else:
        chunk = seen
        threshold = otsu_threshold(chunk[counted]) if isinstance(weights, str) else weights
        raw = np.where(chunk >= threshold, REGION, 1.0)
    raw = np.where(counted, raw, 0.0)
    total = float(raw.sum())
    if total == 0 or (raw[counted] == raw[counted][0]).all():
        return None
    scaled: NDArray[np.float32] = (raw * (np.count_nonzero(counted) / total)).astype(np.float32)
    return scaled


def _checked(weights: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if weights.shape != shape:
        raise ConfigError(f"expected weights of the chunk's shape {shape}, got {weights.shape}: give one per voxel")
    if weights.dtype.kind not in "buif":
        raise ConfigError(f"expected weights that are numbers, got dtype {weights.dtype!r}: convert them")
    raw = weights.astype(np.float64)
    if not np.isfinite(raw).all() or raw.min() < 0 or raw.max() == 0:
        got = f"{raw.min():g} to {raw.max():g}"
        raise ConfigError(f"expected finite weights of at least 0, one of them above 0, got {got}: change them")
    return raw


def otsu_threshold(values: NDArray[Any]) -> float:
    """Threshold of a flat array: the variance between its two classes is greatest there (Otsu 1979, 256 bins)."""
    counts, edges = np.histogram(values.astype(np.float64), BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above, rest = values.size - below, float(np.dot(counts, centres)) - sums
    between = below * above * (sums / np.maximum(below, 1) - rest / np.maximum(above, 1)) ** 2
    return float(edges[1 + int(np.argmax(between))])
