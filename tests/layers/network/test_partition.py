"""The integer program of the partition: the dynamic program against CP-SAT, both against all partitions."""

import sys
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.config import Config
from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block, pack_block_tree, root, split, unpack_block_tree
from inr_codec.layers.network.partition import (
    MAX_NODES,
    Solver,
    Tree,
    grow_tree,
    integer_costs,
    plan_partition,
    solve_tree,
)
from inr_codec.layers.network.plan import partition_solver
from inr_codec.layers.network.spectrum import Form, spectrum_concentration

shapes = st.lists(st.integers(1, 70), min_size=1, max_size=4).map(tuple).filter(lambda s: np.prod(s) <= 100_000)


def all_costs(units: list[int], tree: Tree, max_blocks: int) -> list[int]:
    """The cost of every partition of at most `max_blocks` blocks."""
    children: dict[int, list[int]] = {index: [] for index in range(len(tree.nodes))}
    for index, parent in enumerate(tree.parents[1:], start=1):
        children[parent].append(index)

    def covers(node: int) -> list[tuple[int, int]]:
        """Number of blocks and cost of every way to cover a node."""
        cut = product(*(covers(child) for child in children[node])) if children[node] else []
        return [(1, units[node]), *((sum(n for n, _ in way), sum(c for _, c in way)) for way in cut)]

    return [cost for blocks, cost in covers(0) if blocks <= max_blocks]


def random_tree(rng: np.random.Generator, nodes: int) -> Tree:
    """A tree of about so many nodes, depth first, whose inner nodes have two to eight children."""
    parents: list[int] = []

    def grow(parent: int, room: int) -> None:
        index = len(parents)
        parents.append(parent)
        if room > 2:
            for share in rng.multinomial(room - 1, np.full(count := int(rng.integers(2, 9)), 1 / count)):
                grow(index, int(share))

    grow(-1, nodes)
    return Tree((root((1,)),) * len(parents), tuple(parents))


def random_costs(rng: np.random.Generator, kind: str, share: np.ndarray) -> np.ndarray:
    """Costs of nodes that hold a share of the volume."""
    return {
        "gains": -share * rng.random(len(share)),
        "normal": rng.normal(0, 1e6, len(share)),
        "equal": -share,
        "integers": rng.integers(0, 3, len(share)),
    }[kind]


KINDS = st.sampled_from(["gains", "normal", "equal", "integers"])


def assert_covers_once(blocks: list[Block], shape: tuple[int, ...]) -> None:
    """The blocks are a partition, in the order the reader yields."""
    seen = np.zeros(shape, np.int8)
    for block in blocks:
        seen[block.slices] += 1
    assert (seen == 1).all()
    assert unpack_block_tree(pack_block_tree(blocks, shape), shape, len(blocks)) == blocks


@given(shapes, st.integers(0, 5))
def test_tree_holds_every_node_once_depth_first(shape: tuple[int, ...], levels: int) -> None:
    """Parents precede children, children are those of split(), and no level is deeper than asked."""
    tree = grow_tree(shape, levels)
    deepest = max(node.level for node in tree.nodes)
    assert tree.nodes[0] == root(shape)
    assert tree.parents[0] == -1
    assert deepest <= levels
    assert len(tree.nodes) <= MAX_NODES
    for index, node in enumerate(tree.nodes):
        children = [tree.nodes[i] for i, parent in enumerate(tree.parents) if parent == index]
        assert children == (split(node) if node.level < deepest else [])
        assert tree.parents[index] < index
    assert_covers_once([tree.nodes[leaf] for leaf in tree.leaves], shape)


def test_a_deep_tree_is_kept_small() -> None:
    """Levels that would make the tree too large are left out."""
    assert len(grow_tree((64, 128, 128), 3).nodes) == 585
    assert max(node.level for node in grow_tree((512, 512, 512), 9).nodes) == 4


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 80), KINDS)
def test_dynamic_program_reaches_the_optimum_of_cp_sat(seed: int, nodes: int, max_blocks: int, kind: str) -> None:
    """On any tree and for any costs both solvers' partitions are feasible and cost the same."""
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, nodes)
    costs = random_costs(rng, kind, rng.random(len(tree.nodes)))
    units, sums = integer_costs(costs, tree), []
    for solver in get_args(Solver):
        chosen = solve_tree(costs, tree, max_blocks, solver)
        assert chosen == sorted(chosen)
        assert 1 <= len(chosen) <= max_blocks
        sums.append(sum(units[index] for index in chosen))
        above = {index: tree.parents[index] for index in range(len(tree.nodes))}
        for leaf in tree.leaves:
            path = [leaf]
            while path[-1]:
                path.append(above[path[-1]])
            assert len(set(path) & set(chosen)) == 1
    assert sums[0] == sums[1]


