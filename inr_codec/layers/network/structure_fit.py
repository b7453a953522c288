"""The regularised fit of SINCO (eq. 3): all networks of a chunk together; `structure_loss` has the loss.

It starts from networks that were fitted block by block, which is many times faster, and mends their structure: each
step decodes whole slices, all blocks at once, and looks at them through the segmentation network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.engines.task import ADAM_BETA2, BETA1, EPSILON, FitOutcome, FitTask
from inr_codec.engines.torch_engine.network import forward
from inr_codec.layers.network.blocks import Block
from inr_codec.layers.network.structure_loss import Regulariser
from inr_codec.networks.position import coordinates
from inr_codec.runtime.threads import cancelled

LEAST_PASSES = 8
"""Times that every slice is seen, whatever the number of steps."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What networks paint: block, scale and mean of each; ground: unit intensities where none of them paints."""

    chunk: UnitChunk
    blocks: Sequence[Block]
    gains: Sequence[float]
    lifts: Sequence[float]
    ground: NDArray[np.float32]


class Painter:
    """The decoded chunk as a differentiable function of the parameters of all its networks."""

    def __init__(self, scene: Scene, tasks: Sequence[FitTask], where: torch.device) -> None:
        self._scene, self._tasks = scene, tasks
        self._ground = torch.from_numpy(scene.ground).to(where)
        self._axes = [
            [torch.from_numpy(coordinates(side).copy()).to(where) for side in block.shape] for block in scene.blocks
        ]

    def paint(self, parameters: Sequence[Tensor], rows: NDArray[np.intp]) -> Tensor:
        """Unit intensities at sorted indices along the first axis: (rows, other sides)."""
        canvas = self._ground[rows]
        for k, (block, task, axes) in enumerate(zip(self._scene.blocks, self._tasks, self._axes, strict=True)):
            start, stop = block.offset[0], block.offset[0] + block.shape[0]
            first, last = (int(at) for at in np.searchsorted(rows, (start, stop)))
            if first == last:
                continue
            points = torch.cartesian_prod(axes[0][rows[first:last] - start], *axes[1:])
            points = points.reshape(-1, len(axes))
            values = forward(parameters[k][None], task.shape, task.w0, points[None])[0]
            window = (slice(first, last), *block.slices[1:])
            canvas[window] = (self._scene.gains[k] * values + self._scene.lifts[k]).reshape(
                last - first, *block.shape[1:]
            )
        return canvas


class Loss:
    """l2 + dice_weight (1 - Dice) of a chunk's slices, in units of the squared error that counts as 1."""

    def __init__(self, scene: Scene, structure: Regulariser) -> None:
        chunk = scene.chunk
        self._structure = structure
        self._unit = torch.from_numpy(chunk.unit).to(structure.where)
        counts = chunk.valid if chunk.weights is None else chunk.weights
        self._counts = None if counts is None else torch.from_numpy(counts.astype(np.float32)).to(structure.where)

    def squares(self, unit: Tensor, rows: NDArray[np.intp]) -> Tensor:
        """Mean squared error over the voxels that are not masked, weighted, clipped as decoding clips."""
        difference = unit.clamp(0.0, 1.0) - self._unit[rows]
        if self._counts is None:
            return difference.square().mean()
        counts = self._counts[rows]
        return (difference.square() * counts).sum() / counts.sum().clamp(min=1)

    def of(self, unit: Tensor, rows: NDArray[np.intp], scale: float) -> Tensor:
        """The loss of those slices."""
        squares = self.squares(unit, rows) / scale
        weight = self._structure.weight
        return squares + weight * self._structure.penalty(unit, rows) if weight else squares


def squared_error(
    tasks: Sequence[FitTask], fitted: Sequence[FitOutcome], scene: Scene, structure: Regulariser
) -> float:
    """Mean squared error of the whole chunk: what the regulariser weighs itself against."""
    painter, loss = Painter(scene, tasks, structure.where), Loss(scene, structure)
    rows = np.arange(len(scene.chunk.unit))
    with torch.no_grad():
        parameters = [torch.from_numpy(outcome.parameters).to(structure.where) for outcome in fitted]
        parts = structure.batches(rows)
        total = sum(float(loss.squares(painter.paint(parameters, part), part)) * len(part) for part in parts)
    return max(total / len(rows), 1e-12)


def fit_regularised(
    tasks: Sequence[FitTask], scene: Scene, structure: Regulariser, *, scale: float, steps: int, rate: float
) -> list[FitOutcome]:
    """Fit all tasks on from their parameters, frozen ones kept, by Adam; the rate falls to 0 as a half cosine.

    scale: the squared error that counts as 1. The start is returned where nothing better was found. Deterministic for
    one number of torch's threads. Raises ConfigError for a network that does not give finite logits.
    """
    where = structure.where
    painter, loss = Painter(scene, tasks, where), Loss(scene, structure)
    parameters = [torch.tensor(task.parameters, device=where, requires_grad=True) for task in tasks]
    start = [parameter.detach().clone() for parameter in parameters]
    free = [None if task.frozen is None else torch.from_numpy(task.frozen == 0).to(where) for task in tasks]
    rows = np.arange(len(scene.chunk.unit))

    def total() -> float:
        with torch.no_grad():
            return sum(
                float(loss.of(painter.paint(parameters, part), part, scale)) * len(part)
                for part in structure.batches(rows)
            ) / len(rows)

    before = total()
    optimiser = torch.optim.Adam(parameters, rate, betas=(BETA1, ADAM_BETA2), eps=EPSILON)
    rng = np.random.default_rng(tasks[0].seed)
    parts = len(structure.batches(rows))
    steps = max(steps, LEAST_PASSES * parts) if parts > 1 else steps
    queue: list[NDArray[np.intp]] = []
    for step in range(steps):
        if cancelled():
            raise KeyboardInterrupt
        if not queue:
            queue = [rows] if parts == 1 else [np.sort(part) for part in structure.batches(rng.permutation(rows))]
        part = queue.pop()
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * (step + 1) / steps))
        slopes = torch.autograd.grad(
            loss.of(painter.paint(parameters, part), part, scale), parameters, allow_unused=True
        )
        for parameter, slope, here in zip(parameters, slopes, free, strict=True):
            parameter.grad = slope if slope is None or here is None else slope * here
        optimiser.step()
    after = total()
    kept = parameters if after < before else start
    return [FitOutcome(p.detach().cpu().numpy().copy(), min(after, before)) for p in kept]
