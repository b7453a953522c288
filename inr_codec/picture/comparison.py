"""A PNG that shows what compression did: planes, a part of one enlarged, orthogonal views, distributions, spectra."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.picture.panels import (
    add_colour_bar,
    add_scale_bar,
    draw_difference,
    draw_values,
    figure_png,
    limit_of,
    new_figure,
    outline,
    short,
    window_of,
)
from inr_codec.picture.scene import Box, Image, Scene
from inr_codec.picture.spectrum import radial_power

PANEL_INCHES = 4.2
CURVES_INCHES = 3.2
ENLARGED = 5
"""How much larger the enlarged part of a plane is drawn, at most."""
LEAST_PIXELS = 24
"""Side of that part, at least."""
SAMPLED_PLANES = 32
"""Planes whose values are counted and whose spectra are taken, at most."""
BARS = 128
BLOCK_COLOUR, CHUNK_COLOUR, FRAME_COLOUR = "#2e7d32", "#111111", "#e65100"
LINES = {"original": "#33658a", "decoded": "#e08e1b", "difference": "#b00020"}


@dataclass(frozen=True)
class Row:
    """A row of three panels: what both arrays show there, what lies over the difference, how a pixel measures.

    sizes: of a pixel along rows and columns. part: first row and column, rows and columns of what is enlarged.
    """

    name: str
    original: Image
    decoded: Image
    sizes: tuple[float, float]
    boxes: Callable[[Sequence[Box]], list[Box]] = lambda boxes: []
    sharp: bool = False

    @property
    def height(self) -> float:
        """Inches."""
        rows, columns = self.original.shape[:2]
        natural = float(PANEL_INCHES * rows * self.sizes[0] / (columns * self.sizes[1]))
        return min(max(natural, 0.9), 2 * PANEL_INCHES)


def save_comparison(
    path: str | PathLike[str],
    original: Any,
    decoded: Any,
    *,
    title: str,
    blocks: Iterable[Box] = (),
    chunks: Iterable[Box] = (),
    scene: Scene | None = None,
    projection: bool = True,
) -> None:
    """Draw original, decoded and difference (decoded - original) of an array, and write the PNG to `path`.

    `original` and `decoded` have one shape, slowest axis first; `scene` says what its axes are and how large a voxel is
    (default: the last three are z, y, x). Rows: the middle plane, the part of it with most detail enlarged, the middle
    planes across the other two axes of a volume, with `projection` its maximum projection, and at last the values, the
    differences and the radial power spectra of up to 32 planes. Both images of a row share one window of grey,
    percentiles 0.2 to 99.8 of the original there; the difference has a symmetric scale of its own, written beside it.
    Colours of 8 bits are shown as they are. `blocks` and `chunks` are boxes in voxels of the array; where a plane
    crosses them their outlines lie over its difference. Arrays may be lazy: they are read plane by plane. Raises
    ConfigError for other shapes, or where matplotlib is not installed.
    """
    if tuple(original.shape) != tuple(decoded.shape):
        raise ConfigError(
            f"expected two arrays of one shape, got {tuple(original.shape)!r} and {tuple(decoded.shape)!r}: crop one"
        )
    scene = scene or Scene(tuple(original.shape), np.dtype(original.dtype))
    rows, part = image_rows(scene, original, decoded, projection)
    figure = new_figure(title)
    heights = [row.height + 0.35 for row in rows]
    figure.set_size_inches(3 * PANEL_INCHES + 1.8, sum(heights) + CURVES_INCHES + 0.6)
    images, curves = figure.subfigures(2, 1, height_ratios=[sum(heights), CURVES_INCHES])
    panels = images.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    outlined = (("blocks", list(blocks), BLOCK_COLOUR, 0.6), ("chunks", list(chunks), CHUNK_COLOUR, 1.0))
    for number, (row, axes) in enumerate(zip(rows, panels)):
        _draw_row(images, axes, row, scene.measured)
        for name, boxes, colour, width in outlined:
            outline(axes[2], name, row.boxes(boxes), colour, width)
        if number == 0 and axes[2].get_legend_handles_labels()[1]:
            axes[2].legend(loc="upper right", fontsize=8, framealpha=0.9)
    for panel in panels[0][:2]:
        outline(panel, "enlarged", [part], FRAME_COLOUR, 1.2)
    _draw_curves(curves, scene, original, decoded)
    Path(path).write_bytes(figure_png(figure))


def image_rows(scene: Scene, original: Any, decoded: Any, projection: bool) -> tuple[list[Row], Box]:
    """The rows of images, and which part of the middle plane is enlarged."""
    sizes, names, middle = scene.sizes(), scene.labels(), scene.middle
    before, after = scene.cut(original, 0, middle), scene.cut(decoded, 0, middle)
    plane = (sizes[-2], sizes[-1])
    deep = len(scene.space) == 3
    name = f"{names[0]} = {middle} of {scene.sides[0]}" if deep else "image"
    part = detailed(before)
    (top, left), (height, width) = part
    window = np.s_[top : top + height, left : left + width]

    def inside(boxes: Sequence[Box]) -> list[Box]:
        seen = scene.outlines(boxes, 0, middle)
        return [((first[0] - top, first[1] - left), sides) for first, sides in seen]

    rows = [
        Row(name, before, after, plane, lambda boxes: scene.outlines(boxes, 0, middle)),
        Row(
            f"enlarged, {names[-2]} from {top}, {names[-1]} from {left}",
            before[window],
            after[window],
            plane,
            inside,
            True,
        ),
    ]
    if not deep or scene.sides[0] == 1:
        return rows, part
    for across, along in ((1, 2), (2, 1)):
        at = scene.sides[across] // 2
        before, after = scene.cut(original, across, at), scene.cut(decoded, across, at)
        rows.append(
            Row(f"{names[across]} = {at}", before, after, (sizes[0], sizes[along]), _outliner(scene, across, at))
        )
    if projection and not scene.colours:
        rows.append(Row(f"maximum along {names[0]}", _maximum(scene, original), _maximum(scene, decoded), plane))
    return rows, part


def _outliner(scene: Scene, across: int, at: int) -> Callable[[Sequence[Box]], list[Box]]:
    return lambda boxes: scene.outlines(boxes, across, at)


def detailed(image: Image, enlarged: int = ENLARGED, least: int = LEAST_PIXELS) -> Box:
    """The part of a plane with most detail: where values in its window of grey vary most.

    Its sides are those of the plane over `enlarged`, or `least` pixels where that is more.
    """
    low, high = window_of(image)
    grey = np.clip(np.nan_to_num(image if image.ndim == 2 else image.mean(axis=2), nan=low), low, high)
    height, width = (min(side, max(least, side // enlarged)) for side in grey.shape)
    corners = [
        (top, left)
        for top in range(0, grey.shape[0] - height + 1, max(1, height // 2))
        for left in range(0, grey.shape[1] - width + 1, max(1, width // 2))
    ]
    best = max(corners, key=lambda at: float(grey[at[0] : at[0] + height, at[1] : at[1] + width].std()))
    return best, (height, width)


def _draw_row(figure: Any, panels: Any, row: Row, unit: str | None) -> None:
    """Two images in one window and their difference, each with its scale."""
    window, aspect = window_of(row.original), row.sizes[0] / row.sizes[1]
    for panel, image, what in zip(panels, (row.original, row.decoded), ("original", "decoded")):
        drawn = draw_values(panel, image, window, f"{what}, {row.name}", aspect, row.sharp)
    if row.original.ndim == 2:
        add_colour_bar(figure, drawn, panels[1])
    difference = row.decoded - row.original
    limit = limit_of(difference)
    signed = draw_difference(
        panels[2], difference, limit, f"decoded - original, scale ±{short(limit)}", aspect, row.sharp
    )
    add_colour_bar(figure, signed, panels[2])
    for panel, image in zip(panels, (row.original, row.decoded)):
        panel.set_xlim(-0.5, image.shape[1] - 0.5)
        panel.set_ylim(image.shape[0] - 0.5, -0.5)
        if unit is not None:
            add_scale_bar(panel, image.shape[1], row.sizes[1], unit)
    panels[2].set_xlim(panels[0].get_xlim())
    panels[2].set_ylim(panels[0].get_ylim())


def _draw_curves(figure: Any, scene: Scene, original: Any, decoded: Any) -> None:
    """How often each value and each difference is, and the power of all three at each frequency."""
    pairs = list(zip(*(scene.planes(array, SAMPLED_PLANES) for array in (original, decoded))))
    planes = {
        "original": [before for before, _ in pairs],
        "decoded": [after for _, after in pairs],
        "difference": [after - before for before, after in pairs],
    }
    panels = figure.subplots(1, 3)
    _draw_histogram(panels[0], {name: planes[name] for name in ("original", "decoded")}, "value")
    _draw_histogram(panels[1], {"difference": planes["difference"]}, "decoded - original")
    sizes = scene.sizes()[-2:]
    for name, images in planes.items():
        frequency, power = radial_power(images, (sizes[0], sizes[1]))
        if (power > 0).any():
            panels[2].semilogy(frequency, np.where(power > 0, power, np.nan), color=LINES[name], label=name)
    panels[2].set_xlabel(f"cycles per {scene.measured or 'voxel'}", fontsize=9)
    panels[2].set_ylabel("power", fontsize=9)
    panels[2].set_title(f"radial power spectrum, mean of {len(pairs)} planes", fontsize=10)
    for panel in panels:
        panel.tick_params(labelsize=8)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(fontsize=8)


def _draw_histogram(panel: Any, values: dict[str, list[Image]], what: str) -> None:
    """How many voxels have which value, on a logarithmic scale."""
    flat = {name: np.concatenate([image[np.isfinite(image)] for image in images]) for name, images in values.items()}
    every = np.concatenate(list(flat.values()))
    if every.size:
        edges = np.linspace(*_ends(every), BARS + 1)
        for name, seen in flat.items():
            panel.stairs(np.histogram(seen, edges)[0], edges, color=LINES[name], label=name)
        panel.set_yscale("log", nonpositive="clip")
        panel.set_ylim(bottom=0.7)
    panel.set_xlabel(what, fontsize=9)
    panel.set_ylabel("voxels", fontsize=9)
    panel.set_title(f"histogram of the {'differences' if what != 'value' else 'values'}", fontsize=10)


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _maximum(scene: Scene, array: Any) -> Image:
    """Largest value along the first axis of space, NaN only where all of them are."""
    planes = scene.planes(array)
    top = next(planes)
    for plane in planes:
        np.fmax(top, plane, out=top)
    return top
