"""Evaluating a network on a grid: fused tile kernels, and the plain numpy form they are tested against.

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

from inr_codec.forward import count_activations, forward
from inr_codec.kernels import kernel
from inr_codec.network import NetworkShape, encoded_axes, encoded_points, layer_table
from inr_codec.tiles import TILE, scratch, sine_cosine

Array = NDArray[np.float32]


@kernel(fastmath=True, boundscheck=False)
def _fused_grid(parameters, layers, w0, axes, sides, gain, lift, out):
    """out (flat, C order) <- gain * network(grid) + lift, for a sine network."""
    dims = len(sides)
    first = layers[0, 1]
    last = sides[dims - 1]
    rows = 1
    for a in range(dims - 1):
        rows *= sides[a]
    activations = scratch(count_activations(layers) * TILE)
    sines = np.empty(first * last, np.float32)
    cosines = np.empty(first * last, np.float32)
    for o in range(first):
        weight = parameters[o * dims + dims - 1]
        for x in range(last):
            sines[o * last + x] = weight * axes[dims - 1, x]
    sine_cosine(sines, cosines, np.int64(0), first * last, w0)
    inverse = np.float32(1) / w0
    for k in range(first * last):
        cosines[k] *= inverse
    phase = np.empty(first, np.float32)
    quarter = np.empty(first, np.float32)
    row = 0
    x = 0
    done = 0
    total = rows * last
    while done < total:
        filled = 0
        while filled < TILE and row < rows:
            if x == 0 or filled == 0:
                rest = row
                for o in range(first):
                    phase[o] = parameters[first * dims + o]
                for a in range(dims - 2, -1, -1):
                    above = rest // sides[a]
                    at = axes[a, rest - above * sides[a]]
                    for o in range(first):
                        phase[o] += parameters[o * dims + a] * at
                    rest = above
                sine_cosine(phase, quarter, np.int64(0), first, w0)
            count = min(TILE - filled, last - x)
            for o in range(first):
                s = phase[o]
                c = quarter[o] * inverse
                target = activations[o * TILE + filled : o * TILE + filled + count]
                cx = cosines[o * last + x : o * last + x + count]
                sx = sines[o * last + x : o * last + x + count]
                for j in range(count):
                    target[j] = s * cx[j] + c * sx[j]
            filled += count
            x += count
            if x == last:
                x = 0
                row += 1
        source = forward(parameters, first * dims + first, layers, np.int64(1), activations, w0, np.bool_(False))
        for j in range(filled):
            out[done + j] = gain * activations[source + j] + lift
        done += filled


@kernel(fastmath=True, boundscheck=False)
def _encoded_grid(parameters, layers, w0, axes, sides, gain, lift, out):
    """The same for a NeRF network; axes: as network.encoded_axes."""
    dims = len(sides)
    rows = len(axes) // dims
    activations = scratch(count_activations(layers) * TILE)
    index = np.zeros(TILE, np.int64)
    for start in range(0, len(out), TILE):
        count = min(TILE, len(out) - start)
        stride = 1
        for a in range(dims - 1, -1, -1):
            for j in range(count):
                index[j] = (start + j) // stride % sides[a]
            for row in range(a * rows, (a + 1) * rows):
                for j in range(count):
                    activations[row * TILE + j] = axes[row, index[j]]
            stride *= sides[a]
        source = forward(parameters, np.int64(0), layers, np.int64(0), activations, w0, np.bool_(True))
        for j in range(count):
            out[start + j] = gain * activations[source + j] + lift


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


def evaluate_grid_reference(
    parameters: Array, shape: NetworkShape, w0: float, axes: Sequence[Array], gain: float = 1.0, lift: float = 0.0
) -> Array:
    """The same as `evaluate_grid`, in a few lines of numpy: the definition that the fused kernel is tested against."""
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1)
    values = seen = encoded_points(shape, points)
    tensors = list(shape.tensors())
    for k, (matrix, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        n, m = shape.layers[k]
        inputs = np.concatenate([values, seen])[:n]
        values = parameters[matrix].reshape(m, n) @ inputs + parameters[bias, None]
        if k < shape.depth - 1:
            values = np.maximum(values, 0) if shape.frequencies else np.sin(np.float32(w0) * values)
    result: Array = np.float32(gain) * values[0] + np.float32(lift)
    return result.reshape([len(axis) for axis in axes])


@kernel(fastmath=True, boundscheck=False)
def _fused_points(parameters, layers, w0, relu, points, out):
    """out <- network(points[:, k]), tile by tile; points: what the first layer sees."""
    activations = scratch(count_activations(layers) * TILE)
    total = len(out)
    for start in range(0, total, TILE):
        count = min(TILE, total - start)
        for a in range(len(points)):
            for j in range(count):
                activations[a * TILE + j] = points[a, start + j]
        source = forward(parameters, np.int64(0), layers, np.int64(0), activations, w0, relu)
        for j in range(count):
            out[start + j] = activations[source + j]


def evaluate_points(parameters: Array, shape: NetworkShape, w0: float, points: Array) -> Array:
    """The network at scattered points: `points` is (axes, n), the result (n,)."""
    out = np.empty(points.shape[1], np.float32)
    seen = encoded_points(shape, np.asarray(points, np.float32))
    _fused_points(parameters, layer_table(shape), np.float32(w0), shape.frequencies > 0, seen, out)
    return out
