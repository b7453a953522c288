"""Trials: what is tried, what is told, what is recommended and why."""

import struct
from pathlib import Path

import numpy as np
import pytest
from samples import field

from inr_codec import ConfigError, try_ratios
from inr_codec.cli.parser import main
from inr_codec.trials.samples import Sample
from inr_codec.trials.trial import Attempt, Trials


def trials_of(sigma: float, errors: dict[float, float], similar: dict[float, float]) -> Trials:
    """Trials of one sample of range 1 whose errors and SSIM are given by the ratio."""
    sample = Sample("busy", (0,), np.linspace(0, 1, 100))
    made = Trials((1000,), np.dtype("f8"), (100,), [sample], {"busy": sigma})
    for ratio, error in errors.items():
        made.attempts.append(
            Attempt(ratio, "default", sample, int(800 / ratio), 1.0, sample.values, error, similar[ratio])
        )
    return made


def test_the_highest_ratio_that_loses_nothing_but_noise_is_recommended() -> None:
    """Error up to 1.1 of the noise; beyond, the reason tells of SSIM; where that fails, the lowest ratio."""
    errors, similar = {10: 0.01, 50: 0.02, 90: 0.04}, {10: 0.99, 50: 0.97, 90: 0.9}
    for sigma, ratio, reason in ((0.019, 50, "lost is noise"), (0.004, 50, "no rate"), (0.0, 50, "no noise was found")):
        best, why = trials_of(sigma, errors, similar).recommended
        assert best.ratio == ratio and reason in why
    best, why = trials_of(0.0, errors, dict.fromkeys(errors, 0.5)).recommended
    assert best.ratio == 10 and "the lowest that was tried" in why


def test_figures_are_of_all_samples_and_of_the_whole_array() -> None:
    """PSNR of the range, error over noise, bytes in proportion."""
    (outcome,) = trials_of(0.02, {10: 0.01}, {10: 0.99}).outcomes
    assert outcome.psnr == pytest.approx(40)
    assert outcome.error == pytest.approx(0.5)
    assert outcome.bytes == pytest.approx(1000 * 8 / 10)
    assert outcome.reached == pytest.approx(10)


def test_a_volume_is_tried_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each rate and each further effort, the command to go on with, and a picture in 24-bit colour."""
    monkeypatch.chdir(tmp_path)
    values = field((10, 24, 24), "u2") + np.random.default_rng(0).normal(90, 20, (10, 24, 24)).astype("u2")
    np.save("v.npy", values)
    assert main(["try", "v.npy", "--ratios", "20,60", "--chunks", "10,12,12", "--seconds", "1000"]) == 0
    said = capsys.readouterr().out.splitlines()
    rows = [line.split()[:2] for line in said if line.split()[1:2] in (["default"], ["fast"], ["best"])]
    best = next(line for line in said if line.startswith("recommended")).split()[2].rstrip(",")
    assert rows == [[best, "fast"], ["20", "default"], ["60", "default"], [best, "best"]]
    assert f"  inr-codec encode v.npy TARGET.zarr --ratio {best}" in said
    head = Path("v-try.png").read_bytes()[16:26]
    assert struct.unpack(">IIBB", head)[2:] == (8, 2)


def test_what_cannot_be_tried_is_said() -> None:
    """No time, no numbers, no such ratio."""
    values = field((12, 20, 20), "u2")
    with pytest.raises(ConfigError, match="allow more seconds"):
        try_ratios(values, seconds=0)
    with pytest.raises(ConfigError, match="real numbers"):
        try_ratios(values.astype("c8"))
    with pytest.raises(ConfigError, match="ratio"):
        try_ratios(values, ratios=(0,))
    with pytest.raises(ConfigError, match="side for each"):
        try_ratios(values, chunks=(4, 4))
