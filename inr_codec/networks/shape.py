"""Networks: how many neurons where, what each layer sees, where each parameter lies, how it starts.

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

import math
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


class StartSequence:
    """Uniform numbers that are the same on every machine for ever, a sequence for each number of a block.

    Number i >= 1 of block b is the splitmix64 hash (Steele et al. 2014) of (2^32 b + i) 0x9E3779B97F4A7C15 mod 2^64,
    its upper 53 bits times 2^-53.
    """

    def __init__(self, block: int) -> None:
        self._next = (block << 32) + 1

    def uniform(self, low: float, high: float, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """The next numbers, as many as an array of that size has, in C order: low + (high - low) u, in float64."""
        count = math.prod(size) if isinstance(size, tuple) else size
        z = (np.uint64(self._next) + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        self._next += count
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        u = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * u).reshape(size)


def initial_parameters(shape: NetworkShape, w0: float, rng: np.random.Generator | StartSequence) -> NDArray[np.float32]:
    """Where a fit starts.

    Sine networks (Sitzmann et al. 2020, sec. 3.2), biases and last layer included: W_1 ~ U(-1/n, 1/n),
    W_k ~ U(-sqrt(6/n)/w0, sqrt(6/n)/w0), b_k ~ U(-1/sqrt(n), 1/sqrt(n)). NeRF networks (He et al. 2015):
    W_k ~ U(-sqrt(6/n), sqrt(6/n)), b_k = 0, but weights of octave l of the coordinate in proportion to 2^(-l/2), with
    the same sum of squares (benchmarks/studies/networks). The last bias is 0: targets are standardised, so the fit
    starts at their mean.
    """
    parts: list[NDArray[np.float64]] = []
    for k, (n, m) in enumerate(shape.layers):
        if shape.frequencies:
            limit, spread = math.sqrt(6 / n), 0.0
        else:
            limit, spread = 1 / n if k == 0 else math.sqrt(6 / n) / w0, 1 / math.sqrt(n)
        matrix = rng.uniform(-limit, limit, (m, n))
        if shape.frequencies and (k == 0 or n > shape.widths[k]):
            fall = 2.0 ** (-0.5 * np.arange(shape.frequencies))
            fall *= math.sqrt(shape.frequencies / np.sum(fall**2))
            matrix[:, n - shape.encoded :] *= np.tile(np.repeat(fall, 2), len(shape.moving))
        parts.append(matrix.reshape(-1))
        parts.append(rng.uniform(-1, 1, m) * spread)
    parts[-1][:] = 0
    return np.concatenate(parts).astype(np.float32)


def encode(positions: NDArray[np.float32], frequencies: int) -> NDArray[np.float32]:
    """What a first layer sees of coordinates along one axis: (inputs, n), the coordinates themselves for 0 octaves."""
    if not frequencies:
        return positions[None]
    turns = positions.astype(np.float64) * 2.0 ** np.arange(frequencies)[:, None]
    phases = np.pi * (turns - 2 * np.rint(turns / 2))
    result: NDArray[np.float32] = np.stack([np.sin(phases), np.cos(phases)], 1).astype(np.float32)
    return result.reshape(2 * frequencies, -1)


def encoded_axes(shape: NetworkShape, axes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """`encode` of the axes of a grid that the network sees, one below the other, 0 behind: (inputs, longest)."""
    seen = [encode(axes[a], shape.frequencies) for a in shape.moving] if axes else []
    table = np.zeros((sum(map(len, seen)), max((part.shape[1] for part in seen), default=0)), np.float32)
    row = 0
    for part in seen:
        table[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return table


def encoded_points(shape: NetworkShape, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the first layer sees of points (axes, n): (inputs, n)."""
    return np.concatenate([encode(points[a], shape.frequencies) for a in shape.moving])


def layer_table(shape: NetworkShape) -> NDArray[np.int64]:
    """`shape.layers` as kernels take it: (depth, 2)."""
    return np.array(shape.layers, np.int64)


@lru_cache(maxsize=1024)
def coordinates(length: int) -> NDArray[np.float32]:
    """Coordinates of `length` voxels along one axis of a block: equally spaced from -1 to 1 (0 for a single one)."""
    result = coordinates_at(np.arange(length), length)
    result.flags.writeable = False
    return result


def coordinates_at(places: NDArray[np.float64] | NDArray[np.intp], length: int) -> NDArray[np.float32]:
    """Coordinates of some places, in voxels, along an axis of `length` voxels."""
    result: NDArray[np.float32] = (places * (2.0 / max(length - 1, 1)) - (length > 1)).astype(np.float32)
    return result
