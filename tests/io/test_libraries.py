"""Formats that are read through the libraries of their fields: what those wrote is what is read, piece by piece."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from inr_codec import io
from inr_codec.batch import encode_array
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError, MetadataLoss

VALUES = np.arange(5 * 6 * 7, dtype="i2").reshape(5, 6, 7)
AFFINE = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
pytestmark = pytest.mark.filterwarnings("ignore::inr_codec.errors.MetadataLoss")


def check(volume: io.Volume, values: Any) -> None:
    """The values of a volume, whole and in part."""
    np.testing.assert_array_equal(np.asarray(volume.array[...]), values)
    np.testing.assert_array_equal(np.asarray(volume.array[1:3, ..., 2:4]), values[1:3, ..., 2:4])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves MGH files open
@pytest.mark.parametrize("suffix", [".mgz", ".mgh", ".img"])
def test_what_nibabel_opens(tmp_path: Path, suffix: str) -> None:
    """MGH and ANALYZE: voxel (x, y, z) there is voxel [z, y, x] here."""
    klass = nibabel.Nifti1Pair if suffix == ".img" else nibabel.MGHImage
    nibabel.save(klass(VALUES.T, AFFINE), tmp_path / f"a{suffix}")
    volume = io.load(tmp_path / f"a{suffix}")
    check(volume, VALUES)
    assert volume.record.affine is not None
    np.testing.assert_allclose(volume.record.affine.matrix, AFFINE)
    if suffix == ".img":
        check(io.load(tmp_path / "a.hdr"), VALUES)
    nibabel.save(nibabel.AnalyzeImage(VALUES.T, None), tmp_path / "b.img")
    assert io.load(tmp_path / "b.img").record.affine is None


def test_minc_is_read_in_its_own_order(tmp_path: Path) -> None:
    """MINC stores z slowest, and scales every slice: real values come out, at their places in space."""
    path = tmp_path / "a.mnc"
    with h5py.File(path, "w") as file:
        dimensions = file.create_group("minc-2.0/dimensions")
        for name, start, step in (("zspace", 1.0, 4.0), ("yspace", 2.0, 3.0), ("xspace", 3.0, -2.0)):
            axis = dimensions.create_dataset(name, data=0)
            axis.attrs.update({"start": start, "step": step, "length": 5, "spacing": np.bytes_("regular__"),
                               "direction_cosines": np.eye(3)["xyz".index(name[0])]})  # fmt: skip
        image = file.create_group("minc-2.0/image/0")
        data = image.create_dataset("image", data=VALUES.astype("u2"))
        data.attrs.update({"dimorder": np.bytes_("zspace,yspace,xspace"), "valid_range": [0.0, 209.0]})
        for name, value in (("image-min", 0.0), ("image-max", 104.5)):
            image.create_dataset(name, data=np.full(5, value)).attrs["dimorder"] = np.bytes_("zspace")
    volume = io.load(path)
    expected = nibabel.load(path)
    check(volume, expected.get_fdata())
    np.testing.assert_array_equal(volume.array[...], VALUES / 2)
    assert volume.record.affine is not None
    x, y, z = 3, 2, 1
    place = np.array(volume.record.affine.matrix) @ [x, y, z, 1]
    np.testing.assert_allclose(place, expected.affine @ [z, y, x, 1])


def test_surfaces_are_refused(tmp_path: Path) -> None:
    """GIFTI holds no voxels: one line says so."""
    nibabel.save(nibabel.gifti.GiftiImage(), tmp_path / "a.gii")
    with pytest.raises(ConfigError, match="GiftiImage: surfaces"):
        io.load(tmp_path / "a.gii")


def test_hdf5(tmp_path: Path) -> None:
    """A data set by its path, with steps, slope and no-data value; several are listed where none is named."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("s/volume", data=VALUES, chunks=(2, 3, 7))
        data.attrs.update({"scale_factor": 0.5, "add_offset": 2.0, "_FillValue": np.int16(-1), "who": "somebody"})
        for k, (name, step) in enumerate((("z", 2.0), ("y", 0.5), ("x", 0.25))):
            at = file.create_dataset(name, data=10 + step * np.arange(VALUES.shape[k]))
            at.make_scale(name)
            at.attrs["units"] = "um"
            data.dims[k].attach_scale(at)
    volume = io.load(path)
    check(volume, VALUES)
    record = volume.record
    assert [(axis.name, axis.scale, axis.unit, axis.origin) for axis in record.axes] == [
        ("z", 2.0, "micrometer", 10.0), ("y", 0.5, "micrometer", 10.0), ("x", 0.25, "micrometer", 10.0),
    ]  # fmt: skip
    assert (record.value_scale, record.nodata) == ((0.5, 2.0), -1.0)
    assert record.header["attributes"]["who"] == "somebody"
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("s/volume", data=VALUES)
        other = file.create_dataset("other", data=VALUES.astype("f4"))
        other.attrs["element_size_um"] = [3.0, 1.0, 1.0]
    with pytest.raises(ConfigError, match=r"got 2 \(/other, /s/volume\)"):
        io.load(path)
    assert [axis.scale for axis in io.load(f"{path}:/other").record.axes] == [3.0, 1.0, 1.0]
    with pytest.raises(ConfigError, match="'/none'"):
        io.load(f"{path}:/none")


