"""The deblocking filter: what it lowers, what it leaves alone, and that parts of a chunk come out like the whole."""

import random
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.errors import ConfigError
from inr_codec.layers.deblocking.filter import (
    STRENGTHS,
    apply_deblock,
    choose_faces,
    face_positions,
    faces,
    halo_indices,
)
from inr_codec.layers.network.blocks import Block, root, split, unpack_block_tree

shapes = st.lists(st.integers(1, 44), min_size=1, max_size=4).map(tuple).filter(lambda s: np.prod(s) <= 40_000)


def random_partition(shape: tuple[int, ...], rng: random.Random) -> list[Block]:
    """A partition of the tree, drawn by splitting nodes at random."""
    return unpack_block_tree((int(rng.random() < 0.7) for _ in repeat(None)), shape, 10**6)


def oracle(
    values: npt.NDArray[np.float32], blocks: list[Block], bits: list[int], strength: float
) -> npt.NDArray[np.float32]:
    """The filter as its definition reads, line by line in numpy float32."""
    out = values.copy()
    s = np.float32(strength)
    for axis in range(values.ndim):
        for (index, across), bit in zip(faces(blocks), bits):
            if not bit or across != axis:
                continue
            low = blocks[index].offset[axis]
            patch = np.moveaxis(out, axis, 0)[:, *(part for k, part in enumerate(blocks[index].slices) if k != axis)]
            p1, p0, q0, q1 = (patch[low + k].copy() for k in (-2, -1, 0, 1))
            small = (abs(q0 - p0) < 4 * s) & (abs(p1 - p0) < 2 * s) & (abs(q1 - q0) < 2 * s)
            d = np.where(small, np.clip((3 * (q0 - p0) - (q1 - p1)) / np.float32(8), -s / 2, s / 2), np.float32(0))
            patch[low - 1] = p0 + d
            patch[low] = q0 - d
    return out


@given(shapes, st.integers(0, 2**32), st.floats(0.01, 3))
def test_equals_its_definition(shape: tuple[int, ...], seed: int, strength: float) -> None:
    """The kernel does what the formula says, on any partition, any bits and 1 to 4 axes."""
    rng = random.Random(seed)
    blocks = random_partition(shape, rng)
    bits = [int(rng.random() < 0.8) for _ in faces(blocks)]
    values = np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)
    expected = oracle(values, blocks, bits, strength)
    apply_deblock(values, blocks, bits, strength)
    np.testing.assert_array_equal(values, expected)


@given(shapes, st.integers(0, 2**32), st.data())
def test_a_part_comes_out_like_the_whole(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    """Filtering only the wanted samples and their halo gives the wanted samples of the full filter, bit for bit."""
    rng = random.Random(seed)
    blocks = random_partition(shape, rng)
    bits = [int(rng.random() < 0.8) for _ in faces(blocks)]
    values = np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)
    wanted = [
        sorted(data.draw(st.sets(st.integers(0, side - 1), min_size=1, max_size=5), label=f"axis {axis}"))
        for axis, side in enumerate(shape)
    ]
    grid = [
        halo_indices(indices, face_positions(blocks, bits, axis), shape[axis]) for axis, indices in enumerate(wanted)
    ]
    part = np.ascontiguousarray(values[np.ix_(*grid)])
    apply_deblock(part, blocks, bits, 0.7, grid)
    apply_deblock(values, blocks, bits, 0.7)
    inside = [np.searchsorted(have, want) for have, want in zip(grid, wanted)]
    np.testing.assert_array_equal(part[np.ix_(*inside)], values[np.ix_(*wanted)])


def test_halo_is_the_four_samples_of_touched_faces_only() -> None:
    """Away from faces nothing is added; next to one the four samples across it are, inside the chunk."""
    assert halo_indices([3, 20, 3], [8, 16], 32).tolist() == [3, 20]
    assert halo_indices([8], [8, 16], 32).tolist() == [6, 7, 8, 9]
    assert halo_indices([15, 7], [8, 16], 32).tolist() == [6, 7, 8, 9, 14, 15, 16, 17]
    assert halo_indices([1], [1], 2).tolist() == [0, 1]
    assert halo_indices([], [4], 8).tolist() == []


def test_faces_are_the_low_sides_of_blocks() -> None:
    """A 2 x 2 partition has four faces, ordered by block and axis; a single block has none."""
    blocks = split(root((16, 16)))
    assert faces(blocks) == [(1, 1), (2, 0), (3, 0), (3, 1)]
    assert face_positions(blocks, [0, 0, 1, 1], 0) == [8]
    assert face_positions(blocks, [0, 1, 1, 0], 1) == []
    assert faces([root((16, 16))]) == []


@given(shapes, st.integers(0, 2**32), st.floats(1e-3, 10))
def test_straight_lines_and_far_samples_stay(shape: tuple[int, ...], seed: int, strength: float) -> None:
    """Ramps keep every value; in any data only samples next to a face change, by s/2 at most each time."""
    blocks = random_partition(shape, random.Random(seed))
    bits = [1] * len(faces(blocks))
    ramp = np.full(shape, 3, np.float32)
    for slope in np.ix_(*[np.arange(side, dtype=np.float32) / 8 for side in shape]):
        ramp += slope
    kept = ramp.copy()
    apply_deblock(kept, blocks, bits, strength)
    np.testing.assert_array_equal(kept, ramp)
    noise = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    after = noise.copy()
    apply_deblock(after, blocks, bits, strength)
    assert np.abs(after - noise).max() <= len(shape) * strength / 2 * (1 + 1e-5)
    near = np.zeros(shape, bool)
    for index, axis in faces(blocks):
        block = blocks[index]
        patch = list(block.slices)
        patch[axis] = slice(block.offset[axis] - 1, block.offset[axis] + 1)
        near[tuple(patch)] = True
    assert (after == noise)[~near].all()


