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

from inr_codec.decoding.inspection import reached_of
from inr_codec.layers.table import open_stream
from inr_codec.stores.encoded_chunks import stored_streams

PREFIX = "lossy_compression_"


def describe(settings: dict[str, Any], reached: Iterable[tuple[float | None, float | None]]) -> dict[str, Any]:
    """Attributes of an array written with INRCodec(**settings), from (PSNR, largest error) of each of its chunks.

    least_psnr: of the worst chunk, dB (peak = max - min of that chunk), left out where no chunk lost anything.
    max_error: of the worst voxel, in the array's units. Both are left out where a chunk was not measured.
    """
    figures = list(reached)
    attributes: dict[str, Any] = {
        PREFIX + "algorithm": "inr_codec",
        PREFIX + "implementation": f"inr_codec version {version('inr_codec')}",
        PREFIX + "recipe": json.dumps(settings, sort_keys=True, default=str),
    }
    errors = [error for _, error in figures if error is not None]
    decibels = [psnr for psnr, _ in figures if psnr is not None]
    if len(decibels) == len(figures) and math.isfinite(least := min(decibels, default=math.inf)):
        attributes[PREFIX + "least_psnr"] = least
    if len(errors) == len(figures):
        attributes[PREFIX + "max_error"] = max(errors, default=0.0)
    return attributes


def record(array: Any, settings: dict[str, Any]) -> None:
    """Write the attributes of a local zarr array whose chunks are all there."""
    figures = (reached_of(*open_stream(stream)) for _, stream in stored_streams(array))
    array.update_attributes(describe(settings, figures))