def test_parts_of_files_are_encoded(tmp_path: Path) -> None:
    """`file.h5:/path` and `file.tif:1` are sources like any other, on the driver too; their files are no targets."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("s/volume", data=VALUES)
        file.create_dataset("other", data=VALUES)
    source = f"{tmp_path}/a.h5:/s/volume"
    assert main(["encode", source, str(tmp_path / "b.zarr"), "--lossless"]) == 0
    encode_array(source, str(tmp_path / "c.zarr"), {"lossless": True})
    for name in ("b.zarr", "c.zarr"):
        check(io.load(tmp_path / name), VALUES)
    before = (tmp_path / "a.h5").read_bytes()
    assert main(["encode", source, str(tmp_path / "a.h5"), "--lossless", "--overwrite"]) == 2
    assert (tmp_path / "a.h5").read_bytes() == before


def test_mrc_comes_back(tmp_path: Path) -> None:
    """Voxel size, origin, labels and extended header; statistics are those of the voxels that are written."""
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(VALUES.astype("f4"))
        mrc.voxel_size = (1.5, 1.5, 3.0)
        mrc.header.origin = (10.0, 20.0, 30.0)
        mrc.add_label("made here")
        mrc.set_extended_header(np.arange(32, dtype="u1"))
        mrc.header.exttyp = b"SERI"
    volume = io.load(path)
    check(volume, VALUES)
    assert [(axis.name, axis.scale, axis.unit, axis.origin) for axis in volume.record.axes] == [
        ("z", 3.0, "angstrom", 30.0), ("y", 1.5, "angstrom", 20.0), ("x", 1.5, "angstrom", 10.0),
    ]  # fmt: skip
    assert main(["encode", str(path), str(tmp_path / "b.zarr"), "--lossless"]) == 0
    assert main(["decode", str(tmp_path / "b.zarr"), str(tmp_path / "c.mrc")]) == 0
    with mrcfile.open(path) as first, mrcfile.open(tmp_path / "c.mrc") as second:
        assert second.header.tobytes() == first.header.tobytes()
        assert second.extended_header.tobytes() == first.extended_header.tobytes()
        np.testing.assert_array_equal(second.data, first.data)
    assert mrcfile.validate(tmp_path / "c.mrc")


def test_mrc_of_another_format(tmp_path: Path) -> None:
    """Nanometres become angstrom, 8 bits 16, and a file says which of its axes is which."""
    axes = tuple(io.record.Axis(name, "space", 0.5, "nanometer", 2.0) for name in "zyx")
    with io.create(tmp_path / "a.mrc", VALUES.shape, "u1", record=io.Record(axes)) as out:
        out[...] = VALUES.astype("u1")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert mrc.data.dtype == np.uint16 and mrc.voxel_size.x == 5 and mrc.header.origin.z == 20
    with mrcfile.open(tmp_path / "a.mrc", "r+") as mrc:
        mrc.header.mapc, mrc.header.maps = 3, 1
    assert io.load(tmp_path / "a.mrc").axes == ("x", "y", "z")
    with mrcfile.new(tmp_path / "s.mrcs", overwrite=True) as mrc:
        mrc.set_data(VALUES)
        mrc.set_image_stack()
    assert io.load(tmp_path / "s.mrcs").axes == ("n", "y", "x")


def slice_of(values: Any, uid: str, storage: str = CTImageStorage, **elements: Any) -> Dataset:
    """A DICOM image of one slice, or of several frames."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = storage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.SeriesInstanceUID, image.PatientName, image.Modality = uid, "Nobody", "CT"
    image.Rows, image.Columns = values.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 1
    image.PixelData = values.astype("<i2").tobytes()
    for name, value in elements.items():
        setattr(image, name, value)
    return image


