"""Planning the networks of a chunk: settings, partition, parameters per block. Cheap, and nothing is fitted here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.efforts import EFFORTS
from inr_codec.engines import FitTask, Schedule
from inr_codec.layers.network.allocate import Rule, allocate_parameters, share
from inr_codec.layers.network.blocks import Block, root, split
from inr_codec.layers.network.partition import Solver, paper_solver, plan_partition
from inr_codec.layers.network.payload import (
    FLAT_UNIT,
    MEAN_UNIT,
    W0_UNIT,
    NetworkBlock,
    funnel_units,
    std_code,
    std_size,
)
from inr_codec.layers.network.prior import Prior, read_prior
from inr_codec.layers.network.sampling import Sample, sample_by_structure, sample_evenly
from inr_codec.layers.network.spectrum import spectrum_concentration
from inr_codec.networks.shape import FUNNEL_UNIT, funnel_shape, size_for_budget, smallest_size, still_axes
from inr_codec.networks.start import StartSequence, initial_parameters
from inr_codec.stream.frame import FREE_WORK, WORK_PER_BYTE

SMALL_NETWORK = 1000
"""Networks with fewer parameters learn more from twice as many steps of half the batch
(benchmarks/studies/networks)."""
PARAMETERS_PER_BLOCK = 1000
"""A finer cut than the first level pays only when blocks keep about this many parameters
(benchmarks/studies/networks)."""
LEAST_PARAMETERS = 250
"""Parameters of a block from which on the first cut pays: one network for a whole chunk does worse
(benchmarks/studies/networks)."""
BITS = 4.7
"""Of a stored parameter, on average: fewer bits for more parameters pay as long as freezing makes up
(benchmarks/studies/networks)."""
BLOCK_BYTES = 7
"""Rough side information of a block: size, mean, std and a step for every tensor (benchmarks/studies/constants)."""
LAYER_BYTES = 4
"""Of a layer: the fields before its blocks (FORMAT.md section 4)."""
MAX_BLOCKS = 64
"""Where nothing else is asked for: blocks of PARAMETERS_PER_BLOCK in a stream of some 38 kB."""
FREQUENCIES = 12
"""Octaves of NeRF networks (L_f of SINCO; benchmarks/studies/networks)."""
W0, PICTURE_W0 = 15.0, 30.0
"""Frequency factor of the sines; the second for one SIREN of a whole picture, with more cycles along an axis."""
PICTURE_SIDE = 128
"""Longest side from which on a picture takes PICTURE_W0: 64 x 64 voxels in 150 parameters lose 6 dB by it
(benchmarks/studies/networks)."""
SINE_RATE, NERF_RATE = 1.5e-3, 1e-2
"""First rates of fits (benchmarks/studies/networks)."""
WIDE_SINES, WIDE_NERF = 1.35, 0.52
"""Limits of the learning rate of P parameters: WIDE_SINES / (w0 sqrt(P)), WIDE_NERF / sqrt(P)
(benchmarks/studies/networks)."""
WIDE_BLOCKS = 0.9
"""The limit of the sines for each of several blocks, by its own P: sparse blocks of 3500 diverge at 1.5e-3."""
WHOLE_CHUNK = 4
"""Networks that hold a whole chunk each get as many times the effort's fewest steps
(benchmarks/studies/networks)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the network layer, decided."""

    depth: int
    funnel_units: int
    w0: float
    schedule: Schedule
    frequencies: int = 0
    free_rate: bool = True
    """Whether wide networks may take a lower rate than the schedule's."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Blocks of a chunk, their standardisation, and how many parameters there are to share."""

    chunk: UnitChunk
    blocks: tuple[Block, ...]
    empty: tuple[NetworkBlock, ...]
    """Per block: its mean and std code with size 0; the network comes later."""
    samples: tuple[Sample, ...]
    """Per block: which voxels to learn from."""
    settings: Settings
    parameters: int
    work: int
    """Multiplications that evaluating the chunk may take."""
    prior: Prior | None = None


def smallest_network(sides: tuple[int, ...], depth: int, units: int, frequencies: int) -> int:
    """Parameters of the smallest network."""
    still = still_axes(sides, frequencies)
    return funnel_shape(len(sides), smallest_size(depth), depth, units, frequencies, still).parameters


def tree_levels(config: Config) -> int:
    """Depth of the tree that blocks are chosen from."""
    return (2 if config.partition == "measured" else 3) if config.levels is None else config.levels


def partition_solver(config: Config) -> Solver:
    """What solves the partition's integer program: what the paper used if its preset is asked for."""
    return paper_solver() if config.preset == "paper" else "dynamic"


