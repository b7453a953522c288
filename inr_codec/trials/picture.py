"""A PNG of trials: what each rate leaves of the samples, where it errs, and what error and similarity follow."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.picture.comparison import detailed
from inr_codec.picture.panels import (
    add_scale_bar,
    draw_difference,
    draw_values,
    figure_png,
    limit_of,
    new_figure,
    short,
    window_of,
)
from inr_codec.picture.scene import Scene
from inr_codec.trials.trial import NOISE, SIMILAR, Attempt, Trials

PANEL_INCHES = 2.4
CURVES_INCHES = 3.0
CROP = 96
"""Side in pixels of what is shown of a sample."""
SIGMAS = 3
"""End of the scale of differences, in deviations of the noise."""
COLOURS = {"quiet": "#33658a", "median": "#e08e1b", "busy": "#b00020"}
MARKS = {"fast": "v", "default": "o", "best": "^"}


def save_trials(
    path: str | PathLike[str],
    trials: Trials,
    *,
    title: str,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> None:
    """Draw what was tried, and write the PNG to `path`.

    A row of images and one of differences for the busy and the median sample: the part of its middle plane with most
    detail, 96 pixels wide, as it was and at every rate of the effort with most rates; grey from the percentile 0.2 to
    99.8 of the original there, differences up to three deviations of the noise. Then PSNR, error and SSIM over the
    rate. spacing, unit: as `picture.Scene` has them. Raises ConfigError where matplotlib is not
    installed.
    """
    efforts = [outcome.effort for outcome in trials.outcomes]
    first = max(set(efforts), key=efforts.count)
    ratios = [outcome.ratio for outcome in trials.outcomes if outcome.effort == first]
    tried = {(one.sample.name, one.ratio): one for one in trials.attempts if one.effort == first}
    shown = [sample for sample in reversed(trials.samples) if sample.name != "quiet"] or trials.samples
    figure = new_figure(title)
    columns, rows = 1 + len(ratios), 2 * len(shown)
    height = rows * (PANEL_INCHES + 0.3)
    figure.set_size_inches(columns * PANEL_INCHES + 0.4, height + CURVES_INCHES + 0.6)
    images, curves = figure.subfigures(2, 1, height_ratios=[height, CURVES_INCHES])
    panels = images.subplots(rows, columns, squeeze=False)
    scene = Scene(shown[0].values.shape, trials.dtype, trials.axes, spacing, unit)
    for number, sample in enumerate(shown):
        row = [tried[sample.name, ratio] for ratio in ratios]
        _draw_sample(
            panels[2 * number : 2 * number + 2], Scene(sample.values.shape, trials.dtype, trials.axes), row, trials
        )
        if scene.measured is not None:
            add_scale_bar(panels[2 * number][0], CROP, scene.sizes()[-1], scene.measured)
    _draw_curves(curves, trials)
    Path(path).write_bytes(figure_png(figure))


def _draw_sample(panels: Any, scene: Scene, row: list[Attempt], trials: Trials) -> None:
    """The original and what each rate makes of it; below each its difference."""
    sample = row[0].sample
    plane = scene.cut(sample.values, 0, scene.middle)
    (top, left), (height, width) = detailed(plane, max(plane.shape), CROP)
    window = np.s_[top : top + height, left : left + width]
    original, grey = plane[window], window_of(plane[window])
    draw_values(panels[0][0], original, grey, f"{sample.name}, original", sharp=True)
    decoded = [scene.cut(one.decoded, 0, scene.middle)[window] for one in row]
    sigma = trials.sigma[sample.name]
    limit = SIGMAS * sigma or max(limit_of(image - original) for image in decoded)
    panels[1][0].set_axis_off()
    scale = f"±{SIGMAS} deviations\nof the noise ({short(sigma)})" if sigma else "no noise was found"
    panels[1][0].text(
        0.5, 0.5, f"decoded - original\nscale ±{short(limit)}\n{scale}", ha="center", va="center", fontsize=9
    )
    for n, (one, image) in enumerate(zip(row, decoded), start=1):
        draw_values(panels[0][n], image, grey, f"ratio {one.ratio:g}", sharp=True)
        noise = f"error {one.error / sigma:.2f} of noise" if sigma else f"error {one.error:.3g}"
        draw_difference(panels[1][n], image - original, limit, noise, sharp=True)


def _draw_curves(figure: Any, trials: Trials) -> None:
    """PSNR, error over noise and SSIM of every sample and effort, over the rate; what is recommended is marked."""
    best, _ = trials.recommended
    panels = figure.subplots(1, 3)
    curves: tuple[tuple[str, Callable[[Attempt], float | None], float | None], ...] = (
        ("PSNR, dB (peak = max - min of all)", lambda one: _psnr(one, trials.span), None),
        ("error / noise", lambda one: one.error / (trials.sigma[one.sample.name] or np.nan), NOISE),
        ("SSIM", lambda one: one.ssim, SIMILAR),
    )
    for panel, (name, value, limit) in zip(panels, curves):
        for sample in trials.samples:
            for effort, mark in MARKS.items():
                tried = [one for one in trials.attempts if one.sample is sample and one.effort == effort]
                tried.sort(key=lambda one: one.ratio)
                values = [np.nan if value(one) is None else value(one) for one in tried]
                if tried:
                    label = sample.name if effort == "default" else f"{sample.name}, {effort}"
                    line = "-" if len(tried) > 1 else ""
                    ratios = [one.ratio for one in tried]
                    panel.plot(ratios, values, mark + line, color=COLOURS[sample.name], ms=4, label=label)
        if limit is not None:
            panel.axhline(limit, color="#777777", lw=0.8, ls="--")
        panel.axvline(best.ratio, color="#2e7d32", lw=0.8)
        panel.set_xscale("log")
        panel.set_xlabel("ratio (green: recommended)", fontsize=9)
        panel.set_title(name, fontsize=10)
        panel.tick_params(labelsize=8)
    panels[0].legend(fontsize=7)


def _psnr(one: Attempt, span: float) -> float:
    return float(20 * np.log10(span / one.error)) if one.error > 0 else np.nan
