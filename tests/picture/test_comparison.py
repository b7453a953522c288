"""Pictures that compare: what is in them, and what cannot be drawn."""

import struct
import sys

import numpy as np
import pytest

from inr_codec.errors import ConfigError
from inr_codec.picture.comparison import detailed, image_rows, save_comparison
from inr_codec.picture.scene import Scene


def pair(shape):
    """A ramp and the same with noise."""
    original = np.arange(np.prod(shape)).reshape(shape) % 251
    return original, original + np.random.default_rng(0).integers(-3, 4, shape)


def rows_of(shape, **options):
    """What the rows of the picture of two arrays show."""
    rows = image_rows(Scene(shape, np.dtype("u2"), **options), *pair(shape), True)[0]
    return [row.name.partition(",")[0] for row in rows]


@pytest.mark.parametrize("shape", [(20, 30), (2, 3, 5, 20, 30)])
def test_a_png_of_24_bits_for_two_axes_and_more(tmp_path, shape):
    """Red, green and blue of 8 bits each, without a palette or transparency."""
    save_comparison(tmp_path / "a.png", *pair(shape), title="a", blocks=[((0,) * len(shape), shape)])
    assert struct.unpack(">BB", (tmp_path / "a.png").read_bytes()[24:26]) == (8, 2)


def test_a_volume_is_seen_from_three_sides():
    """Its middle plane and a part of it, the planes across the other axes, its maximum; an image alone is not."""
    assert rows_of((9, 40, 60)) == ["z = 4 of 9", "enlarged", "y = 20", "x = 30", "maximum along z"]
    assert rows_of((40, 60)) == ["image", "enlarged"]
    assert rows_of((2, 9, 40, 60), axes=("c", "z", "y", "x"))[2:] == ["y = 20", "x = 30", "maximum along z"]
    assert rows_of((9, 2, 40, 60), axes=("z", "c", "y", "x"))[0] == "z = 4 of 9"
    assert rows_of((9, 40, 60), axes=("t", "y", "x"))[0] == "t = 4 of 9"


def test_the_part_with_most_detail_is_enlarged():
    """Where values vary most, a fifth of the plane or 24 pixels wide."""
    image = np.zeros((200, 150))
    image[130:160, 90:120] = np.random.default_rng(0).random((30, 30))
    (top, left), sides = detailed(image)
    assert sides == (40, 30)
    assert top <= 130 + 15 < top + 40 and left <= 90 + 15 < left + 30
    assert detailed(np.zeros((10, 100)))[1] == (10, 24)


def test_blocks_are_drawn(tmp_path):
    """Their outlines are in the picture."""
    for name, boxes in (("a", ()), ("b", [((5, 5), (10, 10))])):
        save_comparison(tmp_path / name, *pair((30, 30)), title="a", blocks=boxes)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_constant_and_missing_values_can_be_drawn(tmp_path):
    """NaN, a constant and a residual of nothing are no reason to fail or to warn."""
    constant, holes = np.full((9, 9), 5.0), np.full((3, 9, 9), np.nan)
    save_comparison(tmp_path / "a.png", constant, constant, title="constant")
    save_comparison(tmp_path / "b.png", holes, holes, title="holes")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch):
    """Unequal shapes, one axis and a missing matplotlib are errors of one line."""
    with pytest.raises(ConfigError, match="one shape"):
        save_comparison(tmp_path / "a.png", np.zeros((3, 4)), np.zeros((4, 3)), title="a")
    with pytest.raises(ConfigError, match="2 axes of space or more"):
        save_comparison(tmp_path / "a.png", np.zeros(3), np.zeros(3), title="a")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"inr_codec\[picture\]"):
        save_comparison(tmp_path / "a.png", np.zeros((3, 4)), np.zeros((3, 4)), title="a")
