"""Maps and histograms of what is known of every chunk of an array."""

import numpy as np
from numpy.typing import NDArray

from inr_codec.picture import figure_png, new_figure

BINS = 40
"""Bars of a histogram at most."""
LINE = 12
"""How many times longer than wide a grid of chunks is a line."""
Floats = NDArray[np.float32]


def draw_maps(
    values: Floats, failed: NDArray[np.bool_], unit: str, least: bool, names: tuple[str, ...] = ("z", "y", "x")
) -> bytes:
    """A PNG of values over the grid of chunks, seen along each axis: the least or the mean; red where one failed.

    names: of the last three axes.
    """
    grid = values.reshape((1,) * (3 - values.ndim) + values.shape)
    grid = grid.reshape(-1, *grid.shape[-2:]) if grid.ndim > 3 else grid
    broken = failed.reshape(grid.shape)
    axes = [axis for axis in range(3) if axis == 0 or grid.shape[0] > 1]
    figure = new_figure("")
    figure.set_size_inches(3.6 * len(axes) + 1.2, 3.8)
    low, high = (float(value) for value in np.nanpercentile(values, [1, 99]))
    panels = figure.subplots(1, len(axes), squeeze=False)[0]
    for panel, axis in zip(panels, axes):
        seen = _project(grid, axis, least)
        shown = panel.imshow(
            seen, vmin=low, vmax=high if high > low else low + 1, cmap="viridis", aspect=_aspect(seen.shape)
        )
        marks = np.argwhere(broken.any(axis=axis))
        panel.scatter(marks[:, 1], marks[:, 0], marker="x", color="#d50000", s=24)
        rest = [name for k, name in enumerate(names) if k != axis]
        panel.set_title(f"{'least' if least else 'mean'} along {names[axis]}", fontsize=10)
        panel.set_xlabel(f"chunks along {rest[1]}", fontsize=9)
        panel.set_ylabel(f"chunks along {rest[0]}", fontsize=9)
        panel.set_facecolor("#e4e4e4")
        for ticks in (panel.xaxis, panel.yaxis):
            ticks.get_major_locator().set_params(integer=True)
    figure.colorbar(shown, ax=panels.tolist(), fraction=0.03, pad=0.02, extend="both").set_label(unit, fontsize=9)
    return figure_png(figure, 90)


def _aspect(shape: tuple[int, ...]) -> str:
    """Square chunks, unless the grid is a line."""
    return "equal" if max(shape) <= LINE * min(shape) else "auto"


def _project(grid: Floats, axis: int, least: bool) -> Floats:
    """Least or mean of what is known along an axis, NaN where nothing is."""
    known = np.isfinite(grid)
    if least:
        seen = np.where(known, grid, np.inf).min(axis=axis)
    else:
        seen = np.where(known, grid, 0).sum(axis=axis, dtype=np.float64) / np.maximum(known.sum(axis=axis), 1)
    return np.where(known.any(axis=axis), seen, np.nan).astype(np.float32)


def draw_histogram(values: Floats, unit: str) -> bytes:
    """A PNG of how many chunks have which value; on a logarithmic scale where values span more than two decades."""
    seen = values[np.isfinite(values)].astype(np.float64)
    low, high = float(seen.min()), float(seen.max())
    wide = low > 0 and high > 100 * low
    if high <= low:
        low, high = low - 0.5, high + 0.5
    bins = min(BINS, 8 + seen.size // 8)
    edges = np.geomspace(low, high, bins + 1) if wide else np.linspace(low, high, bins + 1)
    figure = new_figure(f"{seen.size:,} chunks")
    figure.set_size_inches(8, 2.8)
    panel = figure.subplots()
    panel.hist(seen, bins=edges, color="#33658a")
    if wide:
        panel.set_xscale("log")
    panel.set_xlabel(unit)
    panel.set_ylabel("chunks")
    return figure_png(figure, 90)
