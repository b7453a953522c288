"""Fitting filters: the voxels that they learn from, whitened features, and networks before they are rounded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.layers.filter.payload import (
    SCALE_UNIT,
    W0,
    WIDTH_UNIT,
    FilterLayer,
    filter_values,
    gather_features,
)
from inr_codec.networks.start import initial_parameters

SAMPLE_VOXELS = 1 << 16
"""Voxels on which quantised filters are compared, and whitening is found (benchmarks/studies/constants)."""
FLOOR = 0.01
"""Of the eigenvalues that whitening divides by, as a share of the largest one (benchmarks/studies/constants)."""
FIRST_WEIGHTS, LAST_WEIGHTS = 0.5, 0.05
"""Weights of the first and the last layer that a fit starts with, times the usual (benchmarks/studies/constants)."""
LEAST_HIDDEN = (2,)
"""Of a layer that has no network yet."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Unrounded:
    """A filter as it was fitted: all of a layer but its symbols, and its parameters, float32."""

    layer: FilterLayer
    parameters: Array

    def apply(self, decoded: Array) -> Array:
        """The corrected chunk."""
        return filter_values(decoded, self.layer, self.parameters)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Voxels of a chunk to learn from.

    layer: what their features are made by. points: float32 (inputs, `SAMPLE_VOXELS` at most), features x of the first
    of them. features: float32 (n, inputs), whitened: T (x - mean). error: float32 (n,), in units of the layer's scale.
    whiten, mean: T and the mean.
    """

    layer: FilterLayer
    points: Array
    features: Array
    error: Array
    whiten: NDArray[np.float64]
    mean: NDArray[np.float64]


def empty_layer(chunk: UnitChunk, decoded: Array, scale: float) -> FilterLayer:
    """Everything but the network: axes, scale, and the map of intensities (centre: mean, width: std)."""
    inside = decoded[counted_voxels(chunk)]
    axes = tuple(n > 1 for n in decoded.shape)
    scale_code = min(max(round(-SCALE_UNIT * math.log2(scale)), 0), 255)
    centre = min(max(round(255 * float(inside.mean(dtype=np.float64))), 0), 255)
    std = max(float(inside.std(dtype=np.float64)), 1e-9)
    width_code = min(max(round(-WIDTH_UNIT * math.log2(std)), 0), 255)
    return FilterLayer(axes, LEAST_HIDDEN, scale_code, centre, width_code)


def counted_voxels(chunk: UnitChunk) -> NDArray[np.bool_]:
    """Where there are voxels to learn from."""
    return np.ones(chunk.unit.shape, np.bool_) if chunk.valid is None else chunk.valid


def draw_sample(chunk: UnitChunk, decoded: Array, layer: FilterLayer, voxels: int, seed: int) -> Sample:
    """`voxels` of the chunk at most, expected, in an order of their own, as fits take tiles of them at once."""
    counted = counted_voxels(chunk)
    rng = np.random.default_rng(seed)
    wanted = counted & (rng.random(counted.shape) < _chances(chunk, counted, voxels))
    places = rng.permutation(int(np.count_nonzero(wanted)))
    features = gather_features(decoded, layer, wanted, places)
    error = np.empty(len(places), np.float32)
    error[places] = (chunk.unit - decoded)[wanted] / np.float32(layer.scale)
    points = np.ascontiguousarray(features[:SAMPLE_VOXELS].T)
    return Sample(layer, points, features, error, *_whiten(features))


def _chances(chunk: UnitChunk, counted: NDArray[np.bool_], voxels: int) -> Array | float:
    """Chance of each voxel to be learnt from, in proportion to its weight: `voxels` of them at most are expected."""
    if chunk.weights is None:
        return voxels / float(counted.sum())
    return chunk.weights * np.float32(min(1 / float(chunk.weights.max()), voxels / float(counted.sum())))


def _whiten(features: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Replace features x by T (x - mean), whose covariance is nearly the identity, in place; return T and the mean.

    T = (the covariance's eigenvectors / sqrt(eigenvalues + `FLOOR` * the largest one))^T. It halves the steps needed.
    """
    mean = features.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(features[:: max(1, len(features) // SAMPLE_VOXELS)].T.astype(np.float64)))
    whiten = (vectors / np.sqrt(values + FLOOR * values.max() + 1e-12)).T
    for start in range(0, len(features), SAMPLE_VOXELS):
        part = slice(start, start + SAMPLE_VOXELS)
        features[part] = (features[part] - mean.astype(np.float32)) @ whiten.T.astype(np.float32)
    return whiten, mean


def fit_filters(
    sizes: Sequence[tuple[int, ...]], sample: Sample, schedule: Schedule, seed: int, before: Unrounded | None = None
) -> list[Unrounded]:
    """A filter of each of `sizes` (hidden layers), fitted to a sample; from `before` on, which has the same size.

    A fit sees y = T (x - mean) of features x, and W y + b = (W T) x + (b - W T mean).
    """
    tasks = []
    for size in sizes:
        layer = replace(sample.layer, hidden=size)
        parameters = _start(layer, seed) if before is None else before.parameters.copy()
        if before is not None:
            weights, bias = _first(layer, parameters)
            bias += (weights @ sample.mean).astype(np.float32)
            weights[:] = np.linalg.solve(sample.whiten.T, weights.T.astype(np.float64)).T
        tasks.append(FitTask(sample.error, (), layer.shape, W0, parameters, schedule, seed, features=sample.features))
    fitted = []
    for size, outcome in zip(sizes, fit_blocks(tasks), strict=True):
        layer, parameters = replace(sample.layer, hidden=size), outcome.parameters.copy()
        weights, bias = _first(layer, parameters)
        plain = weights @ sample.whiten
        bias -= (plain @ sample.mean).astype(np.float32)
        weights[:] = plain
        fitted.append(Unrounded(layer, parameters))
    return fitted


def _first(layer: FilterLayer, parameters: Array) -> tuple[Array, Array]:
    """Views of the weights, (neurons, inputs), and the biases of the first layer."""
    matrix, bias = list(layer.shape.tensors())[:2]
    return parameters[matrix].reshape(layer.shape.widths[1], -1), parameters[bias]


def _start(layer: FilterLayer, seed: int) -> Array:
    """Parameters that a fit begins with."""
    rng = np.random.default_rng(seed)
    parameters = initial_parameters(layer.shape, W0, rng)
    tensors = list(layer.shape.tensors())
    limit = FIRST_WEIGHTS / math.sqrt(layer.shape.widths[0]) / W0
    parameters[tensors[0]] = rng.uniform(-limit, limit, tensors[0].stop)
    parameters[tensors[-2]] *= LAST_WEIGHTS
    return parameters
