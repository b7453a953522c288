"""From one format to another: what can be said there is said, and the rest is named in one line."""

import warnings
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile

from inr_codec import io, targets
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError, MetadataLoss
from inr_codec.io import table, tiff_stacks
from inr_codec.io.record import Affine, Axis, Channel, Record, as_space, matrix_of
from inr_codec.io.units import factor, unit_of

AFFINE = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
VALUES = np.arange(60, dtype="u2").reshape(5, 4, 3)
MICROMETRES = tuple(Axis(name, "space", scale, "micrometer") for name, scale in zip("zyx", (2.0, 0.5, 0.25)))


def written(path: Path, record: Record, values: Any = VALUES) -> str:
    """Write a volume; what that said of what is lost."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with io.create(path, values.shape, values.dtype, record=record, overwrite=True) as out:
            out[...] = values
    texts = [str(one.message) for one in caught if one.category is MetadataLoss]
    assert len(texts) <= 1
    return texts[0] if texts else ""


@pytest.mark.parametrize("suffix", [".npy", ".nrrd", ".tif", ".ome.tif"])
def test_value_scales_are_applied_where_they_cannot_be_kept(tmp_path: Path, suffix: str) -> None:
    """A slope of 0.5 is in the values of a format that has no slopes, as nibabel applies it, and that is told."""
    image = nibabel.Nifti1Image(VALUES.T.astype("i2"), AFFINE)
    image.header.set_slope_inter(0.5, -1000)
    nibabel.save(image, tmp_path / "a.nii")
    volume = io.load(tmp_path / "a.nii")
    assert "0.5 times the stored ones -1000" in written(tmp_path / f"b{suffix}", volume.record, volume.array)
    back = io.load(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(back.array, nibabel.load(tmp_path / "a.nii").get_fdata().T)
    assert back.array.dtype == np.float32 and back.record.value_scale is None


def test_units_reach_nifti(tmp_path: Path) -> None:
    """ImageJ's micrometres and frame interval are NIfTI's micron and seconds."""
    told = {"axes": "TZYX", "spacing": 2.0, "unit": "um", "finterval": 0.25}
    tifffile.imwrite(tmp_path / "a.tif", VALUES[None].repeat(2, 0), imagej=True, resolution=(4, 2), metadata=told)
    volume = io.load(tmp_path / "a.tif")
    assert "the rest of its tiff header" in written(tmp_path / "b.nii", volume.record, volume.array)
    header = nibabel.load(tmp_path / "b.nii").header
    assert header.get_xyzt_units() == ("micron", "sec")
    assert header.get_zooms() == (0.25, 0.5, 2.0, 0.25)


@pytest.mark.parametrize(("unit", "zoom", "name"), [("nanometer", 0.002, "micron"), ("inch", 50.8, "mm")])
def test_units_that_nifti_has_not_are_converted(tmp_path: Path, unit: str, zoom: float, name: str) -> None:
    """A length stays the same length."""
    assert not written(tmp_path / "b.nii", Record(tuple(Axis(n, "space", 2.0, unit) for n in "zyx")))
    header = nibabel.load(tmp_path / "b.nii").header
    assert header.get_xyzt_units()[0] == name
    np.testing.assert_allclose(header.get_zooms(), zoom)


def test_no_orientation_is_invented(tmp_path: Path) -> None:
    """A volume without one becomes NIfTI with both codes 0, and is read without one."""
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {"spacings": [0.25, 0.5, 2.0]}, index_order="C")
    volume = io.load(tmp_path / "a.nrrd")
    assert volume.record.affine is None
    written(tmp_path / "b.nii", volume.record)
    header = nibabel.load(tmp_path / "b.nii").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
    assert header.get_zooms() == (0.25, 0.5, 2.0)
    assert io.load(tmp_path / "b.nii").record.affine is None


def test_orientation_goes_between_nifti_and_nrrd(tmp_path: Path) -> None:
    """RAS of NIfTI is written as such to NRRD, LPS of NRRD as RAS to NIfTI: voxels keep their places."""
    nibabel.save(nibabel.Nifti1Image(VALUES.T, AFFINE), tmp_path / "a.nii")
    written(tmp_path / "b.nrrd", io.load(tmp_path / "a.nii").record)
    header = nrrd.read_header(str(tmp_path / "b.nrrd"))
    assert header["space"] == "right-anterior-superior"
    np.testing.assert_array_equal(header["space directions"], AFFINE[:3, :3].T)
    np.testing.assert_array_equal(header["space origin"], AFFINE[:3, 3])
    lps = {
        "space": "left-posterior-superior",
        "space directions": np.diag([3.0, 2.0, 1.0]),
        "space origin": [1.0, 2.0, 3.0],
    }
    nrrd.write(str(tmp_path / "c.nrrd"), VALUES, lps, index_order="C")
    written(tmp_path / "d.nii", io.load(tmp_path / "c.nrrd").record)
    image = nibabel.load(tmp_path / "d.nii")
    np.testing.assert_allclose(image.affine, [[-3, 0, 0, -1], [0, -2, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1]])
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)


def test_ome_tiff_is_what_its_name_says(tmp_path: Path) -> None:
    """y.ome.tif has OME-XML with sizes, units and channels, whatever the volume came from."""
    axes = (Axis("c", "channel"), *MICROMETRES)
    record = Record(axes, channels=(Channel("DAPI", "0000FF"), Channel("GFP", "00FF00")))
    assert not written(tmp_path / "b.ome.tif", record, np.stack([VALUES, VALUES + 100]))
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeZUnit"]) == (2.0, "µm")
    assert [one["Name"] for one in pixels["Channel"]] == ["DAPI", "GFP"]
    assert io.load(tmp_path / "b.ome.tif").record.channels == record.channels


def test_names_of_what_is_lost(tmp_path: Path) -> None:
    """One line names what a format has no place for; where it has one for all, nothing is said."""
    record = Record(MICROMETRES, Affine(matrix_of(AFFINE)), (), None, 0.0, True)
    told = written(tmp_path / "a.npy", record)
    for words in ("names of its axes", "size of its voxels", "unit", "orientation", "no data", "labels"):
        assert words in told
    assert "origin" not in told
    assert not written(tmp_path / "a.zarr", record)
    assert io.load(tmp_path / "a.zarr").record == record
    assert "no data" in (said := written(tmp_path / "a.nii", record)) and "labels" not in said
    assert io.load(tmp_path / "a.nii").record.labels is True


def test_attributes_of_stores_are_not_dropped_in_silence(tmp_path: Path) -> None:
    """What a zarr array says beside its record goes to zarr, and is named where it cannot go along."""
    for name, kept in (("a.zarr", True), ("a.nii", False)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with io.create(tmp_path / name, VALUES.shape, "u2", axes="zyx", attributes={"long_name": "x"}) as out:
                out[...] = VALUES
        assert any("its attributes long_name" in str(one.message) for one in caught) != kept
        assert (io.load(tmp_path / name).attributes.get("long_name") == "x") == kept


def test_a_second_series_is_not_dropped(tmp_path: Path) -> None:
    """A file of several series is refused with a list of them; a number names one."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        out.write(VALUES, photometric="minisblack")
        out.write(VALUES[:2].astype("f4"), photometric="minisblack")
    with pytest.raises(ConfigError, match=r"got 2 \(0: 5 x 4 x 3 uint16.*a\.tif:0"):
        io.load(tmp_path / "a.tif")
    np.testing.assert_array_equal(io.load(f"{tmp_path}/a.tif:1").array, VALUES[:2])
    with pytest.raises(ConfigError, match="a series"):
        io.load(f"{tmp_path}/a.tif:2")


