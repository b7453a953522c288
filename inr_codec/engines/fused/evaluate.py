"""Evaluating a network on a grid or at points by fused tile kernels.

A grid is the outer product of one coordinate array per axis, so a slice, a plane or a coarser grid costs what it holds.
In the first layer of a sine network the sines of a whole row follow from one sine per neuron and row by angle addition,

    sin(w0 (W x + b)) = sin(phase) cos(w0 W_last x_last) + cos(phase) sin(w0 W_last x_last),

with `phase` the part of the argument that is constant along the row; the other layers run tile by tile. What the first
layer of a NeRF network sees is looked up, axis by axis.
All arithmetic is in float32; engines agree within about 1e-5 of the range of the network's output.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inr_codec.engines.fused.forward import count_activations, forward, look_up
from inr_codec.engines.fused.tiles import TILE, scratch, sine_cosine, turn, whole_vectors
from inr_codec.networks.position import encoded_axes, encoded_points
from inr_codec.networks.shape import NetworkShape, layer_table
from inr_codec.runtime.kernels import kernel

Array = NDArray[np.float32]


@kernel(fastmath=True, boundscheck=False)
def _fused_grid(parameters, layers, w0, axes, sides, gain, lift, out):
    """out (flat, C order) <- gain * network(grid) + lift, for a sine network.

    parameters: float32, flat. layers: int64, as networks.shape.layer_table. axes: float32, coordinates along each axis
    one row each, as networks.position.encoded_axes. sides: int64, numbers of them. out: float32, one for each point.
    """
    dims = len(sides)
    first, last = layers[0, 1], sides[dims - 1]
    wide, across = whole_vectors(first), whole_vectors(last)
    bias = parameters[first * dims : first * dims + first]
    columns = np.zeros((dims, wide), np.float32)
    for o in range(first):
        for a in range(dims):
            columns[a, o] = parameters[o * dims + a]
    sines, cosines = scratch(first * across), scratch(first * across)
    for o in range(first):
        for x in range(last):
            sines[o * across + x] = columns[dims - 1, o] * axes[dims - 1, x]
    sine_cosine(sines, cosines, np.int64(0), first * across, w0)
    inverse = np.float32(1) / w0  # each cosine has a factor w0, and each product in `turn` one of them
    for k in range(first * across):
        sines[k] *= inverse
        cosines[k] *= inverse
    phase, quarter = scratch(wide), scratch(wide)
    activations = scratch(count_activations(layers) * TILE)
    row = x = np.int64(0)
    for done in range(0, len(out), TILE):
        size = min(TILE, len(out) - done)
        filled = np.int64(0)
        while filled < size:
            if x == 0:
                for o in range(first):
                    phase[o] = bias[o]
                rest = row
                for a in range(dims - 2, -1, -1):
                    above = rest // sides[a]
                    at, column = axes[a, rest - above * sides[a]], columns[a]
                    for o in range(wide):
                        phase[o] += column[o] * at
                    rest = above
                sine_cosine(phase, quarter, np.int64(0), wide, w0)
            count = min(size - filled, last - x)
            turn(sines, cosines, x, across, phase, quarter, activations, filled, first, count)
            filled += count
            x += count
            if x == last:
                x = 0
                row += 1
        source = forward(parameters, first * dims + first, layers, np.int64(1), activations, w0, np.bool_(False))
        result, there = activations[source : source + size], out[done : done + size]
        for j in range(size):
            there[j] = gain * result[j] + lift


@kernel(fastmath=True, boundscheck=False)
def _encoded_grid(parameters, layers, w0, axes, sides, gain, lift, out):
    """The same for a NeRF network; axes: as networks.position.encoded_axes."""
    activations = scratch(count_activations(layers) * TILE)
    places, index = np.empty(TILE, np.int64), np.empty(TILE, np.uint32)
    for start in range(0, len(out), TILE):
        for j in range(TILE):
            places[j] = min(start + j, len(out) - 1)
        look_up(places, sides, axes, index, activations)
        source = forward(parameters, np.int64(0), layers, np.int64(0), activations, w0, np.bool_(True))
        result, there = activations[source : source + TILE], out[start : start + TILE]
        for j in range(len(there)):
            there[j] = gain * result[j] + lift


def evaluate_grid(
    parameters: Array, shape: NetworkShape, w0: float, axes: Sequence[Array], gain: float = 1.0, lift: float = 0.0
) -> Array:
    """gain * network + lift on the outer product of `axes` (one coordinate array per axis), as a C-ordered array."""
    sides = np.array([len(axes[a]) for a in shape.moving], np.int64)
    out = np.empty(tuple(sides), np.float32)
    if out.size:
        run = _encoded_grid if shape.frequencies else _fused_grid
        run(
            parameters, layer_table(shape), np.float32(w0), encoded_axes(shape, axes), sides, np.float32(gain),
            np.float32(lift), out.reshape(-1),
        )  # fmt: skip
    if not shape.still:
        return out
    return np.broadcast_to(np.expand_dims(out, shape.still), [len(axis) for axis in axes]).copy()


@kernel(fastmath=True, boundscheck=False)
def _fused_points(parameters, layers, w0, relu, points, out):
    """out <- network(points[:, k]), tile by tile; points: what the first layer sees."""
    activations = scratch(count_activations(layers) * TILE)
    for start in range(0, len(out), TILE):
        there = out[start : start + TILE]
        for a in range(len(points)):
            here, tile = points[a, start : start + TILE], activations[a * TILE : a * TILE + TILE]
            for j in range(len(there)):
                tile[j] = here[j]
        source = forward(parameters, np.int64(0), layers, np.int64(0), activations, w0, relu)
        result = activations[source : source + TILE]
        for j in range(len(there)):
            there[j] = result[j]


def evaluate_points(parameters: Array, shape: NetworkShape, w0: float, points: Array) -> Array:
    """The network at scattered points: `points` is (axes, n), the result (n,)."""
    out = np.empty(points.shape[1], np.float32)
    seen = encoded_points(shape, np.asarray(points, np.float32))
    _fused_points(parameters, layer_table(shape), np.float32(w0), shape.frequencies > 0, seen, out)
    return out
