import sys

import numpy as np
import pytest
from matplotlib.image import imread

from inr_codec.errors import ConfigError
from inr_codec.picture import save_comparison


def pair(shape):
    """A ramp and the same with noise."""
    original = np.arange(np.prod(shape)).reshape(shape) % 251
    return original, original + np.random.default_rng(0).integers(-3, 4, shape)


@pytest.mark.parametrize("shape", [(20, 30), (9, 20, 30), (1, 20, 30), (3, 4, 20, 30)])
def test_a_png_for_two_to_four_axes(tmp_path, shape):
    """Arrays of two to four axes give a PNG, with a second row where there are planes to project."""
    save_comparison(tmp_path / "a.png", *pair(shape), title="a", blocks=[((0,) * len(shape), shape)])
    image = imread(tmp_path / "a.png")
    rows = 2 if len(shape) > 2 and shape[-3] > 1 else 1
    assert image.shape[1] / image.shape[0] == pytest.approx(14.4 / (rows * (2.8 + 0.35) + 0.5), rel=0.02)


def test_only_boxes_in_the_plane_are_drawn(tmp_path):
    """A block that the middle plane does not cross leaves the picture as it is; one that it crosses does not."""
    original, decoded = pair((10, 20, 30))
    pictures = []
    for number, box in enumerate([None, ((0, 0, 0), (5, 20, 30)), ((5, 5, 5), (5, 10, 10))]):
        path = tmp_path / f"{number}.png"
        save_comparison(path, original, decoded, title="a", blocks=[box] if box else (), projection=False)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_constant_and_missing_values_can_be_drawn(tmp_path):
    """NaN, a constant and a residual of nothing are no reason to fail or to warn."""
    constant, holes = np.full((3, 9, 9), 5.0), np.full((3, 9, 9), np.nan)
    save_comparison(tmp_path / "a.png", constant, constant, title="constant")
    save_comparison(tmp_path / "b.png", holes, holes, title="holes")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch):
    """Unequal shapes, one axis and a missing matplotlib are errors of one line."""
    with pytest.raises(ConfigError, match="one shape"):
        save_comparison(tmp_path / "a.png", np.zeros((3, 4)), np.zeros((4, 3)), title="a")
    with pytest.raises(ConfigError, match="2 to 4 axes"):
        save_comparison(tmp_path / "a.png", np.zeros(3), np.zeros(3), title="a")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"inr_codec\[picture\]"):
        save_comparison(tmp_path / "a.png", np.zeros((3, 4)), np.zeros((3, 4)), title="a")