def plan_network(chunk: UnitChunk, n_bytes: int, config: Config, blocks: Sequence[Block] | None = None) -> NetworkPlan:
    """Plan a network layer of `n_bytes` bytes, on `blocks` if they are known already."""
    unit = chunk.unit
    prior = prior_for(config, unit.ndim)
    if prior is not None:
        ratio, w0 = prior.funnel_units / FUNNEL_UNIT, prior.w0_units / W0_UNIT
        config = replace(config, prior=None, depth=prior.depth, funnel_ratio=ratio, w0=w0)
    depth = config.depth or 5
    units = funnel_units(config.funnel_ratio or 2.2)
    frequencies = FREQUENCIES if config.architecture == "nerf" else 0
    smallest = smallest_network(unit.shape, depth, units, frequencies)
    bits = config.bits or BITS
    room = max(n_bytes - LAYER_BYTES, 0)
    if blocks is None:
        limit = config.max_blocks or _block_limit(room, bits, len(split(root(unit.shape))))
        least = 2 * smallest * bits / 8
        while limit > 1 and room - limit * BLOCK_BYTES < limit * least:
            limit //= 2
        blocks = plan_partition(
            unit + np.float32(chunk.origin),
            partition="spectrum" if config.partition is None or config.partition == "measured" else config.partition,
            max_blocks=limit,
            top_m=config.top_m or 1,
            levels=tree_levels(config),
            form=config.concentration or "centred",
            solver=partition_solver(config),
        )
    parameters = max(0, int((room - len(blocks) * BLOCK_BYTES) * 8 / bits))
    empty, samples = [], []
    for block in blocks:
        inside = unit[block.slices]
        counts = _counts(chunk, block)
        empty.append(_standardisation(inside, counts))
        even = config.preset == "paper"
        samples.append(sample_evenly(counts, block.size) if even else sample_by_structure(inside, counts))
    w0 = _frequency_factor(config, unit.shape)
    schedule = plan_schedule(config, parameters, unit.size, max(block.size for block in blocks), w0)
    settings = Settings(depth, units, w0, schedule, frequencies, config.learning_rate is None)
    work = FREE_WORK + WORK_PER_BYTE * n_bytes
    return NetworkPlan(chunk, tuple(blocks), tuple(empty), tuple(samples), settings, parameters, work, prior)


def prior_for(config: Config, dims: int) -> Prior | None:
    """The prior of a recipe, where it is one for that many axes."""
    prior = None if config.prior is None else read_prior(config.prior)
    return prior if prior is not None and prior.dims == dims else None


def _counts(chunk: UnitChunk, block: Block) -> NDArray[np.float32] | None:
    """What each voxel of a block counts, 0 where it is masked; None where all count 1."""
    if chunk.weights is not None:
        return chunk.weights[block.slices]
    if chunk.valid is None or chunk.valid[block.slices].all():
        return None
    return chunk.valid[block.slices].astype(np.float32)


def _block_limit(room: int, bits: float, first_level: int) -> int:
    """Blocks that a chunk is cut into at most, for a layer of `room` bytes."""
    at_least = int(room / (BLOCK_BYTES + LEAST_PARAMETERS * bits / 8))
    good = int(room / (BLOCK_BYTES + PARAMETERS_PER_BLOCK * bits / 8))
    return max(1, min(at_least, first_level), min(good, MAX_BLOCKS))


