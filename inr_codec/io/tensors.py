"""N5 and neuroglancer's precomputed volumes, through tensorstore: folders that are read chunk by chunk.

Both count their first axis fastest; arrays are reversed, as those of NIfTI.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io.format import Format, Lazy, Volume, module
from inr_codec.io.record import Axis, Record, guessed, named
from inr_codec.io.units import unit_of


def is_n5(path: Path) -> bool:
    """Whether a folder is a data set or a container of N5."""
    told = _json(path / "attributes.json")
    return told is not None and ("dimensions" in told or "n5" in told)


def is_precomputed(path: Path) -> bool:
    """Whether a folder is a precomputed volume."""
    return "scales" in (_json(path / "info") or {})


def _json(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def read(path: Path, part: str | None = None) -> Volume:
    """Open a data set of N5, or the finest scale of a precomputed volume."""
    if is_precomputed(path):
        return _read_precomputed(path)
    attributes = _json(path / "attributes.json") or {}
    if "dimensions" not in attributes:
        found = sorted(str(one.parent.relative_to(path)) for one in path.rglob("attributes.json")
                       if "dimensions" in (_json(one) or {}))  # fmt: skip
        if len(found) != 1:
            listed = ", ".join(found) or "none"
            raise ConfigError(f"expected one data set in {str(path)!r}, got {len(found)} ({listed}): name {path}/NAME")
        path, attributes = path / found[0], _json(path / found[0] / "attributes.json") or {}
    store = _opened({"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}})
    return Volume(_array(store), Record(_axes_of_n5(attributes, store.ndim)))


def _axes_of_n5(attributes: dict[str, Any], ndim: int) -> tuple[Axis, ...]:
    """Axes as N5-viewer, BigDataViewer or n5-ij write them, slowest first."""
    names = attributes.get("axes")
    axes = named(reversed(names)) if isinstance(names, list) and len(names) == ndim else ()
    told = attributes.get("pixelResolution")
    sizes, unit = (told.get("dimensions"), told.get("unit")) if isinstance(told, dict) else (told, None)
    sizes = sizes or attributes.get("resolution")
    units = attributes.get("units")
    if not isinstance(sizes, list) or len(sizes) != ndim:
        return axes
    axes = axes or named(guessed(ndim))
    units = list(reversed(units)) if isinstance(units, list) and len(units) == ndim else [unit] * ndim
    return tuple(
        replace(axis, scale=float(size), unit=unit_of(one) if axis.kind in ("space", "time") else None)
        for axis, size, one in zip(axes, reversed(sizes), units)
    )


def _read_precomputed(path: Path) -> Volume:
    store = _opened(
        {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}, "scale_index": 0}
    )
    told = _json(path / "info") or {}
    scale = told["scales"][0]
    steps, at = scale["resolution"], scale.get("voxel_offset", [0, 0, 0])
    axes = [Axis(n, "space", float(s), "nanometer", float(s * o) or None) for n, s, o in zip("xyz", steps, at)]
    record = Record((Axis("c", "channel"), *reversed(axes)), labels=told.get("type") == "segmentation" or None)
    array = _array(store)
    if array.shape[0] > 1:
        return Volume(array, record)
    one = Lazy(array.shape[1:], array.dtype, lambda region: array[(slice(0, 1), *region)][0])
    return Volume(one, replace(record, axes=record.axes[1:]))


def _opened(spec: dict[str, Any]) -> Any:
    return module("tensorstore").open(spec, read=True, open=True).result()


def _array(store: Any) -> Lazy:
    """The values of a store, slowest axis first, from index 0."""
    origin = [int(at) for at in store.domain.origin]

    def read_region(region: tuple[slice, ...]) -> NDArray[Any]:
        inside = tuple(slice(part.start + at, part.stop + at) for part, at in zip(reversed(region), origin))
        return np.asarray(store[inside].read().result()).T

    return Lazy(tuple(reversed(store.shape)), store.dtype.numpy_dtype, read_region)


FORMAT = Format("tensorstore", (".n5", ".precomputed"), ("tensorstore",), read)
