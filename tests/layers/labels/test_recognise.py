"""Label images are told from intensities, in few voxels and many, whatever their ids are."""

import numpy as np
import pytest
from samples import field
from scipy import ndimage

from inr_codec.layers.labels.recognise import is_labelled
from tests.layers.labels.test_labels import cells

SOLID = cells((16, 40, 40), 300)
SORTED = cells((90, 90), 300)
SMOOTH = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(16, 48, 48)), 3)
SMOOTH /= SMOOTH.std()


def edged(labels: np.ndarray) -> np.ndarray:
    """0 at boundaries, one voxel wide."""
    thin = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        thin |= np.diff(labels, axis=axis, append=np.take(labels, [-1], axis)) != 0
    return np.where(thin, 0, labels + 1)


def by_place(labels: np.ndarray, axis: int) -> np.ndarray:
    """Ids that ascend along an axis, as those of a scan do."""
    means = ndimage.center_of_mass(np.ones(labels.shape), labels, np.arange(labels.max() + 1))
    return np.argsort(np.argsort(np.array(means)[:, axis]))[labels]


def curve(shape: tuple[int, ...]) -> np.ndarray:
    """A vessel of one voxel's width."""
    out, t = np.zeros(shape, int), np.linspace(0, 1, 500)
    sides = [(n - 1) * (0.5 + 0.45 * np.sin((3 + axis) * t + axis)) for axis, n in enumerate(shape)]
    out[tuple(np.rint(side).astype(int) for side in sides)] = 1
    return out


rng = np.random.default_rng(8)
LABELS = {
    "cells": SOLID,
    "two": SOLID % 2 * 200,
    "random ids": rng.permutation(2**16)[SOLID],
    "ids of 64 bits": rng.integers(1, 2**63, 300)[SOLID],
    "thin boundaries": edged(SOLID),
    "thin boundaries of a plane": edged(SORTED),
    "ids along the first axis": by_place(SORTED, 0),
    "ids along the last axis": by_place(SOLID, 2),
    "many small ones": cells((16, 30, 30), 300),
    "tiles in the order of a scan": np.arange(20 * 20).reshape(20, 20).repeat(5, 0).repeat(5, 1),
    "layers": np.arange(80)[:, None] // 10 + np.zeros((80, 60), int),
    "shells": np.hypot(*(np.indices((120, 120)) - 59.5)).astype(int) // 12,
    "few voxels": np.pad(np.full((2, 3), 7), 20),
    "a line": np.repeat([3, 9, 1, 3, 30, 2], 40),
    "a vessel": curve((20, 60, 60)),
    "channels": np.stack([SORTED, SORTED % 3])[None],
}
IMAGES = {
    "a field": np.rint(field(noise=0.01) * 40).astype("i2"),
    "low light": rng.poisson(0.5, (8, 50, 50)),
    "single photons": rng.poisson(0.03, (8, 50, 50)),
    "few grey values": np.rint(100 + SMOOTH + rng.normal(size=SMOOTH.shape) * 0.3).astype("u2"),
    "few grey values without noise": np.rint(100 + 3 * SMOOTH).astype("u2"),
    "saturated": np.clip(np.rint(SMOOTH * 90 + 100 + rng.normal(size=SMOOTH.shape)), 0, 255),
    "sparse": np.where(SMOOTH > 1.2, np.rint(90 * SMOOTH), 0),
    "sparse and noisy": np.where(SMOOTH > 1, rng.poisson(4, SMOOTH.shape), 0),
    "a noisy threshold": SMOOTH + rng.normal(size=SMOOTH.shape) * 0.4 > 0,
    "noise": rng.integers(0, 4, (8, 50, 50)),
    "a gradient": np.add(*np.indices((120, 120))) // 4,
    "enlarged": np.rint(ndimage.zoom(rng.normal(size=(30, 30)) * 20 + 100, 6, order=1)),
    "one of each": np.arange(900).reshape(30, 30),
}


@pytest.mark.parametrize("name", LABELS)
def test_segmentations_are_recognised(name: str) -> None:
    """Of any number of ids, any shape of regions, any order of ids."""
    labels = LABELS[name]
    least = np.min_scalar_type(int(labels.max()))
    for dtype in {least, np.dtype("i8"), np.dtype("u8")}:
        assert is_labelled(np.ascontiguousarray(labels, dtype))


@pytest.mark.parametrize("name", IMAGES)
def test_intensities_are_not(name: str) -> None:
    """Photon counts, few grey values, saturation, backgrounds of zeros, noisy thresholds, gradients."""
    image = IMAGES[name]
    assert not is_labelled(np.ascontiguousarray(image, "u1" if image.max() < 256 and image.min() >= 0 else "i4"))


def test_floats_and_dates_are_not() -> None:
    """Only integers and booleans are labels."""
    assert not is_labelled(SOLID.astype("f4")) and not is_labelled(SOLID.astype("M8[s]"))
    assert is_labelled(SOLID > 100) and not is_labelled(np.zeros(0, "u1"))
