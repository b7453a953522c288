"""The one list of formats, and which of them a path has."""

from pathlib import Path

from inr_codec.errors import ConfigError
from inr_codec.io import bioformats, dicom, hdf5, mrc, nifti, npy, nrrd, tensors, tiff, zarr_arrays
from inr_codec.io.format import Format

TABLE: tuple[Format, ...] = (
    npy.FORMAT,
    tiff.FORMAT,
    nifti.FORMAT,
    nifti.OTHERS,
    nrrd.FORMAT,
    nrrd.DETACHED,
    mrc.FORMAT,
    hdf5.FORMAT,
    dicom.FORMAT,
    bioformats.FORMAT,
    tensors.FORMAT,
    zarr_arrays.FORMAT,
)
WRITTEN = (".npy", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd", ".mrc")
"""Suffixes of files that are written; `targets` tells by them what may be replaced."""


def format_of(path: Path, *, new: bool = False) -> Format:
    """The format of a file, a folder, or one that is to be written; ConfigError for what is none of the TABLE."""
    name = path.name.lower()
    if path.is_dir():
        return _format_of_folder(path)
    found = [one for one in TABLE for suffix in one.suffixes if name.endswith(suffix)]
    suffix = {one: max(len(suffix) for suffix in one.suffixes if name.endswith(suffix)) for one in found}
    if found:
        one = max(found, key=lambda each: suffix[each])
        if not new or name.endswith((*WRITTEN, ".zarr")):
            return one
    elif new and (not path.suffix or ".zarr" in str(path)):
        return zarr_arrays.FORMAT
    written = f"{', '.join(WRITTEN)} or .zarr"
    if new and found:
        raise ConfigError(f"expected a path with {written}, got {str(path)!r}: {found[0].name} is read only")
    known = ", ".join(suffix for one in TABLE for suffix in one.suffixes)
    raise ConfigError(f"expected a path with {written if new else known}, got {str(path)!r}: convert or rename it")


def _format_of_folder(path: Path) -> Format:
    """zarr, unless a folder is one of N5 or precomputed, or holds TIFF or DICOM files and is no store of zarr."""
    if any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup")):
        return zarr_arrays.FORMAT
    if tensors.is_n5(path) or tensors.is_precomputed(path):
        return tensors.FORMAT
    files = [one for one in path.iterdir() if one.is_file()]
    if any(one.name.lower().endswith(tiff.SUFFIXES) for one in files):
        return tiff.FORMAT
    return dicom.FORMAT if any(dicom.is_dicom(one) for one in files) else zarr_arrays.FORMAT
