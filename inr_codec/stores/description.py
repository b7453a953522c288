"""The record of what was done to an array, made from the array itself, whoever wrote it."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.decoding.inspection import reached_of
from inr_codec.errors import ConfigError
from inr_codec.layers.table import open_stream
from inr_codec.stores import attributes
from inr_codec.stores.encoded_chunks import codec_of, stored_streams
from inr_codec.stores.total import Total, mean_square
from inr_codec.targets import local_path


@dataclass
class Reached:
    """What the chunks of an array tell: their bytes, their error together, and what was written into its attributes.

    missed: how many take more bytes than were asked for, by the reason.
    """

    bytes: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    total: Total = field(default_factory=Total)
    attributes: dict[str, Any] = field(default_factory=dict)


def describe(target: Any) -> dict[str, Any]:
    """Write into an encoded array how it was compressed and what was reached, as `inr-codec encode` does.

    target: a zarr array that is open for writing, or the path or URL of one, once all of its chunks are written; or a
    group (what xarray has written, say), of which every array that this codec wrote is described. Attributes that are
    there stay; consolidated metadata are consolidated again. Returns the attributes `lossy_compression_...` of the
    array, or those of each array of the group by its path. Nothing is decoded. Raises ConfigError for anything that
    this codec did not write last, or that is open for reading only.
    """
    import zarr

    node: Any = target
    if isinstance(target, (str, PathLike)):
        try:
            node = zarr.open(local_path(fspath(target)), mode="r+")
        except FileNotFoundError:
            raise ConfigError(f"expected a zarr array or group, found none at {target!r}: check the path") from None
    if isinstance(node, zarr.Array):
        told = record(node).attributes
        _consolidate(node)
        return told
    if not isinstance(node, zarr.Group):
        raise ConfigError(
            f"expected a zarr array or group, or its path, got {type(target)!r}: give the path of its store"
        )
    arrays = {name: a for name, a in sorted(node.members(max_depth=None)) if isinstance(a, zarr.Array)}
    ours = {name: array for name, array in arrays.items() if codec_of(array.metadata) is not None}
    if not ours:
        raise ConfigError(f"expected an array that inr_codec wrote, got none in {target!r}: nothing to describe")
    described = {name: record(array).attributes for name, array in ours.items()}
    for array in ours.values():
        _consolidate(array)
    return described


def record(array: Any) -> Reached:
    """Write the attributes of a zarr array whose chunks are all there."""
    found, figures, stored = Reached(), [], 0
    for first, stream in stored_streams(array):
        header, layers = open_stream(stream)
        psnr, error = reached_of(header, layers)
        lo, hi = (None, None) if header.range is None else (header.range.lo, header.range.hi)
        voxels = math.prod(min(c, n - a) for a, c, n in zip(first, array.chunks, array.shape))
        found.total.add(mean_square(psnr, lo, hi), voxels, lo, hi)
        found.bytes += len(stream)
        found.missed.update(reason.text for reason in header.missed)
        figures.append((psnr, error))
        stored += voxels
    fill = array.fill_value
    if missing := math.prod(array.shape) - stored:  # nothing but the fill value
        value = float(fill) if np.asarray(fill).dtype.kind in "iuf" and np.isfinite(fill) else None
        found.total.add(0.0, missing, value, value)
    found.attributes = attributes.describe(codec_of(array.metadata).config.to_dict(), figures, found.total)
    if array.read_only:
        raise ConfigError(f'expected an array that is open for writing, got {array!r}: open it with mode="r+"')
    array.update_attributes(found.attributes)
    return found


def _consolidate(array: Any) -> None:
    """Make the consolidated metadata of the groups that an array lies in, where they have some, true again."""
    import zarr

    for store, path in _groups_over(array):
        group: Any = zarr.open_group(store, path=path, mode="r")
        if group.metadata.consolidated_metadata is not None:
            zarr.consolidate_metadata(store, path=path, zarr_format=group.metadata.zarr_format)


def _groups_over(array: Any) -> Iterator[tuple[Any, str]]:
    """The groups that an array lies in, inwards first; those outside of its store too where that is a folder."""
    root = getattr(array.store, "root", None)
    if root is None:
        parts = array.path.split("/")
        yield from ((array.store, "/".join(parts[:depth])) for depth in range(len(parts) - 1, -1, -1) if array.path)
        return
    for folder in Path(root, array.path).resolve().parents:
        if not any((folder / name).exists() for name in ("zarr.json", ".zgroup")):
            return
        yield str(folder), ""
