"""What pictures are made of: a figure, grey and coloured images in one window, differences, outlines, scale bars."""

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.picture.scene import Box, Image
from inr_codec.targets import PICTURE_MARK

GREY_PERCENTILES = (0.2, 99.8)
"""The window of a viewer: darker and brighter pixels are cut off."""
DIFFERENCE_PERCENTILE = 99.5
BAR_SHARE = 0.3
"""Of the width of an image that its scale bar takes at most."""
Window = tuple[float, float]


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


def figure_png(figure: Any, dpi: float = 80) -> bytes:
    """The PNG of a figure: 24 bits a pixel, no transparency, with the mark of this package."""
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    figure.set_dpi(dpi)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    told, out = PngInfo(), BytesIO()
    told.add_text("Software", PICTURE_MARK)
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(out, format="PNG", pnginfo=told)
    return out.getvalue()


def percentiles(values: npt.NDArray[np.float64], which: Sequence[float]) -> list[float]:
    """Percentiles of what is finite; zeros where nothing is."""
    finite = values[np.isfinite(values)]
    return [float(level) for level in np.percentile(finite, which)] if finite.size else [0.0] * len(which)


def window_of(image: Image) -> Window:
    """Black and white of an image, as a viewer shows it."""
    low, high = percentiles(image, GREY_PERCENTILES)
    return low, high if high > low else low + 1


def limit_of(difference: Image) -> float:
    """The end of a symmetric scale for a difference."""
    return percentiles(np.abs(difference), (DIFFERENCE_PERCENTILE,))[0] or 1.0


def draw_values(panel: Any, image: Image, window: Window, title: str, aspect: float = 1.0, sharp: bool = False) -> Any:
    """An image in a window of grey, or its colours as they are; what matplotlib needs for a colour bar of it."""
    smooth = "nearest" if sharp else "auto"
    if image.ndim == 3:
        drawn = panel.imshow(np.clip(image, 0, 255).astype(np.uint8), aspect=aspect, interpolation=smooth)
    else:
        drawn = panel.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect, interpolation=smooth)
    _bare(panel, title)
    return drawn


def draw_difference(
    panel: Any, difference: Image, limit: float, title: str, aspect: float = 1.0, sharp: bool = False
) -> Any:
    """Decoded - original from blue over white to red; of colours the mean of the three."""
    if difference.ndim == 3:
        difference = difference.mean(axis=2)
    smooth = "nearest" if sharp else "auto"
    drawn = panel.imshow(difference, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect, interpolation=smooth)
    _bare(panel, title)
    return drawn


def _bare(panel: Any, title: str) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_facecolor("#d9d9d9")


def add_colour_bar(figure: Any, drawn: Any, panel: Any) -> None:
    """The scale of an image at its side."""
    figure.colorbar(drawn, ax=panel, fraction=0.046, pad=0.02, extend="both")


def outline(panel: Any, name: str, boxes: Sequence[Box], colour: str, width: float) -> None:
    """The outlines of boxes (first row and column, rows and columns); nothing where there is no box."""
    from matplotlib.collections import LineCollection

    outlines = []
    for offset, shape in boxes:
        top, left = (start - 0.5 for start in offset)
        bottom, right = top + shape[0], left + shape[1]
        outlines.append([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    if outlines:
        lines = LineCollection(outlines, colors=colour, linewidths=width, alpha=0.7, label=name)
        panel.add_collection(lines, autolim=False)


def short(value: float) -> str:
    """A number in three digits or more, without an exponent where it is large."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def nice_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... (and 0.5, 0.2, ...) that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return power * max(step for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))


def add_scale_bar(panel: Any, columns: int, size: float, unit: str) -> None:
    """A bar of a round length at the lower left; size: of a pixel, in `unit`."""
    from matplotlib.font_manager import FontProperties
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    length = nice_length(BAR_SHARE * columns * size)
    bar = AnchoredSizeBar(
        panel.transData,
        length / size,
        f"{length:g} {unit}",
        "lower left",
        pad=0.3,
        color="black",
        size_vertical=0,
        sep=3,
        fontproperties=FontProperties(size=8),
    )
    bar.size_bar.get_children()[0].set_linewidth(3)
    bar.patch.set_alpha(0.75)
    panel.add_artist(bar)
