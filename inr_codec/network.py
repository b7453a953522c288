"""The funnel network: how many neurons where, where each parameter lies, how it starts.

A network of `depth` layers maps a coordinate x in [-1, 1]^n to one value (eq. 6 of SCI, more layers, with biases):

    h_0 = x,   h_k = sin(w0 (W_k h_{k-1} + b_k)) for k < depth,   y = W_depth h_{depth-1} + b_depth.

Its parameters are one flat vector: for each layer the matrix W_k, row by row (n_out x n_in), then b_k.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FUNNEL_UNIT = 16  # funnel_ratio is stored in sixteenths


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Widths of a sine network: `widths[0]` inputs, `widths[-1] == 1` output, `len(widths) - 1` layers."""

    widths: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Number of layers (linear maps)."""
        return len(self.widths) - 1

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(n * m + m for n, m in zip(self.widths, self.widths[1:], strict=False))

    def tensors(self) -> Iterator[slice]:
        """The slices of the flat parameter vector: W_1, b_1, W_2, b_2, ..."""
        start = 0
        for n, m in zip(self.widths, self.widths[1:], strict=False):
            yield slice(start, start + n * m)
            yield slice(start + n * m, start + n * m + m)
            start += n * m + m


def smallest_size(depth: int) -> int:
    """The smallest `size` that `funnel_shape` takes: one neuron in every hidden layer."""
    return max(depth - 2, 1)


@lru_cache(maxsize=4096)
def funnel_shape(n_inputs: int, size: int, depth: int, funnel_units: int) -> NetworkShape:
    """The funnel of a given size: `size` neurons in the layers 2 .. depth-1, the first layer f_r times as wide.

    Sizes grow by one neuron at a time, so that a parameter budget is met closely; the neurons that do not divide
    evenly go to the earlier layers. `funnel_units` is f_r (eq. 13) in sixteenths. With depth 2 there is no layer
    but the first one, and `size` is its width.
    """
    hidden = depth - 2
    if hidden == 0:
        return NetworkShape((n_inputs, size, 1))
    first = max(1, (2 * funnel_units * size + FUNNEL_UNIT * hidden) // (2 * FUNNEL_UNIT * hidden))
    rest = tuple(size // hidden + (k < size % hidden) for k in range(hidden))
    return NetworkShape((n_inputs, first, *rest, 1))


def size_for_budget(n_inputs: int, parameters: int, depth: int, funnel_units: int) -> int:
    """Largest `size` whose network has at most `parameters` parameters (the smallest size if none has)."""
    low, high = smallest_size(depth), max(smallest_size(depth) + 1, parameters)
    while high - low > 1:
        middle = (low + high) // 2
        if funnel_shape(n_inputs, middle, depth, funnel_units).parameters <= parameters:
            low = middle
        else:
            high = middle
    return low


def initial_parameters(shape: NetworkShape, w0: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Sine initialisation (Sitzmann et al. 2020, sec. 3.2), biases and last layer included.

    W_1 ~ U(-1/n, 1/n), W_k ~ U(-sqrt(6/n)/w0, sqrt(6/n)/w0), b_k ~ U(-1/sqrt(n), 1/sqrt(n)), except that the last
    bias is 0: targets are standardised, so the fit starts at their mean.
    """
    parts: list[NDArray[np.float64]] = []
    for k, (n, m) in enumerate(zip(shape.widths, shape.widths[1:], strict=False)):
        limit = 1 / n if k == 0 else math.sqrt(6 / n) / w0
        parts.append(rng.uniform(-limit, limit, n * m))
        parts.append(rng.uniform(-1, 1, m) / math.sqrt(n))
    parts[-1][:] = 0
    return np.concatenate(parts).astype(np.float32)


@lru_cache(maxsize=1024)
def coordinates(length: int) -> NDArray[np.float32]:
    """Coordinates of `length` voxels along one axis of a block: equally spaced from -1 to 1 (0 for a single one)."""
    steps = np.zeros(1) if length == 1 else np.arange(length) * (2.0 / (length - 1)) - 1.0
    result: NDArray[np.float32] = steps.astype(np.float32)
    result.flags.writeable = False
    return result