def write_series(folder: Path, uid: str, slopes: tuple[float, ...] = (2.0,) * 5) -> None:
    """Five oblique slices, in files whose names say nothing of their order."""
    folder.mkdir(exist_ok=True)
    for k, slope in enumerate(slopes):
        image = slice_of(
            VALUES[k], uid, ImagePositionPatient=[10.0, 20.0 + 3 * k * 0.8, 30.0 + 3 * k * 0.6],
            PixelSpacing=[0.5, 0.25], ImageOrientationPatient=[1, 0, 0, 0, 0.6, -0.8],
            RescaleSlope=slope, RescaleIntercept=-1024, InstanceNumber=k + 1, SliceThickness=9,
        )  # fmt: skip
        image.save_as(folder / f"{(k * 7) % 5}{uid[-3:]}.dcm", enforce_file_format=True)


def test_a_dicom_series(tmp_path: Path) -> None:
    """Ordered by position, with rescale, spacing and orientation; nothing of the patient goes into the store."""
    write_series(tmp_path / "s", "1.2.3")
    with pytest.warns(MetadataLoss, match="patient"):
        volume = io.load(tmp_path / "s")
    values = VALUES if volume.array[0, 0, 0] == 0 else VALUES[::-1]
    check(volume, values)
    record = volume.record
    assert [axis.scale for axis in record.axes] == pytest.approx([3.0, 0.5, 0.25])
    assert record.unit == "millimeter" and record.value_scale == (2.0, -1024.0)
    assert record.affine is not None and record.affine.space == "LPS"
    first = 0 if values is VALUES else 4
    np.testing.assert_allclose(
        np.array(record.affine.matrix) @ [4, 2, 0, 1], [11, 20 + 2.4 * first + 0.6, 30 + 1.8 * first - 0.8, 1]
    )
    assert "Nobody" not in json.dumps(record.to_attributes())
    assert main(["encode", str(tmp_path / "s"), str(tmp_path / "b.zarr"), "--lossless"]) == 0
    assert main(["decode", str(tmp_path / "b.zarr"), str(tmp_path / "b.nii")]) == 0
    image = nibabel.load(tmp_path / "b.nii")
    np.testing.assert_allclose(image.get_fdata().T, values * 2.0 - 1024)
    np.testing.assert_allclose(image.affine[:3, 3], [-10, -20 - 2.4 * first, 30 + 1.8 * first], rtol=1e-6)


def test_dicom_slices_of_different_slopes_are_rescaled(tmp_path: Path) -> None:
    """As in PET: real values, because no single slope tells them."""
    write_series(tmp_path / "s", "1.2.3", (1.0, 2.0, 3.0, 4.0, 5.0))
    volume = io.load(tmp_path / "s")
    expected = VALUES * np.arange(1.0, 6)[:, None, None] - 1024
    assert volume.array.dtype == np.float32 and volume.record.value_scale is None
    np.testing.assert_allclose(np.sort(volume.array[...], axis=None), np.sort(expected, axis=None))


def test_two_dicom_series_and_gaps_are_told(tmp_path: Path) -> None:
    """A second series is not mixed in: one is chosen by number. A slice that is missing is told of."""
    write_series(tmp_path / "s", "1.2.3")
    write_series(tmp_path / "s", "1.2.4")
    with pytest.raises(ConfigError, match="5 x 6 x 7 CT; 1: 5 x 6 x 7 CT"):
        io.load(tmp_path / "s")
    assert io.load(f"{tmp_path}/s:1").array.shape == (5, 6, 7)
    for path in (tmp_path / "s").iterdir():
        image = pydicom.dcmread(path)
        if image.SeriesInstanceUID == "1.2.4" or image.InstanceNumber == 2:
            path.unlink()
    with pytest.warns(MetadataLoss, match="3 to 6 mm apart"):
        io.load(tmp_path / "s")