def test_a_folder_of_tiffs_is_a_stack(tmp_path: Path) -> None:
    """In the order in which people count; planes are read when they are asked for; odd ones are named."""
    folder = tmp_path / "scan"
    folder.mkdir()
    for k in range(12):
        tifffile.imwrite(folder / f"p{k}.tif", VALUES[0] + k, photometric="minisblack", metadata=None)
    volume = io.load(folder)
    assert volume.axes == ("z", "y", "x") and volume.array.shape == (12, 4, 3)
    np.testing.assert_array_equal(volume.array[9:12, 1], VALUES[0][1] + np.array([[9], [10], [11]]))
    np.testing.assert_array_equal(volume.array[...], VALUES[0] + np.arange(12)[:, None, None])
    tifffile.imwrite(folder / "p12.tif", VALUES[0, :2], photometric="minisblack", metadata=None)
    with pytest.raises(ConfigError, match=r"p12\.tif"):
        io.load(folder).array[...]
    (folder / "notes.txt").write_text("a thesis")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        io.load(folder)


def test_names_of_files_count_along_axes(tmp_path: Path) -> None:
    """Two numbers that differ are two axes where the names say which, and refused where they do not or some lack."""
    folder = tmp_path / "scan"
    folder.mkdir()
    for t in range(2):
        for z in range(11):
            values = VALUES[0] + 20 * t + z
            tifffile.imwrite(folder / f"run7_t{t}_z{z}.tif", values, photometric="minisblack", metadata=None)
    volume = io.load(folder)
    assert volume.axes == ("t", "z", "y", "x") and volume.array.shape == (2, 11, 4, 3)
    np.testing.assert_array_equal(volume.array[1, 9:, 2], VALUES[0][2] + np.array([[29], [30]]))
    (folder / "run7_t1_z3.tif").unlink()
    with pytest.raises(ConfigError, match="count along"):
        io.load(folder)
    assert tiff_stacks.axes_of(["a_2020_1.tif", "a_2020_2.tif"]) == ((), (2,))
    assert tiff_stacks.axes_of(["a_153001_1.tif", "a_153002_2.tif", "a_153003_3.tif"]) == ((), (3,))
    with pytest.raises(ConfigError, match="count along"):
        tiff_stacks.axes_of([f"{a}-{b}.tif" for a in range(2) for b in range(2)])


