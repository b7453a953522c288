"""Small volumes that tests encode, and options that encode them within a fraction of a second."""

from logging import LogRecord
from typing import Any

import numpy as np

FAST: dict[str, Any] = {"effort": "fast", "steps": 200}
SHAPE = (16, 32, 32)


def field(shape: tuple[int, ...] = SHAPE, dtype: Any = np.float32, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """A smooth random field plus white noise, spread over the middle 80 % of an integer dtype, around 0 for floats."""
    rng = np.random.default_rng(seed)
    values = np.zeros(shape)
    for _ in range(6):
        waves = [np.cos(rng.uniform(0.05, 0.4) * np.arange(n) + rng.uniform(0, 6)) for n in shape]
        product = waves[0]
        for wave in waves[1:]:
            product = product[..., None] * wave
        values += product
    values += noise * rng.standard_normal(shape)
    values = (values - values.min()) / (values.max() - values.min())
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (100 * values - 20).astype(dtype)
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max)
    return np.rint(low + (high - low) * (0.1 + 0.8 * values)).astype(dtype)


def voxels_evaluated(records: list[LogRecord]) -> list[int]:
    """At how many voxels networks were evaluated, a number for each piece of a block."""
    return [record.voxels for record in records if hasattr(record, "voxels")]


def iterations_fitted(records: list[LogRecord]) -> list[int]:
    """For how many iterations networks were fitted, a number for each fit of each."""
    return [count for record in records for count in getattr(record, "iterations", [])]


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """20 log10 (max - min) - 10 log10 MSE over the voxels that are finite, in float64."""
    finite = np.isfinite(original)
    a, b = original[finite].astype(np.float64), decoded[finite].astype(np.float64)
    error = float(np.mean((a - b) ** 2))
    return np.inf if error == 0 else 20 * np.log10(a.max() - a.min()) - 10 * np.log10(error)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal dtype, shape and bits: NaN equals NaN of the same payload, -0.0 differs from 0.0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
