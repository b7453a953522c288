"""NRRD, with its header attached or in a file of its own (.nhdr).

NRRD stores its first axis fastest; arrays are reversed, as those of NIfTI. Axes of space are those with a direction or
of the kind domain or space, named x, y and z in their order. A header of which the volume is decoded again is written
line by line as it was, but for the lines that say how the voxels are stored. Those are `raw` or gzip.
"""

import bz2
import gzip
import re
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io.format import Format, Volume, blocks, module, spooled
from inr_codec.io.record import RGB, Affine, Axis, Channel, Record, as_space, matrix_of
from inr_codec.io.units import symbol, unit_of

STORAGE = {
    "type", "dimension", "sizes", "encoding", "endian", "datafile", "data file", "byteskip", "byte skip", "lineskip",
    "line skip",
}  # fmt: skip
"""Fields that say how voxels are stored; all others are kept as they are."""
SPACES = {"right-anterior-superior": "RAS", "left-anterior-superior": "LAS", "left-posterior-superior": "LPS"}
_PLAIN = ("domain", "space", "???", "none")
"""Kinds of axes that may be one of space."""


def read(path: Path, part: str | None = None) -> Volume:
    """Open a file; raw voxels are mapped."""
    nrrd = module("nrrd")
    with open(path, "rb") as file:
        text = _head(file)
        start = file.tell()
    header = nrrd.read_header(text.splitlines())
    return Volume(_voxels(path, header, start), _record(header, text))


def _head(file: IO[bytes]) -> str:
    """The lines of a header; the file is then where the voxels begin."""
    lines = []
    for line in file:
        if not line.strip():
            break
        lines.append(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))
        if len(lines) == 1 and not lines[0].startswith("NRRD"):
            break
    return "\n".join(lines)


def _voxels(path: Path, header: Any, start: int) -> Any:
    """The array of a header, from this file or those that it names."""
    nrrd = module("nrrd")
    shape = tuple(int(side) for side in reversed(header["sizes"]))
    named = header.get("data file", header.get("datafile"))
    if named is not None and (named.startswith("LIST") or re.search(r"%\d*d", named)):
        raise ConfigError(
            f"expected one data file in {str(path)!r}, got {named!r}: write it as one .nrrd (unu save -f nrrd)"
        )
    data, encoding = path if named is None else path.parent / named, str(header["encoding"]).lower()
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    start = 0 if named is not None else start
    if encoding not in ("raw", "gzip", "gz", "bzip2", "bz2"):
        with open(data, "rb") as file:
            file.seek(start)
            return nrrd.read_data({**header, "data file": None} if named is None else header, file, str(path), "C")
    dtype = _dtype(header)
    with open(data, "rb") as file:
        file.seek(start)
        for _ in range(lines):
            file.readline()
        start = file.tell()
        if encoding == "raw":
            size = dtype.itemsize * int(np.prod(shape))
            offset = data.stat().st_size - size if skip == -1 else start + skip
            return np.memmap(data, dtype, "r", offset, shape)
        stream: Any = gzip.GzipFile(fileobj=file) if encoding in ("gzip", "gz") else bz2.BZ2File(file)
        with closing(stream):
            stream.read(max(skip, 0))
            return spooled(stream, shape, dtype)


def _dtype(header: Any) -> np.dtype[Any]:
    """The type of the voxels, as pynrrd understands it."""
    kept = {name: header[name] for name in ("type", "endian", "block size", "blocksize") if name in header}
    nothing = {"dimension": 1, "sizes": np.array([0]), "encoding": "raw"}
    dtype: np.dtype[Any] = module("nrrd").read_data(kept | nothing, BytesIO()).dtype
    return dtype


def _record(header: Any, text: str) -> Record:
    count = int(header["dimension"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ["???"] * count)]
    directions = header.get("space directions")
    rows = _rows(directions, count)
    likely = [rows[k] is not None if directions is not None else kinds[k] in _PLAIN for k in range(count)]
    spatial = [k for k in range(count) if likely[k]][:3]
    steps, lows = header.get("spacings"), header.get("axis mins", header.get("axismins"))
    space_units, units = header.get("space units"), header.get("units")
    axes: list[Axis] = []
    letters = iter("xyz")
    for k in range(count):
        step = None if steps is None or not np.isfinite(steps[k]) else float(steps[k])
        unit, origin = None if units is None else unit_of(units[k]), None
        if lows is not None and np.isfinite(lows[k]):
            origin = float(lows[k])
        taken = {axis.name for axis in axes}
        if k in spatial:
            row = rows[k]
            step = step if row is None else float(np.linalg.norm(row))
            unit = unit_of(space_units[0]) if space_units else unit
            axes.append(Axis(next(letters), "space", step, unit, origin))
        elif kinds[k] in ("time", *_PLAIN) and "t" not in taken:
            axes.append(Axis("t", "time" if kinds[k] == "time" else "", step, unit, origin))
        else:
            axes.append(Axis("c" if "c" not in taken else f"c{k}", "channel", None, unit))
    colours = [k for k in range(count) if kinds[k] in ("rgb-color", "rgba-color")]
    names = (*zip(("red", "green", "blue"), RGB), ("alpha", None))[: int(header["sizes"][colours[0]]) if colours else 0]
    return Record(
        axes=tuple(reversed(axes)),
        affine=_affine(header, rows),
        channels=tuple(Channel(*one) for one in names),
        header={"format": "nrrd", "text": text},
    )


