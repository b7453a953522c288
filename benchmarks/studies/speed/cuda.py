"""Fit and decode on a CUDA device: torch, torch as a captured graph, Triton.

    python -m benchmarks.studies.speed.cuda [--blocks 512] [--side 32] [--steps 200]

Fit: `samples` are voxels drawn per second, over all networks; `encode` is what that makes for a whole array at the
number of steps that --schedule gives, in voxels of the array per second (networks alone: no planning, no quantising).
Decode: voxels written per second, as uint16, the parameters' way to the device included.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.chunk.intensity import Intensity
from inr_codec.decoding.gpu import restore_torch
from inr_codec.engines import FitTask, Schedule
from inr_codec.engines.torch_engine import fit as torch_engine
from inr_codec.engines.torch_engine.cuda_graph import Repeat, Step
from inr_codec.engines.torch_engine.evaluate import evaluate_grid_torch
from inr_codec.engines.torch_engine.minibatch import Kind, NetworkBatch, batch_of
from inr_codec.engines.torch_engine.network import Grid
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape, funnel_shape, size_for_budget
from inr_codec.networks.start import initial_parameters

W0 = 15.0
PARAMETERS = (300, 900, 2700)
BATCHES = (256, 2048)
RANGE = Intensity(0.0, 65535.0)


def seconds(call: Callable[[], object], where: torch.device) -> float:
    """Duration of a call and of all work on the device that it began; the best of three."""
    best = float("inf")
    for _ in range(3):
        _wait(where)
        start = time.perf_counter()
        call()
        _wait(where)
        best = min(best, time.perf_counter() - start)
    return best


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def make_tasks(shape: NetworkShape, blocks: int, side: int, schedule: Schedule) -> list[FitTask]:
    """Smooth cubes with noise, standardised."""
    rng = np.random.default_rng(0)
    axis = np.linspace(0, 3, side)
    wave = np.sin(axis)[:, None, None] + np.cos(2 * axis)[:, None] * axis
    tasks = []
    for k in range(blocks):
        values = wave + 0.1 * rng.normal(size=wave.shape)
        values = ((values - values.mean()) / values.std()).astype(np.float32).reshape(-1)
        tasks.append(FitTask(values, (side,) * 3, shape, W0, initial_parameters(shape, W0, rng), schedule, k))
    return tasks


def fit_rate(
    tasks: list[FitTask], step: Step, padded: NetworkShape, steps: int, graph: bool, where: torch.device
) -> float:
    """Seconds of one step of all tasks together."""
    kind = Kind(padded, W0, tasks[0].schedule, batch_of(tasks[0]))
    repeat = Repeat(step, NetworkBatch(tasks, [task.schedule.rate for task in tasks], kind, where))
    if not graph:
        repeat.graphs = []
    repeat(UNMEASURED)
    return seconds(lambda: repeat(steps), where) / steps


UNMEASURED = 20
"""Steps before the clock starts: compiling, caches, clocks of the device."""


def make_grids(shape: NetworkShape, blocks: int, side: int) -> list[Grid]:
    """Blocks in a row."""
    rng = np.random.default_rng(0)
    axes = [coordinates(side)] * 3
    parameters = [initial_parameters(shape, W0, rng) for _ in range(blocks)]
    return [Grid(p, shape, axes, (k * side, 0, 0), 0.2, 0.5) for k, p in enumerate(parameters)]


def decode_plainly(grids: list[Grid], out: torch.Tensor) -> None:
    """What evaluate_torch does without Triton."""
    for grid in grids:
        at, n = grid.corner[0], len(grid.axes[0])
        out[at : at + n] = restore_torch(evaluate_grid_torch(grid, W0, out.device), RANGE, out.dtype)


def measure_fits(blocks: int, side: int, steps: int, schedule: Schedule, where: torch.device) -> Iterator[Row]:
    """A row for each network, batch and engine."""
    from inr_codec.engines.triton_engine import fit as triton_engine
    from inr_codec.engines.triton_engine.tiles import fits, triton_shape

    for parameters in PARAMETERS:
        shape = funnel_shape(3, size_for_budget(3, parameters, 5, 35), 5, 35)
        for batch in BATCHES:
            tasks = make_tasks(shape, blocks, side, replace(schedule, batch=batch))
            kinds: list[tuple[str, Step, NetworkShape, bool]] = [
                ("torch", torch_engine.step, torch_engine.torch_shape(shape), False),
                ("torch graph", torch_engine.step, torch_engine.torch_shape(shape), True),
            ]
            if fits(shape):
                kinds.append(("triton graph", triton_engine.step, triton_shape(shape), True))
            for name, step, padded, graph in kinds:
                took = fit_rate(tasks, step, padded, steps, graph, where)
                samples = blocks * batch_of(tasks[0]) / took
                drawn = schedule.steps * BATCHES[0] / side**3  # samples of a voxel
                yield {
                    "what": "fit", "parameters": shape.parameters, "batch": batch, "engine": name,
                    "us_step": took * 1e6, "Msamples_s": samples / 1e6,
                    "TFLOP_s": 6 * shape.parameters * samples / 1e12, "encode_Mvoxel_s": samples / drawn / 1e6,
                }  # fmt: skip


def measure_decoding(blocks: int, side: int, where: torch.device) -> Iterator[Row]:
    """A row for each network and engine, to uint16."""
    from inr_codec.engines.triton_engine.evaluate import evaluate_grids

    out = torch.empty((blocks * side, side, side), dtype=torch.uint16, device=where)
    for parameters in PARAMETERS:
        shape = funnel_shape(3, size_for_budget(3, parameters, 5, 35), 5, 35)
        grids = make_grids(shape, blocks, side)
        calls: dict[str, Callable[[], object]] = {
            "torch": partial(decode_plainly, grids, out),
            "triton": partial(evaluate_grids, grids, W0, out, RANGE),
        }
        for name, call in calls.items():
            call()
            took = seconds(call, where)
            yield {
                "what": "decode", "parameters": shape.parameters, "engine": name, "ms": took * 1e3,
                "Mvoxel_s": out.numel() / took / 1e6,
            }  # fmt: skip


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of the first CUDA device; exits with status 1 and a line that says so where there is none."""
    if not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none: run this where torch.cuda.is_available()")
    where = torch.device("cuda", 0)
    yield {"what": "device", "name": torch.cuda.get_device_name(where), "cuda": torch.version.cuda}
    schedule = Schedule(arguments.schedule, BATCHES[0], 1.5e-3)
    yield from measure_fits(arguments.blocks, arguments.side, arguments.steps, schedule, where)
    yield from measure_decoding(arguments.blocks, arguments.side, where)


