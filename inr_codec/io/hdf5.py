"""Data sets of HDF5 files (netCDF-4 among them), through h5py: `file.h5:/path/of/the/data`.

Names, steps and origins of axes are those of dimension scales and labels; slope, intercept and the value for no data
are those of the attributes that the CF conventions have for them; `element_size_um` is read as ilastik writes it.
"""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.errors import ConfigError
from inr_codec.io.format import Format, Volume, module
from inr_codec.io.record import Axis, Record, guessed, named
from inr_codec.io.units import rounded, unit_of

UNEVEN = 1e-3
"""Part of a step by which positions along an axis may differ from even ones."""
LISTED = 20


def read(path: Path, part: str | None = None) -> Volume:
    """Open a data set; the only one of numbers where none is named."""
    h5py = module("h5py")
    file = h5py.File(path, "r")
    found = _datasets(h5py, file)
    if part is None and len(found) != 1:
        listed = ", ".join(found[:LISTED]) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")
        raise ConfigError(
            f"expected one data set in {str(path)!r}, got {len(found)} ({listed or 'none'}): name one, {path}:/NAME"
        )
    name = found[0] if part is None else part
    data = file.get(name)
    if not isinstance(data, h5py.Dataset):
        listed = ", ".join(found[:LISTED])
        raise ConfigError(f"expected a data set of {str(path)!r}, got {name!r}: there are {listed or 'none'}")
    return Volume(data, _record(data))


def _datasets(h5py: Any, file: Any) -> list[str]:
    """Paths of the data sets of numbers along 2 axes or more, or of all where there are none such."""
    found: list[tuple[str, int]] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "biufc" and not node.is_scale:
            found.append((f"/{name}", node.ndim))

    file.visititems(note)
    volumes = [name for name, ndim in found if ndim >= 2]
    return volumes or [name for name, ndim in found if ndim]


def _record(data: Any) -> Record:
    names, told = [], []
    for dimension in data.dims:
        scale = dimension[0] if len(dimension) else None
        names.append(dimension.label or (scale.name.rpartition("/")[2] if scale is not None else ""))
        told.append(_step(scale))
    axes = named(names) if all(names) else ()
    axes = tuple(replace(axis, scale=step, origin=origin, unit=unit) for axis, (step, origin, unit) in zip(axes, told))
    attributes = dict(data.attrs)
    sizes = np.ravel(attributes.get("element_size_um", []))
    if len(sizes) == data.ndim or (len(sizes) == 3 and data.ndim > 3 and axes):
        axes = axes or named(guessed(data.ndim))
        space = [k for k, axis in enumerate(axes) if axis.kind == "space"][-len(sizes) :]
        steps = dict(zip(space, sizes[-len(space) :]))
        axes = tuple(_sized(axis, steps.get(k)) for k, axis in enumerate(axes))
    slope, intercept = (_number(attributes.get(name)) for name in ("scale_factor", "add_offset"))
    nodata = next(
        (n for name in ("_FillValue", "missing_value") if (n := _number(attributes.get(name))) is not None), None
    )
    return Record(
        axes=axes,
        value_scale=None if slope is None and intercept is None else (slope or 1.0, intercept or 0.0),
        nodata=nodata,
        header={"format": "hdf5", "attributes": {name: _plain(value) for name, value in sorted(attributes.items())}},
    )


def _sized(axis: Axis, size: float | None) -> Axis:
    return axis if size is None else replace(axis, scale=float(size), unit="micrometer")


def _step(scale: Any) -> tuple[float | None, float | None, str | None]:
    """(step, origin, unit) of the positions along an axis, where they are even."""
    if scale is None or scale.dtype.kind not in "iuf" or scale.ndim != 1 or not 2 <= len(scale):
        return None, None, None
    at = np.asarray(scale[...], np.float64)
    step = float((at[-1] - at[0]) / (len(at) - 1))
    if not np.isfinite(step) or step == 0 or np.abs(np.diff(at) - step).max() > UNEVEN * abs(step):
        return None, None, None
    unit = scale.attrs.get("units")
    unit = unit.decode() if isinstance(unit, bytes) else unit
    return rounded(step), float(at[0]) or None, unit_of(unit) if isinstance(unit, str) else None


def _number(value: Any) -> float | None:
    try:
        number = float(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _plain(value: Any) -> Any:
    """JSON of an attribute."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biu" and value.size < 1000:
        return value.tolist()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return {
            "base64": base64.b64encode(value.tobytes()).decode(),
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
    return str(value)


FORMAT = Format("hdf5", (".h5", ".hdf5", ".hdf", ".he5", ".nc", ".nc4", ".ims"), ("h5py",), read)
