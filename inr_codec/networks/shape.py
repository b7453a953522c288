"""Shapes of networks: how many neurons where, what each layer sees, where each parameter lies.

A network of `depth` layers maps a coordinate x in [-1, 1]^n to one value. There are two architectures. Sine networks
(eq. 6 of SCI, more layers, with biases; the funnel, and SIREN where it does not narrow):

    h_0 = x,   h_k = sin(w0 (W_k h_{k-1} + b_k)) for k < depth,   y = W_depth h_{depth-1} + b_depth.

NeRF networks (eq. 2 of SINCO) see sines and cosines of L octaves of the coordinate in its place, and see them again in
every second layer from the third on, the last one excepted (as Sun et al. 2021 do, whose network SINCO uses); axes of a
single voxel are left out:

    h_0 = g(x) = (sin 2^0 pi x_1, cos 2^0 pi x_1, sin 2^1 pi x_1, ..., cos 2^(L-1) pi x_n),
    h_k = max(0, W_k i_k + b_k),   i_k = (h_{k-1}, g(x)) for k = 3, 5, ... < depth, else h_{k-1}.

The parameters are one flat vector: for each layer the matrix W_k, row by row (n_out x n_in), then b_k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FUNNEL_UNIT = 16  # funnel_ratio is stored in sixteenths


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Axes, neurons of every layer, and the architecture.

    `widths[0]` axes of the coordinate, `widths[-1] == 1` output, `len(widths) - 1` layers. frequencies: octaves L of a
    NeRF network, 0 for a sine network. still: the axes that it does not see.
    """

    widths: tuple[int, ...]
    frequencies: int = 0
    still: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Number of layers (linear maps)."""
        return len(self.widths) - 1

    @property
    def encoded(self) -> int:
        """What the first layer sees: coordinates, or their sines and cosines."""
        return len(self.moving) * (2 * self.frequencies or 1)

    @property
    def moving(self) -> list[int]:
        """The axes that it sees."""
        return [axis for axis in range(self.widths[0]) if axis not in self.still]

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of every layer. Inputs beyond the outputs of the layer before: the encoded coordinate."""
        again = self.encoded if self.frequencies else 0
        inputs = [n + again * (k % 2 == 0 and k < self.depth - 1) for k, n in enumerate(self.widths[:-1])]
        return tuple(zip([self.encoded, *inputs[1:]], self.widths[1:], strict=True))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(n * m + m for n, m in self.layers)

    def tensors(self) -> Iterator[slice]:
        """The slices of the flat parameter vector: W_1, b_1, W_2, b_2, ..."""
        start = 0
        for n, m in self.layers:
            yield slice(start, start + n * m)
            yield slice(start + n * m, start + n * m + m)
            start += n * m + m


def smallest_size(depth: int) -> int:
    """The smallest `size` that `funnel_shape` takes: one neuron in every hidden layer."""
    return max(depth - 2, 1)


@lru_cache(maxsize=4096)
def funnel_shape(
    n_inputs: int, size: int, depth: int, funnel_units: int, frequencies: int = 0, still: tuple[int, ...] = ()
) -> NetworkShape:
    """The funnel of a given size: `size` neurons in the layers 2 .. depth-1, the first layer f_r times as wide.

    Sizes grow by one neuron at a time, so that a parameter budget is met closely; the neurons that do not divide
    evenly go to the earlier layers. `funnel_units` is f_r (eq. 13) in sixteenths. With depth 2 there is no layer
    but the first one, and `size` is its width.
    """
    hidden = depth - 2
    if hidden == 0:
        return NetworkShape((n_inputs, size, 1), frequencies, still)
    first = max(1, (2 * funnel_units * size + FUNNEL_UNIT * hidden) // (2 * FUNNEL_UNIT * hidden))
    rest = tuple(size // hidden + (k < size % hidden) for k in range(hidden))
    return NetworkShape((n_inputs, first, *rest, 1), frequencies, still)


def still_axes(sides: Sequence[int], frequencies: int) -> tuple[int, ...]:
    """Axes of a chunk that its networks do not see: those of one voxel, which would be 2 L constants to a NeRF."""
    return tuple(axis for axis, side in enumerate(sides) if side == 1 and frequencies)


def size_for_budget(
    n_inputs: int,
    parameters: int,
    depth: int,
    funnel_units: int,
    frequencies: int = 0,
    still: tuple[int, ...] = (),
) -> int:
    """Largest `size` whose network has at most `parameters` parameters (the smallest size if none has)."""
    low, high = smallest_size(depth), max(smallest_size(depth) + 1, parameters)
    while high - low > 1:
        middle = (low + high) // 2
        if funnel_shape(n_inputs, middle, depth, funnel_units, frequencies, still).parameters <= parameters:
            low = middle
        else:
            high = middle
    return low


def layer_table(shape: NetworkShape) -> NDArray[np.int64]:
    """`shape.layers` as kernels take it: (depth, 2)."""
    return np.array(shape.layers, np.int64)
