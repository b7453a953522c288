"""Volumes from and to files (npy, tif, nii, nrrd, zarr), always as arrays with the slowest axis first: (z, y, x).

NIfTI and NRRD store x fastest and name their axes (x, y, z); the same bytes are (z, y, x) in C order, so such arrays
are reversed on the way in and again on the way out, and nothing moves in memory. Values are the stored numbers: the
scale and offset of a NIfTI file are carried as attributes (`scale_factor`, `add_offset`, the CF names that xarray
applies), not multiplied in, because stored integers compress better than their floating-point images.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from os import PathLike, getpid, replace
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.errors import ConfigError, InrCodecError
from inr_codec.targets import check_replaced

SUFFIXES = (".npy", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd")
PROVENANCE = tuple(
    f"lossy_compression_{name}"
    for name in (
        *("algorithm", "implementation", "reader", "recipe", "generations", "source"),
        *("psnr", "psnr_scope", "least_psnr", "least_psnr_scope", "max_error", "max_error_scope"),
    )
)
"""Attributes that `stores.attributes` writes, and that a decoded copy keeps."""
ATTRIBUTES = ("spacing", "unit", "affine", "scale_factor", "add_offset", *PROVENANCE)
_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True)
class Volume:
    """An array on disk: `array` is indexed like numpy's and read when indexed where the format allows it.

    `axes` are the names of the axes, slowest first, or None where the file has none. `attributes` are plain JSON:
    `spacing` (per axis, in `unit`), `affine` (4 x 4, from x, y, z indices to space), `scale_factor`,
    `add_offset`.
    """

    array: Any
    axes: tuple[str, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def load(path: str | PathLike[str]) -> Volume:
    """Open a local npy, tif, nii, nrrd or zarr volume, or one array inside a zarr group (`group.zarr/name`).

    npy, uncompressed tif and nii are memory-mapped and zarr stays on disk; nii.gz, nrrd and compressed tif are read
    whole. Raises FileNotFoundError, or ConfigError for a file that is not what its name says or whose reader is not
    installed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected a volume, found no such file or folder as {str(path)!r}: check the path")
    kind = _kind(path)
    reader = {"npy": _load_npy, "tif": _load_tif, "nii": _load_nii, "nrrd": _load_nrrd, "zarr": _load_zarr}[kind]
    with _one_line(f"expected {str(path)!r} to be a readable {kind} volume"):
        return reader(path)


@contextmanager
def create(
    path: str | PathLike[str],
    shape: tuple[int, ...],
    dtype: Any,
    *,
    chunks: tuple[int, ...] | None = None,
    axes: tuple[str, ...] | None = None,
    attributes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Iterator[Any]:
    """A new volume to be filled: `with create("a.npy", shape, dtype) as out: out[...] = values`.

    The format follows from the suffix; without one of SUFFIXES it is lossless zarr, cut into `chunks`. npy and zarr
    are written while they are filled, the others in one go from memory at the end. The file appears under its name
    only when the block ends without an error. Raises FileExistsError unless `overwrite`, ConfigError for what the
    format cannot hold.
    """
    path, attributes = Path(path), dict(attributes or {})
    kind = _kind(path, new=True)
    if kind not in ("npy", "zarr"):
        _module({"tif": "tifffile", "nii": "nibabel", "nrrd": "nrrd"}[kind])
    with finished(path, overwrite=overwrite) as part:
        if kind == "npy":
            mapped = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype(dtype), shape=shape)
            yield mapped
            mapped.flush()
        elif kind == "zarr":
            zarr = _module("zarr")
            yield zarr.create_array(
                str(part),
                shape=shape,
                dtype=dtype,
                chunks=chunks or "auto",
                dimension_names=axes,
                attributes=attributes,
            )
        else:
            out = np.zeros(shape, np.dtype(dtype).newbyteorder("="))
            yield out
            writer = {"tif": _save_tif, "nii": _save_nii, "nrrd": _save_nrrd}[kind]
            with _one_line(f"expected an array that {kind} can hold for {str(path)!r}"):
                writer(part, out, axes, attributes)


