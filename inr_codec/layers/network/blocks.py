"""Blocks of a chunk: nodes of the 2^N-tree of the SCI paper (eq. 7), and the bits that store which were chosen.

The root (level 0) is the chunk. A child halves every axis of its parent that can be halved, the larger half first;
an axis can be halved while both halves keep at least `MIN_SIDE` samples. Reader and writer grow the same tree, so a
partition is stored as one bit for each visited node, depth first: 1 = split, 0 = a block. A node that cannot be split
has no bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from inr_codec.errors import ConfigError, CorruptChunk

MIN_SIDE = 8
"""Fewest samples that halving leaves along an axis. Part of the format: reader and writer grow the tree with it."""


@dataclass(frozen=True, slots=True)
class Block:
    """An axis-aligned box of a chunk: first index and number of samples per axis, and its level in the tree."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    level: int = 0

    @property
    def size(self) -> int:
        """Number of voxels |x|."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the block in its chunk: `chunk[block.slices]` has `block.shape`."""
        return tuple(slice(start, start + side) for start, side in zip(self.offset, self.shape, strict=True))


def root(chunk_shape: Sequence[int]) -> Block:
    """The block that is the whole chunk (level 0)."""
    shape = tuple(int(side) for side in chunk_shape)
    return Block((0,) * len(shape), shape, 0)


def split(block: Block) -> list[Block]:
    """Children of a node, in C order of their offsets; empty when no axis can be halved.

    Every axis of at least `2 * MIN_SIDE` samples is halved (ceil(n/2) first, then floor(n/2)), the others are kept
    whole, so a node has 2^k children for k halved axes.
    """
    halves = [
        [(start, side - side // 2), (start + side - side // 2, side // 2)] if side >= 2 * MIN_SIDE else [(start, side)]
        for start, side in zip(block.offset, block.shape, strict=True)
    ]
    if all(len(parts) == 1 for parts in halves):
        return []
    return [
        Block(tuple(start for start, _ in parts), tuple(side for _, side in parts), block.level + 1)
        for parts in product(*halves)
    ]


def pack_block_tree(blocks: Sequence[Block], chunk_shape: Sequence[int]) -> list[int]:
    """Split bits of a partition, depth first.

    `blocks` must be nodes of the tree over `chunk_shape` that cover it exactly once, ordered as `unpack_block_tree`
    yields them. Raises ConfigError otherwise.
    """
    bits: list[int] = []
    stack = [root(chunk_shape)]
    expected = iter(blocks)
    wanted = next(expected, None)
    while stack:
        node = stack.pop()
        children = split(node)
        if wanted is not None and (node.offset, node.shape) == (wanted.offset, wanted.shape):
            if children:
                bits.append(0)
            wanted = next(expected, None)
        elif children:
            bits.append(1)
            stack.extend(reversed(children))
        else:
            raise ConfigError(
                f"expected blocks of the tree over {tuple(chunk_shape)} in depth-first order, got {wanted!r} where "
                f"{node!r} is due: order them as unpack_block_tree does and leave none out"
            )
    if wanted is not None:
        raise ConfigError(f"expected the chunk to be covered once, got {wanted!r} beyond that: remove it")
    return bits


def unpack_block_tree(bits: Iterable[int], chunk_shape: Sequence[int], max_blocks: int) -> list[Block]:
    """The partition that `pack_block_tree` stored; takes exactly as many bits as the tree has, and no more.

    Raises CorruptChunk when the bits end early or ask for more than `max_blocks` blocks. Memory and time are bounded
    by `max_blocks`: every node on the stack becomes at least one block.
    """
    source = iter(bits)
    blocks: list[Block] = []
    stack = [root(chunk_shape)]
    while stack:
        if len(blocks) + len(stack) > max_blocks:
            raise CorruptChunk(f"expected at most {max_blocks} blocks, got more: the chunk is damaged, write it again")
        node = stack.pop()
        children = split(node)
        if not children:
            blocks.append(node)
            continue
        bit = next(source, None)
        if bit is None:
            raise CorruptChunk(f"expected more split bits after {len(blocks)} blocks, got none: the chunk is cut short")
        if bit:
            stack.extend(reversed(children))
        else:
            blocks.append(node)
    return blocks
