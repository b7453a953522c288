"""Which blocks a chunk is cut into: the integer program of the SCI paper (eq. 8, 10-12).

Every node i of the 2^N-tree has a binary variable a_i: 1 when it is a block. The program is

    minimise    sum_i a_i cost_i                                  eq. 8, cost_i = -D(x_i) |x_i| / |x|
    subject to  sum_i a_i <= max_blocks                           eq. 11
                sum_{i on the path from leaf j to the root} a_i = 1   for every finest leaf j      eq. 12

The paper writes the share of volume |x_i| / |x| as 1 / 2^(N level), the same where every axis is halved exactly.

As the constraints are those of a tree, a dynamic program over (node, number of blocks) solves it exactly. OR-tools'
CP-SAT, which solves it as the paper does, can be asked for instead: both reach the same objective.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block, root, split
from inr_codec.layers.network.spectrum import Form, spectrum_concentration

Partition = Literal["spectrum", "equal", "none"]
Solver = Literal["dynamic", "ortools"]

IntArray = npt.NDArray[np.int64]
LOG = logging.getLogger(__name__)

MAX_NODES = 5000
"""A tree with more nodes than this is grown one level less deep."""

_UNITS = 10**9  # the largest cost in integer units: sums are exact, and CP-SAT works on integers
_NEVER = np.int64(1) << 60  # no sum of costs reaches it
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


def solve_tree(costs: npt.ArrayLike, tree: Tree, max_blocks: int, solver: Solver = "dynamic") -> list[int]:
    """Indices (increasing) of the nodes that cover the chunk once, at most `max_blocks`, at the least sum of costs.

    `costs` has one finite number per node of `tree`, in any unit, of any sign. They are rounded to 1e-9 of the
    largest magnitude, and each block costs 1e-7 of it in addition, so that among equals the partition with fewest
    blocks is taken. Deterministic. Raises ConfigError when the costs do not fit the tree or `max_blocks` is below 1.
    """
    units = integer_costs(costs, tree)
    if max_blocks < 1:
        raise ConfigError(f"expected max_blocks of at least 1, got {max_blocks!r}: use 1 to keep the chunk whole")
    cut = (_cuts_by_program if solver == "ortools" else _cuts)(units, tree, max_blocks)
    return [index for index, parent in enumerate(tree.parents) if (parent < 0 or parent in cut) and index not in cut]


def _cuts(units: list[int], tree: Tree, max_blocks: int) -> set[int]:
    """The nodes that are cut, by the dynamic program.

    Of a node, costs[b] is the least cost of covering it with exactly b blocks (`_NEVER` where that cannot be), and the
    k-th array of its `shares` at b says how many of the b blocks of its first k children the k-th takes.
    """
    children: list[list[int]] = [[] for _ in tree.nodes]
    for index, parent in enumerate(tree.parents[1:], start=1):
        children[parent].append(index)
    costs: list[IntArray] = [np.empty(0, np.int64)] * len(tree.nodes)
    shares: list[list[IntArray]] = [[] for _ in tree.nodes]
    for node in reversed(range(len(tree.nodes))):  # children come after their parents
        whole = np.array([_NEVER, units[node]], np.int64)
        if not children[node]:
            costs[node] = whole
            continue
        joined = np.zeros(1, np.int64)
        for child in children[node]:
            joined, share = _join(joined, costs[child], max_blocks)
            shares[node].append(share)
        joined[:2] = whole[: joined.size]
        costs[node] = joined
    cut, todo = set[int](), [(0, int(np.argmin(costs[0])))]
    while todo:
        node, blocks = todo.pop()
        if blocks > 1:
            cut.add(node)
            for child, share in zip(reversed(children[node]), reversed(shares[node])):
                todo.append((child, int(share[blocks])))
                blocks -= int(share[blocks])
    return cut


def _join(first: IntArray, other: IntArray, most: int) -> tuple[IntArray, IntArray]:
    """The least first[i] + other[j] for every i + j up to `most`, and the j of each, the least among equals."""
    size = min(first.size + other.size - 1, most + 1)
    best, share = np.full(size, _NEVER), np.zeros(size, np.int64)
    for j in range(1, min(other.size, size)):
        total = np.minimum(first[: size - j] + other[j], _NEVER)
        here = slice(j, j + total.size)
        better = total < best[here]
        best[here][better] = total[better]
        share[here][better] = j
    return best, share


def _cuts_by_program(units: list[int], tree: Tree, max_blocks: int) -> set[int]:
    """The nodes that are cut, by CP-SAT: one worker, fixed seed, at most 5 s of its deterministic time.

    Eq. 12 is solved for a_i = s_parent(i) - s_i, where s_i = 1 says that node i is cut: s_i <= s_parent(i) is all that
    is left of it, and only inner nodes have a variable (73 of 585 in three levels of eight children: 5 times faster).
    """
    from ortools.sat.python import cp_model

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
        return set()
    return {index for index, variable in cut.items() if solver.boolean_value(variable)}


def paper_solver() -> Solver:
    """CP-SAT where OR-tools is installed; the dynamic program elsewhere, which is told once."""
    try:
        if find_spec("ortools") is not None:
            return "ortools"
    except ValueError:  # imports of it are blocked
        pass
    _tell_of_dynamic_program()
    return "dynamic"


@cache
def _tell_of_dynamic_program() -> None:
    LOG.warning(
        "preset='paper': OR-tools is not installed, so an exact dynamic program solves the partition's integer program "
        "(the same objective); pip install 'inr_codec[paper]' for the paper's kind of solver"
    )


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
    solver: Solver = "dynamic",
) -> list[Block]:
    """Blocks of a chunk, ordered as `unpack_block_tree` yields them.

    `values` is the chunk, 1 to 4 axes, finite (masked voxels filled). `partition="spectrum"` solves eq. 8 with the
    spectrum concentration of every node (`top_m` and `form` as in `spectrum_concentration`); `"equal"` takes
    the deepest uniform level that has at most `max_blocks` blocks; `"none"` keeps the chunk whole. `levels` is
    the deepest level allowed. `solver`: of the integer program. Raises ConfigError for settings out of range.
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
    return [tree.nodes[index] for index in solve_tree(costs, tree, max_blocks, solver)]


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
