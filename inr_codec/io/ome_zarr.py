"""Images of OME-Zarr (0.4 in zarr format 2, 0.5 in format 3): their metadata, and levels made from a volume.

An image is a group of arrays, the levels, of which each is coarser than the one before. Its axes, scales, units,
translations and channels are OME metadata of the group; what OME has no word for is the attribute RECORD beside them.
"""

import base64
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io.format import Lazy, Volume, transposed
from inr_codec.io.record import ORDER, RECORD, Affine, Axis, Channel, Record, from_attributes, matrix_of
from inr_codec.io.units import METRES, SECONDS

VERSIONS = {2: "0.4", 3: "0.5"}
SMALL = 256
"""A level is the last one when it has no more voxels than that along any axis of space."""
AT_ONCE = 2**24
"""Voxels of the source that are averaged at a time."""
RANGES = (0.1, 99.9)
"""Percentiles between which a viewer shows a channel."""
OME_WORDS = ("multiscales", "omero", "labels", "bioformats2raw.layout", "image-label")
_ORDER = {"time": 0, "channel": 1, "": 2, "space": 3}


@dataclass(frozen=True)
class Level:
    """An array of an image: its path in the group, its axes and attributes; `exact` for labels, which lose nothing.

    nodata: the value of voxels that were not measured.
    """

    path: str
    array: Any
    names: tuple[str, ...] | None
    attributes: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    nodata: float | None = None


@dataclass(frozen=True)
class Image:
    """An image and its labels. groups: the OME metadata and other attributes of each group, by path ("" is the image).

    left: what else the source's group holds, which is not of the image.
    """

    levels: tuple[Level, ...]
    groups: dict[str, tuple[dict[str, Any], dict[str, Any]]]
    left: tuple[str, ...] = ()
    zarr_format: Literal[2, 3] = 3


