"""OME-Zarr: images in and out whole, images made of files, and the readers and models that people check them with."""

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from samples import FAST, field

from inr_codec import io
from inr_codec.batch import encode_array
from inr_codec.cli.parser import main
from inr_codec.io import ome_zarr
from inr_codec.io.record import Affine, Axis, Channel, Record, matrix_of

OPTIONS = [item for name, value in FAST.items() for item in ("--set", f"{name}={value}")]
AFFINE = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])


def write_source(path: Path, version: str) -> dict[str, Any]:
    """An image with two levels and labels with two; all arrays by their paths."""
    zarr_format: Any = {"0.4": 2, "0.5": 3}[version]
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    values = field((2, 8, 40, 48), "u2")
    cells = np.arange(8 * 40 * 48).reshape(8, 40, 48).astype("u4")
    arrays = {"s0": values, "s1": values[:, :, ::2, ::2], "labels/cells/0": cells, "labels/cells/1": cells[:, ::2, ::2]}
    for name, array in arrays.items():
        group.create_array(name, data=array, chunks=(*array.shape[:-2], 20, 24))
    axes = [{"name": "c", "type": "channel"}] + [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    scales = [{"path": f"s{k}", "coordinateTransformations": [
        {"type": "scale", "scale": [1.0, 2.0, 0.5 * 2**k, 0.5 * 2**k]},
        {"type": "translation", "translation": [0.0, 0.0, 0.25 * k, 0.25 * k]},
    ]} for k in range(2)]  # fmt: skip
    of_labels = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5 * 2**k, 0.5 * 2**k]}]}
        for k in range(2)
    ]
    window = {"min": 0, "max": 65535, "start": 10, "end": 40000}
    omero = {"channels": [{"label": n, "color": c, "window": window, "active": True}
                          for n, c in (("DAPI", "0000FF"), ("GFP", "00FF00"))]}  # fmt: skip
    image = {"multiscales": [{"axes": axes, "datasets": scales, "name": "brain"}], "omero": omero}
    label = {"multiscales": [{"axes": axes[1:], "datasets": of_labels, "name": "cells"}],
             "image-label": {"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]}}  # fmt: skip
    groups: dict[str, Any] = {
        "": (image, {"mine": [1, 2]}),
        "labels": ({"labels": ["cells"]}, {}),
        "labels/cells": (label, {}),
    }
    for name, (ome, others) in groups.items():
        (group.require_group(name) if name else group).attrs.update(ome_zarr.attributes_of(ome, others, zarr_format))
    return arrays


def models_of(path: Path, version: str) -> Any:
    """The image as the validator's models read it; an error where they refuse it."""
    from ome_zarr_models.v04.image import Image as Image04
    from ome_zarr_models.v05.image import Image as Image05

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(path, mode="r")
        return {"0.4": Image04, "0.5": Image05}[version].from_zarr(group)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("scheduler", [False, True])
def test_a_group_gives_a_group(tmp_path: Path, version: str, scheduler: bool) -> None:
    """All levels, labels exactly, and the metadata of every group, with and without the driver of large arrays."""
    source, target = tmp_path / "s.zarr", tmp_path / "t.zarr"
    arrays = write_source(source, version)
    if scheduler:
        encode_array(str(source), str(target), {"lossless": True})
    else:
        goal = ["--ratio", "10", *OPTIONS] if version == "0.5" else ["--lossless"]
        assert main(["encode", str(source), str(target), *goal]) == 0
    before, after = zarr.open_group(source, mode="r"), zarr.open_group(target, mode="r")
    assert after.metadata.zarr_format == before.metadata.zarr_format
    for name in ("", "labels", "labels/cells"):
        first, second = ((group[name] if name else group) for group in (before, after))
        assert dict(second.attrs) == dict(first.attrs)
    for name, values in arrays.items():
        assert after[name].shape == values.shape
        if name.startswith("labels"):
            np.testing.assert_array_equal(after[name][...], values)
    models_of(target, version)
    nodes = list(Reader(parse_url(str(target), mode="r"))())
    assert [node.zarr.basename() for node in nodes][:1] == ["t.zarr"]
    assert [level.shape for level in nodes[0].data] == [(2, 8, 40, 48), (2, 8, 20, 24)]


def test_what_is_no_part_of_an_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables and other arrays of a group do not go along in silence."""
    write_source(tmp_path / "s.zarr", "0.5")
    zarr.open_group(tmp_path / "s.zarr", mode="a").create_group("tables")
    assert main(["encode", str(tmp_path / "s.zarr"), str(tmp_path / "t.zarr"), "--lossless"]) == 0
    assert "tables of it is no part" in capsys.readouterr().err


def test_an_image_is_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To OME-Zarr whole, to a file its finest level with scales and channels; labels that stay behind are named."""
    arrays = write_source(tmp_path / "s.zarr", "0.5")
    assert main(["encode", str(tmp_path / "s.zarr"), str(tmp_path / "t.ome.zarr"), "--lossless"]) == 0
    assert main(["decode", str(tmp_path / "t.ome.zarr"), str(tmp_path / "u.ome.zarr")]) == 0
    group = zarr.open_group(tmp_path / "u.ome.zarr", mode="r")
    for name, values in arrays.items():
        np.testing.assert_array_equal(group[name][...], values)
    assert group.attrs["ome"] == zarr.open_group(tmp_path / "s.zarr", mode="r").attrs["ome"]
    capsys.readouterr()
    assert main(["decode", str(tmp_path / "t.ome.zarr"), str(tmp_path / "u.ome.tif")]) == 0
    assert "labels/cells, the attribute mine of the image stay behind" in capsys.readouterr().err
    with tifffile.TiffFile(tmp_path / "u.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        np.testing.assert_array_equal(file.asarray(), arrays["s0"])
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (2.0, 0.5, "µm")
    assert [one["Name"] for one in pixels["Channel"]] == ["DAPI", "GFP"]
    volume = io.load(tmp_path / "t.ome.zarr" / "s1")
    assert [axis.scale for axis in volume.record.axes] == [None, 2.0, 1.0, 1.0]
    assert [axis.origin for axis in volume.record.axes] == [None, None, 0.25, 0.25]


def test_a_file_becomes_an_image(tmp_path: Path) -> None:
    """With levels, axes in OME's order, units, channels and what OME has no word for; and back to the same file."""
    values = np.arange(2 * 4 * 300 * 20, dtype="u2").reshape(4, 2, 300, 20)
    told = {"axes": "ZCYX", "spacing": 2.0, "unit": "um", "Labels": [f"p{k}" for k in range(8)]}
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, resolution=(4, 4), metadata=told)
    assert main(["encode", str(tmp_path / "a.tif"), str(tmp_path / "a.ome.zarr"), "--lossless"]) == 0
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    assert group["0"].shape == (2, 4, 300, 20) and group["1"].shape == (2, 4, 150, 10)
    ome = group.attrs["ome"]
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["c", "z", "y", "x"]
    first, second = (one["coordinateTransformations"] for one in ome["multiscales"][0]["datasets"])
    assert first == [{"type": "scale", "scale": [1.0, 2.0, 0.25, 0.25]}]
    assert second[1] == {"type": "translation", "translation": [0.0, 0.0, 0.125, 0.125]}
    models_of(tmp_path / "a.ome.zarr", "0.5")
    assert main(["decode", str(tmp_path / "a.ome.zarr"), str(tmp_path / "b.tif")]) == 0
    with tifffile.TiffFile(tmp_path / "a.tif") as one, tifffile.TiffFile(tmp_path / "b.tif") as other:
        np.testing.assert_equal(other.imagej_metadata, one.imagej_metadata)
        np.testing.assert_array_equal(other.asarray(), one.asarray())


def test_an_image_of_a_file_on_the_driver(tmp_path: Path) -> None:
    """The same levels and metadata with plan, run and finish; a second run has nothing to do."""
    values = field((4, 40, 300), "u2")
    with io.create(tmp_path / "a.nrrd", values.shape, "u2", record=Record(
        tuple(Axis(name, "space", 2.0, "micrometer") for name in "zyx"))) as out:  # fmt: skip
        out[...] = values
    command = ["encode", str(tmp_path / "a.nrrd"), str(tmp_path / "b.zarr"), "--ome", "--lossless"]
    assert main(command) == 0
    assert main(["plan", str(tmp_path / "a.nrrd"), str(tmp_path / "c.zarr"), *command[3:]]) == 0
    assert main(["run", str(tmp_path / "c.zarr")]) == 0
    assert main(["finish", str(tmp_path / "c.zarr")]) == 0
    here, there = (zarr.open_group(tmp_path / name, mode="r") for name in ("b.zarr", "c.zarr"))
    assert dict(here.attrs) == dict(there.attrs)
    assert sorted(name for name, _ in here.arrays()) == sorted(name for name, _ in there.arrays()) == ["0", "1"]
    for name in ("0", "1"):
        np.testing.assert_array_equal(here[name][...], there[name][...])
    assert main(["verify", str(tmp_path / "c.zarr"), "--against", str(tmp_path / "a.nrrd"), "--sample", "100%"]) == 0
    assert main(["encode", str(tmp_path / "a.nrrd"), str(tmp_path / "b.zarr"), "--lossless", "--overwrite"]) == 0
    assert zarr.open_array(tmp_path / "b.zarr", mode="r").shape == values.shape


def test_levels_are_means_of_blocks() -> None:
    """Of 2 x 2 voxels, at the end of an axis of what there is; labels keep values that are there."""
    values = np.array([[1, 3, 5], [3, 5, 7], [10, 12, 20]], "u1")
    np.testing.assert_array_equal(ome_zarr.coarser(values, (2, 2), exact=False)[...], [[3, 6], [11, 20]])
    np.testing.assert_array_equal(ome_zarr.coarser(values, (2, 2), exact=True)[...], [[1, 5], [10, 20]])
    large = np.arange(7 * 11 * 5, dtype="f4").reshape(7, 11, 5)
    whole = ome_zarr.coarser(large, (4, 2, 1), exact=False)
    np.testing.assert_array_equal(whole[1:, 2:5, 3], whole[...][1:, 2:5, 3])


def test_levels_even_out_voxels() -> None:
    """Thick planes are not halved until the others are as thick, and nothing is halved below 256."""
    record = Record((Axis("c", "channel"), Axis("z", "space", 4.0), Axis("y", "space", 1.0), Axis("x", "space", 1.0)))
    factors = ome_zarr.factors_of((2, 40, 4000, 3000), record)
    assert factors[:4] == [(1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 2, 8, 8)]
    assert factors[-1] == (1, 4, 16, 16)
    assert ome_zarr.factors_of((2, 40, 256, 256), record) == [(1, 1, 1, 1)]


def test_orientation_of_levels(tmp_path: Path) -> None:
    """NIfTI becomes an image whose every level knows its place in space, and NIfTI again with the same header."""
    image = nibabel.Nifti1Image(np.arange(300 * 4 * 2, dtype="i2").reshape(300, 4, 2), AFFINE)
    nibabel.save(image, tmp_path / "a.nii")
    assert main(["encode", str(tmp_path / "a.nii"), str(tmp_path / "a.ome.zarr"), "--lossless"]) == 0
    finest, coarse = (io.load(tmp_path / "a.ome.zarr" / name) for name in "01")
    assert finest.record.affine == Affine(matrix_of(AFFINE))
    factors = [a / b for a, b in zip(finest.array.shape, coarse.array.shape)]
    center = (np.array(factors) - 1) / 2
    assert coarse.record.affine is not None
    place = np.array(coarse.record.affine.matrix) @ [0, 0, 0, 1]
    np.testing.assert_allclose(place, AFFINE @ [*center[::-1], 1])
    assert main(["decode", str(tmp_path / "a.ome.zarr"), str(tmp_path / "b.nii")]) == 0
    assert (tmp_path / "b.nii").read_bytes() == (tmp_path / "a.nii").read_bytes()


def test_colours_become_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture in colours is an image of three channels, shown between values of its own, and a picture again."""
    values = field((30, 40, 3), "u1")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    assert main(["encode", str(tmp_path / "a.tif"), str(tmp_path / "a.ome.zarr"), "--lossless"]) == 0
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    assert group["0"].shape == (3, 30, 40)
    channels = group.attrs["ome"]["omero"]["channels"]
    assert [one["color"] for one in channels] == ["FF0000", "00FF00", "0000FF"]
    assert channels[0]["window"]["min"] == 0 and channels[0]["window"]["end"] <= values[..., 0].max()
    models_of(tmp_path / "a.ome.zarr", "0.5")
    assert main(["compare", str(tmp_path / "a.tif"), str(tmp_path / "a.ome.zarr")]) == 0
    assert "largest error              0" in capsys.readouterr().out
    assert main(["decode", str(tmp_path / "a.ome.zarr"), str(tmp_path / "b.tif")]) == 0
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].photometric.name == "RGB"
        np.testing.assert_array_equal(file.asarray(), values)


def test_axes_must_be_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An array without names cannot be an OME-Zarr image: one line says so, and nothing is left behind."""
    np.save(tmp_path / "a.npy", field((8, 16, 16)))
    assert main(["encode", str(tmp_path / "a.npy"), str(tmp_path / "a.ome.zarr")]) == 2
    assert "axes of space" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["a.npy"]


def test_only_an_image_is_replaced(tmp_path: Path) -> None:
    """--overwrite replaces an image with its levels and labels, and nothing that holds anything else."""
    write_source(tmp_path / "s.zarr", "0.5")
    command = ["encode", str(tmp_path / "s.zarr"), str(tmp_path / "t.zarr"), "--lossless"]
    assert main(command) == 0
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    (tmp_path / "t.zarr" / "labels" / "thesis.txt").write_text("years of work")
    assert main([*command, "--overwrite"]) == 2
    assert (tmp_path / "t.zarr" / "labels" / "thesis.txt").read_text() == "years of work"


def test_several_images_are_refused_by_name(tmp_path: Path) -> None:
    """A group of bioformats2raw holds images; the message names the first."""
    root = zarr.open_group(
        tmp_path / "b.zarr", mode="w", attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
    )
    del root
    for k in range(2):
        write_source(tmp_path / "b.zarr" / str(k), "0.5")
    with pytest.raises(ValueError, match=r"group of 2: give .*b\.zarr/0"):
        io.load(tmp_path / "b.zarr")


def test_records_go_through_images(tmp_path: Path) -> None:
    """What a record says is said by an image that is made of it, and its window is not needed without channels."""
    axes = (Axis("t", "time", 0.5, "second"), Axis("c", "channel"), Axis("y", "space", 2.0, "nanometer", 10.0),
            Axis("x", "space", 2.0, "nanometer", 20.0))  # fmt: skip
    record = Record(axes, channels=(Channel("A", "FF00FF"), Channel("B", "FFFF00")), value_scale=(0.5, 3.0), nodata=7.0)
    image = ome_zarr.image_of(io.Volume(np.zeros((3, 2, 4, 5), "u2"), record), "x")
    ome, others = image.groups[""]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, 2, 4, 5), dtype="u2", attributes=image.levels[0].attributes
    )
    assert ome_zarr.record_of(ome, others, "0", array) == record
