"""The trainer of segmentation networks, and the choice of slices that the benchmark measures."""

from pathlib import Path

import numpy as np
import pytest
import torch
import train

from benchmarks.studies.sinco import sinco
from inr_codec import INRCodec, decode


@pytest.fixture(scope="module")
def discs() -> tuple[np.ndarray, np.ndarray]:
    """Bright discs at random places on noise, and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    centres = rng.uniform(4, 12, (24, 2))
    labels = np.stack([(np.hypot(y - a, x - b) < 4) for a, b in centres]).astype(np.int64)
    return (100 + 60 * labels + 5 * rng.standard_normal(labels.shape)).astype(np.float32), labels


def test_it_learns_and_what_it_saves_regularises(discs: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """A short training finds the discs; its file takes any number of slices, larger ones too, and encodes with them."""
    images, labels = discs
    network = train.train(images[:16], labels[:16], epochs=12, rate=1e-2, width=4, levels=2)
    assert train.dice(train.predict(network, images[16:]), labels[16:]) > 0.8
    train.save(network, 2, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    slices = np.tile(images[:2], (1, 2, 1))
    np.testing.assert_array_equal(train.predict(program, slices), train.predict(network, slices))
    codec = INRCodec(bpv=1, segmentation=tmp_path / "network.pt2", mask=labels[:2], effort="fast", steps=50)
    assert decode(codec.encode(images[:2])).shape == (2, 16, 16)


def test_no_slice_that_is_measured_was_trained_on() -> None:
    """Subjects are left out as wholes, the same ones each time, and measured slices are theirs, with a mask."""
    subjects = np.repeat([f"s{k}" for k in range(9)], 4)
    labels = np.zeros((36, 8, 8), int)
    labels[::2, 2:5, 2:5] = 1
    out = train.left_out(subjects, 3, 0)
    assert len(set(out)) == 3 and out == train.left_out(subjects[::-1], 3, 0)
    picks = sinco.choose(labels, subjects, out, 5)
    assert len(set(picks)) == 5
    assert {subjects[k] for k in picks} == set(out)
    assert all(labels[k].any() for k in picks)


def test_a_gain_is_judged_by_the_spread_of_its_pairs() -> None:
    """Seeds that move both rows of a pair alike are no spread; those that move the difference are."""
    vanilla = np.zeros((3, 4, len(sinco.NAMES)))
    vanilla[:, :, sinco.NAMES.index("Dice truth")] = [[0.2], [0.5], [0.8]]
    steady, wavering = vanilla + 0.1, vanilla.copy()
    wavering[:, :, sinco.NAMES.index("Dice truth")] += [[0.0], [0.1], [0.2]]
    for kept, words in ((steady, ": beyond twice it"), (wavering, "0.100: NOT beyond twice it")):
        line = sinco.verdict({"COIN": vanilla, "SINCO (SIREN), truth": kept})
        assert line.startswith("SINCO (SIREN), truth against COIN: Dice truth +0.100, spread over 3 seeds")
        assert line.endswith(words)
