"""What all engines do around their steps: segments, the best state, divergence and restarts."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inr_codec.engines.task import FitOutcome, FitTask

SEGMENTS = 10
"""Parts of a fit after which its state is looked at (benchmarks/studies/constants)."""
DIVERGED = 3.0
"""A segment has diverged whose loss is this many times the lowest so far, at first 1, the variance of the targets
(benchmarks/studies/constants)."""
MAX_RESTARTS = 4
"""Each at half the rate of the one before: the last has a sixteenth (benchmarks/studies/constants)."""
ASK_EVERY = 10**9
"""Parameters times samples after which a fit asks whether it is still wanted: half a second of one core."""

Segment = Callable[[int], tuple[float, NDArray[np.float32]]]


class BestState:
    """The best parameters of one fit over all its segments and restarts."""

    def __init__(self, task: FitTask) -> None:
        self.parameters = task.parameters.copy()
        self.loss = math.inf
        self.restarts = 0
        self._lowest = 1.0

    def restart(self) -> bool:
        """Count a restart; False when there have been enough of them."""
        self._lowest = 1.0
        self.restarts += 1
        return self.restarts <= MAX_RESTARTS

    def update(self, loss: float, parameters: NDArray[np.float32]) -> bool:
        """Take note of a segment's mean loss and its last parameters; False when it has diverged."""
        if not loss <= DIVERGED * self._lowest or not np.isfinite(parameters).all():
            return False
        self._lowest = min(self._lowest, loss)
        if loss <= self.loss:
            self.parameters, self.loss = parameters.copy(), loss
        return True

    def outcome(self) -> FitOutcome:
        """What the engine returns."""
        return FitOutcome(self.parameters, self.loss, min(self.restarts, MAX_RESTARTS))


def segments(steps: int) -> list[int]:
    """`steps` cut into at most SEGMENTS nearly equal counts."""
    counts = [steps * (k + 1) // SEGMENTS - steps * k // SEGMENTS for k in range(SEGMENTS)]
    return [count for count in counts if count]


def drive(task: FitTask, begin: Callable[[float], Segment], cancelled: Callable[[], bool]) -> FitOutcome:
    """Run a fit segment by segment and return the best state.

    `begin(rate)` starts from `task.parameters` at a rate and returns a function that runs n steps and gives the mean
    loss over them and the parameters (a view that may change). A fit that diverges starts again at half the rate;
    after `MAX_RESTARTS` restarts the best state seen is returned.
    """
    best = BestState(task)
    most = max(1, ASK_EVERY // max(1, len(task.parameters) * task.schedule.batch))
    while True:
        run = begin(task.schedule.rate * 0.5**best.restarts)
        for count in segments(task.schedule.steps):
            if not best.update(*_segment(run, count, most, cancelled)):
                break
        else:
            return best.outcome()
        if not best.restart():
            return best.outcome()


def _segment(run: Segment, count: int, most: int, cancelled: Callable[[], bool]) -> tuple[float, NDArray[np.float32]]:
    """One segment in pieces of at most `most` steps: the mean loss over them and the last parameters."""
    total, done = 0.0, 0
    while True:
        if cancelled():
            raise KeyboardInterrupt
        piece = min(most, count - done)
        loss, parameters = run(piece)
        if piece == count:
            return loss, parameters
        total, done = total + piece * loss, done + piece
        if done == count:
            return total / count, parameters
