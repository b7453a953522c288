"""TIFF, OME-TIFF and ImageJ's TIFF, through tifffile; one series of a file, and folders of files as one stack.

Voxels that are stored in one piece are mapped; others are read whole where they fit IN_MEMORY, else page by page. A
volume that was read from TIFF is written with the tags, the OME-XML or the ImageJ metadata that its file had. One that
was not is written as ImageJ's TIFF where that has a place for it, else as OME-TIFF; `.ome.tif` always is OME-TIFF.
"""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io import tiff_stacks
from inr_codec.io import tiff_tags as tags_of
from inr_codec.io.format import IN_MEMORY, Format, Lazy, Volume, module
from inr_codec.io.ome_xml import ome_metadata, record_of_ome, renewed
from inr_codec.io.record import RGB, Channel, Record, named
from inr_codec.io.units import factor, rounded, symbol, unit_of

SUFFIXES = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".ndpi")
WRITTEN = (".tif", ".tiff", ".ome.tif", ".ome.tiff")
RESOLUTIONS = {2: "inch", 3: "centimeter", 4: "millimeter", 5: "micrometer"}
"""Values of the tag ResolutionUnit."""
IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
IMAGEJ_ORDER, OME_ORDER = "tzcyx", "tczyx"


def read(path: Path, part: str | None = None) -> Volume:
    """Open the one series of a file, or the one that is asked for by its number; or the files of a folder."""
    if path.is_dir():
        return _read_stack(path)
    tifffile = module("tifffile")
    with tifffile.TiffFile(path) as file:
        number = _number(path, file.series, part)
        series = file.series[number]
        record = _record(file, series, number)
        try:
            array = tifffile.memmap(path, mode="r", series=number)
        except ValueError:  # compressed, or in pieces
            array = series.asarray() if series.nbytes <= IN_MEMORY else None
    return Volume(_by_pages(path, number) if array is None else array.reshape(series.shape), record)


def _number(path: Path, found: Any, part: str | None) -> int:
    """Which series is meant; ConfigError, with a list, where that is not clear."""
    listed = "; ".join(f"{k}: {' x '.join(map(str, one.shape))} {one.dtype} {one.name}".strip()
                       for k, one in enumerate(found))  # fmt: skip
    if part is None and len(found) > 1:
        raise ConfigError(
            f"expected one series in {str(path)!r}, got {len(found)} ({listed}): name one, {path!s}:0 for example"
        )
    if part is not None and not (part.isdigit() and int(part) < len(found)):
        raise ConfigError(f"expected a series of {str(path)!r}, got {part!r}: there are {listed}")
    return int(part or 0)


def _by_pages(path: Path, number: int) -> Lazy:
    """A large series in pieces, of which each read decodes those that it needs."""
    file = module("tifffile").TiffFile(path)
    array: Any = module("zarr").open_array(file.series[number].aszarr(level=0), mode="r")
    lazy = Lazy(array.shape, array.dtype, lambda region: array[region])
    weakref.finalize(lazy, file.close)
    return lazy


def _read_stack(path: Path) -> Volume:
    """A folder of TIFF files of one shape as one stack: along z, or along what the numbers in their names count."""
    names = tiff_stacks.files_of(path, SUFFIXES)
    letters, shape = tiff_stacks.axes_of(names)
    first = read(path / names[0])
    inner = first.record.names or ()
    outer = named(letters or ("z" if "z" not in inner else "t",))
    known = bool(inner) and not {axis.name for axis in outer} & set(inner)
    record = replace(first.record, axes=(*outer, *first.record.axes) if known else (), header={})
    return Volume(tiff_stacks.stacked(path, names, shape, first.array), record)


def _record(file: Any, series: Any, number: int) -> Record:
    letters = series.axes.lower()
    if sum(letter in "iqz" for letter in letters) == 1:  # a stack whose axis has no name of its own
        letters = letters.replace("i", "z").replace("q", "z")
    if "c" not in letters:
        letters = letters.replace("s", "c")
    axes = named(letters)
    page = series.keyframe
    header = tags_of.header(file, series)
    if series.kind == "ome" and file.ome_metadata:
        return record_of_ome(file.ome_metadata, number, axes, header)
    steps, unit = _resolution(page)
    channels: tuple[Channel, ...] = ()
    if page.photometric in (2, 6) and "s" in series.axes.lower():
        channels = tuple(Channel(name, color) for name, color in zip(("red", "green", "blue"), RGB))
        channels = (*channels, Channel("alpha"))[: series.shape[series.axes.index("S")]]
    times: dict[str, tuple[float | None, str | None]] = {}
    scale = None
    if series.kind == "imagej" and file.imagej_metadata:
        told = file.imagej_metadata
        unit = unit_of(told.get("unit"))
        if "spacing" in told or unit:
            steps = {"z": float(told["spacing"]) if "spacing" in told else None, **steps}
        if told.get("finterval") or told.get("fps"):
            times["t"] = (float(told.get("finterval") or 1 / told["fps"]), unit_of(told.get("tunit")) or "second")
        if told.get("cf") == 0 and "c1" in told:  # ImageJ's straight-line calibration of values
            scale = (float(told["c1"]), float(told.get("c0", 0)))
    elif series.kind == "lsm" and file.lsm_metadata:
        sizes = {name: file.lsm_metadata.get(f"VoxelSize{name.upper()}") for name in "xyz"}
        steps, unit = {name: rounded(size * 1e6) for name, size in sizes.items() if size}, "micrometer"
    nodata = page.tags.valueof(42113)
    told_axes = []
    for axis in axes:
        standard = (steps.get(axis.name), unit if axis.kind == "space" else None)
        scale_of, unit_of_axis = times.get(axis.name, (None, None)) if axis.kind == "time" else standard
        told_axes.append(replace(axis, scale=scale_of, unit=unit_of_axis))
    return Record(tuple(told_axes), None, channels, scale, _number_of(nodata), None, header)


