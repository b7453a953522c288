"""Encoding the filter layer: sample voxels, fit, round to a grid with compensation, keep it only if it pays.

The price of a byte is the share of the squared error that it would take off elsewhere in the stream. Sizes and steps
minimise error * (1 + price * bytes).
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.efforts import EFFORTS, Effort
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_points
from inr_codec.layers.filter.payload import (
    SCALE_UNIT,
    STEP_UNIT,
    W0,
    WIDTH_UNIT,
    FilterLayer,
    filter_values,
    gather_features,
    pack_filter,
)
from inr_codec.layers.filter.rounding import Array, CompensatedRounding, output_jacobian
from inr_codec.networks.start import initial_parameters

SIZES = {
    (2,): 0.936,
    (3,): 0.930,
    (4, 4): 0.924,
    (6, 6): 0.918,
    (8, 8): 0.907,
    (12, 6): 0.900,
    (16, 8): 0.893,
    (24, 8): 0.887,
    (32, 16): 0.881,
}
"""Hidden layers, and the share of the squared error that each leaves, on average over real volumes."""
PROBE, PROBE_SCHEDULE = (4, 4), Schedule(1000, 512, 6e-3)
"""The short fit that tells how much a filter takes off this chunk (benchmarks/studies/constants)."""
PROBE_POWER, PROBE_MOST = 0.7, 1.3
"""How what the sizes take off goes with what the probe took off, see `_sizes` (benchmarks/studies/filter)."""
HEAD_BYTES, PARAMETER_BYTES = 8, 0.57
"""Expected bytes of a filter and of each of its parameters, for choosing among the sizes
(benchmarks/studies/constants)."""
SMALLEST = 4096
"""Chunks of fewer voxels (16^3) get no filter. Not measured."""
SAMPLE_VOXELS = 1 << 16
"""Voxels on which quantised filters are compared (benchmarks/studies/constants)."""
FLOOR = 0.01
"""Of the eigenvalues that whitening divides by, as a share of the largest one (benchmarks/studies/constants)."""
FIRST_WEIGHTS, LAST_WEIGHTS = 0.5, 0.05
"""Weights of the first and the last layer that a fit starts with, times the usual (benchmarks/studies/constants)."""
ROUNDING = tuple(10 ** (-k / 4) for k in range(4, 15))
"""Errors of rounding that are tried, as fractions of the squared error (benchmarks/studies/constants)."""
JACOBIAN_VOXELS = 8192


def encode_filter(
    chunk: UnitChunk,
    decoded: Array,
    scale: float,
    n_bytes: int,
    price: float,
    *,
    effort: Effort = "default",
    seed: int = 0,
) -> tuple[bytes, float] | None:
    """Payload of at most `n_bytes` bytes, and the mean squared error after it; None if no filter pays.

    chunk, decoded: original and decoded unit intensities, 1 to 4 dims; scale: the size of the decoded chunk's
    errors, best the step of the residual layer, or three times the rms error if there is none; price: of a byte.
    """
    settings = EFFORTS[effort]
    schedule = Schedule(settings.filter_steps, settings.filter_batch, settings.filter_rate)
    counted = np.ones(decoded.shape, np.bool_) if chunk.valid is None else chunk.valid
    before = chunk.squared_error(decoded)
    if counted.sum() < SMALLEST or not before > 0 or not scale > 0:
        return None
    empty = _empty_layer(decoded, counted, scale)
    rng = np.random.default_rng(seed)
    wanted = counted & (rng.random(counted.shape) < _chances(chunk, counted, settings.filter_voxels))
    places = rng.permutation(int(np.count_nonzero(wanted)))  # in any order, as fits take tiles of the sample at once
    features = gather_features(decoded, empty, wanted, places)
    error = np.empty(len(places), np.float32)
    error[places] = (chunk.unit - decoded)[wanted] / np.float32(empty.scale)
    points, errors = np.ascontiguousarray(features[:SAMPLE_VOXELS].T), error[:SAMPLE_VOXELS]
    if not errors.any():
        return None
    whitening = _whiten(features)
    probe = _fit([replace(empty, hidden=PROBE)], features, error, whitening, PROBE_SCHEDULE, seed)[0]
    left = _square_left(replace(empty, hidden=PROBE), probe, points, errors) / float(np.mean(errors**2))
    sizes = [size for size in _sizes(empty, left, price, n_bytes) if max(size) <= settings.filter_width]
    layers = [replace(empty, hidden=size) for size in sizes[: settings.filter_sizes]]
    best: tuple[float, FilterLayer] | None = None
    for layer, fitted in zip(layers, _fit(layers, features, error, whitening, schedule, seed), strict=True):
        rounded = _round(layer, fitted, points, errors, price, n_bytes)
        if rounded is not None and (best is None or rounded[0] < best[0]):
            best = rounded
    if best is None:
        return None
    payload = pack_filter(best[1])
    after = chunk.squared_error(filter_values(decoded, best[1]))
    return (payload, after) if after * (1 + price * len(payload)) < before else None


def _chances(chunk: UnitChunk, counted: NDArray[np.bool_], voxels: int) -> Array | float:
    """Chance of each voxel to be learnt from, in proportion to its weight: `voxels` of them at most are expected."""
    if chunk.weights is None:
        return voxels / float(counted.sum())
    return chunk.weights * np.float32(min(1 / float(chunk.weights.max()), voxels / float(counted.sum())))


def _empty_layer(decoded: Array, counted: NDArray[np.bool_], scale: float) -> FilterLayer:
    """Everything but the network: axes, scale, and the map of intensities (centre: mean, width: std)."""
    inside = decoded[counted]
    axes = tuple(n > 1 for n in decoded.shape)
    scale_code = min(max(round(-SCALE_UNIT * math.log2(scale)), 0), 255)
    centre = min(max(round(255 * float(inside.mean(dtype=np.float64))), 0), 255)
    std = max(float(inside.std(dtype=np.float64)), 1e-9)
    width_code = min(max(round(-WIDTH_UNIT * math.log2(std)), 0), 255)
    return FilterLayer(axes, min(SIZES), scale_code, centre, width_code)


def _expected_bytes(empty: FilterLayer, hidden: tuple[int, ...]) -> float:
    return HEAD_BYTES + PARAMETER_BYTES * replace(empty, hidden=hidden).shape.parameters


def _sizes(empty: FilterLayer, left: float, price: float, n_bytes: int) -> list[tuple[int, ...]]:
    """Hidden layers that should pay, most promising first: what each leaves of the error, and its bytes' price.

    `left` is what the probe left. On a chunk where it took off x times as many dB as it does typically, the others
    take off x^`PROBE_POWER` times as many, `PROBE_MOST` times at most (found on real volumes).
    """
    power = min((math.log(min(max(left, 1e-9), 1.0)) / math.log(SIZES[PROBE])) ** PROBE_POWER, PROBE_MOST)
    expected = {size: _expected_bytes(empty, size) for size in SIZES}
    cost = {size: SIZES[size] ** power * (1 + price * expected[size]) for size in SIZES if expected[size] <= n_bytes}
    return sorted((size for size in cost if cost[size] < 1), key=lambda size: cost[size])


def _square_left(layer: FilterLayer, parameters: Array, points: Array, error: Array) -> float:
    """Mean squared error, in units of the scale, that a network leaves at sample points."""
    return float(np.mean((error - evaluate_points(parameters, layer.shape, W0, points)) ** 2))


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


def _fit(
    layers: list[FilterLayer],
    features: Array,
    error: Array,
    whitening: tuple[NDArray[np.float64], NDArray[np.float64]],
    schedule: Schedule,
    seed: int,
) -> list[Array]:
    """Parameters of every layer's network, fitted to whitened features: W y + b = (W T) x + (b - W T mean)."""
    whiten, mean = whitening
    tasks = []
    for layer in layers:
        rng = np.random.default_rng(seed)
        parameters = initial_parameters(layer.shape, W0, rng)
        tensors = list(layer.shape.tensors())
        limit = FIRST_WEIGHTS / math.sqrt(features.shape[1]) / W0
        parameters[tensors[0]] = rng.uniform(-limit, limit, tensors[0].stop)
        parameters[tensors[-2]] *= LAST_WEIGHTS
        tasks.append(FitTask(error, (), layer.shape, W0, parameters, schedule, seed, features=features))
    fitted = []
    for task, outcome in zip(tasks, fit_blocks(tasks), strict=True):
        parameters = outcome.parameters.copy()
        matrix, bias = list(task.shape.tensors())[:2]
        weights = parameters[matrix].reshape(task.shape.widths[1], -1) @ whiten
        parameters[bias] -= (weights @ mean).astype(np.float32)
        parameters[matrix] = weights.reshape(-1)
        fitted.append(parameters)
    return fitted


