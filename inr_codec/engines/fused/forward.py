"""The layers of a network on one tile, for both architectures of networks/shape.py.

The activations of a tile lie one behind the other: what the first layer sees, what it gives, what the second gives,
and so on. A layer that sees the encoded coordinate again finds a copy of it behind the outputs of the layer before.
"""

import numpy as np

from inr_codec.engines.fused.tiles import TILE, affine, sine, sine_cosine
from inr_codec.runtime.kernels import inner


@inner()
def count_activations(layers):
    """Values that a network's activations take for one voxel of a tile. layers: as networks.shape.layer_table."""
    count = 1
    for k in range(len(layers)):
        count += layers[k, 0]
    return count


@inner()
def look_up(places, sides, axes, index, activations):
    """The tile begins with what the first layer sees of the voxels at `places`: flat indices, one per voxel of a tile.

    axes: as networks.position.encoded_axes, as many rows for each of `sides`. index (uint32): scratch for a tile.
    """
    rows = len(axes) // len(sides)
    stride = 1.0
    for a in range(len(sides) - 1, -1, -1):
        side, per_line, per_side = np.float64(sides[a]), 1.0 / stride, 1.0 / sides[a]
        for j in range(TILE):
            line = np.floor((places[j] + 0.5) * per_line)
            index[j] = np.uint32(line - side * np.floor((line + 0.5) * per_side))
        for row in range(a * rows, (a + 1) * rows):
            values, there = axes[row], activations[row * TILE : row * TILE + TILE]
            for j in range(TILE):
                there[j] = values[index[j]]
        stride *= side


@inner()
def append_inputs(activations, row, outputs, inputs):
    """Behind `outputs` neurons at `row`, copy the first ones of the tile, up to `inputs` in all."""
    count = (inputs - outputs) * TILE
    there = activations[row + outputs * TILE : row + outputs * TILE + count]
    for j in range(count):
        there[j] = activations[j]


@inner()
def activate(values, start, count, w0, relu):
    """values <- max(values, 0) or sin(w0 * values) on `count` entries from `start`."""
    if relu:
        x = values[start : start + count]
        for j in range(count):
            x[j] = max(x[j], np.float32(0))
    else:
        sine(values, start, count, w0)


@inner()
def activate_with_slope(values, slopes, start, count, w0, relu):
    """The same, and slopes <- its derivative."""
    if relu:
        x, slope = values[start : start + count], slopes[start : start + count]
        for j in range(count):
            slope[j] = np.float32(x[j] > 0)
            x[j] = max(x[j], np.float32(0))
    else:
        sine_cosine(values, slopes, start, count, w0)


@inner()
def forward(parameters, at, layers, first, activations, w0, relu):
    """Run a network's layers from `first` (counted from 0) to the last on one tile; return where its output starts.

    The inputs of that layer lie at the start of `activations`; `at` is the offset of its matrix in `parameters`.
    """
    source = np.int64(0)  # a plain 0 would have the kernels below compiled once more, for that constant
    for k in range(first, len(layers)):
        n, m = layers[k, 0], layers[k, 1]
        affine(parameters, at, activations, source, activations, source + n * TILE, n, m)
        source += n * TILE
        if k < len(layers) - 1:
            activate(activations, source, m * TILE, w0, relu)
            append_inputs(activations, source, m, layers[k + 1, 0])
        at += n * m + m
    return source
