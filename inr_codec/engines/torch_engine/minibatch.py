"""Networks that are fitted together: their voxels, parameters and optimiser, as tensors on one device.

Everything that changes from step to step lives in these tensors, so that a step is the same sequence of operations on
the same memory every time and can be captured and replayed without Python.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.engines.task import FitTask, Schedule
from inr_codec.engines.torch_engine.network import pad, places
from inr_codec.networks.position import coordinates, encoded_points
from inr_codec.networks.shape import NetworkShape

TILE = 64
"""Batches are multiples of this many voxels."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What networks must share to be fitted together: padded widths, w0, schedule, voxels in a step."""

    shape: NetworkShape
    w0: float
    schedule: Schedule
    batch: int


def voxels_of(task: FitTask) -> int:
    """Number of voxels that a task learns from."""
    return len(task.values) if task.picks is None else len(task.picks)


def batch_of(task: FitTask) -> int:
    """Voxels in a step: the schedule's, or for a small block a power of two not far above its size."""
    small = 1 << (voxels_of(task) - 1).bit_length()
    return max(TILE, min(task.schedule.batch, small) // TILE * TILE)


def bytes_of(task: FitTask, kind: Kind) -> int:
    """Device memory that a network takes in a batch: its voxels, and activations, gradients and moments of one step."""
    inputs = [n for n, _ in kind.shape.layers]
    neurons = 3 * (sum(inputs) + 1) + 2 * max(inputs)
    parameters = kind.shape.parameters
    return 4 * (
        voxels_of(task) * (inputs[0] + 2) + kind.batch * (neurons + 16) + parameters * (10 + kind.batch // TILE)
    )


class NetworkBatch:
    """The state of a fit of N networks with P (padded) parameters each.

    points (voxels, inputs), values, weights (voxels,): those of network k are rows starts[k] .. starts[k] + counts[k].
    parameters, first, second (moments), free (0 where frozen), all (N, P). rates, total (summed losses), seeds (N,).
    step (1,): steps made.
    """

    def __init__(self, tasks: Sequence[FitTask], rates: Sequence[float], kind: Kind, where: torch.device) -> None:
        self.kind = kind
        self.where = where
        self._places = [places(task.shape, kind.shape) for task in tasks]
        counts = [voxels_of(task) for task in tasks]
        self.counts = torch.tensor(counts, device=where)
        self.starts = torch.tensor(np.cumsum([0, *counts])[:-1], device=where)
        self.values = _join([_picked(task.values, task) for task in tasks]).to(where)
        self.weights = _join([_weights(task) for task in tasks]).to(where)
        self.points = _join([_points(task) for task in tasks]).to(where)
        self.seeds = torch.tensor([task.seed & 0xFFFFFFFF for task in tasks], device=where)
        self.rates = torch.tensor(rates, dtype=torch.float32, device=where)
        shapes = [task.shape for task in tasks]
        self.parameters = torch.from_numpy(pad([t.parameters for t in tasks], shapes, kind.shape)).to(where)
        self.free = torch.from_numpy(pad([_free(t) for t in tasks], shapes, kind.shape)).to(where)
        self.first = torch.zeros_like(self.parameters)
        self.second = torch.zeros_like(self.parameters)
        self.total = torch.zeros(len(tasks), device=where)
        self.step = torch.zeros(1, dtype=torch.int64, device=where)

    def changing(self) -> list[Tensor]:
        """The tensors that a step writes to."""
        return [self.parameters, self.first, self.second, self.total, self.step]

    def like(self) -> "NetworkBatch":
        """The same batch with changing tensors of its own, to try a step on."""
        twin = copy.copy(self)
        twin.parameters, twin.first, twin.second, twin.total, twin.step = [t.clone() for t in self.changing()]
        return twin

    def fetch(self, steps: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Mean loss of every network over the last `steps` steps, and its parameters, on the host."""
        losses = (self.total / steps).cpu().numpy()
        self.total.zero_()
        rows = self.parameters.cpu().numpy()
        return losses, [row[where] for row, where in zip(rows, self._places, strict=True)]


def _join(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))


def _free(task: FitTask) -> NDArray[np.float32]:
    if task.frozen is None:
        return np.ones(len(task.parameters), np.float32)
    free: NDArray[np.float32] = (task.frozen == 0).astype(np.float32)
    return free


def _picked(values: NDArray[np.float32], task: FitTask) -> NDArray[np.float32]:
    if task.picks is None:
        return values
    picked: NDArray[np.float32] = values[task.picks]
    return picked


def _weights(task: FitTask) -> NDArray[np.float32]:
    return np.ones(voxels_of(task), np.float32) if task.weights is None else _picked(task.weights, task)


def _points(task: FitTask) -> NDArray[np.float32]:
    """What the first layer sees at each voxel: (voxels, inputs)."""
    if task.features is not None:
        return _picked(task.features, task)
    flat = np.arange(len(task.values)) if task.picks is None else task.picks
    index = np.unravel_index(flat, task.sides)
    points = np.stack([coordinates(side)[i] for side, i in zip(task.sides, index, strict=True)])
    return np.ascontiguousarray(encoded_points(task.shape, points).T)
