"""The torch fit: networks of equal widths trained together, on any device; the reference for the fused kernels.

`INR_CODEC_DEVICE` names the device (default: cuda where there is one, else cpu).
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.fit.drive import BestState, segments
from inr_codec.fit.task import FitOutcome, FitTask
from inr_codec.network import NetworkShape, coordinates

NETWORKS_AT_ONCE = 1024


def forward(parameters: Tensor, shape: NetworkShape, w0: float, points: Tensor) -> Tensor:
    """Outputs (networks, n) of networks with flat parameters (networks, p) at points (networks, n, inputs)."""
    values = points
    at = 0
    for k, (n, m) in enumerate(zip(shape.widths, shape.widths[1:], strict=False)):
        matrix = parameters[:, at : at + n * m].reshape(-1, m, n)
        bias = parameters[:, at + n * m : at + n * m + m]
        values = torch.baddbmm(bias[:, None, :], values, matrix.transpose(1, 2))
        if k < shape.depth - 1:
            values = torch.sin(w0 * values)
        at += n * m + m
    return values[..., 0]


def device() -> torch.device:
    """Where the fit runs."""
    name = os.environ.get("INR_CODEC_DEVICE")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


class _Group:
    """Networks of equal widths and schedule on the device: data, parameters, optimiser."""

    def __init__(self, tasks: Sequence[FitTask], rate: float) -> None:
        self.tasks = tasks
        self.where = device()
        self.rate = rate
        picks = [np.arange(t.values.size) if t.picks is None else t.picks for t in tasks]
        self.counts = torch.tensor([len(p) for p in picks], device=self.where)
        self.starts = torch.tensor(np.cumsum([0] + [len(p) for p in picks])[:-1], device=self.where)
        self.values = torch.from_numpy(np.concatenate([t.values[p] for t, p in zip(tasks, picks, strict=True)])).to(
            self.where
        )
        self.points = torch.from_numpy(np.concatenate([_points(t, p) for t, p in zip(tasks, picks, strict=True)])).to(
            self.where
        )
        self.batch = min(tasks[0].schedule.batch, int(self.counts.max()))
        self.parameters = torch.from_numpy(np.stack([t.parameters for t in tasks])).to(self.where).requires_grad_()
        frozen = np.stack([np.zeros(len(t.parameters), np.uint8) if t.frozen is None else t.frozen for t in tasks])
        self.free = torch.from_numpy(frozen == 0).to(self.where)
        kind = torch.optim.Adamax if tasks[0].schedule.optimiser == "adamax" else torch.optim.Adam
        beta2 = 0.999 if kind is torch.optim.Adamax else 0.99
        self.optimiser = kind([self.parameters], lr=rate, betas=(0.9, beta2), eps=1e-10)
        self.generators = torch.Generator(self.where)
        self.generators.manual_seed(tasks[0].seed)
        self.step = 0

    def run(self, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Mean loss of every network over `steps` steps, and the parameters after them."""
        task = self.tasks[0]
        total = torch.zeros(len(self.tasks), device=self.where)
        for _ in range(steps):
            self.step += 1
            share = min(1.0, self.step / task.schedule.steps)
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * share))
            uniform = torch.rand((len(self.tasks), self.batch), generator=self.generators, device=self.where)
            index = self.starts[:, None] + (uniform * self.counts[:, None]).long().clamp(max=int(self.counts.max()) - 1)
            error = forward(self.parameters, task.shape, task.w0, self.points[index]) - self.values[index]
            losses = (error**2).mean(dim=1)
            self.optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            before = self.parameters.detach().clone()
            self.optimiser.step()
            with torch.no_grad():
                self.parameters.copy_(torch.where(self.free, self.parameters, before))
            total += losses.detach()
        return (total / steps).double().cpu().numpy(), self.parameters.detach().cpu().numpy()


def _points(task: FitTask, picks: NDArray[np.integer]) -> NDArray[np.float32]:
    index = np.unravel_index(picks, task.sides)
    return np.stack([coordinates(side)[i] for side, i in zip(task.sides, index, strict=True)], axis=1)


def run_all(tasks: Sequence[FitTask], cancelled: Callable[[], bool]) -> list[FitOutcome]:
    """Fit every task; networks of equal widths, w0 and schedule go together."""
    best = [BestState(task) for task in tasks]
    groups: dict[object, list[int]] = defaultdict(list)
    for k, task in enumerate(tasks):
        groups[task.shape, task.w0, task.schedule].append(k)
    for members in groups.values():
        waiting = members
        while waiting:
            again: list[int] = []
            for at in range(0, len(waiting), NETWORKS_AT_ONCE):
                again += _fit_together(tasks, best, waiting[at : at + NETWORKS_AT_ONCE], cancelled)
            waiting = [k for k in again if best[k].restart()]
    return [state.outcome() for state in best]


def _fit_together(
    tasks: Sequence[FitTask], best: list[BestState], members: list[int], cancelled: Callable[[], bool]
) -> list[int]:
    """Run the whole schedule for some tasks; return those that diverged."""
    group = _Group([tasks[k] for k in members], tasks[members[0]].schedule.rate * 0.5 ** best[members[0]].restarts)
    healthy = dict.fromkeys(members, True)
    for count in segments(tasks[members[0]].schedule.steps):
        if cancelled():
            raise KeyboardInterrupt
        losses, parameters = group.run(count)
        for row, k in enumerate(members):
            healthy[k] = healthy[k] and best[k].update(float(losses[row]), parameters[row])
    return [k for k in members if not healthy[k]]