def metadata_of(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The OME metadata in the attributes of a group of either version, and its other attributes."""
    told = attributes.get("ome")
    if isinstance(told, dict):
        return dict(told), {name: value for name, value in attributes.items() if name != "ome"}
    ome = {name: attributes[name] for name in OME_WORDS if name in attributes}
    return ome, {name: value for name, value in attributes.items() if name not in ome}


def attributes_of(ome: dict[str, Any], others: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """The attributes of a group, as the version that belongs to a zarr format spells them."""
    ome, version = deepcopy(ome), VERSIONS[zarr_format]
    for scales in ome.get("multiscales", []):
        scales.pop("version", None)
        if zarr_format == 2:
            scales["version"] = version
    if isinstance(ome.get("image-label"), dict):
        ome["image-label"].pop("version", None)
        ome["image-label"] |= {"version": version} if zarr_format == 2 else {}
    ome.pop("version", None)
    return others | ({"ome": {"version": version} | ome} if zarr_format == 3 else ome)


def datasets_of(ome: dict[str, Any]) -> list[dict[str, Any]]:
    """The levels in OME metadata, finest first; [] where there are none."""
    scales = ome.get("multiscales")
    found = scales[0].get("datasets") if isinstance(scales, list) and scales and isinstance(scales[0], dict) else None
    return [one for one in found or [] if isinstance(one, dict) and "path" in one]


def record_of(ome: dict[str, Any], others: dict[str, Any], path: str, array: Any) -> Record:
    """The record of the level at a path, from the metadata of its group and its own attributes."""
    inside = {**others, **{k: v for k, v in dict(array.attrs).items() if k != RECORD}}
    record = from_attributes(None, inside, array.ndim)
    scales, datasets = ome["multiscales"][0], datasets_of(ome)
    axes = [Axis(str(a["name"]), str(a.get("type", "")), unit=a.get("unit")) for a in scales.get("axes", [])]
    if len(axes) != array.ndim:
        return record
    both = scales.get("coordinateTransformations")
    steps, origins = _transformed(_of(datasets, path), both, array.ndim)
    first = _transformed(datasets[0], both, array.ndim)
    told = [
        replace(axis, scale=None if _untold(axis, step) else step, origin=origin or None)
        for axis, step, origin in zip(axes, steps, origins)
    ]
    channels = tuple(
        Channel(str(one.get("label", "")), one.get("color")) for one in (ome.get("omero") or {}).get("channels", [])
    )
    affine = record.affine and _of_level(record.affine, told, (steps, origins), first)
    labels = True if "image-label" in ome else record.labels
    return replace(record, axes=tuple(told), channels=channels or record.channels, affine=affine, labels=labels)


def _untold(axis: Axis, step: float) -> bool:
    """Whether a scale is but the 1 that every axis must have."""
    return axis.kind == "channel" or (step == 1.0 and axis.unit is None)


def _of(datasets: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(one for one in datasets if str(one["path"]) == path)


def _transformed(dataset: dict[str, Any], both: Any, ndim: int) -> tuple[list[float], list[float]]:
    """(scale, translation) along each axis, of a level and of all levels together."""
    steps, origins = np.ones(ndim), np.zeros(ndim)
    for one in [*(dataset.get("coordinateTransformations") or []), *(both or [])]:
        kind = one.get("type")
        values = np.asarray(one.get(kind, []), float)
        if values.shape != (ndim,):
            continue
        if kind == "scale":
            steps, origins = steps * values, origins * values
        elif kind == "translation":
            origins = origins + values
    return steps.tolist(), origins.tolist()


def _of_level(affine: Affine, axes: list[Axis], here: Any, first: Any) -> Affine:
    """The affine of a coarser level, from that of the finest."""
    matrix = np.array(affine.matrix)
    space = [k for k, axis in enumerate(axes) if axis.kind == "space"][::-1]
    if len(space) != 3 or here == first:
        return affine
    finer = np.eye(4)
    for row, k in enumerate(space):
        finer[row, row] = here[0][k] / first[0][k]
        finer[row, 3] = (here[1][k] - first[1][k]) / first[0][k]
    return Affine(matrix_of(matrix @ finer), affine.space)


def image_of(volume: Volume, name: str) -> Image:
    """The OME-Zarr image that a volume becomes: axes in OME's order, and levels, each half of the one before.

    Along axes of space with voxels below twice the smallest voxel; until no side is above SMALL. Levels are means, of
    labels every second voxel. Raises ConfigError where OME-Zarr has no place for the axes.
    """
    volume = ordered(volume)
    record, shape = volume.record, tuple(volume.array.shape)
    levels, datasets = [], []
    inside = volume.of_level
    for k, factors in enumerate(factors_of(shape, record)):
        array = coarser(volume.array, factors, exact=record.labels is True)
        levels.append(Level(str(k), array, record.names, inside, nodata=record.nodata))
        shift = [0.0 if record.labels else (factor - 1) / 2 for factor in factors]
        scale = [(1.0 if axis.scale is None else axis.scale) for axis in record.axes]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": [s * f for s, f in zip(scale, factors)]}]
        moved = [(axis.origin or 0.0) + s * step for axis, s, step in zip(record.axes, shift, scale)]
        if any(moved):
            transformations.append({"type": "translation", "translation": moved})
        datasets.append({"path": str(k), "coordinateTransformations": transformations})
    axes = [_axis(axis) for axis in record.axes]
    ome: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": datasets, "name": name}]}
    if not record.labels:
        ome["multiscales"][0]["type"] = "mean"
    if record.channels:
        ome["omero"] = {"channels": [_channel(one) for one in record.channels]}
    rest = replace(record, axes=(), channels=(), value_scale=None).to_attributes()
    return Image(tuple(levels), {"": (ome, rest)})


def ordered(volume: Volume) -> Volume:
    """A volume with its axes in OME's order: time, channel, space."""
    axes = volume.record.axes
    kinds = [axis.kind for axis in axes]
    known = 2 <= kinds.count("space") <= 3 and kinds.count("time") <= 1 and kinds.count("channel") <= 1
    if not known or not len(axes) <= 5 or kinds.count("") > 1:
        names = ", ".join(volume.record.names or ()) or "no names"
        raise ConfigError(
            f"expected 2 or 3 axes of space, and at most one of time and one of channels, for OME-Zarr, got {names}: "
            "encode to a NAME.zarr that is no .ome.zarr, without --ome"
        )
    order = tuple(sorted(range(len(axes)), key=lambda k: (_ORDER.get(kinds[k], 2), k)))
    record = volume.record.transposed(order)
    if order != tuple(range(len(axes))):
        record = replace(record, header=record.header | {ORDER: list(volume.record.names or ())})
    return replace(volume, array=transposed(volume.array, order), record=record)


def _axis(axis: Axis) -> dict[str, Any]:
    told = {"name": axis.name} | ({"type": axis.kind} if axis.kind else {})
    known = axis.unit in {"space": METRES, "time": SECONDS}.get(axis.kind, {})
    return told | ({"unit": axis.unit} if known and axis.unit else {})


def _channel(channel: Channel) -> dict[str, Any]:
    told = {"color": channel.color or "FFFFFF", "active": True}
    return told | ({"label": channel.name} if channel.name else {})


def factors_of(shape: tuple[int, ...], record: Record) -> list[tuple[int, ...]]:
    """How many voxels of the finest level one of each level stands for, along each axis."""
    space = [k for k, axis in enumerate(record.axes) if axis.kind == "space"]
    size = {k: record.axes[k].scale or 1.0 for k in space}
    found = [(1,) * len(shape)]
    while any(-(-shape[k] // found[-1][k]) > SMALL for k in space):
        here = {k: size[k] * found[-1][k] for k in space if shape[k] > found[-1][k]}
        halved = {k for k, length in here.items() if length < 2 * min(here.values())}
        found.append(tuple(factor * (2 if k in halved else 1) for k, factor in enumerate(found[-1])))
    return found


def coarser(array: Any, factors: tuple[int, ...], *, exact: bool) -> Any:
    """An array of which each voxel is the mean of a block (at the end of an axis, of what there is), or its first one.

    It is read when it is indexed, AT_ONCE voxels of the source at a time.
    """
    if set(factors) == {1}:
        return array
    shape, dtype = tuple(-(-side // factor) for side, factor in zip(array.shape, factors)), np.dtype(array.dtype)

    def read(region: tuple[slice, ...]) -> NDArray[Any]:
        out = np.empty([part.stop - part.start for part in region], dtype)
        axis = next(k for k, factor in enumerate(factors) if factor > 1)
        row = prod((part.stop - part.start) * f for part, f in zip(region, factors)) // max(1, out.shape[axis])
        step = max(1, AT_ONCE // max(1, row))
        for first in range(region[axis].start, region[axis].stop, step):
            part = slice(first, min(first + step, region[axis].stop))
            here = (*region[:axis], part, *region[axis + 1 :])
            inside = tuple(slice(p.start * f, min(p.stop * f, n)) for p, f, n in zip(here, factors, array.shape))
            at = (slice(None),) * axis + (slice(part.start - region[axis].start, part.stop - region[axis].start),)
            out[at] = _blocks(np.asarray(array[inside]), factors, exact)
        return out

    return Lazy(shape, dtype, read)


def _blocks(values: NDArray[Any], factors: tuple[int, ...], exact: bool) -> NDArray[Any]:
    """The means of the blocks of an array, rounded for integers; or their first voxels."""
    if exact or values.dtype.kind not in "iufc":
        return values[tuple(slice(None, None, factor) for factor in factors)]
    total = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, values.shape[axis], factor)
            counts = np.diff([*starts, values.shape[axis]])
            sides = [-1 if k == axis else 1 for k in range(total.ndim)]
            total = np.add.reduceat(total, starts, axis) / counts.reshape(sides)
    return (np.rint(total) if values.dtype.kind in "iu" else total).astype(values.dtype)


def with_windows(ome: dict[str, Any], coarsest: Any, names: tuple[str, ...] | None) -> dict[str, Any]:
    """OME metadata whose channels say between which values they are shown, as the coarsest level has them."""
    channels = (ome.get("omero") or {}).get("channels", [])
    if not channels or all("window" in one for one in channels) or names is None:
        return ome
    ome, at = deepcopy(ome), next((k for k, name in enumerate(names) if name == "c"), None)
    limits = np.iinfo(coarsest.dtype) if np.dtype(coarsest.dtype).kind in "iu" else None
    for k, channel in enumerate(ome["omero"]["channels"]):
        values = np.asarray(coarsest[(slice(None),) * (at or 0) + ((k,) if at is not None else ())])
        values = values[np.isfinite(values)]
        values = values if values.size else np.zeros(1)
        low, high = (float(value) for value in np.percentile(values, RANGES))
        ends = (limits.min, limits.max) if limits else (values.min(), values.max())
        channel["window"] = {"min": float(ends[0]), "max": float(ends[1]), "start": low, "end": high}
    return ome


def levels_of(path: str, group: Any, ome: dict[str, Any], *, exact: bool) -> Iterator[Level]:
    """The levels of an image in a zarr group, whose path in the whole is given ("" or "labels/NAME")."""
    axes = ome["multiscales"][0].get("axes", [])
    names = tuple(str(one["name"] if isinstance(one, dict) else one) for one in axes)
    for dataset in datasets_of(ome):
        array = group[str(dataset["path"])]
        others = {name: value for name, value in dict(array.attrs).items() if name != "_ARRAY_DIMENSIONS"}
        inside = "/".join(filter(None, (path, str(dataset["path"]))))
        yield Level(inside, array, names if len(names) == array.ndim else None, others, exact, nodata_of(array, others))


def nodata_of(array: Any, attributes: dict[str, Any]) -> float | None:
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