def test_an_enhanced_dicom_file(tmp_path: Path) -> None:
    """Frames say for themselves where they lie: they are ordered, and read one by one."""
    image = slice_of(VALUES[::-1], "1.2.3", EnhancedMRImageStorage, NumberOfFrames=5)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [0.5, 0.25], [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    frames = []
    for k in range(5):
        frame, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [1.0, 2.0, 10.0 - 2 * k]
        values.RescaleSlope, values.RescaleIntercept = 0.5, 1
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [values]
        frames.append(frame)
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [shared], frames
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    volume = io.load(tmp_path / "a.dcm")
    check(volume, VALUES)
    assert [axis.scale for axis in volume.record.axes] == [2.0, 0.5, 0.25]
    assert volume.record.value_scale == (0.5, 1.0)
    assert volume.record.affine is not None
    np.testing.assert_allclose(
        volume.record.affine.matrix, [[0.25, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 2, 2], [0, 0, 0, 1]]
    )


def test_dicom_frames_without_places_of_their_own(tmp_path: Path) -> None:
    """A dose grid tells how far its frames lie apart, a film only in which order they come; a palette is told of."""
    place: dict[str, Any] = {"ImagePositionPatient": [1.0, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                             "PixelSpacing": [2.0, 2.0], "NumberOfFrames": 5}  # fmt: skip
    dose = {"GridFrameOffsetVector": [0, 2.5, 5, 7.5, 10], "DoseGridScaling": 0.5, "FrameIncrementPointer": 0x3004000C}
    slice_of(VALUES, "1.2.3", **place, **dose).save_as(tmp_path / "dose.dcm", enforce_file_format=True)
    volume = io.load(tmp_path / "dose.dcm")
    check(volume, VALUES)
    assert [axis.scale for axis in volume.record.axes] == [2.5, 2.0, 2.0] and volume.record.value_scale == (0.5, 0.0)
    film = slice_of(VALUES, "1.2.3", **place, FrameTime=40.0, PhotometricInterpretation="MONOCHROME1")
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    with pytest.warns(MetadataLoss, match="higher values are darker"):
        volume = io.load(tmp_path / "film.dcm")
    check(volume, VALUES)
    assert volume.axes == ("t", "y", "x")
    assert (volume.record.axes[0].scale, volume.record.axes[0].unit) == (40.0, "millisecond")


@pytest.mark.parametrize("driver", ["n5", "neuroglancer_precomputed"])
def test_n5_and_precomputed(tmp_path: Path, driver: str) -> None:
    """First axis fastest there, last axis fastest here; sizes of voxels, offsets and labels are read."""
    tensorstore = pytest.importorskip("tensorstore")
    path = tmp_path / "v"
    spec: dict[str, Any] = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}
    if driver == "n5":
        spec["metadata"] = {"dimensions": [7, 6, 5], "blockSize": [4, 4, 4], "dataType": "int16",
                            "compression": {"type": "gzip"}, "axes": ["x", "y", "z"], "units": ["nm"] * 3,
                            "resolution": [8, 8, 40]}  # fmt: skip
    else:
        spec |= {"multiscale_metadata": {"type": "segmentation", "data_type": "int16", "num_channels": 1},
                 "scale_metadata": {"size": [7, 6, 5], "encoding": "raw", "chunk_size": [4, 4, 4],
                                    "resolution": [8, 8, 40], "voxel_offset": [10, 0, 3]}}  # fmt: skip
    store = tensorstore.open(spec, create=True).result()
    store[...].write(VALUES.T if driver == "n5" else VALUES.T[..., None]).result()
    volume = io.load(path)
    check(volume, VALUES)
    assert [(axis.name, axis.scale, axis.unit) for axis in volume.record.axes] == [
        ("z", 40.0, "nanometer"), ("y", 8.0, "nanometer"), ("x", 8.0, "nanometer"),
    ]  # fmt: skip
    if driver != "n5":
        assert volume.record.labels and [axis.origin for axis in volume.record.axes] == [120.0, None, 80.0]
    assert main(["encode", str(path), str(tmp_path / "b.zarr"), "--lossless"]) == 0


def test_microscopes_formats_need_bioio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CZI, ND2 and LIF are read by bioio; where it is missing, one line says what to install."""
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(ConfigError, match="pip install bioio"):
        io.load(tmp_path / "a.czi")


def test_bioio_is_read(tmp_path: Path) -> None:
    """Sides of 1 are left out; names of channels and sizes of voxels go along."""
    pytest.importorskip("bioio_ome_tiff")
    from inr_codec.io import bioformats

    told = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 2.0,
        "Channel": {"Name": ["A", "B"]},
    }
    values = np.stack([VALUES, VALUES + 500]).astype("u2")
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=told, ome=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = bioformats.read(tmp_path / "a.ome.tif")
        check(volume, values)
    assert volume.axes == ("c", "z", "y", "x")
    assert [axis.scale for axis in volume.record.axes] == [None, 2.0, 0.5, 0.5]
    assert [one.name for one in volume.record.channels] == ["A", "B"]


@pytest.mark.parametrize(("name", "module"), [("a.h5", "h5py"), ("a.mrc", "mrcfile"), ("a.dcm", "pydicom"),
                                              ("a.n5", "tensorstore"), ("a.mgz", "nibabel")])  # fmt: skip
def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    """By what pip calls them."""
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"install it with: pip install {module}"):
        io.load(tmp_path / name)
