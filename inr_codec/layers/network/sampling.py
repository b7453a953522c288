"""Which voxels of a block a network learns from, how often, and what each then counts.

The gradient of a batch says most about the loss where errors are large, and those lie where the block has structure.
With p_i the share of voxel i among the picks and w_i what it is to count, its squared errors are weighted by w_i / p_i,
so that the mean over a batch remains an unbiased estimate of the loss (importance sampling), with less noise:

    p_i ~ w_i (1 - STRUCTURE + STRUCTURE |grad v|_i / mean |grad v|).

benchmarks/studies/networks has the table.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
STRUCTURE = 0.5
"""Share of the picks that follow the slope (benchmarks/studies/networks)."""
PASSES = 2
"""Picks for each voxel that counts: with one, every second voxel of a flat region would never be seen
(benchmarks/studies/networks)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """picks: flat indices of a block's voxels in order, some more than once (None: each once). weights: what the
    squared error of each voxel counts when it is picked (None: 1). mass: what all voxels count together."""

    picks: NDArray[np.int32] | None
    weights: NDArray[np.float32] | None
    mass: float


def sample_evenly(counts: Array | None, size: int) -> Sample:
    """The `size` voxels of a block as often as they count (`counts`, of the block's shape; None: each once)."""
    if counts is None:
        return Sample(None, None, float(size))
    return Sample(_picks(counts.reshape(-1), int(np.count_nonzero(counts))), None, float(counts.sum(dtype=np.float64)))


def sample_by_structure(values: Array, counts: Array | None) -> Sample:
    """Voxels of a block more often where its values vary."""
    squares = np.zeros(values.size, np.float32)
    for axis, side in enumerate(values.shape):
        if side > 1:
            squares += np.square(np.gradient(values, axis=axis)).reshape(-1)
    slope = np.sqrt(squares)
    even = sample_evenly(counts, values.size)
    flat = None if counts is None else counts.reshape(-1)
    mean = float(np.average(slope, weights=flat)) if even.mass else 0.0
    if not mean > 0:
        return even
    share = (1 - STRUCTURE + STRUCTURE / mean * slope).astype(np.float32)
    seen = share if flat is None else share * flat
    weights: Array = np.reciprocal(share)
    return Sample(_picks(seen, PASSES * int(np.count_nonzero(seen))), weights, even.mass)


def _picks(shares: Array, count: int) -> NDArray[np.int32]:
    """`count` indices, each as often as its share says, up to rounding: systematic resampling of the flat order."""
    total = np.cumsum(shares, dtype=np.float64)
    places = (np.arange(count) + 0.5) * (total[-1] / max(count, 1))
    picks: NDArray[np.int32] = np.minimum(np.searchsorted(total, places), shares.size - 1).astype(np.int32)
    return picks
