"""Evaluating a sine network on a grid: a fused tile kernel, and the plain numpy form it is tested against.

A grid is the outer product of one coordinate array per axis, so a slice, a plane or a coarser grid costs what it holds.
In the first layer the sines of a whole row follow from one sine per neuron and row by angle addition,

    sin(w0 (W x + b)) = sin(phase) cos(w0 W_last x_last) + cos(phase) sin(w0 W_last x_last),

with `phase` the part of the argument that is constant along the row; the other layers run tile by tile.
All arithmetic is in float32; engines agree within about 1e-5 of the range of the network's output.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inr_codec.kernels import kernel
from inr_codec.network import NetworkShape
from inr_codec.tiles import TILE, forward, sine_cosine

Array = NDArray[np.float32]


@kernel(fastmath=True, boundscheck=False)
def _fused_grid(parameters, widths, w0, axes, sides, gain, lift, out):
    """out (flat, C order) <- gain * network(grid) + lift."""
    dims = len(sides)
    first = widths[1]
    last = sides[dims - 1]
    rows = 1
    for a in range(dims - 1):
        rows *= sides[a]
    neurons = 0
    for k in range(1, len(widths)):
        neurons += widths[k]
    activations = np.zeros(neurons * TILE, np.float32)
    sines = np.empty(first * last, np.float32)
    cosines = np.empty(first * last, np.float32)
    for o in range(first):
        weight = parameters[o * dims + dims - 1]
        for x in range(last):
            sines[o * last + x] = weight * axes[dims - 1, x]
    sine_cosine(sines, cosines, 0, first * last, w0)
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
                sine_cosine(phase, quarter, 0, first, w0)
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
        source = forward(parameters, first * dims + first, widths, 1, activations, w0)
        for j in range(filled):
            out[done + j] = gain * activations[source + j] + lift
        done += filled


def evaluate_grid(
    parameters: Array, shape: NetworkShape, w0: float, axes: Sequence[Array], gain: float = 1.0, lift: float = 0.0
) -> Array:
    """gain * network + lift on the outer product of `axes` (one coordinate array per axis), as a C-ordered array."""
    sides = np.array([len(axis) for axis in axes], np.int64)
    out = np.empty(tuple(sides), np.float32)
    if out.size:
        table = np.zeros((len(axes), max(sides)), np.float32)
        for a, axis in enumerate(axes):
            table[a, : len(axis)] = axis
        widths = np.array(shape.widths, np.int64)
        _fused_grid(
            parameters, widths, np.float32(w0), table, sides, np.float32(gain), np.float32(lift), out.reshape(-1)
        )
    return out


def evaluate_grid_reference(
    parameters: Array, shape: NetworkShape, w0: float, axes: Sequence[Array], gain: float = 1.0, lift: float = 0.0
) -> Array:
    """The same as `evaluate_grid`, in a few lines of numpy: the definition that the fused kernel is tested against."""
    values = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1)
    tensors = list(shape.tensors())
    for k, (matrix, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        n, m = shape.widths[k], shape.widths[k + 1]
        values = parameters[matrix].reshape(m, n) @ values + parameters[bias, None]
        if k < shape.depth - 1:
            values = np.sin(np.float32(w0) * values)
    result: Array = np.float32(gain) * values[0] + np.float32(lift)
    return result.reshape([len(axis) for axis in axes])


@kernel(fastmath=True, boundscheck=False)
def _fused_points(parameters, widths, w0, points, out):
    """out <- network(points[:, k]), tile by tile."""
    dims = widths[0]
    neurons = 0
    for k in range(len(widths)):
        neurons += widths[k]
    activations = np.zeros(neurons * TILE, np.float32)
    total = len(out)
    for start in range(0, total, TILE):
        count = min(TILE, total - start)
        for a in range(dims):
            for j in range(count):
                activations[a * TILE + j] = points[a, start + j]
        source = forward(parameters, 0, widths, 0, activations, w0)
        for j in range(count):
            out[start + j] = activations[source + j]


def evaluate_points(parameters: Array, shape: NetworkShape, w0: float, points: Array) -> Array:
    """The network at scattered points: `points` is (inputs, n), the result (n,)."""
    out = np.empty(points.shape[1], np.float32)
    _fused_points(
        parameters, np.array(shape.widths, np.int64), np.float32(w0), np.ascontiguousarray(points, np.float32), out
    )
    return out
