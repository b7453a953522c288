"""OME-Zarr in, OME-Zarr out: every level, valid metadata, both versions, and the readers that people use."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from samples import FAST, field, psnr

from inr_codec.batch import encode_array, prepare, pyramid
from inr_codec.batch.store import load_plan
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError

AXES = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
OMERO = {
    "channels": [{"color": "00FF00", "window": {"min": 0, "max": 65535, "start": 0, "end": 40000}, "active": True}]
}
SHAPE = (12, 40, 48)


def write_source(path: Path, version: str, values: np.ndarray, count: int = 3) -> list[np.ndarray]:
    """An OME-Zarr group as its specification has it, levels halved along y and x; and its levels."""
    zarr_format: Any = {"0.4": 2, "0.5": 3}[version]
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    levels, datasets = [values], []
    for level in range(count):
        if level:
            last = levels[-1].astype(float)
            mean = last.reshape(last.shape[0], last.shape[1] // 2, 2, last.shape[2] // 2, 2).mean(axis=(2, 4))
            levels.append(np.rint(mean).astype(values.dtype))
        keys = {"name": "v2", "separator": "/"} if zarr_format == 2 else None
        group.create_array(
            str(level), data=levels[-1], chunks=(12, 16, 16), chunk_key_encoding=keys,
            dimension_names=None if zarr_format == 2 else ["z", "y", "x"],
        )  # fmt: skip
        scale = {"type": "scale", "scale": [2.0, 0.5 * 2**level, 0.5 * 2**level]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    scales = {"axes": AXES, "datasets": datasets, "name": "brain", "type": "mean"}
    if version == "0.4":
        group.attrs.update({"multiscales": [scales | {"version": "0.4"}], "omero": OMERO})
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [scales], "omero": OMERO}
    return levels


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both versions, encoded, by version; and the levels as they were."""
    folder = tmp_path_factory.mktemp("made")
    found: dict[str, Any] = {"folder": folder}
    for version in ("0.4", "0.5"):
        found["levels"] = write_source(folder / f"s{version}.zarr", version, field(SHAPE, "u2"))
        encode_array(str(folder / f"s{version}.zarr"), str(folder / f"{version}.zarr"), {"ratio": 20, **FAST})
        found[version] = folder / f"{version}.zarr"
    return found


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_metadata_are_those_of_the_source(made: dict[str, Any], version: str) -> None:
    """Multiscales, axes, scales and omero, where the version keeps them."""
    source, target = (
        dict(zarr.open_group(p, mode="r").attrs) for p in (made["folder"] / f"s{version}.zarr", made[version])
    )
    assert target == source
    assert zarr.open_group(made[version], mode="r").metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_level_is_encoded_within_its_ratio(made: dict[str, Any], version: str) -> None:
    """Of the source's shape and near it, each level 20 times smaller, in keys that the version asks for."""
    group = zarr.open_group(made[version], mode="r")
    for level, values in enumerate(made["levels"]):
        array: Any = group[str(level)]
        assert array.shape == values.shape
        assert psnr(values, array[...]) > 25
        folder = made[version] / str(level)
        keys = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith((".z", "zarr"))]
        assert sum(file.stat().st_size for file in keys) <= values.nbytes / 20
        assert (folder / ("0/0/0" if version == "0.4" else "c/0/0/0")).is_file()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_all_levels_are_verified(made: dict[str, Any], tmp_path: Path, version: str) -> None:
    """Against the source's levels, in a store that was moved; a key of any level that is gone is missed."""
    for name in (f"{version}.zarr", f"{version}.zarr.batch"):
        shutil.copytree(made["folder"] / name, tmp_path / name)
    target, source = tmp_path / f"{version}.zarr", made["folder"] / f"s{version}.zarr"
    assert main(["verify", str(target), "--against", str(source), "--sample", "100%"]) == 0
    for level in range(3):
        key = target / str(level) / ("0/0/0" if version == "0.4" else "c/0/0/0")
        data = key.read_bytes()
        key.unlink()
        assert main(["verify", str(target)]) == 1
        key.write_bytes(data)
    assert main(["verify", str(target)]) == 0


