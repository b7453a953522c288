"""Writes the table of docs/FORMATS.md: what of a file is kept in each other format, measured with small files.

python docs/formats.py

Every file is encoded without loss, and the store decoded to every format that is written; what is read from that is
compared with what was read from the file, and with what the decoder said that it loses.
"""

import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec import io
from inr_codec.cli.parser import main
from inr_codec.io.record import as_space
from inr_codec.io.units import factor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "FORMATS.md"
MARKS = "<!-- matrix: written by docs/formats.py -->", "<!-- /matrix -->"
VALUES = np.arange(4 * 5 * 6, dtype="i2").reshape(4, 5, 6)
AFFINE = np.array([[0, -2.0, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
TARGETS = (".npy", ".tif", ".ome.tif", ".nii", ".nrrd", ".mrc", ".zarr", ".ome.zarr")
ASPECTS = ("voxels", "axes", "scale", "orientation", "channels", "value scale")
EXACT, SAID, LOST, ABSENT, WRONG = "=", "~", "-", ".", "!"
WORDS = {
    "axes": ("the names of its axes",),
    "scale": ("the size of its voxels", "the unit of that size", "its time step"),
    "orientation": ("its orientation",),
    "channels": ("the names of its channels", "the colours of its channels", "that its channels are red"),
}
"""How the loss of an aspect is named."""


def write_npy(path: Path) -> None:
    """Voxels alone."""
    np.save(path, VALUES)


def write_tiff(path: Path) -> None:
    """Pages with a resolution in pixels per centimetre."""
    import tifffile

    options: dict[str, Any] = {"resolution": (2000, 1000), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(path, VALUES.astype("u2"), photometric="minisblack", **options)


def write_rgb(path: Path) -> None:
    """A picture in colours."""
    import tifffile

    tifffile.imwrite(path, VALUES[:, :, :3].astype("u1"), photometric="rgb", metadata=None)


def write_imagej(path: Path) -> None:
    """A hyperstack with spacing, unit and frame interval."""
    import tifffile

    told = {"axes": "TZYX", "spacing": 2.0, "unit": "um", "finterval": 0.5}
    tifffile.imwrite(path, np.stack([VALUES, VALUES]).astype("u2"), imagej=True, resolution=(4, 4), metadata=told)


def write_ome_tiff(path: Path) -> None:
    """Two channels with names and colours, and sizes with units."""
    import tifffile

    told: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.25, 0.25, 2.0))}
    told |= {"axes": "CZYX", "Channel": {"Name": ["A", "B"], "Color": [65535, 16711935]}}
    values = np.stack([VALUES, VALUES]).astype("u2")
    tifffile.imwrite(path, values, ome=True, photometric="minisblack", metadata=told)


def write_nifti(path: Path) -> None:
    """An affine, units, slope and intercept."""
    import nibabel

    image = nibabel.Nifti1Image(VALUES.T, AFFINE)
    image.header.set_slope_inter(0.5, -10)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_mgz(path: Path) -> None:
    """An affine, lengths in millimetres."""
    import nibabel

    nibabel.save(nibabel.MGHImage(VALUES.T, AFFINE), path)


def write_nrrd(path: Path) -> None:
    """Space directions, LPS."""
    import nrrd

    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.5, 0.5, 2.0]),
        "space origin": [1, 2, 3],
    }
    nrrd.write(str(path), VALUES, {**header, "space units": ["mm"] * 3}, index_order="C")


def write_mrc(path: Path) -> None:
    """Sizes in angstrom."""
    import mrcfile

    with mrcfile.new(path) as mrc:
        mrc.set_data(VALUES)
        mrc.voxel_size = 1.5


def write_hdf5(path: Path) -> None:
    """Sizes in micrometres, slope and intercept."""
    import h5py

    with h5py.File(path, "w") as file:
        data = file.create_dataset("volume", data=VALUES)
        data.attrs.update({"element_size_um": [2.0, 0.5, 0.5], "scale_factor": 0.5, "add_offset": 1.0})


