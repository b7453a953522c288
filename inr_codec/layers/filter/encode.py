"""Encoding the filter layer: sample voxels, fit, round to a grid with compensation, keep it only if it pays.

The price of a byte is the share of the squared error that it would take off elsewhere in the stream. Sizes and steps
minimise error * (1 + price * bytes).
"""

import math
from dataclasses import replace

import numpy as np

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.efforts import EFFORTS, Effort
from inr_codec.engines import Schedule
from inr_codec.engines.fused.evaluate import evaluate_points
from inr_codec.layers.filter.fit import (
    SAMPLE_VOXELS,
    Sample,
    Unrounded,
    counted_voxels,
    draw_sample,
    empty_layer,
    fit_filters,
)
from inr_codec.layers.filter.payload import STEP_UNIT, W0, FilterLayer, filter_values, pack_filter
from inr_codec.layers.filter.rounding import Array, CompensatedRounding, output_jacobian

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
FOLLOWER_WIDTH, FOLLOWER_VOXELS = 16, 1 << 17
FOLLOWER_BATCH, FOLLOWER_STEPS, VOXELS_A_STEP, FIRST_STEPS = 1024, (125, 500), 256, 4
FIRST_RATE, NEXT_RATE = 4e-3, 2e-3
"""Of the filter that follows the rounds of a residual: neurons of its first hidden layer at most, the voxels it learns
from, voxels of a step of its fits, fewest and most steps, voxels for each step between these, how many times as many
steps the first fit has, and the rates (benchmarks/studies/loop)."""
HEAD_BYTES, PARAMETER_BYTES = 8, 0.57
"""Expected bytes of a filter and of each of its parameters, for choosing among the sizes
(benchmarks/studies/constants)."""
SMALLEST = 4096
"""Chunks of fewer voxels (16^3) get no filter. Not measured."""
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
    before = chunk.squared_error(decoded)
    if counted_voxels(chunk).sum() < SMALLEST or not before > 0 or not scale > 0:
        return None
    empty = empty_layer(chunk, decoded, scale)
    sample = draw_sample(chunk, decoded, empty, settings.filter_voxels, seed)
    points, errors = sample.points, sample.error[:SAMPLE_VOXELS]
    sizes = [size for size in _probed(sample, price, n_bytes, seed) if max(size) <= settings.filter_width]
    best: tuple[float, FilterLayer] | None = None
    for fitted in fit_filters(sizes[: settings.filter_sizes], sample, schedule, seed):
        rounded = _round(fitted, points, errors, price, n_bytes)
        if rounded is not None and (best is None or rounded[0] < best[0]):
            best = rounded
    if best is None:
        return None
    payload = pack_filter(best[1])
    after = chunk.squared_error(filter_values(decoded, best[1]))
    return (payload, after) if after * (1 + price * len(payload)) < before else None


def first_follower(
    chunk: UnitChunk, decoded: Array, scale: float, n_bytes: int, price: float, *, seed: int
) -> Unrounded | None:
    """A filter to follow a chunk whose residual is being coded, as large as pays; None if none does.

    The arguments are those of `encode_filter`.
    """
    before = chunk.squared_error(decoded)
    if counted_voxels(chunk).sum() < SMALLEST or not before > 0 or not scale > 0:
        return None
    empty = empty_layer(chunk, decoded, scale)
    sample = draw_sample(chunk, decoded, empty, FOLLOWER_VOXELS, seed)
    sizes = [size for size in _probed(sample, price, n_bytes, seed) if max(size) <= FOLLOWER_WIDTH]
    schedule = Schedule(FIRST_STEPS * _steps(sample), FOLLOWER_BATCH, FIRST_RATE)
    return fit_filters(sizes[:1], sample, schedule, seed)[0] if sizes else None


def next_follower(chunk: UnitChunk, decoded: Array, before: Unrounded, *, seed: int) -> Unrounded:
    """`before`, fitted on to what the chunk is decoded to now."""
    sample = draw_sample(chunk, decoded, before.layer, FOLLOWER_VOXELS, seed)
    schedule = Schedule(_steps(sample), FOLLOWER_BATCH, NEXT_RATE)
    return fit_filters([before.layer.hidden], sample, schedule, seed, before)[0]


def _steps(sample: Sample) -> int:
    """Of a fit that follows."""
    return min(max(len(sample.error) // VOXELS_A_STEP, FOLLOWER_STEPS[0]), FOLLOWER_STEPS[1])


def _probed(sample: Sample, price: float, n_bytes: int, seed: int) -> list[tuple[int, ...]]:
    """Hidden layers that should pay, most promising first, by a short fit; none where there is no error."""
    errors = sample.error[:SAMPLE_VOXELS]
    if not errors.any():
        return []
    probe = fit_filters([PROBE], sample, PROBE_SCHEDULE, seed)[0]
    left = _square_left(probe.layer, probe.parameters, sample.points, errors) / float(np.mean(errors**2))
    return _sizes(sample.layer, left, price, n_bytes)


def _expected_bytes(layer: FilterLayer) -> float:
    """What a filter of these hidden layers takes, roughly."""
    return HEAD_BYTES + PARAMETER_BYTES * layer.shape.parameters


def _sizes(empty: FilterLayer, left: float, price: float, n_bytes: int) -> list[tuple[int, ...]]:
    """Hidden layers that should pay, most promising first: what each leaves of the error, and its bytes' price.

    `left` is what the probe left. On a chunk where it took off x times as many dB as it does typically, the others
    take off x^`PROBE_POWER` times as many, `PROBE_MOST` times at most (found on real volumes).
    """
    power = min((math.log(min(max(left, 1e-9), 1.0)) / math.log(SIZES[PROBE])) ** PROBE_POWER, PROBE_MOST)
    expected = {size: _expected_bytes(replace(empty, hidden=size)) for size in SIZES}
    cost = {size: SIZES[size] ** power * (1 + price * expected[size]) for size in SIZES if expected[size] <= n_bytes}
    return sorted((size for size in cost if cost[size] < 1), key=lambda size: cost[size])


def _square_left(layer: FilterLayer, parameters: Array, points: Array, error: Array) -> float:
    """Mean squared error, in units of the scale, that a network leaves at sample points."""
    return float(np.mean((error - evaluate_points(parameters, layer.shape, W0, points)) ** 2))


def _round(
    fitted: Unrounded, points: Array, error: Array, price: float, n_bytes: int
) -> tuple[float, FilterLayer] | None:
    """The filter on the grid that costs least, and its cost; None if none takes at most `n_bytes`."""
    layer = fitted.layer
    jacobian = output_jacobian(fitted.parameters, layer.shape, points[:, :: max(1, points.shape[1] // JACOBIAN_VOXELS)])
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
        symbols = rounding.symbols(fitted.parameters.astype(np.float64), steps)
        tried = replace(layer, steps=tuple(codes), symbols=symbols)
        size = len(pack_filter(tried))
        cost = _square_left(layer, tried.parameters(), points, error) * (1 + price * size)
        if size <= n_bytes and (best is None or cost < best[0]):
            best = cost, tried
    return best
