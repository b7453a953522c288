"""The 2^N-tree: splitting, and the bits of a partition."""

import random
from itertools import chain, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedFormat
from inr_codec.layers.network.blocks import MIN_SIDE, Block, pack_block_tree, root, split, unpack_block_tree

shapes = st.lists(st.integers(1, 70), min_size=1, max_size=4).map(tuple).filter(lambda s: np.prod(s) <= 200_000)


def random_partition(shape: tuple[int, ...], seed: int, probability: float) -> list[Block]:
    """A partition drawn by splitting nodes at random."""
    rng = random.Random(seed)
    return unpack_block_tree((int(rng.random() < probability) for _ in repeat(None)), shape, 10**6)


@given(shapes)
def test_children_tile_their_parent(shape: tuple[int, ...]) -> None:
    """The children of a node cover each of its voxels once, and none is thinner than allowed."""
    children = split(root(shape))
    if not children:
        assert all(side < 2 * MIN_SIDE for side in shape)
        return
    count = np.zeros(shape, np.int8)
    for child in children:
        count[child.slices] += 1
        assert child.level == 1
        assert child.size == count[child.slices].size
        for side, whole in zip(child.shape, shape, strict=True):
            assert side in ({whole} if whole < 2 * MIN_SIDE else {whole // 2, (whole + 1) // 2})
            assert side == whole or side >= MIN_SIDE
    assert (count == 1).all()
    assert [c.offset for c in children] == sorted(c.offset for c in children)


def test_the_larger_half_comes_first() -> None:
    """An odd side is halved ceil first; a side too short stays whole."""
    assert split(Block((3, 0), (17, 15))) == [Block((3, 0), (9, 15), 1), Block((12, 0), (8, 15), 1)]
    assert split(Block((0,), (2 * MIN_SIDE - 1,))) == []


@given(shapes, st.integers(0, 2**32), st.floats(0, 1))
def test_partition_round_trip(shape: tuple[int, ...], seed: int, probability: float) -> None:
    """Unpacking what was packed gives the same blocks, and reads exactly the bits written."""
    blocks = random_partition(shape, seed, probability)
    bits = pack_block_tree(blocks, shape)
    source = iter(chain(bits, [7]))
    assert unpack_block_tree(source, shape, len(blocks)) == blocks
    assert next(source) == 7
    count = np.zeros(shape, np.int8)
    for block in blocks:
        count[block.slices] += 1
    assert (count == 1).all()


@given(shapes, st.lists(st.integers(0, 255), max_size=80), st.integers(1, 60))
def test_hostile_bits_parse_or_raise(shape: tuple[int, ...], bits: list[int], max_blocks: int) -> None:
    """Any bits give a partition within the limit or CorruptChunk, nothing else."""
    try:
        blocks = unpack_block_tree(bits, shape, max_blocks)
    except (CorruptChunk, UnsupportedFormat):
        return
    assert 1 <= len(blocks) <= max_blocks
    assert sum(block.size for block in blocks) == np.prod(shape)


def test_endless_splitting_of_a_huge_chunk_stops_at_the_limit() -> None:
    """Bits that always split stop after about max_blocks nodes, whatever shape the header claims."""
    with pytest.raises(CorruptChunk, match="at most 50"):
        unpack_block_tree(repeat(1), (2**31, 2**31, 2**31, 2**31), 50)


def test_no_blocks_allowed_is_corrupt() -> None:
    """A limit of no blocks cannot hold even the root."""
    with pytest.raises(CorruptChunk):
        unpack_block_tree([], (4, 4), 0)


def test_blocks_that_are_no_partition_are_refused() -> None:
    """Missing, repeated, reordered and foreign blocks raise ConfigError instead of writing a wrong tree."""
    shape = (32, 16)
    blocks = split(root(shape))
    for wrong in ([], blocks[:-1], blocks[::-1], blocks + blocks[-1:], [Block((0, 0), (31, 16))]):
        with pytest.raises(ConfigError):
            pack_block_tree(wrong, shape)
