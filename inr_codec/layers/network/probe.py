"""Short fits that tell what blocks need: the weights of allocation="measured", the costs of partition="measured".

If the squared error of block b falls as E_b(p) = c_b / p with its parameters p, a total of P parameters does best with
equal slopes dE_b / dp, p_b ~ sqrt(c_b), and leaves (sum_b sqrt(c_b))^2 / P. So sqrt(c_b) is both the share of a block
and its additive cost in the integer program of the partition. c_b = E_b(p) p of one short fit.
"""

from dataclasses import replace

import numpy as np

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.engines import Schedule, fit_blocks
from inr_codec.layers.network.blocks import Block
from inr_codec.layers.network.partition import grow_tree, solve_tree
from inr_codec.layers.network.payload import std_size
from inr_codec.layers.network.plan import (
    BITS,
    BLOCK_BYTES,
    NetworkPlan,
    flat,
    make_task,
    partition_solver,
    plan_network,
    sizes_by_weights,
    tree_levels,
)

PROBE_SHARE = 0.1
"""Steps of a probe fit, as a share of the real one's (benchmarks/studies/constants)."""
PROBE_PARAMETERS = 0.35
"""Its parameters, as a share of the real one's on average (benchmarks/studies/constants)."""


def measured_weights(plan: NetworkPlan, live: list[int], config: Config) -> list[float]:
    """sqrt(c_b) of every block, from fits of equal networks; 0 for blocks that are not in `live`."""
    share = replace(plan, parameters=int(plan.parameters * PROBE_PARAMETERS))
    sizes = sizes_by_weights(share, [float(k in live) for k in range(len(plan.blocks))])
    if not any(sizes):
        sizes = sizes_by_weights(plan, [float(k in live) for k in range(len(plan.blocks))])
    errors = probe(plan, sizes, config)
    return [float(np.sqrt(error)) for error in errors]


def probe(plan: NetworkPlan, sizes: list[int], config: Config) -> list[float]:
    """Squared error of every block, in unit intensities, after a short fit of a network of that size; 0 for size 0."""
    schedule = plan.settings.schedule
    short = Schedule(max(200, int(schedule.steps * PROBE_SHARE)), schedule.batch, schedule.rate, schedule.optimiser)
    probed = [k for k, size in enumerate(sizes) if size]
    outcomes = fit_blocks([make_task(plan, k, sizes[k], short, config.seed) for k in probed])
    errors = [0.0] * len(sizes)
    for k, outcome in zip(probed, outcomes, strict=True):
        errors[k] = outcome.loss * plan.samples[k].mass * std_size(plan.empty[k].std_code) ** 2
    return errors


def measured_partition(chunk: UnitChunk, n_bytes: int, config: Config) -> list[Block]:
    """The partition of least sum of sqrt(c_b); the side information of a block counts as lost parameters.

    Every node of the 2^N-tree is probed with the parameters that it would have if its whole level were the partition.
    """
    tree = grow_tree(chunk.unit.shape, tree_levels(config))
    costs = np.zeros(len(tree.nodes))
    deepest = max(node.level for node in tree.nodes)
    total = max(n_bytes * 8 / (config.bits or BITS), 1.0)
    for level in range(deepest + 1):
        members = [k for k, node in enumerate(tree.nodes) if node.level == level]
        plan = plan_network(chunk, n_bytes, config, [tree.nodes[k] for k in members])
        sizes = sizes_by_weights(plan, [float(not flat(empty)) for empty in plan.empty])
        if not any(sizes):
            break
        parameters = plan.parameters / max(sum(size > 0 for size in sizes), 1)
        costs[members] = np.sqrt(np.array(probe(plan, sizes, config)) * parameters)
    else:
        level = deepest + 1
    first = costs[[node.level == min(1, deepest) for node in tree.nodes]].sum()
    costs += first * BLOCK_BYTES * 8 / (config.bits or BITS) / (2 * total)
    costs[[node.level >= level for node in tree.nodes]] = 2 * costs.sum() + 1  # too small for networks of their own
    limit = config.max_blocks or len(tree.nodes)
    return [tree.nodes[k] for k in solve_tree(costs, tree, limit, partition_solver(config))]
