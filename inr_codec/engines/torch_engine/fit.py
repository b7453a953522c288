"""The torch fit: networks of like widths trained together on any device; the reference for the fused kernels.

A step is a fixed sequence of tensor operations without branches or reads: batched products forward and backward, own
Adam and Adamax, sampling and schedule on the device. `cuda_graph` replays it as a graph where there is CUDA (that path
has not run on a GPU yet).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from inr_codec.engines.queued_calls import Gather
from inr_codec.engines.task import ADAM_BETA2, ADAMAX_BETA2, BETA1, EPSILON, FitOutcome, FitTask
from inr_codec.engines.torch_engine.groups import fit_together
from inr_codec.engines.torch_engine.minibatch import NetworkBatch
from inr_codec.engines.torch_engine.network import device, padded_shape
from inr_codec.networks.shape import NetworkShape
from inr_codec.runtime.threads import cancelled

WIDTH_UNIT = 8
"""Hidden widths are padded to multiples of this on accelerators, where launches cost more than arithmetic."""
MASK = 0xFFFFFFFF


def mix(x: Tensor) -> Tensor:
    """A hash of 32-bit numbers (kept in int64): three shifts and two products that never exceed 63 bits."""
    x = (x ^ (x >> 16)) * 0x21F0AAAD & MASK
    x = (x ^ (x >> 15)) * 0x735A2D97 & MASK
    return x ^ (x >> 15)


def sample(batch: NetworkBatch) -> Tensor:
    """Rows of `batch.points` to learn from in this step, (networks, batch.kind.batch).

    The voxels of a block are cut into as many runs as the batch has places, and one voxel is drawn from each run: a
    batch then covers the block evenly, and all of it where batch and block are of one size. The random numbers are a
    hash of seed, step and place.
    """
    size = batch.kind.batch
    place = torch.arange(size, device=batch.where)
    counts = batch.counts[:, None]
    low = place * counts // size
    run = (place + 1) * counts // size - low
    key = mix(batch.seeds + mix(batch.step) & MASK)
    return batch.starts[:, None] + low + (mix(key[:, None] ^ place) * run >> 32)


def gradient(
    parameters: Tensor, shape: NetworkShape, w0: float, points: Tensor, values: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean of weight times squared error of each network (N,) and its gradient (N, P) for targets values (N, n).

    points (N, n, inputs): what the first layer sees. weights (N, n).
    """
    inputs, slopes, matrices = [points], [], []
    at = 0
    for k, (n, m) in enumerate(shape.layers):
        if n > inputs[-1].shape[2]:
            inputs[-1] = torch.cat([inputs[-1], points], 2)
        matrices.append(parameters[:, at : at + n * m].view(-1, m, n))
        bias = parameters[:, at + n * m : at + n * m + m]
        z = torch.baddbmm(bias[:, None, :], inputs[-1], matrices[-1].transpose(1, 2))
        if k < shape.depth - 1:
            if shape.frequencies:
                slopes.append((z > 0).to(z.dtype))
                z = torch.relu(z)
            else:
                z *= w0
                slopes.append(torch.cos(z).mul_(w0))
                z = torch.sin(z)
        inputs.append(z)
        at += n * m + m
    error = inputs.pop() - values[..., None]
    counted = error * weights[..., None]
    delta = counted * (2 / values.shape[1])
    parts: list[Tensor] = []
    for k in range(shape.depth - 1, -1, -1):
        parts = [torch.bmm(delta.transpose(1, 2), inputs[k]).flatten(1), delta.sum(1), *parts]
        if k:
            delta = torch.bmm(delta, matrices[k][..., : slopes[k - 1].shape[2]]).mul_(slopes[k - 1])
    return (error * counted).mean((1, 2)), torch.cat(parts, 1)


def step(batch: NetworkBatch) -> None:
    """One step of the optimiser for every network of a batch."""
    kind = batch.kind
    batch.step += 1
    rows = sample(batch)
    seen = batch.points[rows], batch.values[rows], batch.weights[rows]
    losses, slope = gradient(batch.parameters, kind.shape, kind.w0, *seen)
    batch.total += losses
    made = batch.step.to(torch.float32)
    share = torch.clamp(made / kind.schedule.steps, max=1.0)
    rates = batch.rates * (0.5 + 0.5 * torch.cos(math.pi * share))
    batch.first.lerp_(slope, 1 - BETA1)
    if kind.schedule.optimiser == "adamax":
        torch.maximum(batch.second * ADAMAX_BETA2, slope.abs(), out=batch.second)
        size = batch.second
    else:
        batch.second.lerp_(slope * slope, 1 - ADAM_BETA2)
        size = torch.sqrt(batch.second / -torch.expm1(made * math.log(ADAM_BETA2)))
    rates = rates / -torch.expm1(made * math.log(BETA1))
    batch.parameters -= rates[:, None] * batch.free * batch.first / (size + EPSILON)


def torch_shape(shape: NetworkShape) -> NetworkShape:
    """The widths that an accelerator works on."""
    return padded_shape(shape, WIDTH_UNIT)


def run_all(tasks: Sequence[FitTask]) -> list[FitOutcome]:
    """Fit every task; on an accelerator together with those of other threads."""
    where = device()
    if where.type == "cpu":
        return fit_together(tasks, step, lambda shape: shape, where, cancelled)
    return _gathered(tasks)


def _on_accelerator(tasks: Sequence[FitTask]) -> list[FitOutcome]:
    return fit_together(tasks, step, torch_shape, device(), cancelled)


_gathered: Gather[FitTask, FitOutcome] = Gather(_on_accelerator)