def _number_of(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _resolution(page: Any) -> tuple[dict[str, float | None], str | None]:
    """The steps along x and y that a page tells, and their unit; none where it tells 1 pixel for nothing."""
    steps: dict[str, float | None] = {}
    for axis, code in (("x", 282), ("y", 283)):
        value = page.tags.valueof(code)
        if value is not None and value[0] and value[1]:
            steps[axis] = rounded(value[1] / value[0])
    unit = RESOLUTIONS.get(int(page.tags.valueof(296, default=2))) if steps else None
    return ({} if unit is None and set(steps.values()) <= {1.0} else steps), unit


def mode(path: str, record: Record, dtype: np.dtype[Any]) -> str:
    """How a volume is written: "ome", "imagej", "tags" (of the file that it came from) or "plain" (no axes)."""
    names = "".join(record.names or ())
    if path.lower().endswith((".ome.tif", ".ome.tiff")):
        return "ome"
    if record.header.get("format") == "tiff" and len(record.header.get("axes", "")) == len(names):
        return {"ome": "ome", "imagej": "imagej"}.get(str(record.header.get("kind")), "tags")
    known = set(names) <= set(IMAGEJ_ORDER) and {"y", "x"} <= set(names)
    in_order = names == "".join(letter for letter in IMAGEJ_ORDER if letter in names) or record.colours
    if known and in_order and dtype.type in IMAGEJ_TYPES and (not record.colours or dtype == np.uint8):
        return "imagej"
    return "ome" if known else "plain"


def holds(path: str, record: Record, dtype: np.dtype[Any]) -> frozenset[str]:
    """What the kind of TIFF has a place for that is written."""
    how = mode(path, record, dtype)
    kept = {
        "ome": {"axes", "scale", "unit", "time", "channels", "colours", "rgb"},
        "imagej": {"axes", "scale", "unit", "time"} if _even(record) else {"axes", "scale", "time"},
        "tags": {"axes", "scale", "unit", "time", "channels", "colours", "nodata", "rgb"},
        "plain": set[str](),
    }[how]
    if how == "imagej":
        kept |= {"rgb"}
    if how == "imagej" and record.header.get("kind") == "imagej":
        kept |= {"value scale", "channels"}
    return frozenset(kept)


def _even(record: Record) -> bool:
    """Whether the axes of space have one unit, as ImageJ wants it."""
    return len({axis.unit for axis in record.space}) <= 1


def write(path: Path, array: NDArray[Any], record: Record) -> None:
    """Write one series, as `mode` says."""
    how = mode(path.name, record, array.dtype)
    tifffile, options = module("tifffile"), dict[str, Any]()
    if record.colours:
        options["photometric"] = "rgb"
        options |= {"extrasamples": ["unassalpha"]} if len(record.channels) == 4 else {}
    else:
        options["photometric"] = "minisblack"
    if how == "ome":
        xml = renewed(record, array) if record.header.get("kind") == "ome" else None
        if xml is not None:
            tifffile.imwrite(path, array, description=xml, metadata=None, ome=False, **options)
            return
        tifffile.imwrite(path, array, ome=True, metadata=ome_metadata(record), **options)
    elif how == "imagej":
        _write_imagej(path, array, record, options)
    elif how == "tags":
        tags_of.write(path, array, record.header, options)
    else:
        tifffile.imwrite(path, array, metadata={}, ome=False, **options)


def _write_imagej(path: Path, array: NDArray[Any], record: Record, options: dict[str, Any]) -> None:
    """ImageJ's TIFF: steps along x and y are resolutions, the step along z and units are its metadata."""
    old = tags_of.imagej_metadata(record.header)
    steps = {axis.name: axis for axis in record.axes}
    told: dict[str, Any] = dict(old)
    told["axes"] = "".join("S" if record.colours and axis is record.axes[-1] else axis.name.upper()
                           for axis in record.axes)  # fmt: skip
    unit = record.unit
    if not old:
        told["unit"] = "um" if unit == "micrometer" else symbol(unit) or "pixel"
        if "z" in steps and steps["z"].scale is not None:
            told["spacing"] = steps["z"].scale
        if "t" in steps and steps["t"].scale:
            told["finterval"] = rounded(steps["t"].scale * (factor(steps["t"].unit, "second") or 1.0))
    sizes = [steps[name].scale or 1.0 for name in "xy"]
    options |= {"resolution": [1 / size for size in sizes]} | (tags_of.resolution(record.header) if old else {})
    if old and record.header.get("colormap"):
        options["colormap"] = np.array(record.header["colormap"], np.uint16)
        options.pop("photometric")
    module("tifffile").imwrite(path, array, imagej=True, metadata=told, **options)


FORMAT = Format("tiff", SUFFIXES, ("tifffile",), read, write, holds)
