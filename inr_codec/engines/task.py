"""The tasks and outcomes of engines: plain data, which can cross processes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_codec.networks.shape import NetworkShape

BETA1, ADAM_BETA2, ADAMAX_BETA2, EPSILON = 0.9, 0.99, 0.999, 1e-10
"""Of Adam and Adamax (Kingma & Ba 2015, with their names; Adam's second moment forgets sooner than theirs, as fits are
short): every engine makes the same step."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps` optimiser steps on `batch` random voxels each; the rate falls from `rate` to 0 as a half cosine."""

    steps: int
    batch: int
    rate: float
    optimiser: str = "adam"


@dataclass(frozen=True, slots=True)
class FitTask:
    """One network to be fitted to one block.

    values: float32, flat, standardised targets of the whole block (C order); sides: the block's shape; picks: flat
    indices of the voxels to learn from, some more often than others (None: all, once); weights: float32, flat, what the
    squared error of a voxel counts each time that it is picked (None: 1). parameters: float32 start. frozen: uint8, 1
    where a parameter must keep its value (None: nowhere). features: what the network sees instead of coordinates,
    float32 (n, inputs), C order, in an order without meaning, as tiles of them may be picked together; `sides` is ()
    then.
    """

    values: NDArray[np.float32]
    sides: tuple[int, ...]
    shape: NetworkShape
    w0: float
    parameters: NDArray[np.float32]
    schedule: Schedule
    seed: int
    picks: NDArray[np.int32] | None = None
    frozen: NDArray[np.uint8] | None = None
    features: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class FitOutcome:
    """Best parameters seen, their mean squared error (in standardised units, over the last batches), restarts made."""

    parameters: NDArray[np.float32]
    loss: float
    restarts: int = 0
