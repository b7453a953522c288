"""The fused kernels against torch eager, one thread each, on the same networks.

    python -m benchmarks.studies.speed.throughput

A fit takes `STEPS` steps of `BATCH` voxels and counts 6 x parameters x voxels x steps floating-point operations; a
block of 64^3 voxels is decoded. Medians; both engines in turns in one run, so that ratios hold on a noisy machine.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

os.environ["INR_CODEC_THREADS"] = "1"

import numpy as np
import torch

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.engines.torch_engine.network import forward
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import funnel_shape, size_for_budget
from inr_codec.networks.start import initial_parameters

SIDES = (64, 64, 64)
BUDGETS = (300, 911, 2777, 5651)
STEPS, W0 = 1000, 15.0
FITS, DECODINGS = 3, 7
"""Timed, after one that is not."""


def make_task(budget: int, batch: int) -> FitTask:
    """A fit to a smooth block."""
    shape = funnel_shape(3, size_for_budget(3, budget, 5, 35), 5, 35)
    grid = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in SIDES], indexing="ij")
    values = (np.sin(9 * grid[0] * grid[1]) + np.cos(7 * grid[2] - 3 * grid[0])).astype(np.float32).reshape(-1)
    start = initial_parameters(shape, W0, np.random.default_rng(0))
    return FitTask(values, SIDES, shape, W0, start, Schedule(STEPS, batch, 1e-3), 0)


def decoders(task: FitTask) -> dict[str, Callable[[], object]]:
    """Engine -> decode the block."""
    axes = [coordinates(n) for n in SIDES]
    points = torch.tensor(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 3))
    parameters = torch.tensor(task.parameters[None])

    def by_torch() -> object:
        with torch.inference_mode():
            return forward(parameters, task.shape, W0, points)

    return {"fused": lambda: evaluate_grid(task.parameters, task.shape, W0, axes), "torch": by_torch}


def seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, made in turns."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(rounds + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if k:
                spent[name].append(time.perf_counter() - begun)
    return {name: median(each) for name, each in spent.items()}


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Two rows for each network: the fit and the decoding."""
    torch.set_num_threads(1)
    for budget in BUDGETS:
        task = make_task(budget, arguments.batch)
        fits: dict[str, Callable[[], object]] = {
            engine: partial(fit_blocks, [task], engine) for engine in ("fused", "torch")
        }
        for what, calls, rounds, work, unit in (
            ("fit", fits, FITS, 6e-9 * task.shape.parameters * STEPS * arguments.batch, "GFLOP/s"),
            ("decode", decoders(task), DECODINGS, 1e-6 * np.prod(SIDES), "Mvoxel/s"),
        ):
            rates = {engine: float(work / took) for engine, took in seconds(calls, rounds).items()}
            yield {"what": what, "parameters": task.shape.parameters, "unit": unit} | rates


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    return markdown(["what", "parameters", "fused", "torch eager", "torch / fused"], [
        [
            row["what"], f"{row['parameters']}", *(f"{row[engine]:.1f} {row['unit']}" for engine in ("fused", "torch")),
            f"{row['fused'] / row['torch']:.1f}",
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, volumes=False)
    parser.add_argument("--batch", type=int, default=256)
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
