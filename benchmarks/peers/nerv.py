"""NeRV (Chen et al. 2021): a network from the number of a plane to the plane, written here in torch.

    t -> (sin, cos)(1.25^k pi t) -> two linear layers -> a grid of channels
      -> blocks of a 3 x 3 convolution, pixel shuffle by 2 and GELU -> 1 x 1 convolution

with half the channels from block to block, a quarter of the first's at the least. Weights are stored in 8 bits between
the least and the greatest of their tensor, as the paper does after its training, biases in 16; no pruning, no entropy
coding. There are as many frequencies as planes tell apart, and a few more where bytes are left. The fit takes SECONDS
of one processor (about what inr_codec's default effort takes for a megavoxel), so its number of steps, and with it its
result, depend on the machine.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import NetworkPeer
from benchmarks.peers.support.search import Unreachable

SECONDS = {"default": 20.0, "tiny": 0.7}
BATCH = 8
RATE = 1e-2
BASE = 1.25
FIRST_SIDE = 8
HEADER = 8
TENSOR_HEADER = 4


@dataclass(frozen=True)
class Shape:
    """Planes and their sides; channels of the first grid, width of the layer before it, frequencies of the number."""

    planes: int
    sides: tuple[int, int]
    channels: int
    hidden: int
    frequencies: int

    @property
    def blocks(self) -> int:
        """Doublings from a grid of about FIRST_SIDE."""
        return max(1, round(math.log2(max(self.sides) / FIRST_SIDE)))

    @property
    def grid(self) -> tuple[int, int]:
        """Sides of the first grid."""
        return math.ceil(self.sides[0] / 2**self.blocks), math.ceil(self.sides[1] / 2**self.blocks)

    @property
    def weights(self) -> list[tuple[int, ...]]:
        """Shapes of the weights: two matrices, the blocks, the last convolution."""
        channels = [max(self.channels // 2**k, self.channels // 4, 1) for k in range(self.blocks + 1)]
        matrices = [(self.hidden, 2 * self.frequencies), (math.prod(self.grid) * self.channels, self.hidden)]
        return matrices + [(4 * b, a, 3, 3) for a, b in zip(channels, channels[1:])] + [(1, channels[-1], 1, 1)]

    @property
    def bytes(self) -> int:
        """Of the stream."""
        return HEADER + sum(TENSOR_HEADER + math.prod(weight) + 2 * weight[0] for weight in self.weights)


def widest(shape: tuple[int, ...], n_bytes: int) -> Shape:
    """The most channels with a hidden layer as wide as they are many; then the widest such layer, then frequencies."""
    found = Shape(shape[0], (shape[1], shape[2]), 0, 0, math.ceil(math.log(max(shape[0], 2), BASE)))
    for grown in (("channels", "hidden"), ("hidden",), ("frequencies",)):
        while (more := replace(found, **{name: getattr(found, name) + 1 for name in grown})).bytes <= n_bytes:
            found = more
        if not found.channels:
            raise Unreachable(f"its smallest network has {more.bytes} bytes, {n_bytes} are wanted")
    return found


def fit(chunk: NDArray, n_bytes: int, seed: int, effort: str) -> bytes:
    """A stream of at most so many bytes."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    shape = widest(chunk.shape, n_bytes)
    known = np.array([chunk.mean(dtype=np.float64), chunk.std(dtype=np.float64)], np.float32)
    targets = torch.from_numpy(((chunk - np.float64(known[0])) / np.float64(max(known[1], 1e-30))).astype(np.float32))
    weights, biases = [], []
    for place, size in enumerate(shape.weights):
        spread = (1.0 if place < len(shape.weights) - 1 else 0.3) * math.sqrt(2 / math.prod(size[1:]))
        weights.append((torch.randn(size) * spread).requires_grad_())
        biases.append(torch.zeros(size[0], requires_grad=True))
    parameters = weights + biases
    optimiser = torch.optim.Adam(parameters, RATE, betas=(0.9, 0.99))
    begin, order = time.process_time(), torch.randperm(shape.planes)
    while (gone := (time.process_time() - begin) / SECONDS[effort]) < 1:
        if len(order) == 0:
            order = torch.randperm(shape.planes)
        picked, order = order[:BATCH], order[BATCH:]
        optimiser.param_groups[0]["lr"] = RATE * min(gone / 0.02, 0.5 + 0.5 * math.cos(math.pi * gone))
        loss = torch.mean((_planes(shape, weights, biases, picked) - targets[picked]) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    parts = [known.tobytes()] + [_to_bytes(weight.detach().numpy()) for weight in weights]
    return b"".join(parts + [bias.detach().numpy().astype("<f2").tobytes() for bias in biases])


def decode(data: bytes, shape: tuple[int, ...], _: Any) -> NDArray:
    """All planes."""
    import torch

    network, place = widest(shape, len(data)), HEADER
    weights, biases = [], []
    for size in network.weights:
        end = place + TENSOR_HEADER + math.prod(size)
        weights.append(torch.from_numpy(_from_bytes(data[place:end]).reshape(size)))
        place = end
    for size in network.weights:
        biases.append(torch.from_numpy(np.frombuffer(data, "<f2", size[0], place).astype(np.float32)))
        place += 2 * size[0]
    mean, std = np.frombuffer(data[:HEADER], np.float32)
    with torch.no_grad():
        return _planes(network, weights, biases, torch.arange(shape[0])).numpy() * std + mean


def _planes(shape: Shape, weights: list[Any], biases: list[Any], numbers: Any) -> Any:
    """(planes, y, x) of the numbers of planes."""
    import torch
    from torch.nn import functional

    phases = BASE ** torch.arange(shape.frequencies) * math.pi * (numbers[:, None] / shape.planes)
    x = torch.cat([torch.sin(phases), torch.cos(phases)], 1)
    for weight, bias in zip(weights[:2], biases[:2]):
        x = functional.gelu(functional.linear(x, weight, bias))
    x = x.reshape(len(numbers), shape.channels, *shape.grid)
    for weight, bias in zip(weights[2:-1], biases[2:-1]):
        x = functional.gelu(functional.pixel_shuffle(functional.conv2d(x, weight, bias, padding=1), 2))
    x = functional.conv2d(x, weights[-1], biases[-1])
    return x[:, 0, : shape.sides[0], : shape.sides[1]]


def _to_bytes(weight: NDArray) -> bytes:
    """Least value and step as float16, and 8 bits a weight."""
    low = np.float16(weight.min())
    step = np.float16(max((weight.max() - np.float32(low)) / 255, 1e-7))
    codes = np.clip(np.rint((weight - np.float32(low)) / np.float32(step)), 0, 255).astype(np.uint8)
    return np.array([low, step], "<f2").tobytes() + codes.tobytes()


def _from_bytes(data: bytes) -> NDArray[np.float32]:
    low, step = np.frombuffer(data[:TENSOR_HEADER], "<f2").astype(np.float32)
    return low + step * np.frombuffer(data[TENSOR_HEADER:], np.uint8).astype(np.float32)


PEERS = [
    NetworkPeer(
        "NeRV", "torch",
        f"weights of 8 bits, biases of 16, batches of {BATCH} planes, Adam, {SECONDS['default']:.0f} processor seconds",
        fit, decode,
    )
]  # fmt: skip
