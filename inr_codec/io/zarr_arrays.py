"""zarr arrays, alone or in a group, as they are and with their attributes; of OME-Zarr images the finest level.

An array that is a level of an image knows what its group says of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from inr_codec.errors import ConfigError
from inr_codec.io.facets import EVERYTHING
from inr_codec.io.format import Format, Volume, module
from inr_codec.io.ome_zarr import datasets_of, metadata_of, nodata_of, record_of
from inr_codec.io.record import RECORD, SHORT, from_attributes


def read(path: Path, part: str | None = None) -> Volume:
    """Open an array, the only one of a group, or the finest level of an image."""
    zarr = module("zarr")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Group):
        ome, others = metadata_of(dict(node.attrs))
        if datasets := datasets_of(ome):
            return level_of(node[str(datasets[0]["path"])], str(datasets[0]["path"]), ome, others)
        if images := images_of(node, ome):
            raise ConfigError(f"expected one image, got a group of {len(images)}: give {path}/{images[0]}")
        names = sorted(name for name, _ in node.arrays())
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise ConfigError(f"expected one array, got a group of {len(names)} ({listed}): give {path}/NAME")
        node = node[names[0]]
    elif (level := _in_image(zarr, path)) is not None:
        return level_of(node, *level)
    return volume_of(node)


def images_of(group: Any, ome: dict[str, Any]) -> list[str]:
    """Paths of the images of a group that consists of several: series of bioformats2raw, wells of a plate."""
    wells = (ome.get("plate") or {}).get("wells", [])
    if wells:
        return [f"{well['path']}/{field}" for well in wells for field in ("0",)]
    return [name for name, one in sorted(group.groups()) if datasets_of(metadata_of(dict(one.attrs))[0])]


def _in_image(zarr: Any, path: Path) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The path of an array in the image that it is a level of, and what that says; None where it is of none."""
    for folder in list(path.absolute().parents)[:2]:
        if any((folder / name).exists() for name in ("zarr.json", ".zgroup")):
            ome, others = metadata_of(dict(zarr.open_group(str(folder), mode="r").attrs))
            inner = path.absolute().relative_to(folder).as_posix()
            if any(str(one["path"]) == inner for one in datasets_of(ome)):
                return inner, ome, others
    return None


def level_of(array: Any, path: str, ome: dict[str, Any], others: dict[str, Any]) -> Volume:
    """A level of an image, with the record that the image's metadata tell."""
    return replace(volume_of(array), record=record_of(ome, others, path, array))


def volume_of(array: Any) -> Volume:
    """A zarr array with its record, whoever wrote it."""
    attributes = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if names is not None and not all(isinstance(name, str) for name in names):
        names = None
    record = from_attributes(names, attributes, array.ndim)
    if record.nodata is None:
        record = replace(record, nodata=nodata_of(array, attributes))
    told = {RECORD, "_ARRAY_DIMENSIONS", *SHORT}
    return Volume(array, record, {name: value for name, value in attributes.items() if name not in told})


FORMAT = Format("zarr", (".zarr",), ("zarr",), read, None, lambda path, record, dtype: EVERYTHING)
