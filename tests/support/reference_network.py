"""A network on a grid in a few lines of numpy: what the fused kernels are held against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inr_codec.networks.position import encoded_points
from inr_codec.networks.shape import NetworkShape

Array = NDArray[np.float32]


def evaluate_grid(
    parameters: Array, shape: NetworkShape, w0: float, axes: Sequence[Array], gain: float = 1.0, lift: float = 0.0
) -> Array:
    """gain * network + lift on the outer product of `axes` (one coordinate array per axis), as a C-ordered array."""
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
