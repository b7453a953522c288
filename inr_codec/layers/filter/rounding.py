"""Rounding of a small network's parameters that compensates each error in those that are still free (GPTQ)."""

import numpy as np
from numpy.typing import NDArray

from inr_codec.layers.filter.payload import (
    W0,
)
from inr_codec.networks.shape import NetworkShape

DAMPING = 0.01


Array = NDArray[np.float32]


def output_jacobian(parameters: Array, shape: NetworkShape, points: Array) -> Array:
    """Derivatives (n, parameters) of the network's output at the points (inputs, n) to its parameters."""
    tensors = list(shape.tensors())
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))
    inputs, slopes = [points], []
    for k, (matrix, bias) in enumerate(layers[:-1]):
        weights = parameters[matrix].reshape(shape.widths[k + 1], shape.widths[k])
        phase = np.float32(W0) * (weights @ inputs[-1] + parameters[bias, None])
        inputs.append(np.sin(phase))
        slopes.append(np.float32(W0) * np.cos(phase))
    jacobian = np.empty((points.shape[1], shape.parameters), np.float32)
    delta = np.ones((1, points.shape[1]), np.float32)
    for k in range(len(layers) - 1, -1, -1):
        matrix, bias = layers[k]
        jacobian[:, matrix] = (delta[:, None] * inputs[k][None]).reshape(-1, points.shape[1]).T
        jacobian[:, bias] = delta.T
        if k:
            weights = parameters[matrix].reshape(shape.widths[k + 1], shape.widths[k])
            delta = (weights.T @ delta) * slopes[k - 1]
    return jacobian


class CompensatedRounding:
    """Rounding of values to grids so that (q * steps - values)' curvature (q * steps - values) is small (GPTQ).

    Parameters are rounded one by one, those of the greatest curvature first; each error is made up for by moving the
    parameters that are still free to where the quadratic form is least (Frantar et al. 2022).
    """

    def __init__(self, curvature: NDArray[np.float64]) -> None:
        diagonal = np.diag(curvature)
        self._order = np.argsort(-diagonal, kind="stable")
        damped = curvature[np.ix_(self._order, self._order)] + DAMPING * diagonal.mean() * np.eye(len(curvature))
        self._upper = np.linalg.cholesky(np.linalg.inv(damped)).T

    def symbols(self, values: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.int64]:
        """The integers q."""
        free = values[self._order]
        symbols = np.empty(len(values), np.int64)
        for i, step in enumerate(steps[self._order]):
            symbols[self._order[i]] = round(free[i] / step)
            error = (free[i] - symbols[self._order[i]] * step) / self._upper[i, i]
            free[i + 1 :] -= error * self._upper[i, i + 1 :]
        return symbols
