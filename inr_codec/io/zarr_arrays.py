"""zarr arrays, alone or in a group, as they are and with their attributes."""

from pathlib import Path
from typing import Any

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
    told = {RECORD, "_ARRAY_DIMENSIONS", *SHORT}
    return Volume(array, record, {name: value for name, value in attributes.items() if name not in told})


FORMAT = Format("zarr", (".zarr",), ("zarr",), read, None, lambda path, record, dtype: EVERYTHING)