UNITS = {
    "µm": "micrometer", "um": "micrometer", "\\u00B5m": "micrometer", "micron": "micrometer", "MM": "millimeter",
    "nm": "nanometer", "msec": "millisecond", "sec": "second", "pixel": None, "": None, "Å": "angstrom",
    "micrometres": "micrometer", "parsec": "parsec",
}  # fmt: skip


@pytest.mark.parametrize(("text", "name"), UNITS.items())
def test_units_have_one_name(text: str, name: str | None) -> None:
    """That of OME-Zarr, however a file spells it."""
    assert unit_of(text) == name


def test_units_are_converted() -> None:
    """Lengths to lengths and times to times only."""
    assert factor("micrometer", "millimeter") == 0.001
    assert factor("inch", "millimeter") == 25.4
    assert factor("second", "millimeter") is None


def test_spaces_are_converted() -> None:
    """LPS and RAS are each other with two axes turned round; names of other spaces stay."""
    ras = Affine(matrix_of(AFFINE))
    turned = as_space(ras, "LPS")
    assert turned is not None and turned.matrix[0] == (0, 2, 0, -5) and turned.matrix[2] == (0, 0, 4, 7)
    assert as_space(turned, "RAS") == ras
    assert as_space(Affine(ras.matrix, "scanner-xyz"), "RAS") is None


def test_what_is_written_may_be_replaced() -> None:
    """Every suffix that is written has its mark in `targets`, and every one is written as what it says."""
    assert set(table.WRITTEN) == set(targets.KINDS)
    for suffix in table.WRITTEN:
        assert table.format_of(Path(f"a{suffix}"), new=True).write is not None
    with pytest.raises(ConfigError, match="hdf5 is read only"):
        table.format_of(Path("a.h5"), new=True)


def test_real_values_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A volume with a slope and its copy, in which that was applied, are the same."""
    image = nibabel.Nifti1Image(VALUES.T.astype("i2"), AFFINE)
    image.header.set_slope_inter(0.5, -1000)
    nibabel.save(image, tmp_path / "a.nii")
    volume = io.load(tmp_path / "a.nii")
    written(tmp_path / "b.nrrd", volume.record, volume.array)
    assert main(["compare", str(tmp_path / "a.nii"), str(tmp_path / "b.nrrd")]) == 0
    assert "largest error              0" in capsys.readouterr().out