@contextmanager
def finished(path: str | PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends, and goes away when the block fails.

    Raises FileExistsError where `path` exists and `overwrite` is false or it is not of the kind that may be replaced
    (`targets`), FileNotFoundError where its folder does not.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected a folder to write to, found none at {str(path.parent)!r}: create it first")
    if lexists(path):
        if not overwrite:
            raise FileExistsError(
                f"expected a new path, found something at {str(path)!r}: choose another or --overwrite it"
            )
        check_replaced(path)
    part = path.with_name(f".part-{getpid()}-{path.name}")
    try:
        yield part
        if path.is_dir():
            if part.is_file():
                raise FileExistsError(f"expected a file to replace, found a folder at {str(path)!r}: choose another")
            check_replaced(path)
            _remove(path)
        replace(part, path)
    finally:
        _remove(part)


def _kind(path: Path, new: bool = False) -> str:
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and not path.is_dir():
            return {".tiff": "tif", ".nii.gz": "nii"}.get(suffix, suffix[1:])
    if path.is_dir() or (new and (not path.suffix or ".zarr" in str(path))):
        return "zarr"
    raise ConfigError(f"expected a path with {', '.join(SUFFIXES)} or .zarr, got {str(path)!r}: convert or rename it")


def _load_npy(path: Path) -> Volume:
    return Volume(np.load(path, mmap_mode="r", allow_pickle=False))


def _load_tif(path: Path) -> Volume:
    tifffile = _module("tifffile")
    with tifffile.TiffFile(path) as file:
        letters, imagej = file.series[0].axes.lower(), file.imagej_metadata
        tags = file.pages[0].tags
        try:
            array = tifffile.memmap(path, mode="r", series=0)
        except ValueError:  # compressed, or in pieces
            array = file.series[0].asarray()
    if sum(letter in "iqz" for letter in letters) == 1:  # a stack whose axis has no name of its own
        letters = letters.replace("i", "z").replace("q", "z")
    axes = tuple(letters)
    attributes: dict[str, Any] = {}
    if imagej and "spacing" in imagej:
        sizes = {"z": float(imagej["spacing"])}
        for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
            pixels, length = tags[tag].value if tag in tags else (1, 1)
            sizes[axis] = length / pixels if pixels else 1.0
        attributes["spacing"] = [sizes.get(axis, 1.0) for axis in axes]
        if "unit" in imagej:
            attributes["unit"] = str(imagej["unit"])
    return Volume(array, axes if len(set(axes)) == len(axes) else None, attributes)


def _save_tif(path: Path, array: Any, axes: tuple[str, ...] | None, attributes: dict[str, Any]) -> None:
    tifffile = _module("tifffile")
    letters = "".join(axes or ()).upper()
    known = len(letters) == array.ndim and set(letters) <= set("TZCYX") and letters.endswith("YX")
    options: dict[str, Any] = {"metadata": {"axes": letters} if known else {}, "photometric": "minisblack"}
    in_order = letters == "".join(letter for letter in "TZCYX" if letter in letters)
    if known and in_order and array.dtype.type in _IMAGEJ_TYPES and "spacing" in attributes:
        spacing = dict(zip(letters, attributes["spacing"]))
        options["imagej"] = True
        options["resolution"] = (1 / spacing["X"], 1 / spacing["Y"])
        options["metadata"] |= {"spacing": spacing.get("Z", 1.0), "unit": attributes.get("unit", "pixel")}
    tifffile.imwrite(path, array, **options)


def _load_nii(path: Path) -> Volume:
    image = _module("nibabel").load(path)
    scale, offset = float(image.dataobj.slope), float(image.dataobj.inter)
    array = image.dataobj.get_unscaled().T
    attributes: dict[str, Any] = {
        "spacing": [float(zoom) for zoom in reversed(image.header.get_zooms())],
        "affine": [[float(value) for value in row] for row in image.affine],
    }
    unit = image.header.get_xyzt_units()[0]
    if unit != "unknown":
        attributes["unit"] = unit
    if (scale, offset) != (1.0, 0.0):
        attributes |= {"scale_factor": scale, "add_offset": offset}
    return Volume(array, ("t", "z", "y", "x")[-array.ndim :] if array.ndim <= 4 else None, attributes)


def _save_nii(path: Path, array: Any, axes: tuple[str, ...] | None, attributes: dict[str, Any]) -> None:
    nibabel = _module("nibabel")
    spacing = [float(size) for size in reversed(attributes.get("spacing", [1.0] * array.ndim))]
    affine = attributes.get("affine") or np.diag([*(*spacing, 1.0, 1.0)[:3], 1.0])
    image = nibabel.Nifti1Image(array.T, np.asarray(affine))
    image.header.set_zooms(spacing)
    image.header.set_slope_inter(attributes.get("scale_factor", 1.0), attributes.get("add_offset", 0.0))
    if attributes.get("unit") in ("meter", "mm", "micron"):
        image.header.set_xyzt_units(xyz=attributes["unit"])
    nibabel.save(image, path)


def _load_nrrd(path: Path) -> Volume:
    array, header = _module("nrrd").read(str(path), index_order="C")
    attributes: dict[str, Any] = {}
    spacing = header.get("spacings")
    if spacing is None and "space directions" in header:
        spacing = np.linalg.norm(np.asarray(header["space directions"], dtype=float), axis=1)
    if spacing is not None and np.all(np.isfinite(spacing)):
        attributes["spacing"] = [float(size) for size in reversed(spacing)]
    return Volume(array, ("z", "y", "x")[-array.ndim :] if array.ndim <= 3 else None, attributes)


def _save_nrrd(path: Path, array: Any, axes: tuple[str, ...] | None, attributes: dict[str, Any]) -> None:
    header = {"spacings": attributes["spacing"][::-1]} if "spacing" in attributes else {}
    _module("nrrd").write(str(path), array, header, index_order="C")


def _load_zarr(path: Path) -> Volume:
    zarr = _module("zarr")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Group):
        names = sorted(name for name, _ in node.arrays())
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise ConfigError(f"expected one array, got a group of {len(names)} ({listed}): give {path}/NAME")
        node = node[names[0]]
    attributes = dict(node.attrs)
    axes = getattr(node.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if axes is not None and not all(isinstance(axis, str) for axis in axes):
        axes = None
    return Volume(node, axes and tuple(axes), {name: attributes[name] for name in ATTRIBUTES if name in attributes})


def _module(name: str) -> Any:
    """An optional module; ConfigError, with how to install it, where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"expected the module {name!r}, got {error}: install it with: pip install 'inr_codec[io]'"
        ) from error


@contextmanager
def _one_line(expected: str) -> Iterator[None]:
    """Turn what another project's reader or writer raises into a ConfigError of one line; file system errors pass."""
    try:
        yield
    except (InrCodecError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no reason given"
        raise ConfigError(f"{expected}, got {type(error).__name__} ({said}): check the file and its type") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
