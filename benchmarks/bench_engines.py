"""The fused kernels against torch eager, one thread each, on the same networks.

    pytest -o python_files='bench_*.py' -o python_functions='bench_*' benchmarks/bench_engines.py

GFLOP/s counts 6 x parameters x voxels x steps for a fit. Timed in one run, so the ratios hold on a noisy machine.
"""

import os

os.environ["INR_CODEC_THREADS"] = "1"

import numpy as np
import pytest
import torch

from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.engines.torch_engine.network import forward
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import funnel_shape, size_for_budget
from inr_codec.networks.start import initial_parameters

torch.set_num_threads(1)
SIDES = (64, 64, 64)
BUDGETS = (300, 911, 2777, 5651)
STEPS, BATCH, W0 = 1000, 256, 15.0


def make_task(budget: int) -> FitTask:
    """A fit to a smooth random block."""
    shape = funnel_shape(3, size_for_budget(3, budget, 5, 35), 5, 35)
    grid = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in SIDES], indexing="ij")
    values = (np.sin(9 * grid[0] * grid[1]) + np.cos(7 * grid[2] - 3 * grid[0])).astype(np.float32).reshape(-1)
    start = initial_parameters(shape, W0, np.random.default_rng(0))
    return FitTask(values, SIDES, shape, W0, start, Schedule(STEPS, BATCH, 1e-3), 0)


@pytest.mark.parametrize("engine", ["fused", "torch"])
@pytest.mark.parametrize("budget", BUDGETS)
def bench_fit(benchmark, budget: int, engine: str) -> None:  # type: ignore[no-untyped-def]
    """A fit of `STEPS` steps of `BATCH` voxels."""
    task = make_task(budget)
    benchmark.group = f"fit, {task.shape.parameters} parameters"
    benchmark.extra_info["engine"] = engine
    benchmark.pedantic(lambda: fit_blocks([task], engine), rounds=3, warmup_rounds=1)
    work = 6 * task.shape.parameters * STEPS * BATCH
    benchmark.extra_info["GFLOP/s"] = work / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("engine", ["fused", "torch"])
@pytest.mark.parametrize("budget", BUDGETS)
def bench_decode(benchmark, budget: int, engine: str) -> None:  # type: ignore[no-untyped-def]
    """A block of 64^3 voxels."""
    task = make_task(budget)
    axes = [coordinates(n) for n in SIDES]
    benchmark.group = f"decode, {task.shape.parameters} parameters"
    benchmark.extra_info["engine"] = engine
    points = torch.tensor(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 3))
    parameters = torch.tensor(task.parameters[None])

    def run() -> object:
        if engine == "fused":
            return evaluate_grid(task.parameters, task.shape, W0, axes)
        with torch.inference_mode():
            return forward(parameters, task.shape, W0, points)

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    benchmark.extra_info["Mvoxel/s"] = np.prod(SIDES) / benchmark.stats.stats.median / 1e6
