"""What an array says of its own lossy compression: attributes in the style of the CF conventions.

CF-1.12 (section 8.4) has attributes for the quantisation of floats: an algorithm, its implementation as "NAME version
NUMBER", and figures. It has none for other lossy codecs, so the same are written with the prefix `lossy_compression_`
on the array itself, as plain strings and numbers that every format can hold.
"""

import json
import math
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from inr_codec.stores.total import Total

PREFIX = "lossy_compression_"
READER = (
    "the Python package inr_codec, this version or a newer one: once it is installed, zarr reads the array without an "
    "import"
)
SCOPES = {
    "psnr": "array: dB, peak = max - min of the array",
    "least_psnr": "worst chunk: dB, peak = max - min of that chunk",
    "max_error": "worst voxel of the array, in units of its values",
}
"""What each figure is of."""


def describe(
    settings: dict[str, Any], reached: Iterable[tuple[float | None, float | None]], total: Total | None = None
) -> dict[str, Any]:
    """Attributes of an array written with INRCodec(**settings), from (PSNR, largest error) of each of its chunks.

    psnr: of the array (`total`), dB (peak = max - min of the array). least_psnr: of the worst chunk, dB (peak = max -
    min of that chunk). Both are left out where nothing was lost. max_error: of the worst voxel, in the array's units.
    All are left out where a chunk was not measured. Beside each stands NAME_scope, which says what it is of.
    """
    figures = list(reached)
    attributes: dict[str, Any] = {
        PREFIX + "algorithm": "inr_codec",
        PREFIX + "implementation": f"inr_codec version {version('inr_codec')}",
        PREFIX + "reader": READER,
        PREFIX + "recipe": json.dumps(settings, sort_keys=True, default=str),
    }
    errors = [error for _, error in figures if error is not None]
    decibels = [psnr for psnr, _ in figures if psnr is not None]
    told: dict[str, float] = {}
    if total is not None and not total.unknown and total.psnr is not None and math.isfinite(total.psnr):
        told["psnr"] = _floor(total.psnr)
    if len(decibels) == len(figures) and math.isfinite(least := min(decibels, default=math.inf)):
        told["least_psnr"] = _floor(least)
    if len(errors) == len(figures):
        told["max_error"] = max(errors, default=0.0)
    for name, value in told.items():
        attributes |= {PREFIX + name: value, f"{PREFIX}{name}_scope": SCOPES[name]}
    return attributes


def _floor(decibels: float) -> float:
    """Rounded down to a hundredth."""
    return math.floor(decibels * 100) / 100


def without_record(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes without what an earlier compression has written into them."""
    return {name: value for name, value in attributes.items() if not name.startswith(PREFIX)}
