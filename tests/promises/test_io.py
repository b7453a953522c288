import sys

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from inr_codec import io
from inr_codec.errors import ConfigError

FORMATS = [".npy", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd", ".zarr"]


def ramp(shape=(5, 6, 7), dtype="u2"):
    """An array without two equal voxels."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(path, array, **options):
    """Write an array as a user would."""
    with io.create(path, array.shape, array.dtype, **options) as out:
        out[...] = array


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_what_is_written_is_read(tmp_path, suffix, dtype):
    """Every format gives back the values, the type and the order of the axes it was given."""
    path = tmp_path / f"volume{suffix}"
    write(path, ramp(dtype=dtype))
    back = io.load(path)
    assert back.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back.array[...], ramp(dtype=dtype))


@pytest.mark.parametrize("suffix", [".tif", ".nii", ".nrrd", ".zarr"])
def test_axes_and_spacing_survive(tmp_path, suffix):
    """The names of the axes and the size of a voxel go through every format that has a place for them."""
    path = tmp_path / f"volume{suffix}"
    write(path, ramp(), axes=("z", "y", "x"), attributes={"spacing": [2.0, 0.5, 0.25], "unit": "micron"})
    back = io.load(path)
    assert back.axes == ("z", "y", "x")
    assert back.attributes["spacing"] == pytest.approx([2.0, 0.5, 0.25])
    assert back.attributes["unit"] == "micrometer"


def test_nifti_is_read_slowest_axis_first(tmp_path):
    """Voxel (x, y, z) of a NIfTI image is voxel [z, y, x] here, and the affine goes through unchanged."""
    affine = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(ramp((3, 4, 5), "i2"), affine)
    nibabel.save(image, tmp_path / "in.nii.gz")
    volume = io.load(tmp_path / "in.nii.gz")
    assert volume.array.shape == (5, 4, 3)
    assert volume.array[4, 2, 1] == image.dataobj[1, 2, 4]
    assert volume.attributes["spacing"] == [4.0, 2.0, 3.0]
    write(tmp_path / "out.nii", np.asarray(volume.array), attributes=volume.attributes)
    again = nibabel.load(tmp_path / "out.nii")
    np.testing.assert_allclose(again.affine, affine)
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())


def test_nifti_scale_is_carried_not_applied(tmp_path):
    """A scaled image comes as the integers it stores, and is written back to the same physical values."""
    image = nibabel.Nifti1Image(ramp((3, 4, 5), "i2"), np.eye(4))
    image.header.set_slope_inter(0.5, -1000)
    nibabel.save(image, tmp_path / "in.nii")
    volume = io.load(tmp_path / "in.nii")
    assert volume.array.dtype == np.int16
    assert (volume.attributes["scale_factor"], volume.attributes["add_offset"]) == (0.5, -1000.0)
    write(tmp_path / "out.nii", np.asarray(volume.array), attributes=volume.attributes)
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "out.nii").get_fdata(), nibabel.load(tmp_path / "in.nii").get_fdata()
    )


def test_large_files_are_not_read_at_once(tmp_path):
    """npy and uncompressed tif and nii are memory-mapped, zarr stays a zarr array."""
    for suffix, kind in [(".npy", np.memmap), (".tif", np.memmap), (".nii", np.memmap), (".zarr", zarr.Array)]:
        write(tmp_path / f"volume{suffix}", ramp())
        assert isinstance(io.load(tmp_path / f"volume{suffix}").array, kind)


def test_compressed_tif_is_read(tmp_path):
    """A tif that cannot be mapped is read; a stack axis without a name is z."""
    tifffile.imwrite(tmp_path / "a.tif", ramp(), compression="zlib", photometric="minisblack")
    volume = io.load(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array, ramp())
    assert volume.axes == ("z", "y", "x")


def test_an_array_inside_a_group_has_a_path(tmp_path):
    """A zarr group of one array is that array; of several, the error names them and the path of each one opens it."""
    group = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=2)
    first = group.create_array("first", shape=(2, 3), dtype="u1", attributes={"_ARRAY_DIMENSIONS": ["y", "x"]})
    first[...] = 4
    assert io.load(tmp_path / "g.zarr").axes == ("y", "x")
    group.create_array("second", shape=(2, 3), dtype="u1")
    with pytest.raises(ConfigError, match="first, second"):
        io.load(tmp_path / "g.zarr")
    assert io.load(tmp_path / "g.zarr" / "first").array[1, 1] == 4


def test_nothing_half_written_is_left(tmp_path):
    """A volume has its name only once it is complete: a failure leaves the old one and no other file."""
    write(tmp_path / "a.npy", ramp())
    with pytest.raises(FileExistsError, match=r"a\.npy"):
        write(tmp_path / "a.npy", ramp())
    for name in ("a.npy", "b.tif", "c.zarr"):
        with pytest.raises(ZeroDivisionError), io.create(tmp_path / name, (2, 2), "u1", overwrite=True):
            raise ZeroDivisionError
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npy"]
    np.testing.assert_array_equal(io.load(tmp_path / "a.npy").array, ramp())


def test_overwriting_replaces(tmp_path):
    """With overwrite, a zarr folder and a file give way to what is written."""
    for name in ("a.npy", "a.zarr"):
        write(tmp_path / name, ramp())
        write(tmp_path / name, ramp((2, 2)), overwrite=True)
        assert io.load(tmp_path / name).array.shape == (2, 2)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".nii", ".nii.gz", ".nrrd", ".zarr"])
def test_broken_files_are_one_line(tmp_path, suffix):
    """A file that is not what its name says is a ConfigError of one line that names it, whatever its reader raises."""
    path = tmp_path / f"broken{suffix}"
    if suffix == ".zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    else:
        path.write_bytes(b"not a volume" * 40)
    with pytest.raises(ConfigError, match="broken") as caught:
        io.load(path)
    assert "\n" not in str(caught.value)


def test_paths_that_cannot_be(tmp_path):
    """A missing path and an unknown suffix say so."""
    with pytest.raises(FileNotFoundError, match="no such file"):
        io.load(tmp_path / "none.npy")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"\.jpg'"):
        io.load(tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match=r"\.jpg'"):
        write(tmp_path / "b.jpg", ramp())


def test_an_array_the_format_cannot_hold(tmp_path):
    """NIfTI and NRRD have no 16-bit floats: the error says so and no file is left."""
    for suffix in (".nii", ".nrrd"):
        with pytest.raises(ConfigError, match=f"{suffix[1:]} can hold"):
            write(tmp_path / f"a{suffix}", ramp(dtype="f2"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "module", "package"),
    [(".tif", "tifffile", "tifffile"), (".nii", "nibabel", "nibabel"), (".nrrd", "nrrd", "pynrrd")],
)
def test_a_missing_reader_says_how_to_get_it(tmp_path, monkeypatch, suffix, module, package):
    """Without the library, reading and writing its formats say what to install."""
    (tmp_path / f"a{suffix}").write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        io.load(tmp_path / f"a{suffix}")
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        write(tmp_path / f"b{suffix}", ramp())
