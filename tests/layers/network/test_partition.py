"""The integer program of the partition, against an exact dynamic program."""

from functools import cache
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block, pack_block_tree, root, split, unpack_block_tree
from inr_codec.layers.network.partition import MAX_NODES, Tree, grow_tree, integer_costs, plan_partition, solve_tree
from inr_codec.layers.network.spectrum import Form, spectrum_concentration

shapes = st.lists(st.integers(1, 70), min_size=1, max_size=4).map(tuple).filter(lambda s: np.prod(s) <= 100_000)


def least_cost(units: list[int], tree: Tree, max_blocks: int) -> int:
    """The optimum by dynamic programming over (node, number of blocks)."""
    children: dict[int, list[int]] = {index: [] for index in range(len(tree.nodes))}
    for index, parent in enumerate(tree.parents):
        if parent >= 0:
            children[parent].append(index)

    @cache
    def best(node: int) -> tuple[int, ...]:
        """Entry b is the least cost of covering the node with at most b + 1 blocks."""
        table = np.full(max_blocks, units[node], np.int64)
        if 0 < len(children[node]) <= max_blocks:
            joined = np.array(best(children[node][0]), np.int64)
            for used, child in zip(count(1), children[node][1:], strict=False):
                other = np.array(best(child), np.int64)
                fresh = np.full(max_blocks, np.iinfo(np.int64).max // 4)
                for mine in range(used - 1, max_blocks - 1):
                    total = joined[mine] + other[: max_blocks - 1 - mine]
                    fresh[mine + 1 :] = np.minimum(fresh[mine + 1 :], total)
                joined = fresh
            table = np.minimum(table, joined)
        return tuple(int(entry) for entry in table)

    return best(0)[-1]


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


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([(40,), (33, 70), (16, 64, 64), (15, 90, 31), (17, 16, 18, 19)]),
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.sampled_from(["gains", "normal", "equal", "integers"]),
)
def test_solution_is_optimal_and_feasible(shape: tuple[int, ...], seed: int, max_blocks: int, kind: str) -> None:
    """For any costs the solver's partition is feasible and costs what the dynamic program says is the least."""
    tree = grow_tree(shape, 3)
    rng = np.random.default_rng(seed)
    share = np.array([node.size for node in tree.nodes]) / tree.nodes[0].size
    costs = {
        "gains": -share * rng.random(len(share)),
        "normal": rng.normal(0, 1e6, len(share)),
        "equal": -share,
        "integers": rng.integers(0, 3, len(share)),
    }[kind]
    chosen = solve_tree(costs, tree, max_blocks)
    assert chosen == sorted(chosen)
    assert 1 <= len(chosen) <= max_blocks
    assert_covers_once([tree.nodes[index] for index in chosen], shape)
    units = integer_costs(costs, tree)
    assert sum(units[index] for index in chosen) == least_cost(units, tree, max_blocks)
    assert chosen == solve_tree(costs, tree, max_blocks)


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
        best = -least_cost(integer_costs(-worth, tree), tree, 12) / 1e9 * worth.max()
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