def write_dicom(path: Path) -> None:
    """A series of slices, with rescale slope and intercept."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    path.mkdir()
    for k, values in enumerate(VALUES):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{k + 1}"
        image.SeriesInstanceUID, image.Modality, image.PhotometricInterpretation = "1.2.3", "CT", "MONOCHROME2"
        image.Rows, image.Columns = values.shape
        image.SamplesPerPixel, image.BitsAllocated, image.BitsStored, image.HighBit = 1, 16, 16, 15
        image.PixelRepresentation, image.PixelData = 1, values.tobytes()
        image.ImagePositionPatient, image.ImageOrientationPatient = [1, 2, 3 + 2 * k], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.RescaleSlope, image.RescaleIntercept = [0.5, 0.5], 2, -1024
        image.save_as(path / f"{k}.dcm", enforce_file_format=True)


def write_ome_zarr(path: Path) -> None:
    """The OME-TIFF as an OME-Zarr image."""
    source = path.with_name("source.ome.tif")
    write_ome_tiff(source)
    run("encode", source, path, "--lossless")


SOURCES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "NumPy": ("a.npy", write_npy),
    "TIFF": ("a.tif", write_tiff),
    "TIFF in colours": ("c.tif", write_rgb),
    "ImageJ": ("i.tif", write_imagej),
    "OME-TIFF": ("a.ome.tif", write_ome_tiff),
    "NIfTI": ("a.nii", write_nifti),
    "MGH": ("a.mgz", write_mgz),
    "NRRD": ("a.nrrd", write_nrrd),
    "MRC": ("a.mrc", write_mrc),
    "HDF5": ("a.h5", write_hdf5),
    "DICOM": ("dicom", write_dicom),
    "OME-Zarr": ("a.ome.zarr", write_ome_zarr),
}


def run(*arguments: object) -> str | None:
    """What a command says on standard error; None where it ends with an error."""
    said = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(said):
        status = main([str(one) for one in arguments])
    return said.getvalue() if status == 0 else None


def rows() -> dict[str, dict[str, str | None]]:
    """For each source and target a sign for each of ASPECTS; None where the target cannot be."""
    found: dict[str, dict[str, str | None]] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (file, write) in SOURCES.items():
            here = Path(folder, name)
            here.mkdir()
            write(here / file)
            source = io.load(here / file)
            run("encode", here / file, here / "store.zarr", "--lossless")
            found[name] = {}
            for suffix in TARGETS:
                said = run("decode", here / "store.zarr", here / f"out{suffix}")
                found[name][suffix] = None if said is None else compared(source, io.load(here / f"out{suffix}"), said)
    return found


def compared(before: io.Volume, after: io.Volume, said: str) -> str:
    """A sign for each of ASPECTS: exact, said in another way, lost and named, absent; WRONG for anything else."""
    found = [_voxels(before, after)]
    for aspect, compare in (("axes", _axes), ("scale", _scale), ("orientation", _orientation), ("channels", _channels)):
        sign = compare(before.record, after.record)
        named = any(words in said for words in WORDS[aspect])
        found.append(LOST if sign in (LOST, SAID) and named else WRONG if sign == LOST else sign)
    old, new = before.record.value_scale, after.record.value_scale
    applied = new is None and "times the stored ones" in said
    found.append(ABSENT if old is None else EXACT if old == new else SAID if applied else WRONG)
    return "".join(found)


def _voxels(before: io.Volume, after: io.Volume) -> str:
    first, second = np.asarray(before.array[...]), np.asarray(after.array[...])
    alike = first.dtype.newbyteorder("=") == second.dtype.newbyteorder("=")
    if first.shape == second.shape and alike and np.array_equal(first, second):
        return EXACT
    old, new = (one.record.value_scale or (1.0, 0.0) for one in (before, after))
    names, others = before.record.names, after.record.names
    if names and others and set(names) <= set(others):
        kept = [k for k, name in enumerate(others) if name in names]
        second = second.reshape([second.shape[k] for k in kept])
        second = second.transpose([[others[k] for k in kept].index(name) for name in names])
    same = first.shape == second.shape and np.allclose(first * old[0] + old[1], second * new[0] + new[1])
    return SAID if same else WRONG


def _axes(before: io.Record, after: io.Record) -> str:
    if not before.axes:
        return ABSENT
    names, others = before.names or (), after.names or ()
    return EXACT if names == others else SAID if set(names) <= set(others) else LOST


def _scale(before: io.Record, after: io.Record) -> str:
    old, new = (
        {axis.name: (axis.scale, axis.unit) for axis in record.axes if axis.scale is not None}
        for record in (before, after)
    )
    if not old:
        return ABSENT
    if all(new.get(name) == told for name, told in old.items()):
        return EXACT
    for name, (step, unit) in old.items():
        other, its_unit = new.get(name, (None, None))
        known = factor(its_unit, unit) if unit and its_unit else 1.0
        if other is None or step is None or known is None or not np.isclose(other * known, step):
            return LOST
    return SAID


def _orientation(before: io.Record, after: io.Record) -> str:
    if before.affine is None:
        return ABSENT if after.affine is None else WRONG
    first, second = (as_space(record.affine, "RAS") for record in (before, after))
    if first is None or second is None:
        return LOST
    if before.affine == after.affine:
        return EXACT
    return SAID if np.allclose(first.matrix, second.matrix) else WRONG


def _channels(before: io.Record, after: io.Record) -> str:
    if not before.channels:
        return ABSENT
    if before.channels == after.channels:
        return EXACT
    alike = [one.name for one in before.channels] == [one.name for one in after.channels]
    return SAID if alike else LOST


def table(found: dict[str, dict[str, str | None]]) -> str:
    """The table as Markdown."""
    lines = ["| from \\ to | " + " | ".join(f"`{suffix}`" for suffix in TARGETS) + " |"]
    lines.append("|---" * (len(TARGETS) + 1) + "|")
    for name, cells in found.items():
        shown = [f"`{signs}`" if signs else "refused" for signs in cells.values()]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def filled(page: str, text: str) -> str:
    """The text of the page with this between its two marks."""
    head, _, rest = page.partition(MARKS[0])
    return f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), table(rows())))
