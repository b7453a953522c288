"""Quantising fitted networks: steps from measured sensitivity, one Lagrangian for all blocks, freezing in rounds.

With step s_t for the n_t parameters of tensor t, uniform quantisation adds n_t g_t s_t^2 / 12 to the squared error of
the block, where g_t is the mean squared derivative of the output to a parameter of t, times the voxels and the squared
scale of the block. At a fixed number of bits the least error has all g_t s_t^2 equal: s_t = coarseness / sqrt(g_t).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inr_codec.engines import FitOutcome, FitTask, Schedule
from inr_codec.engines.fused.evaluate import evaluate_points
from inr_codec.networks.position import coordinates
from inr_codec.runtime.threads import parallel_map

SAMPLES = 8192
"""Voxels of a block at which sensitivities are measured (benchmarks/studies/constants)."""
NUDGE = 1e-3
"""By how much parameters are moved for it, as a share of their size (benchmarks/studies/constants)."""
ROUNDS = (0.3, 0.55, 0.75, 0.88, 0.95)
"""Share of the parameters that is on its grid after each round of freezing; the rest follows at the end
(benchmarks/studies/constants)."""


def sensitivities(task: FitTask, parameters: NDArray[np.float32]) -> NDArray[np.float64]:
    """g_t of every tensor: mean over voxels of the squared derivative of the output to one parameter of the tensor.

    Measured by nudging all parameters of a tensor at once by +-d at random: E (dy)^2 = d^2 n_t g_t.
    """
    rng = np.random.default_rng(task.seed)
    learnt = np.arange(task.values.size) if task.picks is None else task.picks
    picks = rng.choice(learnt, min(SAMPLES, learnt.size), replace=False)
    counts = None if task.weights is None else task.weights[picks]
    index = np.unravel_index(picks, task.sides)
    points = np.stack([coordinates(side)[i] for side, i in zip(task.sides, index, strict=True)])
    before = evaluate_points(parameters, task.shape, task.w0, points)
    result = []
    for tensor in task.shape.tensors():
        count = tensor.stop - tensor.start
        nudge = NUDGE * float(np.sqrt(np.mean(parameters[tensor] ** 2)) + 1e-3)
        squares = 0.0
        for _ in range(2):
            moved = parameters.copy()
            moved[tensor] += rng.choice(np.array([-nudge, nudge], np.float32), count)
            change = (evaluate_points(moved, task.shape, task.w0, points) - before) ** 2
            squares += float(np.average(change, weights=counts)) / 2
        result.append(max(squares / (count * nudge**2), 1e-12))
    return np.array(result)


def step_codes(gains: NDArray[np.float64], coarseness: float) -> tuple[int, ...]:
    """Codes (quarter octaves) of the steps s_t = coarseness / sqrt(g_t)."""
    codes = np.rint(-4 * np.log2(coarseness / np.sqrt(gains)))
    return tuple(int(code) for code in np.clip(codes, -64, 200))


def steps_vector(codes: Sequence[int], task: FitTask) -> NDArray[np.float64]:
    """The step of every parameter."""
    steps = np.empty(task.shape.parameters)
    for code, tensor in zip(codes, task.shape.tensors(), strict=True):
        steps[tensor] = 2.0 ** (-code / 4)
    return steps


def symbols(parameters: NDArray[np.float32], codes: Sequence[int], task: FitTask) -> NDArray[np.int64]:
    """Nearest grid points: steps away from where the fit started."""
    away = parameters.astype(np.float64) - task.parameters
    return np.rint(away / steps_vector(codes, task)).astype(np.int64)


def freeze(
    tasks: Sequence[FitTask],
    fitted: Sequence[NDArray[np.float32]],
    codes: Sequence[Sequence[int]],
    schedule: Schedule,
    fit: Callable[[Sequence[FitTask]], list[FitOutcome]],
) -> list[NDArray[np.float32]]:
    """Move the parameters of every block onto their grids in rounds, those nearest to it first, fitting the others on.

    Returns parameters that lie on the grid. `schedule` is that of one round, `fit` runs it.
    """
    grids = [steps_vector(code, task) for code, task in zip(codes, tasks, strict=True)]
    current = [np.array(parameters, np.float32) for parameters in fitted]
    frozen = [np.zeros(len(parameters), np.uint8) for parameters in current]
    for number, share in enumerate((*ROUNDS, 1.0)):
        for task, parameters, mask, grid in zip(tasks, current, frozen, grids, strict=True):
            free = np.flatnonzero(mask == 0)
            start = task.parameters[free].astype(np.float64)
            away = (parameters[free] - start) / grid[free]
            nearest = np.rint(away)
            wanted = round(share * len(parameters)) - (len(parameters) - len(free))
            order = np.argsort(np.abs(away - nearest), kind="stable")[: max(wanted, 0)]
            parameters[free[order]] = (start[order] + nearest[order] * grid[free[order]]).astype(np.float32)
            mask[free[order]] = 1
        if share < 1.0 and schedule.steps > 0:
            again = [
                replace(
                    task, parameters=parameters, frozen=mask, schedule=schedule, seed=task.seed + 101 * (number + 1)
                )
                for task, parameters, mask in zip(tasks, current, frozen, strict=True)
            ]
            current = [outcome.parameters.copy() for outcome in fit(again)]
    return current


def all_sensitivities(tasks: Sequence[FitTask], fitted: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """`sensitivities` of many blocks, on all threads."""
    return parallel_map(lambda pair: sensitivities(*pair), list(zip(tasks, fitted, strict=True)))
