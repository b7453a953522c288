"""A PNG that shows what compression did: original, decoded and residual side by side, with the blocks outlined.

matplotlib draws it (extra `picture`), without a display and without touching pyplot's global state.
"""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.targets import PICTURE_MARK

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""First index and number of voxels per axis."""

PANEL_INCHES = 4.2
GREY_PERCENTILES = (0.2, 99.8)
RESIDUAL_PERCENTILE = 99.5
BLOCK_COLOUR, CHUNK_COLOUR = "#2e7d32", "#111111"


def save_comparison(
    path: str | PathLike[str],
    original: Any,
    decoded: Any,
    *,
    title: str,
    blocks: Iterable[Box] = (),
    chunks: Iterable[Box] = (),
    projection: bool = True,
) -> None:
    """Draw original, decoded and residual (decoded - original) of the middle plane, and of the maximum projection.

    `original` and `decoded` have one shape of 2 to 4 axes, slowest first; of four axes the middle of the first is
    taken. Both images of a row share one grey window, percentiles 0.2 to 99.8 of the original; the residual has a
    symmetric scale of its own, written beside it. `blocks` and `chunks` are boxes in voxels of the array; where
    the plane crosses them their outlines lie over its residual. Arrays may be lazy: they are read plane by plane.
    Raises ConfigError for other shapes, or where matplotlib is not installed.
    """
    shape = tuple(original.shape)
    if shape != tuple(decoded.shape) or not 2 <= len(shape) <= 4 or 0 in shape:
        raise ConfigError(
            f"expected two arrays of one shape with 2 to 4 axes, got {shape!r} and {tuple(decoded.shape)!r}: "
            "pick the axes to show"
        )
    middle = tuple(side // 2 for side in shape[:-2])
    name = f"plane {middle[-1]} of {shape[-3]}" if middle else "image"
    rows = [(name, _plane(original, middle), _plane(decoded, middle))]
    if projection and middle and shape[-3] > 1:
        rows.append(("maximum projection", _maximum(original, middle), _maximum(decoded, middle)))

    figure = new_figure(title)
    panel_height = min(max(PANEL_INCHES * shape[-2] / shape[-1], 1.2), 2.5 * PANEL_INCHES)
    figure.set_size_inches(3 * PANEL_INCHES + 1.8, len(rows) * (panel_height + 0.35) + 0.5)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for axes, row in zip(panels, rows):
        _draw_row(figure, axes, *row)
    for name, boxes, colour, width in (("blocks", blocks, BLOCK_COLOUR, 0.6), ("chunks", chunks, CHUNK_COLOUR, 1.0)):
        _outline(panels[0][2], name, [box for box in boxes if _crosses(box, middle)], colour, width)
    if panels[0][2].get_legend_handles_labels()[1]:
        panels[0][2].legend(loc="upper right", fontsize=8, framealpha=0.9)
    figure.savefig(path, dpi=80, format="png", metadata={"Software": PICTURE_MARK})


def new_figure(title: str) -> Any:
    """A matplotlib figure without a display; ConfigError where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"expected matplotlib for a picture, got {error}: install it with: pip install 'inr_codec[picture]'"
        ) from error
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    return figure


def _draw_row(
    figure: Any, axes: Any, name: str, original: npt.NDArray[np.float64], decoded: npt.NDArray[np.float64]
) -> None:
    """Two grey images in one window and their difference, each pair with its scale."""
    low, high = _percentiles(original, GREY_PERCENTILES)
    for panel, image, what in zip(axes, (original, decoded), ("original", "decoded")):
        grey = panel.imshow(image, cmap="gray", vmin=low, vmax=high if high > low else low + 1)
        panel.set_title(f"{what}, {name}", fontsize=10)
    figure.colorbar(grey, ax=axes[1], fraction=0.046, pad=0.02, extend="both")
    residual = decoded - original
    limit = _percentiles(np.abs(residual), (RESIDUAL_PERCENTILE,))[0] or 1.0
    signed = axes[2].imshow(residual, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[2].set_title(f"decoded - original, scale ±{_short(limit)}", fontsize=10)
    figure.colorbar(signed, ax=axes[2], fraction=0.046, pad=0.02, extend="both")
    for panel in axes:
        panel.set_axis_off()


def _outline(panel: Any, name: str, boxes: list[Box], colour: str, width: float) -> None:
    """The outlines of boxes as seen in the plane of the last two axes; nothing where there is no box."""
    from matplotlib.collections import LineCollection

    outlines = []
    for offset, shape in boxes:
        top, left = (start - 0.5 for start in offset[-2:])
        bottom, right = top + shape[-2], left + shape[-1]
        outlines.append([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    if outlines:
        lines = LineCollection(outlines, colors=colour, linewidths=width, alpha=0.7, label=name)
        panel.add_collection(lines, autolim=False)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _crosses(box: Box, plane: tuple[int, ...]) -> bool:
    offset, shape = box
    return all(start <= index < start + side for start, side, index in zip(offset, shape, plane))


def _plane(array: Any, index: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.asarray(array[index]).astype(np.float64)


def _maximum(array: Any, middle: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Largest value along the third axis from the end, NaN only where all of them are."""
    top = _plane(array, (*middle[:-1], 0))
    for z in range(1, array.shape[len(middle) - 1]):
        np.fmax(top, _plane(array, (*middle[:-1], z)), out=top)
    return top


def _percentiles(values: npt.NDArray[np.float64], which: tuple[float, ...]) -> list[float]:
    finite = values[np.isfinite(values)]
    return [float(level) for level in np.percentile(finite, which)] if finite.size else [0.0] * len(which)