def plan_schedule(config: Config, parameters: int, voxels: int, block_voxels: int, w0: float = W0) -> Schedule:
    """The schedule that spends the effort's arithmetic on `parameters` in all, at a rate for networks of their size."""
    name = config.architecture or "funnel"
    batch = config.batch or (128 if parameters * block_voxels < SMALL_NETWORK * voxels else 256)
    low, high = (limit * 256 // min(batch, 256) for limit in EFFORTS[config.effort].steps)
    if name != "funnel":
        low *= WHOLE_CHUNK
    steps = EFFORTS[config.effort].flops_per_voxel * voxels / (6 * max(parameters, 100) * batch)
    chosen = config.steps or int(min(max(steps, low), high))
    root_size = math.sqrt(max(parameters * block_voxels / voxels, 1))
    if name == "nerf":
        rate = min(NERF_RATE, WIDE_NERF / root_size)
    else:
        rate = min(SINE_RATE, WIDE_SINES / (w0 * root_size))
    return Schedule(chosen, batch, config.learning_rate or rate, config.optimiser or "adam")


def _frequency_factor(config: Config, sides: tuple[int, ...]) -> float:
    """w0, as it is stored; 0 where there are no sines."""
    if config.architecture == "nerf":
        return 0.0
    picture = config.architecture == "siren" and sum(n > 1 for n in sides) < 3 and max(sides) >= PICTURE_SIDE
    return round((config.w0 or (PICTURE_W0 if picture else W0)) * 16) / 16


def _standardisation(values: NDArray[np.float32], counts: NDArray[np.float32] | None) -> NetworkBlock:
    """Stored mean and std of a block's values; std_code 255 when they do not vary."""
    if counts is None:
        mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    elif counts.any():
        mean = float(np.average(values, weights=counts.astype(np.float64)))
        std = math.sqrt(np.average((values - mean) ** 2, weights=counts.astype(np.float64)))
    else:
        mean = std = 0.0
    if std < 2e-7:
        return NetworkBlock(0, round(mean / FLAT_UNIT), 255)
    code = std_code(std)
    return NetworkBlock(0, round(mean / (std_size(code) * MEAN_UNIT)), code)


def flat(block: NetworkBlock) -> bool:
    """Whether a block is constant, with nothing to fit."""
    return block.std_code == 255


def flattened(empty: NetworkBlock, mean: float) -> NetworkBlock:
    """The same block as one constant."""
    return replace(empty, size=0, mean=round(mean / FLAT_UNIT), std_code=255)


def sizes_by_rule(plan: NetworkPlan, config: Config, rule: Rule) -> list[int]:
    """Network size of every block by one of the paper's rules; 0 for flat blocks."""
    spread = [
        max(
            spectrum_concentration(
                plan.chunk.unit[block.slices] + np.float32(plan.chunk.origin),
                config.top_m or 1,
                config.concentration or "centred",
            ),
            1e-6,
        )
        for block in plan.blocks
    ]
    live = [k for k, empty in enumerate(plan.empty) if not flat(empty)]
    return _sizes(
        plan,
        live,
        lambda smallest, total: allocate_parameters(
            [plan.blocks[k] for k in live], [spread[k] for k in live], total, rule=rule, smallest=smallest
        ),
    )


def sizes_by_weights(plan: NetworkPlan, weights: list[float]) -> list[int]:
    """Network size of every block with parameters in proportion to weights (0 for flat blocks)."""
    live = [k for k, empty in enumerate(plan.empty) if not flat(empty)]
    return _sizes(plan, live, lambda smallest, total: share([weights[k] for k in live], total, smallest))


def _sizes(plan: NetworkPlan, live: list[int], allocate: Callable[[int, int], list[int]]) -> list[int]:
    sides, settings = plan.chunk.unit.shape, plan.settings
    still = still_axes(sides, settings.frequencies)
    smallest = smallest_network(sides, settings.depth, settings.funnel_units, settings.frequencies)
    total = plan.parameters
    while live and total >= smallest * len(live):
        sizes, work = [0] * len(plan.blocks), 0
        for k, count in zip(live, allocate(smallest, total), strict=True):
            shape = len(sides), count, settings.depth, settings.funnel_units, settings.frequencies, still
            size = size_for_budget(*shape)
            sizes[k] = size if plan.prior is None else plan.prior.nearest(size)
            found = funnel_shape(len(sides), sizes[k], *shape[2:])
            work += plan.blocks[k].size * found.parameters
        if work <= plan.work:
            return sizes
        total = min(total - 1, total * plan.work // work)
    return [0] * len(plan.blocks)


def targets(plan: NetworkPlan, k: int) -> NDArray[np.float32]:
    """Standardised values of block k, flat."""
    empty = plan.empty[k]
    std = std_size(empty.std_code)
    return (
        (plan.chunk.unit[plan.blocks[k].slices] - np.float32(empty.mean * MEAN_UNIT * std)) * np.float32(1 / std)
    ).reshape(-1)


def make_task(plan: NetworkPlan, k: int, size: int, schedule: Schedule, seed: int) -> FitTask:
    """The fit of block k with a network of that size."""
    settings = plan.settings
    block = plan.blocks[k]
    still = still_axes(block.shape, settings.frequencies)
    shape = funnel_shape(len(block.shape), size, settings.depth, settings.funnel_units, settings.frequencies, still)
    if plan.prior is None:
        start = initial_parameters(shape, settings.w0, StartSequence(k))
    else:
        start = plan.prior.starts[size]
    if settings.free_rate and not settings.frequencies and len(plan.blocks) > 1:
        limit = WIDE_BLOCKS / (settings.w0 * math.sqrt(shape.parameters))
        schedule = replace(schedule, rate=min(schedule.rate, limit))
    sample = plan.samples[k]
    return FitTask(
        targets(plan, k), block.shape, shape, settings.w0, start, schedule, seed * 1009 + k, sample.picks,
        weights=sample.weights,
    )  # fmt: skip
