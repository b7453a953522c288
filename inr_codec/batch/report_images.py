"""What a report shows of the data: the middle planes of a few chunks, beside those of the source where it is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.store import open_volume
from inr_codec.errors import ConfigError, InrCodecError
from inr_codec.picture.comparison import PANEL_INCHES
from inr_codec.picture.panels import (
    add_colour_bar,
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

Index = tuple[int, ...]
PLACES = (("least PSNR", 0.0), ("median PSNR", 0.5), ("best PSNR", 1.0))
"""Chunks that are shown, by their place in the order of their PSNR."""


@dataclass(frozen=True)
class Shown:
    """A chunk that is shown: what it is, its index in the grid, and the plane of the array that is drawn."""

    what: str
    place: Index
    png: bytes


def chosen(psnr: NDArray[np.float32], readable: NDArray[np.bool_]) -> list[tuple[str, Index]]:
    """(what it is, index) of the chunks of least, median and best PSNR; the middle one where none is known.

    psnr: NaN where nothing was lost or it is not known. readable: what can be decoded. Of fewer chunks there are fewer.
    """
    known = np.argwhere(np.isfinite(psnr) & readable)
    if not len(known):
        middle = np.argwhere(readable)
        return [("exact, or not measured", tuple(map(int, middle[len(middle) // 2])))] if len(middle) else []
    order = known[np.argsort(psnr[tuple(known.T)], kind="stable")]
    found: dict[Index, str] = {}
    for what, share in PLACES:
        place = tuple(map(int, order[round(share * (len(order) - 1))]))
        found.setdefault(place, f"{what}, {psnr[place]:.2f} dB")
    if len(found) == 1:
        return [(f"PSNR {psnr[place]:.2f} dB", place) for place in found]
    return [(what, place) for place, what in found.items()]


def draw_chunks(path: str, source: str | None, places: list[tuple[str, Index]], chunks: Index) -> Iterator[Shown]:
    """The middle planes of chunks of the array at `path`; beside each the original and the difference.

    source: the path or URL of the original, or None. It is left out where it is not there any more or has another
    shape, and a chunk that cannot be read is.
    """
    volume = open_volume(path)
    original = _original(source, tuple(volume.array.shape))
    for what, place in places:
        region = tuple(
            slice(i * side, min((i + 1) * side, length)) for i, side, length in zip(place, chunks, volume.array.shape)
        )
        try:
            decoded = np.asarray(volume.array[region])
            before = None if original is None else np.asarray(original[region])
        except (InrCodecError, OSError):  # damaged since its record was written: verify tells
            continue
        spacing, unit = volume.attributes.get("spacing"), volume.attributes.get("unit")
        try:
            scene = Scene(decoded.shape, decoded.dtype, volume.axes, spacing, unit)
        except ConfigError:  # a line of values is no image
            return
        yield Shown(what, place, _draw(scene, decoded, before))


def _original(source: str | None, shape: Index) -> Any:
    if source is None:
        return None
    try:
        array = open_volume(source).array
    except (InrCodecError, OSError):
        return None
    return array if tuple(array.shape) == shape else None


def _draw(scene: Scene, decoded: NDArray[Any], before: NDArray[Any] | None) -> bytes:
    """A PNG of the middle plane: original, decoded and difference, or what was decoded alone."""
    after = scene.cut(decoded, 0, scene.middle)
    images = (
        {"decoded": after} if before is None else {"original": scene.cut(before, 0, scene.middle), "decoded": after}
    )
    window = window_of(next(iter(images.values())))
    sizes = scene.sizes()[-2:]
    height = min(max(PANEL_INCHES * after.shape[0] * sizes[0] / (after.shape[1] * sizes[1]), 1.2), 2 * PANEL_INCHES)
    columns = len(images) + (before is not None)
    figure = new_figure("")
    figure.set_size_inches(columns * PANEL_INCHES + 0.9, height + 0.5)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    aspect = sizes[0] / sizes[1]
    for panel, (name, image) in zip(panels, images.items()):
        drawn = draw_values(panel, image, window, name, aspect)
        if scene.measured is not None:
            add_scale_bar(panel, image.shape[1], sizes[1], scene.measured)
    add_colour_bar(figure, drawn, panels[len(images) - 1])
    if before is not None:
        difference = after - images["original"]
        limit = limit_of(difference)
        signed = draw_difference(panels[-1], difference, limit, f"decoded - original, scale ±{short(limit)}", aspect)
        add_colour_bar(figure, signed, panels[-1])
    return figure_png(figure)
