"""zarr arrays, alone or in a group, as they are and with their attributes."""

import base64
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.errors import ConfigError
from inr_codec.io.facets import EVERYTHING
from inr_codec.io.format import Format, Volume, module
from inr_codec.io.record import RECORD, SHORT, from_attributes


def read(path: Path, part: str | None = None) -> Volume:
    """Open an array, or the only one of a group."""
    zarr = module("zarr")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Group):
        names = sorted(name for name, _ in node.arrays())
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise ConfigError(f"expected one array, got a group of {len(names)} ({listed}): give {path}/NAME")
        node = node[names[0]]
    return volume_of(node)


def volume_of(array: Any) -> Volume:
    """A zarr array with its record, whoever wrote it."""
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if names is not None and not all(isinstance(name, str) for name in names):
        names = None
    record = from_attributes(names, attributes, array.ndim)
    if record.nodata is None:
        record = replace(record, nodata=_nodata(array, attributes))
    told = {RECORD, "_ARRAY_DIMENSIONS", *SHORT}
    return Volume(array, record, {name: value for name, value in attributes.items() if name not in told})


def _nodata(array: Any, attributes: dict[str, Any]) -> float | None:
    """The number that stands for no data: CF's `_FillValue` or `missing_value`, or the array's own fill value.

    xarray stores the first in base64 in zarr format 3, and as the array's fill value in format 2. A fill value of 0 may
    be nobody's choice and counts as none.
    """
    for name in ("_FillValue", "missing_value"):
        value = attributes.get(name)
        if isinstance(value, str) and array.dtype.kind in "fiu":
            try:
                value = np.frombuffer(base64.b64decode(value, validate=True), array.dtype.newbyteorder("<"))[0].item()
            except (ValueError, IndexError):
                continue
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value
    fill = array.fill_value
    plain = array.dtype.kind in "fiu" and fill is not None and math.isfinite(fill) and fill != 0
    return np.asarray(fill).item() if plain else None


FORMAT = Format("zarr", (".zarr",), ("zarr",), read, None, lambda path, record, dtype: EVERYTHING)
