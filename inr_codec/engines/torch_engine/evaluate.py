"""Evaluating one network on a grid in plain torch, on any device."""

import math

import torch
from torch import Tensor

from inr_codec.engines.torch_engine.network import Grid, forward

POINTS_AT_ONCE = 1 << 18


def evaluate_grid_torch(grid: Grid, w0: float, where: torch.device) -> Tensor:
    """One network on its grid in plain torch, some points at a time."""
    sides = [len(axis) for axis in grid.axes]
    axes = [torch.from_numpy(axis).to(where) for axis in grid.axes]
    parameters = torch.from_numpy(grid.parameters).to(where)[None]
    parts = []
    for rest in torch.split(torch.arange(math.prod(sides), device=where), POINTS_AT_ONCE):
        inputs = []
        for axis in reversed(axes):
            inputs.append(axis[rest % len(axis)])
            rest = rest // len(axis)
        points = torch.stack(inputs[::-1], 1)[None]
        parts.append(forward(parameters, grid.shape, w0, points)[0])
    return (grid.gain * torch.cat(parts) + grid.lift).reshape(sides)
