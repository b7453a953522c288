"""What every engine does around its steps: segments, the best state, divergence and restarts."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inr_codec.fit.task import FitOutcome, FitTask

SEGMENTS = 10
DIVERGED = 3.0
"""A segment whose loss is this many times the best one so far has diverged (targets have unit variance: so has a first loss above it)."""
MAX_RESTARTS = 4

Segment = Callable[[int], tuple[float, NDArray[np.float32]]]


def drive(task: FitTask, begin: Callable[[float], Segment], cancelled: Callable[[], bool]) -> FitOutcome:
    """Run a fit segment by segment and return the best state.

    `begin(rate)` starts from `task.parameters` at a rate and returns a function that runs n steps and gives the mean
    loss over them and the parameters (a view that may change). A fit that diverges starts again at half the rate;
    after `MAX_RESTARTS` restarts the best state seen is returned.
    """
    rate = task.schedule.rate
    steps = task.schedule.steps
    best, best_loss = task.parameters.copy(), math.inf
    restarts = 0
    while True:
        run = begin(rate)
        lowest = DIVERGED
        healthy = True
        for k in range(SEGMENTS):
            count = steps * (k + 1) // SEGMENTS - steps * k // SEGMENTS
            if count == 0:
                continue
            if cancelled():
                raise KeyboardInterrupt
            loss, parameters = run(count)
            if not loss <= DIVERGED * lowest or not np.isfinite(parameters).all():
                healthy = False
                break
            lowest = min(lowest, loss)
            if loss <= best_loss:
                best, best_loss = parameters.copy(), loss
        if healthy or restarts == MAX_RESTARTS:
            return FitOutcome(best, best_loss, restarts)
        restarts += 1
        rate *= 0.5
