"""The sides of chunks that nobody gave: what they hold together, what they keep apart, how they fill an array."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec import ConfigError, chunk_shape
from inr_codec.stores.chunk_shape import VOXELS

SHAPES = st.lists(st.integers(1, 3000), min_size=1, max_size=6).map(tuple)


@given(SHAPES)
def test_no_chunk_at_the_edge_is_mostly_padding(shape: tuple[int, ...]) -> None:
    """Along every axis the last chunk is at least half full."""
    for length, side in zip(shape, chunk_shape(shape).sides):
        assert 1 <= side <= length
        assert ((length - 1) % side + 1) * 2 >= side


@given(st.lists(st.integers(200, 3000), min_size=2, max_size=3).map(tuple))
def test_a_chunk_has_about_a_megavoxel(shape: tuple[int, ...]) -> None:
    """Of an image or volume that has more: between half and twice as many."""
    if prod(shape) > VOXELS:
        assert VOXELS / 2 <= prod(chunk_shape(shape).sides) <= VOXELS * 2


@given(SHAPES, st.data())
def test_chunks_fill_shards(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Where the array is longer than a shard, the shard is whole chunks."""
    shards = tuple(data.draw(st.integers(1, 512)) for _ in shape)
    for length, shard, side in zip(shape, shards, chunk_shape(shape, shards=shards).sides):
        assert side <= min(length, shard) and (shard >= length or shard % side == 0)


@pytest.mark.parametrize(
    ("axes", "shape", "sides"),
    [
        ("x", (130,), (130,)),
        ("zyx", (33, 33, 33), (33, 33, 33)),
        ("zyx", (128, 256, 256), (64, 128, 128)),
        ("zyx", (24, 640, 640), (24, 214, 214)),
        ("zcyx", (75, 2, 75, 75), (75, 1, 75, 75)),
        ("czyx", (2, 8, 16, 16), (2, 8, 16, 16)),
        ("tzyx", (20, 3, 21, 17), (20, 3, 21, 17)),
        ("tzyx", (96, 32, 64, 64), (8, 32, 64, 64)),
        ("tzyx", (5, 300, 300, 300), (1, 75, 150, 100)),
        ("tcyx", (64, 2, 512, 512), (64, 1, 128, 128)),
        ("yxs", (960, 1280, 3), (480, 640, 3)),
        ("yxc", (960, 1280, 3), (480, 640, 3)),
        ("cyx", (3, 960, 1280), (1, 960, 1280)),
        (("time", "latitude", "longitude"), (365, 180, 360), (46, 180, 120)),
        (("member", "lat", "lon", None), (8, 32, 64, 16), (8, 32, 64, 16)),
    ],
)
def test_sides_follow_what_axes_are(axes: str, shape: tuple[int, ...], sides: tuple[int, ...]) -> None:
    """Space and time together up to a megavoxel, colours too, channels apart unless tiny."""
    chosen = chunk_shape(shape, tuple(axes))
    assert chosen.sides == sides
    assert not chosen.guessed and "as the source names them" in str(chosen)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((9,), "x"), ((9, 9), "yx"), ((9, 9, 9), "zyx"), ((100, 100, 3), "yxs"), ((20, 100, 100, 4), "zyxs"),
        ((30, 9, 99, 99), "tzyx"), ((2, 60, 99, 99), "czyx"), ((60, 2, 99, 99), "zcyx"), ((3, 2, 9, 99, 99), "tczyx"),
        ((5, 3, 2, 9, 99, 99), "?tczyx"),
    ],
)  # fmt: skip
def test_axes_without_names_are_guessed(shape: tuple[int, ...], axes: str) -> None:
    """From the shape alone, and it is said; names that say nothing count as none."""
    for names in (None, [f"dim_{n}" for n in range(len(shape))]):
        chosen = chunk_shape(shape, names)
        assert chosen.axes == tuple(axes)
        assert chosen.guessed and "guessed" in str(chosen)


def test_a_name_for_each_axis_is_expected() -> None:
    """Too few are refused, and so are sides of shards."""
    with pytest.raises(ConfigError, match="name for each axis"):
        chunk_shape((9, 9), ["x"])
    with pytest.raises(ConfigError, match="shard side for each axis"):
        chunk_shape((9, 9), shards=[9])