def table(rows: Sequence[Row]) -> str:
    """The device, fits and decodings."""
    fits = [
        [
            f"{row['parameters']}", f"{row['batch']}", row["engine"], f"{row['us_step']:.1f}",
            f"{row['Msamples_s']:.1f}", f"{row['TFLOP_s']:.2f}", f"{row['encode_Mvoxel_s']:.2f}",
        ]
        for row in rows
        if row["what"] == "fit"
    ]  # fmt: skip
    decodings = [
        [f"{row['parameters']}", row["engine"], f"{row['ms']:.2f}", f"{row['Mvoxel_s']:.1f}"]
        for row in rows
        if row["what"] == "decode"
    ]
    head = ["parameters", "batch", "engine", "us/step", "Msamples/s", "TFLOP/s", "encode Mvoxel/s"]
    device = next(row for row in rows if row["what"] == "device")
    return (
        f"{device['name']}, CUDA {device['cuda']}\n\n{markdown(head, fits)}\n\n"
        f"{markdown(['parameters', 'engine', 'ms', 'Mvoxel/s'], decodings)}"
    )


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, volumes=False)
    parser.add_argument("--blocks", type=int, default=512, help="blocks fitted together")
    parser.add_argument("--side", type=int, default=32, help="side of a block in voxels")
    parser.add_argument("--steps", type=int, default=200, help="steps that are measured")
    parser.add_argument("--schedule", type=int, default=4000, help="steps of a whole fit, for the encode column")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