def smooth(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A smooth field in [0, 1]."""
    axes = np.ix_(*[np.linspace(0, 2 + k, side) for k, side in enumerate(shape)])
    return np.asarray(0.5 + 0.15 * sum(np.sin(axis) for axis in axes), np.float32)


def test_block_offsets_in_smooth_data_are_lowered() -> None:
    """Blocks that are each off by a constant have their seams reduced, and every face helps."""
    original = smooth((32, 24, 33))
    blocks = split(root(original.shape))
    decoded = original.copy()
    for number, block in enumerate(blocks):
        decoded[block.slices] += (-1) ** sum(o > 0 for o in block.offset) * 0.01 * (1 + number / 50)
    rms = float(np.sqrt(np.mean((decoded - original) ** 2)))
    index, bits, filtered = choose_faces(original, decoded, blocks, rms)
    assert all(bits)
    seam = np.s_[15:17, :10, :15]
    before, after = (np.mean((v[seam] - original[seam]) ** 2) for v in (decoded, filtered))
    assert after < 0.45 * before
    again = decoded.copy()
    apply_deblock(again, blocks, bits, STRENGTHS[index] * rms)
    np.testing.assert_array_equal(again, filtered)


def test_a_step_in_the_data_stays() -> None:
    """Where the data themselves jump at a face it is not chosen, and a jump past the threshold is not filtered."""
    original = np.zeros((16, 32), np.float32)
    original[:, 16:] = 0.05
    original += 0.001 * np.random.default_rng(0).normal(size=original.shape).astype(np.float32)
    blocks = split(root(original.shape))
    decoded = original + 0.01 * np.random.default_rng(1).normal(size=original.shape).astype(np.float32)
    _, bits, filtered = choose_faces(original, decoded, blocks, 0.01, least_gain=0)
    chosen = [axis for (_, axis), bit in zip(faces(blocks), bits) if bit]
    assert 1 not in chosen
    assert abs(float((filtered[:, 16] - filtered[:, 15]).mean()) - 0.05) < 0.01
    clean = original.copy()
    apply_deblock(clean, blocks, [1] * len(bits), 0.01)
    np.testing.assert_array_equal(clean[:, 15:17] > 0.025, original[:, 15:17] > 0.025)
    np.testing.assert_array_equal(clean[:7, 15:17], original[:7, 15:17])


@given(shapes, st.integers(0, 2**32))
def test_choice_never_raises_the_error(shape: tuple[int, ...], seed: int) -> None:
    """Whatever the data, the filter chosen never raises the squared error on the voxels that count."""
    rng = np.random.default_rng(seed)
    original = rng.normal(0, 1, shape).astype(np.float32)
    decoded = original + rng.normal(0, 0.3, shape).astype(np.float32)
    valid = rng.random(shape) < 0.8
    blocks = random_partition(shape, random.Random(seed))
    kept = decoded.copy()
    _, bits, filtered = choose_faces(original, decoded, blocks, 0.3, valid=valid, least_gain=0)
    np.testing.assert_array_equal(decoded, kept)
    before, after = (((v - original)[valid].astype(np.float64) ** 2).sum() for v in (decoded, filtered))
    assert after <= before * (1 + 1e-6)
    assert len(bits) == len(faces(blocks))


def test_a_gain_that_is_too_small_is_not_taken() -> None:
    """Below the least gain no bit is set and the chunk comes back unfiltered."""
    rng = np.random.default_rng(0)
    original = smooth((32, 32))
    decoded = original + rng.normal(0, 0.02, original.shape).astype(np.float32)
    blocks = split(root(original.shape))
    assert any(choose_faces(original, decoded, blocks, 0.02, least_gain=0)[1])
    index, bits, filtered = choose_faces(original, decoded, blocks, 0.02, least_gain=0.5)
    assert (index, any(bits)) == (0, False)
    np.testing.assert_array_equal(filtered, decoded)
    exact = choose_faces(original, original, blocks, 0.0)
    assert not any(exact[1])


def test_values_that_are_not_finite_spread_nowhere() -> None:
    """NaN and infinity next to a face stay where they are, and a strength that is not a number filters nothing."""
    blocks = split(root((16,)))
    values = np.zeros(16, np.float32)
    values[6], values[8] = np.nan, np.inf
    before = values.copy()
    for strength in (1.0, np.inf, np.nan):
        apply_deblock(values, blocks, [1], strength)
        np.testing.assert_array_equal(values, before)


def test_arguments_that_do_not_fit_are_refused() -> None:
    """A wrong number of bits or indices, another dtype and strided arrays raise ConfigError."""
    blocks = split(root((16, 16)))
    values = np.zeros((16, 16), np.float32)
    with pytest.raises(ConfigError, match="4 face bits"):
        apply_deblock(values, blocks, [1], 1.0)
    with pytest.raises(ConfigError, match="float32"):
        apply_deblock(values.astype(np.float64), blocks, [1] * 4, 1.0)
    with pytest.raises(ConfigError, match="contiguous"):
        apply_deblock(values.T[::-1], blocks, [1] * 4, 1.0)
    with pytest.raises(ConfigError, match="16 indices"):
        apply_deblock(values, blocks, [1] * 4, 1.0, [np.arange(15), np.arange(16)])
