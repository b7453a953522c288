"""Encoding the network layer of a chunk within a byte budget: plan, probe, fit, quantise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.efforts import EFFORTS
from inr_codec.engines import FitOutcome, FitTask, Schedule, fit_blocks
from inr_codec.layers.network.payload import (
    MEAN_UNIT,
    W0_UNIT,
    NetworkBlock,
    NetworkLayer,
    affine_of,
    pack_network,
    std_size,
)
from inr_codec.layers.network.plan import (
    NetworkPlan,
    flat,
    flattened,
    make_task,
    plan_network,
    sizes_by_rule,
    sizes_by_weights,
)
from inr_codec.layers.network.probe import measured_partition, measured_weights
from inr_codec.layers.network.quantise import all_sensitivities, freeze, step_codes, symbols

if TYPE_CHECKING:
    from inr_codec.layers.network.structure_fit import Scene
    from inr_codec.layers.network.structure_loss import Regulariser

FREEZE_SHARE = 0.05
"""One round of freezing takes 5 % of the steps of the main fit."""
FREEZE_RATE = 0.2
"""Its first rate, as a share of the fit's (both: benchmarks/studies/constants)."""
LEAST_MASS = 1e-3
"""What the voxels of a block count together at least, so that sensitivities stay above 0: a guard, as a voxel counts
about 1."""
REGULARISED_RATE = 0.5
"""Initial rate under the regulariser, as a share of the main fit's. Chosen with the steps (benchmarks/studies/sinco),
not varied alone."""
REGULARISED_ROUND, REGULARISED_ROUND_RATE = 0.15, 0.4
"""Steps and rate of one round of freezing under the regulariser, as shares of the regularised fit's. Not varied
alone."""
Fit = Callable[[Sequence[FitTask]], list[FitOutcome]]


@dataclass(frozen=True, slots=True)
class FittedNetworks:
    """The networks of a chunk, float32: tasks and outcomes of the blocks `live`; fit: fits what is not frozen yet."""

    plan: NetworkPlan
    live: list[int]
    tasks: list[FitTask]
    outcomes: list[FitOutcome]
    fit: Fit


def fit_networks(chunk: UnitChunk, n_bytes: int, config: Config) -> FittedNetworks:
    """Networks that a layer of about `n_bytes` bytes has room for."""
    blocks = measured_partition(chunk, n_bytes, config) if config.partition == "measured" else None
    plan = plan_network(chunk, n_bytes, config, blocks)
    sizes = choose_sizes(plan, config)
    live = [k for k, size in enumerate(sizes) if size]
    tasks = [make_task(plan, k, sizes[k], plan.settings.schedule, config.seed) for k in live]
    fitted = fit_blocks(tasks)
    fit: Fit = fit_blocks
    if chunk.structure is not None and live:
        fitted, fit = regularise(plan, live, tasks, fitted, cast("Regulariser", chunk.structure), config)
    return FittedNetworks(plan, live, tasks, fitted, fit)


def encode_network(
    chunk: UnitChunk, n_bytes: int, config: Config, fitted: FittedNetworks | None = None
) -> bytes | None:
    """Payload of a network layer of at most `n_bytes` bytes; None when not even flat blocks fit.

    fitted: networks to store, in as many bits as there is room for; without them they are planned and fitted first.
    """
    found = fitted or fit_networks(chunk, n_bytes, config)
    layer = assemble(found.plan, found.live, found.tasks, found.outcomes, n_bytes, found.fit)
    payload = pack_network(layer, chunk.unit.shape)
    if len(payload) <= n_bytes:
        return payload
    if config.partition != "none" and len(found.plan.blocks) > 1:
        return encode_network(chunk, n_bytes, replace(config, partition="none"))
    return None


def choose_sizes(plan: NetworkPlan, config: Config) -> list[int]:
    """Network size of every block, by the rule asked for."""
    rule = config.allocation or "measured"
    if rule != "measured":
        return sizes_by_rule(plan, config, rule)
    live = [k for k, empty in enumerate(plan.empty) if not flat(empty)]
    if len(live) < 2:
        return sizes_by_weights(plan, [float(k in live) for k in range(len(plan.blocks))])
    return sizes_by_weights(plan, measured_weights(plan, live, config))