@pytest.mark.parametrize(("source", "zarr_format"), [("0.4", 3), ("0.5", 2)])
def test_versions_can_be_changed(made: dict[str, Any], tmp_path: Path, source: str, zarr_format: Any) -> None:
    """A target of the other zarr format has metadata of the other version."""
    target = tmp_path / "t.zarr"
    group = made["folder"] / f"s{source}.zarr"
    encode_array(str(group), str(target), {"ratio": 20, **FAST}, zarr_format=zarr_format)
    other = {"0.4": "0.5", "0.5": "0.4"}[source]
    assert dict(zarr.open_group(target, mode="r").attrs) == dict(zarr.open_group(made[other], mode="r").attrs)


def test_others_attributes_stay(made: dict[str, Any]) -> None:
    """Writing again changes nothing else."""
    group = zarr.open_group(made["0.5"], mode="r+")
    group.attrs["mine"] = 1
    pyramid.write(load_plan(str(made["0.5"])))
    assert dict(zarr.open_group(made["0.5"], mode="r").attrs)["mine"] == 1
    del group.attrs["mine"]


def test_plain_arrays_have_no_levels(tmp_path: Path) -> None:
    """And groups without multiscales are refused by name."""
    np.save(tmp_path / "a.npy", field((8, 16, 16)))
    encode_array(str(tmp_path / "a.npy"), str(tmp_path / "b.zarr"), {"ratio": 20, **FAST})
    plan = load_plan(str(tmp_path / "b.zarr"))
    assert pyramid.levels(plan) == []
    pyramid.write(plan)
    zarr.open_group(tmp_path / "g.zarr", mode="w").create_array("0", data=field((8, 16, 16)))
    zarr.open_group(tmp_path / "g.zarr", mode="r+").create_array("1", data=field((8, 8, 8)))
    with pytest.raises(ConfigError, match="group"):
        encode_array(str(tmp_path / "g.zarr"), str(tmp_path / "c.zarr"), {"ratio": 20})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.filterwarnings("ignore")
def test_ome_zarr_py_reads_it(made: dict[str, Any], version: str) -> None:
    """The reference reader finds the levels, axes and scales, and reads the voxels that zarr reads."""
    nodes = list(Reader(parse_url(str(made[version]), mode="r"))())
    assert [axis["name"] for axis in nodes[0].metadata["axes"]] == ["z", "y", "x"]
    assert [level.shape for level in nodes[0].data] == [values.shape for values in made["levels"]]
    assert nodes[0].metadata["coordinateTransformations"][1][0]["scale"] == [2.0, 1.0, 1.0]
    for level, lazy in enumerate(nodes[0].data):
        assert np.array_equal(np.asarray(lazy), zarr.open_group(made[version], mode="r")[str(level)][...])


def test_chunks_follow_the_axes_of_the_group(tmp_path: Path) -> None:
    """Of every level, also in 0.4, where arrays do not name their axes: channels lie apart wherever they stand."""
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=2)
    for level, side in (("0", 64), ("1", 32)):
        group.create_array(level, shape=(40, 2, side, side), chunks=(8, 1, 32, 32), dtype="u2")
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "zcyx"]
    datasets = [{"path": level, "coordinateTransformations": [{"type": "scale", "scale": [1.0] * 4}]} for level in "01"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    plan = prepare(str(tmp_path / "s.zarr"), str(tmp_path / "t.zarr"), {"ratio": 20})
    assert plan.axes == ("z", "c", "y", "x")
    assert plan.chunks == (40, 1, 64, 64)
    assert load_plan(str(tmp_path / "t.zarr/1")).axes == plan.axes
