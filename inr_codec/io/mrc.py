"""MRC and CCP4 maps of electron microscopy, through mrcfile. Lengths are in angstrom."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.io.format import Format, Volume, module
from inr_codec.io.record import Axis, Record
from inr_codec.io.units import factor

STORAGE = ("nx", "ny", "nz", "mode", "nsymbt", "map", "machst", "dmin", "dmax", "dmean", "rms")
"""Fields that follow from the voxels and from how they are stored."""


def read(path: Path, part: str | None = None) -> Volume:
    """Open a file; what is not compressed is mapped."""
    mrcfile = module("mrcfile")
    if path.suffix.lower() in (".gz", ".bz2"):
        with mrcfile.open(path, permissive=True) as mrc:
            return Volume(mrc.data, _record(mrc))
    mrc = mrcfile.mmap(path, mode="r", permissive=True)
    return Volume(mrc.data, _record(mrc))


def _record(mrc: Any) -> Record:
    header, size = mrc.header, mrc.voxel_size
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    letters = ["xyz"[k - 1] for k in order] if sorted(order) == [1, 2, 3] else ["z", "y", "x"]
    axes = []
    for letter in letters:
        step = float(size[letter])
        at = float(header["origin"][letter]) or float(header[f"n{letter}start"]) * step
        axes.append(Axis(letter, "space", step or None, "angstrom" if step else None, at or None))
    if mrc.is_image_stack() and mrc.data.ndim == 3:
        axes[0] = Axis("n")
    elif mrc.data.ndim == 4:
        axes = [Axis("n"), *axes]
    kept = {"format": "mrc", "bytes": base64.b64encode(_native(mrc.header)).decode(), "shape": list(mrc.data.shape)}
    if mrc.extended_header is not None and mrc.extended_header.nbytes:
        kept["extended"] = base64.b64encode(mrc.extended_header.tobytes()).decode()
    return Record(tuple(axes[-mrc.data.ndim :]), header=kept)


def _native(header: Any) -> bytes:
    """The bytes of a header in this machine's byte order."""
    data: bytes = np.asarray(header).astype(module("mrcfile.dtypes").HEADER_DTYPE.newbyteorder("=")).tobytes()
    return data


def holds(path: str, record: Record, dtype: np.dtype[Any]) -> frozenset[str]:
    """What MRC has a place for."""
    known = factor(record.unit, "angstrom") is not None
    names = record.names or ()
    kept = {"axes"} if names in (("z", "y", "x"), ("n", "y", "x"), ("n", "z", "y", "x"), ("y", "x")) else set()
    return frozenset(kept | ({"scale", "unit", "origin"} if known else set()))


def write(path: Path, array: NDArray[Any], record: Record) -> None:
    """Write one file; the header is that of the source where this was MRC, but for the statistics of the voxels."""
    mrcfile = module("mrcfile")
    dtype = np.dtype(np.uint16) if array.dtype == np.uint8 else array.dtype
    mode = mrcfile.utils.mode_from_dtype(dtype)
    with mrcfile.new_mmap(path, array.shape, mrc_mode=mode, overwrite=True) as mrc:
        mrc.data[...] = array
        old = record.header if record.header.get("format") == "mrc" else {}
        if old:
            before = np.frombuffer(
                base64.b64decode(old["bytes"]), module("mrcfile.dtypes").HEADER_DTYPE.newbyteorder("=")
            )
            for name in before.dtype.names or ():
                if name not in STORAGE:
                    mrc.header[name] = before[name][0]
        else:
            _tell(mrc, record)
        mrc.update_header_stats()
    if old.get("extended"):
        _extend(path, base64.b64decode(old["extended"]))


def _tell(mrc: Any, record: Record) -> None:
    """Size and place of the voxels, and whether they are a stack of images."""
    if record.names == ("n", "y", "x"):
        mrc.set_image_stack()
    per_unit = factor(record.unit, "angstrom")
    if per_unit is None:
        return
    found = {axis.name: axis for axis in record.space if axis.scale is not None}
    if found:
        size = mrc.voxel_size.copy()
        for name, axis in found.items():
            if name in "xyz":
                size[name] = (axis.scale or 0.0) * per_unit
                mrc.header.origin[name] = (axis.origin or 0.0) * per_unit
        mrc.voxel_size = size


def _extend(path: Path, extended: bytes) -> None:
    """Put an extended header between the header and the voxels of a file."""
    whole = path.with_name(f"{path.name}.whole")
    with open(path, "rb") as file, open(whole, "wb") as out:
        head = bytearray(file.read(1024))
        head[92:96] = np.int32(len(extended)).tobytes()
        out.write(bytes(head) + extended)
        while data := file.read(2**24):
            out.write(data)
    whole.replace(path)


FORMAT = Format(
    "mrc",
    (".mrc", ".mrcs", ".map", ".ccp4", ".rec", ".st", ".ali", ".mrc.gz", ".map.gz", ".mrc.bz2"),
    ("mrcfile",),
    read,
    write,
    holds,
)
