"""The network in torch: the device it runs on, widths padded so that unequal networks share a batch, the forward pass.

`INR_CODEC_DEVICE` names the device (default: cuda where there is one, else cpu).
Padding is exact: a neuron whose weights and bias are 0 is silent (sin 0 = max(0, 0) = 0) and nothing listens to it, so
its gradients are 0 as well and it stays as it is.
"""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.errors import ConfigError
from inr_codec.networks.shape import NetworkShape


@dataclass(frozen=True, slots=True)
class Grid:
    """One network to be evaluated: gain * network + lift on the outer product of `axes`.

    corner: where the result begins in the chunk's array.
    """

    parameters: NDArray[np.float32]
    shape: NetworkShape
    axes: Sequence[NDArray[np.float32]]
    corner: Sequence[int]
    gain: float
    lift: float


def device() -> torch.device:
    """Where torch works; ConfigError for a name that torch does not know or cannot use here."""
    name = os.environ.get("INR_CODEC_DEVICE")
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"expected INR_CODEC_DEVICE to name a device of torch, got {name!r} ({reason}): set it to 'cpu' or unset it"
        ) from None
    return torch.device(name)


@lru_cache(maxsize=4096)
def padded_shape(shape: NetworkShape, unit: int, power: bool = False) -> NetworkShape:
    """Hidden widths rounded up to multiples of `unit`, or with `power` to `unit` times a power of two."""

    def up(width: int) -> int:
        units = -(-width // unit)
        return unit * (1 << (units - 1).bit_length() if power else units)

    first, *hidden, last = shape.widths
    return NetworkShape((first, *[up(width) for width in hidden], last), shape.frequencies, shape.still)


@lru_cache(maxsize=4096)
def places(shape: NetworkShape, padded: NetworkShape) -> NDArray[np.int64]:
    """Where each parameter of a network lies in the flat parameters of the padded one."""
    parts = []
    at = 0
    before, room = shape.encoded, shape.encoded
    for (n, m), (wide, high) in zip(shape.layers, padded.layers, strict=True):
        heard = np.arange(n)
        heard[before:] += room - before
        parts.append((at + np.arange(m)[:, None] * wide + heard).reshape(-1))
        parts.append(at + high * wide + np.arange(m))
        at += high * wide + high
        before, room = m, high
    result = np.concatenate(parts)
    result.setflags(write=False)
    return result


def pad(
    values: Sequence[NDArray[np.float32]], shapes: Sequence[NetworkShape], padded: NetworkShape
) -> NDArray[np.float32]:
    """Flat parameters of networks as those of the padded one, 0 elsewhere: (networks, padded.parameters)."""
    out = np.zeros((len(values), padded.parameters), np.float32)
    alike: dict[NetworkShape, list[int]] = defaultdict(list)
    for k, shape in enumerate(shapes):
        alike[shape].append(k)
    for shape, rows in alike.items():
        out[np.array(rows)[:, None], places(shape, padded)] = [values[k] for k in rows]
    return out


def encode_points(points: Tensor, frequencies: int) -> Tensor:
    """What the first layer sees at points (..., axes): networks.position.encode_position of every axis."""
    if not frequencies:
        return points
    turns = points[..., None] * 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)
    phases = math.pi * (turns - 2 * torch.round(turns / 2))
    return torch.stack([torch.sin(phases), torch.cos(phases)], -1).flatten(-3)


def forward(parameters: Tensor, shape: NetworkShape, w0: float, points: Tensor) -> Tensor:
    """Outputs (networks, n) of networks with flat parameters (networks, p) at points (networks or 1, n, axes).

    Differentiable in the parameters. w0 is for the sines, where there are any.
    """
    seen = encode_points(points[..., shape.moving], shape.frequencies).expand(len(parameters), -1, -1)
    values = seen
    at = 0
    for k, (n, m) in enumerate(shape.layers):
        if n > values.shape[2]:
            values = torch.cat([values, seen], 2)
        hidden = k < shape.depth - 1
        own = parameters[:, at : at + n * m + m]
        if hidden and not shape.frequencies:
            own = w0 * own
        values = torch.baddbmm(own[:, None, n * m :], values, own[:, : n * m].reshape(-1, m, n).transpose(1, 2))
        if hidden:
            values = torch.relu(values) if shape.frequencies else torch.sin(values)
        at += n * m + m
    return values[..., 0]