@given(st.integers(0, 2**32), st.integers(1, 24), st.integers(1, 12), KINDS)
def test_dynamic_program_is_the_best_of_all_partitions(seed: int, nodes: int, max_blocks: int, kind: str) -> None:
    """On small trees no partition costs less."""
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, nodes)
    costs = random_costs(rng, kind, rng.random(len(tree.nodes)))
    units = integer_costs(costs, tree)
    assert sum(units[index] for index in solve_tree(costs, tree, max_blocks)) == min(all_costs(units, tree, max_blocks))


@given(shapes, st.integers(0, 2**32), st.integers(1, 60))
def test_a_solution_covers_the_chunk_once(shape: tuple[int, ...], seed: int, max_blocks: int) -> None:
    """The chosen blocks of a chunk's tree are a partition in the reader's order."""
    tree = grow_tree(shape, 2)
    costs = np.random.default_rng(seed).normal(0, 1, len(tree.nodes))
    assert_covers_once([tree.nodes[index] for index in solve_tree(costs, tree, max_blocks)], shape)


def test_a_tree_of_five_thousand_nodes_is_solved() -> None:
    """The largest tree with the most blocks that may be asked for: every leaf is a block where blocks gain most."""
    tree = grow_tree((256, 256, 256), 4)
    costs = np.array([-float(node.level) for node in tree.nodes])
    assert solve_tree(costs, tree, 4096) == tree.leaves


def test_the_paper_preset_asks_for_cp_sat_and_tells_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """preset="paper" is solved by OR-tools; without it by the dynamic program, in one line of the log."""
    assert partition_solver(Config(ratio=9, preset="paper")) == "ortools"
    assert partition_solver(Config(ratio=9)) == "dynamic"
    monkeypatch.setitem(sys.modules, "ortools", None)
    assert partition_solver(Config(ratio=9, preset="paper")) == "dynamic"
    assert [record.getMessage().count("inr_codec[paper]") for record in caplog.records] == [1]


def test_equal_concentration_keeps_the_chunk_whole() -> None:
    """Among partitions of equal worth the one with fewest blocks is taken."""
    assert plan_partition(np.ones((33, 40, 65), np.float32)) == [root((33, 40, 65))]


def test_spectrum_partition_maximises_concentration_by_volume() -> None:
    """The plan reaches the optimum of eq. 8 with D weighted by the share of volume, on an odd shape."""
    rng = np.random.default_rng(3)
    values = rng.random((17, 37, 50)).astype(np.float32)
    values[:, :20] *= 0.02
    tree = grow_tree(values.shape, 3)
    forms: tuple[Form, ...] = ("magnitude", "centred")
    for form in forms:
        worth = np.array([spectrum_concentration(values[n.slices], 2, form) * n.size / values.size for n in tree.nodes])
        blocks = plan_partition(values, max_blocks=12, top_m=2, levels=3, form=form)
        assert_covers_once(blocks, values.shape)
        reached = sum(worth[tree.nodes.index(block)] for block in blocks)
        best = worth[solve_tree(-worth, tree, 12, "ortools")].sum()
        assert len(blocks) <= 12
        assert reached == pytest.approx(best, rel=1e-5)


@given(shapes, st.integers(1, 100), st.integers(0, 3))
def test_equal_is_the_deepest_uniform_level_within_the_limit(
    shape: tuple[int, ...], max_blocks: int, levels: int
) -> None:
    """partition="equal" covers the chunk at one level, and one level deeper would be too many blocks or too deep."""
    blocks = plan_partition(np.zeros(shape, np.float32), partition="equal", max_blocks=max_blocks, levels=levels)
    assert_covers_once(blocks, shape)
    deepest = max(block.level for block in blocks)
    assert len(blocks) <= max_blocks
    assert deepest <= levels
    assert all(block.level == deepest or not split(block) for block in blocks)
    finer = sum(max(1, len(split(block))) for block in blocks)
    assert deepest == levels or finer > max_blocks or finer == len(blocks)


def test_none_keeps_the_chunk_whole() -> None:
    """partition="none" is one block."""
    assert plan_partition(np.random.default_rng(0).random((64, 64)).astype(np.float32), partition="none") == [
        root((64, 64))
    ]


def test_bad_settings_are_refused() -> None:
    """Unknown partitions, no blocks, negative levels and costs that do not fit raise ConfigError."""
    values = np.zeros((32, 32), np.float32)
    with pytest.raises(ConfigError, match="partition"):
        plan_partition(values, partition="octree")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_blocks"):
        plan_partition(values, max_blocks=0)
    with pytest.raises(ConfigError, match="levels"):
        plan_partition(values, levels=-1)
    tree = grow_tree((32, 32), 1)
    with pytest.raises(ConfigError, match="5 finite costs"):
        solve_tree([1.0, 2.0], tree, 4)
    with pytest.raises(ConfigError, match="finite"):
        solve_tree([1.0, 2.0, np.nan, 0, 0], tree, 4)
    with pytest.raises(ConfigError, match="max_blocks"):
        solve_tree(np.zeros(5), tree, 0)
