"""The fused CPU fit: gather, forward, backward and the optimiser's step, tile by tile, without leaving the cache."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inr_codec.engines.fused.forward import activate_with_slope, append_inputs, count_activations, look_up
from inr_codec.engines.fused.tiles import TILE, affine, outer_sum, scratch, transposed
from inr_codec.engines.restarts import Segment, drive
from inr_codec.engines.task import ADAM_BETA2, ADAMAX_BETA2, BETA1, EPSILON, FitOutcome, FitTask
from inr_codec.networks.position import coordinates, encoded_axes
from inr_codec.networks.shape import layer_table
from inr_codec.runtime.kernels import inner, kernel

ADAM, ADAMAX = 0, 1
OPTIMISERS = {"adam": ADAM, "adamax": ADAMAX}


@inner(fastmath=True)
def fused_gradient(
    values, weights, picks, first, tiles, sides, axes, features, parameters, layers, w0, relu, activations, slopes,
    gradient,
):  # fmt: skip
    """Add the gradient of sum weight (y - value)^2 / 2 over `tiles` tiles of picks to `gradient`; return twice that.

    values: float32 (n,), targets of the block, flat; weights: as many, or none for 1. picks: int32, flat voxel indices,
    those of the batch from `first` on. sides: int64 (d,), of the block. axes: float32, what the first layer sees, as
    networks.position.encoded_axes. features: float32 (n, inputs), seen in the place of coordinates if d is 0.
    parameters, gradient: float32 (p,). layers: int64, as networks.shape.layer_table. Scratch: activations, slopes,
    float32 (count_activations * TILE,), where the slopes of a layer's outputs turn into the gradient by what goes into
    them.
    """
    depth = len(layers)
    dims = len(sides)
    index = np.empty(TILE, np.uint32)
    total = 0.0
    for t in range(tiles):
        start = first + t * TILE
        if dims == 0:
            for j in range(TILE):
                here = picks[start + j]
                for a in range(layers[0, 0]):
                    activations[a * TILE + j] = features[here, a]
        else:
            look_up(picks[start : start + TILE], sides, axes, index, activations)
        at = row = np.int64(0)
        for k in range(depth):
            n, m = layers[k, 0], layers[k, 1]
            affine(parameters, at, activations, row, activations, row + n * TILE, n, m)
            row += n * TILE
            if k < depth - 1:
                activate_with_slope(activations, slopes, row, m * TILE, w0, relu)
                append_inputs(activations, row, m, layers[k + 1, 0])
            at += n * m + m
        output, error, here = activations[row : row + TILE], slopes[row : row + TILE], picks[start : start + TILE]
        for j in range(TILE):
            difference = output[j] - values[here[j]]
            error[j] = difference * weights[here[j]] if len(weights) else difference
            total += difference * error[j]
        for k in range(depth - 1, -1, -1):
            n, m = layers[k, 0], layers[k, 1]
            at -= n * m + m
            delta = row
            row -= n * TILE
            outer_sum(slopes, delta, activations, row, gradient, at, n, m)
            if k > 0:
                transposed(parameters, at, slopes, delta, slopes, row, m, layers[k - 1, 1], n)
    return total


@kernel(fastmath=True, boundscheck=False, error_model="numpy")
def fused_fit(
    values, weights, picks, state, sides, axes, features, parameters, first_moment, second_moment, frozen, layers, w0,
    relu, steps, horizon, batch, rate, kind,
):  # fmt: skip
    """Run `steps` optimiser steps; return the mean of weight times squared error over the batches they saw.

    values to features, layers: as for `fused_gradient`. picks is shuffled in place at each epoch, tile by tile where
    features are given. state (uint64): [random state, next pick, step number]. parameters, first_moment, second_moment:
    float32 (p,), changed in place; those with frozen (uint8) != 0 stay. relu: instead of sines. batch: voxels of a
    step, a multiple of TILE. The rate falls from `rate` to 0 as a half cosine over `horizon` steps. kind: ADAM or
    ADAMAX.
    """
    activations, slopes = scratch(count_activations(layers) * TILE), scratch(count_activations(layers) * TILE)
    gradient = np.zeros(len(parameters), np.float32)
    beta1, beta2 = np.float32(BETA1), np.float32(ADAM_BETA2 if kind == ADAM else ADAMAX_BETA2)
    total = 0.0
    count = len(picks)
    seed = state[0]
    position = np.int64(state[1])
    step = np.int64(state[2])
    tiles = batch // TILE
    run = 1 if len(sides) else TILE  # features fill many caches: those that follow upon one another are read together
    for _ in range(steps):
        if position + batch > count:
            for i in range(count // run - 1, 0, -1):
                seed ^= seed << np.uint64(13)
                seed ^= seed >> np.uint64(7)
                seed ^= seed << np.uint64(17)
                j = np.int64((seed >> np.uint64(32)) * np.uint64(i + 1) >> np.uint64(32))
                for k in range(run):
                    swap = picks[i * run + k]
                    picks[i * run + k] = picks[j * run + k]
                    picks[j * run + k] = swap
            position = 0
        for k in range(len(gradient)):
            gradient[k] = 0
        squares = fused_gradient(
            values, weights, picks, position, tiles, sides, axes, features, parameters, layers, w0, relu, activations,
            slopes, gradient,
        )  # fmt: skip
        total += squares / batch
        position += batch
        step += 1
        share = min(1.0, step / horizon)
        now = np.float32(rate * 0.5 * (1 + np.cos(np.pi * share)))
        correct1 = np.float32(1 / (1 - BETA1**step))
        correct2 = np.float32(1 / (1 - ADAM_BETA2**step))
        scale = np.float32(2.0 / batch)
        for k in range(len(parameters)):
            g = gradient[k] * scale
            m = beta1 * first_moment[k] + (np.float32(1) - beta1) * g
            first_moment[k] = m
            if kind == ADAM:
                v = beta2 * second_moment[k] + (np.float32(1) - beta2) * g * g
                size = np.sqrt(v * correct2)
            else:
                v = max(beta2 * second_moment[k], abs(g))
                size = v
            second_moment[k] = v
            parameters[k] -= np.float32(0) if frozen[k] else now * m * correct1 / (size + np.float32(EPSILON))
    state[0] = seed
    state[1] = np.uint64(position)
    state[2] = np.uint64(step)
    return total / max(steps, 1)


def run(task: FitTask, cancelled: Callable[[], bool]) -> FitOutcome:
    """Fit one network on one thread. Batches are whole tiles: the schedule's is rounded down, to one tile at least."""
    axes = encoded_axes(task.shape, [coordinates(side) for side in task.sides])
    features = np.zeros((0, 0), np.float32) if task.features is None else task.features
    weights = np.zeros(0, np.float32) if task.weights is None else task.weights
    everything = np.arange(task.values.size, dtype=np.int32) if task.picks is None else task.picks
    if everything.size < TILE:
        everything = np.resize(everything, TILE)
    batch = max(TILE, min(task.schedule.batch, everything.size) // TILE * TILE)
    count = len(task.parameters)
    frozen = np.zeros(count, np.uint8) if task.frozen is None else task.frozen
    layers = layer_table(task.shape)
    sides = np.array([task.sides[a] for a in task.shape.moving] if task.sides else [], np.int64)

    def begin(rate: float) -> Segment:
        parameters = task.parameters.copy()
        moments = np.zeros((2, count), np.float32)
        picks = everything.copy()
        state = np.array(
            [task.seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D & 0xFFFFFFFFFFFFFFFF | 1, len(picks), 0], np.uint64
        )

        def segment(steps: int) -> tuple[float, NDArray[np.float32]]:
            loss = fused_fit(
                task.values, weights, picks, state, sides, axes, features, parameters, moments[0], moments[1], frozen,
                layers, np.float32(task.w0), task.shape.frequencies > 0, steps, task.schedule.steps, batch, rate,
                OPTIMISERS[task.schedule.optimiser],
            )  # fmt: skip
            return float(loss), parameters

        return segment

    return drive(task, begin, cancelled)
