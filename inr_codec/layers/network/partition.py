"""Which blocks a chunk is cut into: the integer program of the SCI paper (eq. 8, 10-12), solved with OR-tools.

Every node i of the 2^N-tree has a binary variable a_i: 1 when it is a block. The program is

    minimise    sum_i a_i cost_i                                  eq. 8, cost_i = -D(x_i) |x_i| / |x|
    subject to  sum_i a_i <= max_blocks                           eq. 11
                sum_{i on the path from leaf j to the root} a_i = 1   for every finest leaf j      eq. 12

The paper writes the share of volume |x_i| / |x| as 1 / 2^(N level), the same where every axis is halved exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block, root, split
from inr_codec.layers.network.spectrum import Form, spectrum_concentration

Partition = Literal["spectrum", "equal", "none"]

MAX_NODES = 5000
"""A tree with more nodes than this is grown one level less deep."""

_UNITS = 10**9  # the largest cost in integer units; CP-SAT works on integers
_BLOCK_UNITS = 100  # the cost of a block in itself: a cut that gains less than 1e-7 of the largest cost is not made


@dataclass(frozen=True)
class Tree:
    """The 2^N-tree over a chunk, nodes depth first: a partition in index order is as `unpack_block_tree` yields it."""

    nodes: tuple[Block, ...]
    parents: tuple[int, ...]
    """Index of each node's parent; -1 for the root. Parents come before their children."""

    @property
    def leaves(self) -> list[int]:
        """Indices of the nodes without children."""
        inner = set(self.parents)
        return [index for index in range(len(self.nodes)) if index not in inner]


def grow_tree(chunk_shape: Sequence[int], levels: int) -> Tree:
    """The tree down to `levels`, or to the deepest level at which it has at most `MAX_NODES` nodes.

    Raises ConfigError when `levels` is negative.
    """
    if levels < 0:
        raise ConfigError(f"expected levels of at least 0, got {levels!r}: 0 keeps the chunk whole, 3 is the default")
    rank, count = [root(chunk_shape)], 1
    deepest = 0
    while deepest < levels:
        rank = [child for node in rank for child in split(node)]
        count += len(rank)
        if not rank or count > MAX_NODES:
            break
        deepest += 1
    nodes: list[Block] = []
    parents: list[int] = []
    stack = [(root(chunk_shape), -1)]
    while stack:
        node, parent = stack.pop()
        index = len(nodes)
        nodes.append(node)
        parents.append(parent)
        if node.level < deepest:
            stack.extend((child, index) for child in reversed(split(node)))
    return Tree(tuple(nodes), tuple(parents))


def solve_tree(costs: npt.ArrayLike, tree: Tree, max_blocks: int) -> list[int]:
    """Indices (increasing) of the nodes that cover the chunk once, at most `max_blocks`, at the least sum of costs.

    `costs` has one finite number per node of `tree`, in any unit, of any sign. They are rounded to 1e-9 of the
    largest magnitude, and each block costs 1e-7 of it in addition, so that among equals the partition with fewest
    blocks is taken. Deterministic: one worker, fixed seed, a limit in deterministic time after which the best partition
    found is returned. Raises ConfigError when the costs do not fit the tree or `max_blocks` is below 1.

    Eq. 12 is solved for a_i = s_parent(i) - s_i, where s_i = 1 says that node i is cut: s_i <= s_parent(i) is all that
    is left of it, and only inner nodes have a variable (73 of 585 in three levels of eight children: 5 times faster).
    An exact dynamic program over (node, number of blocks) reaches the same objective: the tests hold the two together.
    """
    from ortools.sat.python import cp_model

    units = integer_costs(costs, tree)
    if max_blocks < 1:
        raise ConfigError(f"expected max_blocks of at least 1, got {max_blocks!r}: use 1 to keep the chunk whole")
    model = cp_model.CpModel()
    cut = {index: model.new_bool_var("") for index in sorted(set(tree.parents[1:]))}
    more = dict.fromkeys(cut, -1)
    gain = {index: -units[index] for index in cut}
    for index, parent in enumerate(tree.parents[1:], start=1):
        more[parent] += 1
        gain[parent] += units[index]
        if index in cut:
            model.add_implication(cut[index], cut[parent])
    variables = list(cut.values())
    model.add(cp_model.LinearExpr.weighted_sum(variables, list(more.values())) <= max_blocks - 1)
    model.minimize(cp_model.LinearExpr.weighted_sum(variables, list(gain.values())))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.catch_sigint_signal = False  # Ctrl-C is the caller's: CP-SAT would leave the default handler
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = 5.0
    for variable in variables:
        model.add_hint(variable, 0)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return [0]
    is_cut = {index: solver.boolean_value(variable) for index, variable in cut.items()}
    return [
        index
        for index, parent in enumerate(tree.parents)
        if (parent < 0 or is_cut[parent]) and not is_cut.get(index, False)
    ]


def integer_costs(costs: npt.ArrayLike, tree: Tree) -> list[int]:
    """The costs that `solve_tree` minimises: `costs` in units of 1e-9 of the largest, and 100 units a block."""
    values = np.asarray(costs, np.float64)
    if values.shape != (len(tree.nodes),) or not np.isfinite(values).all():
        raise ConfigError(
            f"expected {len(tree.nodes)} finite costs, one per node, got {values.size} of which "
            f"{np.isfinite(values).sum()} are finite: compute one cost for every node of the tree"
        )
    largest = np.abs(values).max() or 1.0
    return [int(unit) + _BLOCK_UNITS for unit in np.rint(values / largest * _UNITS)]


def plan_partition(
    values: npt.NDArray[np.float32],
    *,
    partition: Partition = "spectrum",
    max_blocks: int = 50,
    top_m: int = 1,
    levels: int = 3,
    form: Form = "magnitude",
) -> list[Block]:
    """Blocks of a chunk, ordered as `unpack_block_tree` yields them.

    `values` is the chunk, 1 to 4 axes, finite (masked voxels filled). `partition="spectrum"` solves eq. 8 with the
    spectrum concentration of every node (`top_m` and `form` as in `spectrum_concentration`); `"equal"` takes
    the deepest uniform level that has at most `max_blocks` blocks; `"none"` keeps the chunk whole. `levels` is
    the deepest level allowed. Raises ConfigError for settings out of range.
    """
    if partition not in get_args(Partition):
        raise ConfigError(
            f"expected partition to be one of {get_args(Partition)}, got {partition!r}: choose one of them"
        )
    if max_blocks < 1:
        raise ConfigError(f"expected max_blocks of at least 1, got {max_blocks!r}: use 1 to keep the chunk whole")
    if partition == "none" or max_blocks == 1:
        return [root(values.shape)]
    tree = grow_tree(values.shape, levels)
    if partition == "equal":
        return _equal(tree, max_blocks)
    costs = [
        -spectrum_concentration(values[node.slices], top_m, form) * (node.size / values.size) for node in tree.nodes
    ]
    return [tree.nodes[index] for index in solve_tree(costs, tree, max_blocks)]


def _equal(tree: Tree, max_blocks: int) -> list[Block]:
    """The deepest level with at most `max_blocks` blocks; nodes that end above it are blocks of it too."""
    leaves = set(tree.leaves)
    best = [tree.nodes[0]]
    for level in range(1, max(node.level for node in tree.nodes) + 1):
        blocks = [
            node
            for index, node in enumerate(tree.nodes)
            if node.level == level or (node.level < level and index in leaves)
        ]
        if len(blocks) > max_blocks:
            break
        best = blocks
    return best