def _rows(directions: Any, count: int) -> list[Any]:
    """The direction of each axis, None for those that have none."""
    if directions is None:
        return [None] * count
    found = [None if row is None else np.asarray(row, float) for row in directions]
    return [row if row is not None and np.all(np.isfinite(row)) else None for row in found]


def _affine(header: Any, rows: list[Any]) -> Affine | None:
    known = [row for row in rows if row is not None]
    if len(known) != 3 or any(len(row) != 3 for row in known):
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(known).T
    origin = header.get("space origin")
    if origin is not None and np.all(np.isfinite(origin)):
        matrix[:3, 3] = origin
    space = str(header.get("space", ""))
    short = SPACES.get(space.lower(), space)
    return Affine(matrix_of(matrix), short.upper() if len(short) == 3 else short)


def holds(path: str, record: Record, dtype: np.dtype[Any]) -> frozenset[str]:
    """What NRRD has a place for."""
    return frozenset({"axes", "scale", "unit", "time", "origin", "orientation", "rgb"})


def write(path: Path, array: NDArray[Any], record: Record) -> None:
    """Write one file; the header is that of the source where this was NRRD, with all of its other fields."""
    nrrd = module("nrrd")
    old = str(record.header.get("text", "")) if record.header.get("format") == "nrrd" else ""
    kept = nrrd.read_header(old.splitlines()) if old else {}
    same = bool(old) and int(kept["dimension"]) == array.ndim
    if same:
        raw = str(kept["encoding"]).lower() == "raw"
        encoding = "raw" if raw else "gzip"
        fields = {} if raw else {"encoding": encoding}
    else:
        encoding, fields = "gzip", _fields(record)
    made = BytesIO()
    nrrd.write(made, np.zeros([1] * array.ndim, array.dtype), {**fields, "encoding": encoding}, index_order="C")
    lines = made.getvalue().partition(b"\n\n")[0].decode("utf-8").splitlines()
    sizes = " ".join(map(str, reversed(array.shape)))
    lines = [f"sizes: {sizes}" if line.startswith("sizes:") else line for line in lines]
    if same:
        stored = [line for line in lines if line.partition(":")[0] in STORAGE]
        rest = [line for line in old.splitlines() if line.partition(":")[0].strip() not in STORAGE]
        lines = [rest[0], *stored, *rest[1:]]
    with open(path, "wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode("utf-8", "surrogateescape"))
        out: Any = file if encoding == "raw" else gzip.GzipFile(fileobj=file, mode="wb", mtime=0)
        for block in blocks(array):
            out.write(block.tobytes())
        if out is not file:
            out.close()


def _fields(record: Record) -> dict[str, Any]:
    """The fields that say what the record does, first axis first."""
    axes = record.axes[::-1]
    if not axes:
        return {}
    kinds = {"space": "domain", "time": "time", "channel": "list"}
    fields: dict[str, Any] = {"kinds": [kinds.get(axis.kind, "domain") for axis in axes]}
    if record.colours and len(record.channels) in (3, 4):
        fields["kinds"][0] = "RGB-color" if len(record.channels) == 3 else "RGBA-color"
    space = [k for k, axis in enumerate(axes) if axis.kind == "space"]
    if record.affine is not None and len(space) == 3:
        long = {short: name for name, short in SPACES.items()}
        affine = record.affine if record.affine.space in long else as_space(record.affine, "RAS") or record.affine
        matrix, nothing = np.array(affine.matrix), np.full(3, np.nan)
        fields |= {"space": long.get(affine.space, affine.space)} if affine.space else {"space dimension": 3}
        rows = [matrix[:3, space.index(k)] if k in space else nothing for k in range(len(axes))]
        fields["space directions"] = np.array(rows)
        fields["space origin"] = matrix[:3, 3]
        if record.unit is not None:
            fields["space units"] = [symbol(record.unit)] * 3
        steps = [None if k in space else axis.scale for k, axis in enumerate(axes)]
    else:
        steps = [axis.scale for axis in axes]
        if any(axis.unit for axis in axes):
            fields["units"] = [symbol(axis.unit) for axis in axes]
        if any(axis.origin is not None for axis in axes):
            fields["axis mins"] = np.array([np.nan if axis.origin is None else axis.origin for axis in axes])
    if any(step is not None for step in steps):
        fields["spacings"] = np.array([np.nan if step is None else step for step in steps])
    return fields


FORMAT = Format("nrrd", (".nrrd",), ("nrrd",), read, write, holds)
DETACHED = Format("nhdr", (".nhdr",), ("nrrd",), read)
