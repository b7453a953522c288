"""What goes in comes back: header by header, as the formats' own libraries read it, through a zarr store."""

import json
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile

from inr_codec import io
from inr_codec.io import format as format_of
from inr_codec.io import tiff

AFFINE = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])


def ramp(*shape: int, dtype: str = "u2") -> Any:
    """An array without two equal voxels, as far as its type goes."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def through_a_store(source: Path | str, target: Path) -> io.Volume:
    """Write a file as a zarr store and that as another file; the volume that the store holds."""
    volume, store = io.load(source), target.parent / "store.zarr"
    shape, dtype = volume.array.shape, volume.array.dtype
    with io.create(store, shape, dtype, record=volume.record, attributes=volume.others, overwrite=True) as out:
        out[...] = volume.array[...]
    json.loads((store / "zarr.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    kept = io.load(store)
    assert kept.record == volume.record
    with io.create(target, shape, dtype, record=kept.record, attributes=kept.others, overwrite=True) as out:
        out[...] = kept.array[...]
    return kept


def nifti(path: Path, klass: Any = nibabel.Nifti1Image, dtype: str = "i2", **changes: Any) -> Path:
    """A NIfTI file whose header fields all say something."""
    image = klass(ramp(3, 4, 5, 2, dtype=dtype), AFFINE)
    header = image.header
    header.set_sform(AFFINE, "mni")
    header.set_qform(AFFINE + np.diag([0, 0, 0, 0.0]), "aligned")
    header.set_xyzt_units("micron", "msec")
    header.set_zooms((3, 2, 4, 1.5))
    header.set_intent("t test", (7,), name="contrast")
    header.set_dim_info(freq=1, phase=0, slice=2)
    header.set_slice_duration(0.1)
    for name, value in {"descrip": b"of a test", "aux_file": b"none", "cal_max": 9, "toffset": 3, **changes}.items():
        header[name] = value
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"said \xc3\xa4"))
    header.extensions.append(nibabel.nifti1.Nifti1Extension(44, b"\0\1\2"))
    nibabel.save(image, path)
    return path


def raw_header(path: Path) -> tuple[bytes, list[Any]]:
    """The fields of a NIfTI header as they are in the file, but the place of the voxels; and its extensions."""
    image: Any = nibabel.load(path)
    with image.file_map["header" if "header" in image.file_map else "image"].get_prepare_fileobj("rb") as file:
        header = type(image).header_class.from_fileobj(file, check=False)
    header["vox_offset"], header["magic"] = 0, b""
    return header.binaryblock, [(one.get_code(), one.get_content()) for one in header.extensions]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("klass", "dtype"), [("Nifti1Image", "i2"), ("Nifti2Image", "f4"), ("Nifti1Pair", ">u2")])
def test_nifti_headers_come_back(tmp_path: Path, suffix: str, klass: str, dtype: str) -> None:
    """All fields, both transforms with their codes, units, intent, descrip, extensions, NIfTI-2 and pairs."""
    source = nifti(
        tmp_path / f"a{suffix.replace('.nii', '.img') if 'Pair' in klass else suffix}", getattr(nibabel, klass), dtype
    )
    through_a_store(source, tmp_path / f"b{suffix}")
    assert raw_header(tmp_path / f"b{suffix}") == raw_header(source)
    np.testing.assert_array_equal(nibabel.load(tmp_path / f"b{suffix}").dataobj, nibabel.load(source).dataobj)


def test_scaled_and_big_endian_nifti_come_back(tmp_path: Path) -> None:
    """Slope and intercept, an unset slope, and headers of the other byte order."""
    for name, slope in (("a", (0.5, -1000)), ("b", (None, None))):
        image = nibabel.Nifti1Image(ramp(3, 4, 5, dtype="i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
        image.header.set_slope_inter(*slope)
        nibabel.save(image, tmp_path / f"{name}.nii")
        kept = through_a_store(tmp_path / f"{name}.nii", tmp_path / "out.nii")
        assert kept.record.value_scale == (slope if slope[0] else None)
        assert raw_header(tmp_path / "out.nii") == raw_header(tmp_path / f"{name}.nii")
        np.testing.assert_array_equal(
            nibabel.load(tmp_path / "out.nii").dataobj, nibabel.load(tmp_path / f"{name}.nii").dataobj
        )


def test_nibabels_own_files_come_back(tmp_path: Path) -> None:
    """Files that other programs have written, with fields that nibabel would set right."""
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    found = [
        folder / name for name in ("anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz")
    ]
    for source in found:
        if source.exists():  # some packages leave them out
            through_a_store(source, tmp_path / "b.nii")
            assert raw_header(tmp_path / "b.nii") == raw_header(source)


def test_rgb_nifti_comes_back(tmp_path: Path) -> None:
    """Colours are an axis of their own in a store, and RGB24 in the file again."""
    colours = ramp(3, 4, 5, 3, dtype="u1").view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(colours, AFFINE), tmp_path / "a.nii")
    kept = through_a_store(tmp_path / "a.nii", tmp_path / "b.nii")
    assert kept.axes == ("z", "y", "x", "c") and kept.record.colours
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii").dataobj, colours)
    assert raw_header(tmp_path / "b.nii") == raw_header(tmp_path / "a.nii")


NRRD_HEADER = {
    "space": "left-posterior-superior",
    "space directions": np.array([[np.nan] * 3, [0, 2.0, 0], [3.0, 0, 0], [0, 0, -4.0]]),
    "space origin": np.array([1.0, -2.0, 3.5]),
    "space units": ["mm", "mm", "mm"],
    "kinds": ["list", "domain", "domain", "domain"],
    "labels": ["gradient", "i", "j", "k"],
    "measurement frame": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
    "thicknesses": np.array([np.nan, np.nan, np.nan, 2.5]),
    "centerings": ["???", "cell", "cell", "cell"],
    "content": "a test",
    "DWMRI_b-value": "1000",
    "modality": "DWMRI",
}


def same_header(first: Any, second: Any) -> None:
    """Two NRRD headers say the same."""
    assert list(first) == list(second) or set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_equal(second[name], value, err_msg=name)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_nrrd_headers_come_back(tmp_path: Path, encoding: str) -> None:
    """Directions, origin, kinds, measurement frame, labels and key/values; what is not raw comes back as gzip."""
    values = ramp(5, 4, 3, 2, dtype="i2")
    nrrd.write(str(tmp_path / "a.nrrd"), values, {**NRRD_HEADER, "encoding": encoding}, index_order="C")
    kept = through_a_store(tmp_path / "a.nrrd", tmp_path / "b.nrrd")
    before, after = (nrrd.read_header(str(tmp_path / name)) for name in ("a.nrrd", "b.nrrd"))
    for header in (before, after):
        header.pop("encoding")
        header.pop("endian", None)
    same_header(before, after)
    np.testing.assert_array_equal(nrrd.read(str(tmp_path / "b.nrrd"), index_order="C")[0], values)
    assert kept.axes == ("z", "y", "x", "c")
    assert [axis.scale for axis in kept.record.axes] == [4.0, 3.0, 2.0, None]
    assert kept.record.unit == "millimeter" and kept.record.affine is not None and kept.record.affine.space == "LPS"


@pytest.mark.parametrize("skip", [0, 7, -1])
def test_detached_nrrd_is_read(tmp_path: Path, skip: int) -> None:
    """Voxels in a file of their own, after bytes that are skipped; raw ones are mapped."""
    values = ramp(5, 4, 3, dtype=">i2")
    (tmp_path / "v.raw").write_bytes(b"\0" * 7 * (skip != 0) + values.tobytes())
    lines = ["NRRD0004", "# made here", "type: short", "dimension: 3", "sizes: 3 4 5", "encoding: raw", "endian: big",
             "spacings: 0.5 1 2", f"byte skip: {skip}", "data file: v.raw", "patient:=nobody"]  # fmt: skip
    (tmp_path / "a.nhdr").write_text("\n".join(lines) + "\n")
    kept = through_a_store(tmp_path / "a.nhdr", tmp_path / "b.nrrd")
    assert isinstance(io.load(tmp_path / "a.nhdr").array, np.memmap)
    assert [axis.scale for axis in kept.record.axes] == [2.0, 1.0, 0.5]
    back, header = nrrd.read(str(tmp_path / "b.nrrd"), index_order="C")
    np.testing.assert_array_equal(back, values)
    assert header["patient"] == "nobody" and "data file" not in header


def ome_tiff(path: Path, **options: Any) -> Path:
    """An OME-TIFF with sizes, units, channels and a time step."""
    told = {
        "axes": "TCZYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 1.5, "PhysicalSizeZUnit": "µm", "TimeIncrement": 30.0,
        "TimeIncrementUnit": "s", "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935]},
        "Plane": {"PositionX": [1.5] * 12, "PositionXUnit": ["mm"] * 12, "DeltaT": [float(k) for k in range(12)]},
    }  # fmt: skip
    tifffile.imwrite(path, ramp(2, 2, 3, 8, 9), metadata=told, ome=True, photometric="minisblack", **options)
    return path


def ome_of(path: Path) -> Any:
    """The OME-XML of a file as a dictionary, without the name of the file and the places of planes in it."""
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        told = tifffile.xml2dict(file.ome_metadata)["OME"]
    told.pop("UUID", None)
    told.pop("Creator", None)
    pixels = told["Image"]["Pixels"]
    for name in ("TiffData", "BigEndian", "Interleaved"):
        pixels.pop(name, None)
    return told


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_ome_tiff_comes_back(tmp_path: Path, options: dict[str, Any]) -> None:
    """The OME-XML whole: sizes with units, channels with names and colours, time step, positions of planes."""
    source = ome_tiff(tmp_path / "a.ome.tif", **options)
    kept = through_a_store(source, tmp_path / "b.ome.tif")
    assert ome_of(tmp_path / "b.ome.tif") == ome_of(source)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.ome.tif"), tifffile.imread(source))
    record = kept.record
    assert [(axis.name, axis.scale, axis.unit) for axis in record.axes] == [
        ("t", 30.0, "second"), ("c", None, None), ("z", 1.5, "micrometer"), ("y", 0.2, "micrometer"),
        ("x", 0.2, "micrometer"),
    ]  # fmt: skip
    assert [(one.name, one.color) for one in record.channels] == [("DAPI", "0000FF"), ("GFP", "00FF00")]


def test_imagej_comes_back(tmp_path: Path) -> None:
    """Spacing, unit, frame interval, labels, colours, ranges, overlays and resolution."""
    luts = [np.arange(768, dtype="u1").reshape(3, 256) for _ in range(2)]
    told = {
        "axes": "TZCYX", "spacing": 1.25, "unit": "micron", "finterval": 0.5, "fps": 2.0,
        "Labels": [f"p{k}" for k in range(12)], "LUTs": luts, "Ranges": [0.0, 9.0, 1.0, 8.0], "Info": "acquired here",
        "mode": "composite", "Overlays": [b"\0\1"], "min": 0.0, "max": 9.0,
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.tif", ramp(2, 3, 2, 8, 9), imagej=True, resolution=(5, 4), metadata=told)
    kept = through_a_store(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as first, tifffile.TiffFile(tmp_path / "b.tif") as second:
        np.testing.assert_equal(second.imagej_metadata, first.imagej_metadata)
        for code in (282, 283, 296):
            assert second.pages[0].tags.valueof(code) == first.pages[0].tags.valueof(code)
        np.testing.assert_array_equal(second.asarray(), first.asarray())
    found = {axis.name: (axis.scale, axis.unit) for axis in kept.record.axes}
    assert found == {"t": (0.5, "second"), "z": (1.25, "micrometer"), "c": (None, None), "y": (0.25, "micrometer"),
                     "x": (0.2, "micrometer")}  # fmt: skip


@pytest.mark.parametrize("colours", ["u1", "u2"])
@pytest.mark.parametrize("depth", [3, 4])
def test_colours_stay_colours(tmp_path: Path, colours: str, depth: int) -> None:
    """RGB and RGBA pages are written as such, a single one and a stack."""
    for shape in ((8, 9, depth), (2, 8, 9, depth)):
        values = ramp(*shape, dtype=colours)
        extra = {"extrasamples": ["unassalpha"]} if depth == 4 else {}
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None, **extra)
        kept = through_a_store(tmp_path / "a.tif", tmp_path / "b.tif")
        assert kept.axes is not None and kept.axes[-1] == "c" and kept.record.colours
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            assert file.pages[0].photometric.name == "RGB" and file.pages[0].samplesperpixel == depth
            np.testing.assert_array_equal(file.asarray(), values)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 8, 9), {"photometric": "rgb", "planarconfig": "separate"}),
        ((2, 3, 8, 9), {"photometric": "rgb", "planarconfig": "separate"}),
        ((8, 9, 4), {"photometric": "separated", "planarconfig": "contig"}),
        ((8, 9, 2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}),
    ],
)
def test_samples_keep_their_meaning(tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """Planes of colours, inks, and grey with opacity are what they were, in the order in which they were."""
    values = ramp(*shape, dtype="u1")
    tifffile.imwrite(tmp_path / "a.tif", values, metadata=None, **options)
    through_a_store(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as first, tifffile.TiffFile(tmp_path / "b.tif") as second:
        for name in ("photometric", "planarconfig", "samplesperpixel", "extrasamples", "shape"):
            assert getattr(second.pages[0], name) == getattr(first.pages[0], name)
        np.testing.assert_array_equal(second.asarray(), first.asarray())


def tags_of(path: Path) -> list[dict[int, Any]]:
    """The tags of each page that say nothing of how the voxels are stored."""
    stored = (256, 257, 258, 259, 273, 277, 278, 279, 284, 338, 339, 262, 254, 317)
    with tifffile.TiffFile(path) as file:
        return [{tag.code: tag.value for tag in page.tags if tag.code not in stored} for page in file.pages]


def test_tags_come_back(tmp_path: Path) -> None:
    """Resolution in cm and inch, description, software, artist, date, private and GeoTIFF tags, of every page."""
    extra = [
        (315, "s", 0, "somebody", False), (65000, "H", 3, (1, 2, 3), False), (33550, "d", 3, (1.0, 2.0, 0.0), False),
        (42113, "s", 0, "99", False),
    ]  # fmt: skip
    for unit, name, suffix in (("CENTIMETER", "centimeter", "a"), ("INCH", "inch", "b")):
        source = tmp_path / f"{suffix}.tif"
        with tifffile.TiffWriter(source, byteorder=">") as out:
            for k in range(3):
                out.write(
                    ramp(8, 9) + k, resolution=(2540.5, 1000), resolutionunit=unit, description=f"page {k}",
                    metadata=None, software="a scope", datetime="2020:01:02 03:04:05", extratags=extra,
                    photometric="minisblack", contiguous=False,
                )  # fmt: skip
        kept = through_a_store(source, tmp_path / "out.tif")
        assert tags_of(tmp_path / "out.tif") == tags_of(source)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), tifffile.imread(source))
        scales = {axis.name: (axis.scale, axis.unit) for axis in kept.record.axes}
        assert scales["y"] == (0.001, name) and scales["x"] == (pytest.approx(1 / 2540.5), name)
        assert kept.record.nodata == 99


def test_palettes_and_inverted_greys_come_back(tmp_path: Path) -> None:
    """A colour map and miniswhite are those of the file again."""
    colours = ramp(3, 256)
    tifffile.imwrite(tmp_path / "p.tif", ramp(8, 9, dtype="u1"), colormap=colours, photometric="palette", metadata=None)
    tifffile.imwrite(tmp_path / "w.tif", ramp(8, 9, dtype="u1"), photometric="miniswhite", metadata=None)
    for name in ("p", "w"):
        through_a_store(tmp_path / f"{name}.tif", tmp_path / f"{name}2.tif")
        with (
            tifffile.TiffFile(tmp_path / f"{name}.tif") as first,
            tifffile.TiffFile(tmp_path / f"{name}2.tif") as second,
        ):
            assert second.pages[0].photometric == first.pages[0].photometric
            np.testing.assert_equal(second.pages[0].colormap, first.pages[0].colormap)


def test_large_files_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not mapped and does not fit the memory is unpacked to a file that has no name, or read page by page."""
    monkeypatch.setattr(format_of, "IN_MEMORY", 100)
    monkeypatch.setattr(tiff, "IN_MEMORY", 100)
    values = ramp(5, 8, 9, dtype="i2")
    nibabel.save(nibabel.Nifti1Image(values.T, AFFINE), tmp_path / "a.nii.gz")
    nrrd.write(str(tmp_path / "a.nrrd"), values, {"encoding": "bzip2"}, index_order="C")
    tifffile.imwrite(tmp_path / "a.tif", values, compression="zlib", photometric="minisblack", metadata=None)
    for name, kind in (("a.nii.gz", np.memmap), ("a.nrrd", np.memmap), ("a.tif", format_of.Lazy)):
        volume = io.load(tmp_path / name)
        assert isinstance(volume.array, kind)
        np.testing.assert_array_equal(volume.array[1:3, ::2, -1], values[1:3, ::2, -1])
        through_a_store(tmp_path / name, tmp_path / f"b.{name.partition('.')[2]}")
        np.testing.assert_array_equal(io.load(tmp_path / f"b.{name.partition('.')[2]}").array[...], values)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith((".part", "tmp"))]
