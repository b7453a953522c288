"""Learning a prior from sample chunks of a data set: Reptile (Nichol et al. 2018).

    theta <- theta + rate (mean over some blocks of fit(theta, block) - theta),   rate falling to 0,

for networks of several sizes around those that the encoder would use.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import normalise
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.encoding.choose_layers import network_budgets
from inr_codec.encoding.encoder import prepare
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.errors import ConfigError
from inr_codec.layers.network.payload import W0_UNIT
from inr_codec.layers.network.plan import NetworkPlan, flat, make_task, plan_network, sizes_by_weights
from inr_codec.layers.network.prior import Prior, make_prior
from inr_codec.networks.shape import funnel_shape
from inr_codec.networks.start import StartSequence, initial_parameters

ROUNDS, STEPS, BLOCKS, RATE = 60, 1000, 8, 0.5
"""Rounds, optimiser steps of a fit, fits of a round, and how far the first round moves
(benchmarks/studies/networks, which took 150 rounds)."""
LADDER = 1.2
"""Ratio of one network size to the next. Not varied."""
SPREAD = 3.0
"""The sizes go from the average one / SPREAD to the average one * SPREAD. Not varied."""


def learn_prior(
    chunks: Sequence[NDArray[Any]],
    config: Config,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    on_size: Callable[[int, int], None] = lambda done, of: None,
) -> Prior:
    """A prior for chunks like these: `INRCodec(ratio=..., prior=learn_prior(chunks, Config(ratio=...)).text)`.

    chunks: arrays of one number of dimensions, of the shape that the encoder will be given; config: the recipe they
    will be encoded with (ratio or bpv); on_size(done, of) is called after each network size. One seed, one prior.
    Raises ConfigError when there is nothing to learn.
    """
    recipe = replace(config.resolved(), prior=None)
    plans = [plan for values in chunks for plan in _plans(values, recipe)]
    pool = [(plan, k) for plan in plans for k, empty in enumerate(plan.empty) if not flat(empty)]
    if not pool or len({plan.chunk.unit.ndim for plan in plans}) > 1:
        raise ConfigError(f"expected sample chunks with detail, of one number of axes, got {len(pool)}: add some")
    settings, dims = plans[0].settings, plans[0].chunk.unit.ndim
    rng = np.random.default_rng(config.seed)
    starts = {}
    sizes = _sizes(plans)
    for done, size in enumerate(sizes, start=1):
        shape = funnel_shape(dims, size, settings.depth, settings.funnel_units)
        start = initial_parameters(shape, settings.w0, StartSequence(0))
        for number in range(rounds):
            tasks = [_task(*pool[int(i)], size, start, steps, rng) for i in rng.integers(0, len(pool), BLOCKS)]
            ends = [outcome.parameters for outcome in fit_blocks(tasks)]
            start = (start + RATE * (1 - number / rounds) * (np.mean(ends, 0) - start)).astype(np.float32)
        starts[size] = start
        on_size(done, len(sizes))
    return make_prior(dims, settings.depth, settings.funnel_units, round(settings.w0 * W0_UNIT), starts)


def _plans(values: NDArray[Any], config: Config) -> list[NetworkPlan]:
    """Network layers as the encoder would plan them for a chunk; none for a chunk that networks do not hold."""
    given = prepare(values, config.missing_numbers)
    budget = config.budget(given.counted * given.chunk.dtype.itemsize, given.counted)
    if budget is None:
        raise ConfigError("expected ratio= or bpv= to learn a prior for, got another target: give the usual ratio")
    if given.header.intensity is None or given.valid is not None or given.intensity.constant:
        return []
    intensity = given.intensity
    origin = intensity.lo / (intensity.hi - intensity.lo)
    chunk = UnitChunk(normalise(given.values, intensity), None, origin)
    budgets = [budget] if config.layers == "network" else network_budgets(chunk, budget, 0, config)
    return [plan_network(chunk, n_bytes, config) for n_bytes in budgets]


def _sizes(plans: list[NetworkPlan]) -> list[int]:
    """A ladder around the sizes that blocks of equal shares would have."""
    equal = [size for plan in plans for size in sizes_by_weights(plan, [1.0] * len(plan.blocks)) if size]
    if not equal:
        raise ConfigError("expected a budget that networks fit in, got too few bytes for any: lower the ratio")
    least = plans[0].settings.depth - 2
    low, high = max(min(equal) / SPREAD, least, 1), max(equal) * SPREAD
    count = int(np.ceil(np.log(high / low) / np.log(LADDER)))
    return sorted({round(low * LADDER**k) for k in range(count + 1)})


def _task(
    plan: NetworkPlan, k: int, size: int, start: NDArray[np.float32], steps: int, rng: np.random.Generator
) -> FitTask:
    schedule = Schedule(steps, plan.settings.schedule.batch, plan.settings.schedule.rate, "adam")
    return replace(make_task(plan, k, size, schedule, int(rng.integers(1 << 31))), parameters=start)
