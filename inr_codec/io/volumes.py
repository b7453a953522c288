"""Opening and writing volumes, whatever their format."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.io.facets import tell
from inr_codec.io.finished import finished
from inr_codec.io.format import Format, Volume, module, one_line, scratch
from inr_codec.io.record import ORDER, RECORD, SHORT, Record, from_attributes
from inr_codec.io.table import WRITTEN, format_of
from inr_codec.targets import split_part

SUFFIXES = WRITTEN
PROVENANCE = tuple(
    f"lossy_compression_{name}"
    for name in (
        *("algorithm", "implementation", "reader", "recipe", "generations", "source"),
        *("psnr", "psnr_scope", "least_psnr", "least_psnr_scope", "max_error", "max_error_scope"),
    )
)
"""Attributes that `stores.attributes` writes, and that a decoded copy keeps."""
ATTRIBUTES = (*SHORT, RECORD, *PROVENANCE)


def load(path: str | PathLike[str]) -> Volume:
    """Open a local volume of any format of `table`: a file, a folder of TIFF files, a zarr array or OME-Zarr group.

    `FILE:PART` names a part of a file that holds several: a series of a TIFF (`scan.tif:1`). Arrays are read when they
    are indexed where the format allows it: what is not compressed is mapped. Raises FileNotFoundError, or ConfigError
    for a file that is not what its name says or whose reader is not installed.
    """
    name, part = split_part(str(path))
    file = Path(name)
    if not file.exists():
        raise FileNotFoundError(f"expected a volume, found no such file or folder as {str(path)!r}: check the path")
    kind = format_of(file)
    for needed in kind.modules:
        module(needed)
    with one_line(f"expected {str(path)!r} to be a readable {kind.name} volume"):
        return kind.read(file, part)


@contextmanager
def create(
    path: str | PathLike[str],
    shape: tuple[int, ...],
    dtype: Any,
    *,
    chunks: tuple[int, ...] | None = None,
    axes: Sequence[str] | None = None,
    attributes: dict[str, Any] | None = None,
    record: Record | None = None,
    overwrite: bool = False,
) -> Iterator[Any]:
    """A new volume to be filled: `with create("a.npy", shape, dtype) as out: out[...] = values`.

    The format follows from the suffix; without one of SUFFIXES it is lossless zarr, cut into `chunks`. record: what
    belongs to it (default: what `axes` and `attributes` say); all other attributes go to zarr alone. A value scale that
    the format cannot hold is applied to what is filled in. npy and zarr are written while they are filled, the others
    at the end, from memory or from a temporary file where they are large. The file appears under its name only when
    the block ends without an error. Warns, in one line, of what the format has no place for (MetadataLoss). Raises
    FileExistsError unless `overwrite`, ConfigError for what the format cannot hold.
    """
    path, dtype = Path(path), np.dtype(dtype)
    kind = format_of(path, new=True)
    for needed in kind.modules:
        module(needed)
    record = record or from_attributes(axes, attributes or {}, len(shape))
    with finished(path, overwrite=overwrite) as part:
        if kind.name == "zarr":
            yield _new_array(part, shape, dtype, chunks, record, attributes or {})
            return
        record, order = _as_it_was(record)
        holds = kind.holds(str(path), record, dtype)
        applied = _real(dtype) if record.value_scale is not None and "value scale" not in holds else None
        others = [name for name in attributes or {} if name not in ATTRIBUTES]
        tell(str(path), kind.name, record, holds, applied, others)
        shape = tuple(shape[k] for k in order) if order else shape
        yield from _filled(kind, path, part, shape, dtype, record, applied, order)


def _filled(
    kind: Format,
    path: Path,
    part: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    record: Record,
    applied: Any,
    order: list[int],
) -> Iterator[Any]:
    """Let an array be filled, by whoever has its axes in another order, and write it to the file `part`."""
    if kind.name == "npy":
        out: Any = np.lib.format.open_memmap(part, mode="w+", dtype=applied or dtype, shape=shape)
    else:
        out = scratch(shape, applied or dtype, part.parent)
    seen = out.transpose(np.argsort(order)) if order else out
    yield seen if applied is None else _Scaled(seen, *(record.value_scale or (1.0, 0.0)), dtype)
    if kind.name == "npy":
        out.flush()
    elif kind.write is not None:
        if applied is not None:
            record = replace(record, value_scale=None)
        with one_line(f"expected an array that {path.suffix[1:]} can hold for {str(path)!r}"):
            kind.write(part, out, record)


def _as_it_was(record: Record) -> tuple[Record, list[int]]:
    """A record with the axes in the order that the source had, and that order; [] where it is the same."""
    before, names = record.header.get(ORDER), record.names
    record = replace(record, header={name: value for name, value in record.header.items() if name != ORDER})
    if names is None or not isinstance(before, list) or sorted(names) != sorted(map(str, before)):
        return record, []
    order = [names.index(name) for name in before]
    return record.transposed(order), order


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of real values of stored ones: float32 where that tells integers of 16 bits apart."""
    small = (dtype.kind in "iub" and dtype.itemsize <= 2) or (dtype.kind == "f" and dtype.itemsize <= 4)
    return np.dtype(np.float32 if small else np.float64)


class _Scaled:
    """An array to be filled with stored values, which holds real ones."""

    def __init__(self, out: Any, slope: float, intercept: float, dtype: np.dtype[Any]) -> None:
        self.out, self.slope, self.intercept = out, slope, intercept
        self.shape, self.dtype = out.shape, dtype

    def __setitem__(self, key: Any, values: Any) -> None:
        self.out[key] = np.asarray(values, np.float64) * self.slope + self.intercept


def _new_array(
    part: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...] | None,
    record: Record,
    attributes: dict[str, Any],
) -> Any:
    others = {name: value for name, value in attributes.items() if name not in (*SHORT, RECORD)}
    return module("zarr").create_array(
        str(part),
        shape=shape,
        dtype=dtype,
        chunks=chunks or "auto",
        dimension_names=record.names,
        attributes=others | record.to_attributes(),
    )