def make_scene(plan: NetworkPlan, live: list[int]) -> "Scene":
    """The scene that the networks of the blocks `live` paint; the other blocks have their means."""
    from inr_codec.layers.network.structure_fit import Scene

    ground = np.zeros_like(plan.chunk.unit)
    for k, block in enumerate(plan.blocks):
        if k not in live:
            ground[block.slices] = affine_of(_flat_block(plan, k))[1]
    gains = [std_size(plan.empty[k].std_code) for k in live]
    lifts = [plan.empty[k].mean * MEAN_UNIT * gain for k, gain in zip(live, gains, strict=True)]
    return Scene(plan.chunk, [plan.blocks[k] for k in live], gains, lifts, ground)


def regularise(
    plan: NetworkPlan,
    live: list[int],
    tasks: list[FitTask],
    fitted: list[FitOutcome],
    structure: "Regulariser",
    config: Config,
) -> tuple[list[FitOutcome], Fit]:
    """Fitted networks fitted on under the structural regulariser, and the fit for freezing them under it."""
    from inr_codec.layers.network.structure_fit import fit_regularised, squared_error

    scene = make_scene(plan, live)
    scale = squared_error(tasks, fitted, scene, structure)
    steps = min(EFFORTS[config.effort].structure_steps, plan.settings.schedule.steps)
    rate = plan.settings.schedule.rate * REGULARISED_RATE
    fit = partial(fit_regularised, scene=scene, structure=structure, scale=scale)
    begun = [replace(task, parameters=outcome.parameters) for task, outcome in zip(tasks, fitted, strict=True)]
    return fit(begun, steps=steps, rate=rate), partial(
        fit, steps=max(1, int(steps * REGULARISED_ROUND)), rate=rate * REGULARISED_ROUND_RATE
    )


def assemble(
    plan: NetworkPlan, live: list[int], tasks: list[FitTask], fitted: list[FitOutcome], n_bytes: int, fit: Fit
) -> NetworkLayer:
    """Quantise fitted blocks: the packed layer takes at most `n_bytes`, and as nearly that as can be.

    fit: fits the parameters that are not frozen yet.
    """
    parameters = [outcome.parameters for outcome in fitted]
    gains = []
    for k, gain in zip(live, all_sensitivities(tasks, parameters), strict=True):
        gains.append(gain * max(plan.samples[k].mass, LEAST_MASS) * std_size(plan.empty[k].std_code) ** 2)

    def layer_of(codes: list[tuple[int, ...]], values: list[NDArray[np.float32]]) -> NetworkLayer:
        networks = [_flat_block(plan, k) for k in range(len(plan.blocks))]
        for k, task, code, value in zip(live, tasks, codes, values, strict=True):
            size = sum(task.shape.widths[2:-1]) or task.shape.widths[1]
            networks[k] = replace(plan.empty[k], size=size, steps=code, symbols=symbols(value, code, task), number=k)
        settings = plan.settings
        return NetworkLayer(
            plan.blocks, tuple(networks), settings.depth, settings.funnel_units, round(settings.w0 * W0_UNIT),
            settings.frequencies, plan.prior.digest if plan.prior else b"",
        )  # fmt: skip

    def packed_size(coarseness: float, values: list[NDArray[np.float32]]) -> int:
        return len(
            pack_network(layer_of([step_codes(gain, coarseness) for gain in gains], values), plan.chunk.unit.shape)
        )

    if not live:
        return layer_of([], [])
    allowed = float(n_bytes)
    schedule = plan.settings.schedule
    rounds = Schedule(max(50, int(schedule.steps * FREEZE_SHARE)), schedule.batch, schedule.rate * FREEZE_RATE, "adam")
    while True:
        low, high = -40.0, 20.0
        for _ in range(24):
            middle = (low + high) / 2
            if packed_size(2.0**middle, parameters) > allowed:
                low = middle
            else:
                high = middle
        codes = [step_codes(gain, 2.0**high) for gain in gains]
        layer = layer_of(codes, freeze(tasks, parameters, codes, rounds, fit))
        size = len(pack_network(layer, plan.chunk.unit.shape))
        if size <= n_bytes or allowed < 0.5 * n_bytes:
            return layer
        allowed -= size - n_bytes + 1


def _flat_block(plan: NetworkPlan, k: int) -> NetworkBlock:
    inside = plan.chunk.unit[plan.blocks[k].slices]
    valid = None if plan.chunk.valid is None else plan.chunk.valid[plan.blocks[k].slices]
    if valid is not None and not valid.all():
        inside = inside[valid] if valid.any() else np.zeros(1, np.float32)
    return flattened(plan.empty[k], float(inside.mean(dtype=np.float64)))