def _round(
    layer: FilterLayer, fitted: Array, points: Array, error: Array, price: float, n_bytes: int
) -> tuple[float, FilterLayer] | None:
    """The fitted layer on the grid that costs least, and its cost; None if none takes at most `n_bytes`."""
    jacobian = output_jacobian(fitted, layer.shape, points[:, :: max(1, points.shape[1] // JACOBIAN_VOXELS)])
    curvature = (jacobian.T @ jacobian).astype(np.float64) / len(jacobian)
    tensors = list(layer.shape.tensors())
    gains = np.array([np.diag(curvature)[tensor].mean() for tensor in tensors])
    gains = np.maximum(gains, 1e-6 * gains.max() + 1e-30)
    rounding = CompensatedRounding(curvature)
    square = float(np.mean(error**2))
    best: tuple[float, FilterLayer] | None = None
    for fraction in ROUNDING:
        coarseness = math.sqrt(12 * fraction * square / layer.shape.parameters)
        codes = np.clip(np.rint(-STEP_UNIT * np.log2(coarseness / np.sqrt(gains))), -64, 255).astype(int).tolist()
        steps = np.concatenate([np.full(t.stop - t.start, 2.0 ** (-c / STEP_UNIT)) for c, t in zip(codes, tensors)])
        symbols = rounding.symbols(fitted.astype(np.float64), steps)
        tried = replace(layer, steps=tuple(codes), symbols=symbols)
        size = len(pack_filter(tried))
        cost = _square_left(layer, tried.parameters(), points, error) * (1 + price * size)
        if size <= n_bytes and (best is None or cost < best[0]):
            best = cost, tried
    return best
