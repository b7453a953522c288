"""Recursive least squares: a linear predictor that is, at every voxel, the best one for the voxels just before it.

With inputs x, target d, forgetting factor F and P the inverse of the weighted sum of x x':

    p = P x,   h = x' p,   w += p (d - w' x) / (F + h),   P = (P - p p' / (F + h)) / F

in float64 and in a fixed order of additions, multiplications and divisions (FORMAT.md), without contraction: the same
bits on every machine. P stays exactly symmetric. It grows no further once its trace has reached the number of inputs,
and where x says nothing new it is left alone.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.runtime.kernels import inner

Floats = npt.NDArray[np.float64]

FORGETTING = 0.998
LEAST = 2.0**-13
"""Of h: below it x says nothing new."""
FARTHEST = 1e12
"""Of predictions: where one is further away, or no number, everything is forgotten."""
BROKEN = -0.5
"""Of h, which is never negative but for rounding."""


@inner()
def restart(weights: Floats, inverse: Floats) -> None:
    """Forget everything: w = 0, P = I."""
    n = weights.size
    for i in range(n):
        weights[i] = 0.0
        for j in range(n):
            inverse[i, j] = 0.0
        inverse[i, i] = 1.0


@inner()
def dot(a: Floats, b: Floats) -> float:
    """Sum of products, first to last."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@inner()
def learn(weights: Floats, inverse: Floats, x: Floats, error: float, p: Floats) -> None:
    """One step towards d = error + w' x; `p` is scratch."""
    n = x.size
    for i in range(n):
        p[i] = 0.0
    for j in range(n):
        row, xj = inverse[j], x[j]
        for i in range(n):
            p[i] += row[i] * xj
    h = dot(x, p)
    if not h > BROKEN:
        restart(weights, inverse)
        return
    share = 1.0 / (FORGETTING + h)
    step = error * share
    for i in range(n):
        weights[i] += p[i] * step
    if h <= LEAST:
        return
    trace = 0.0
    for i in range(n):
        trace += inverse[i, i]
    growth = 1.0 / FORGETTING if trace < n else 1.0
    for j in range(n):
        row, pj = inverse[j], p[j]
        for i in range(n):
            row[i] = (row[i] - (pj * p[i]) * share) * growth
