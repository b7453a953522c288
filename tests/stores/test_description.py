"""The record of what was done: the same whoever wrote the array, every figure with its scope, and what reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from samples import FAST, field, psnr

import inr_codec
from inr_codec import INRCodec, INRSerializer, batch
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError

VALUES = field((10, 16, 20), "u2")
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}
CHUNKS = (8, 16, 16)
ZARR3 = {"serializer": INRSerializer(**SETTINGS), "compressors": None}

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def told(array: Any) -> dict[str, Any]:
    """The record of an array, without its common prefix."""
    return {name.removeprefix("lossy_compression_"): value for name, value in array.attrs.items() if "lossy" in name}


@pytest.mark.parametrize("way", ["format 3", "shards", "format 2", "memory", "url"])
def test_the_record_is_that_of_the_command_line(way: str, tmp_path: Path) -> None:
    """One call gives an array of zarr what the driver writes, and its figures are those of the decoded voxels."""
    np.save(tmp_path / "v.npy", VALUES)
    batch.encode_array(str(tmp_path / "v.npy"), str(tmp_path / "cli.zarr"), SETTINGS, chunks=CHUNKS, per_chunk=True)
    expected = told(zarr.open_array(tmp_path / "cli.zarr", mode="r"))
    options: dict[str, Any] = {"compressors": INRCodec(**SETTINGS), "zarr_format": 2} if way == "format 2" else ZARR3
    options |= {"shards": (16, 16, 32)} if way == "shards" else {}
    store: Any = {"memory": {}, "url": "memory://described/a.zarr"}.get(way, str(tmp_path / "a.zarr"))
    array = zarr.create_array(store, shape=VALUES.shape, chunks=CHUNKS, dtype="u2", **options)
    array[:] = VALUES
    array.attrs["patient"] = 7
    record = inr_codec.describe(array)
    assert told(array) == expected and array.attrs["patient"] == 7
    assert {name.removeprefix("lossy_compression_") for name in record} == set(expected)
    decoded = array[:]
    assert expected["psnr"] == pytest.approx(psnr(VALUES, decoded), abs=0.05)
    assert expected["max_error"] >= np.abs(decoded.astype(int) - VALUES).max()
    assert expected["psnr_scope"].startswith("array") and "max - min of the array" in expected["psnr_scope"]
    assert expected["least_psnr_scope"].startswith("worst chunk") and "units" in expected["max_error_scope"]
    assert "inr_codec" in expected["reader"] and json.loads(expected["recipe"])["ratio"] == 20


@pytest.mark.parametrize("consolidated", [False, True])
def test_a_data_set_of_xarray_is_described(consolidated: bool, tmp_path: Path) -> None:
    """Every array of a group gets its record, and who reads it through consolidated metadata sees it too."""
    data = xarray.Dataset({"signal": (("z", "y", "x"), VALUES)}, coords={"z": np.arange(10) * 2.5})
    encoding = {name: {"compressors": [INRCodec(**SETTINGS)]} for name in data.variables}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2, encoding=encoding, consolidated=consolidated)
    record = inr_codec.describe(tmp_path / "a.zarr")
    assert set(record) == {"signal", "z"} and record["z"]["lossy_compression_max_error"] == 0
    assert inr_codec.describe(tmp_path / "a.zarr" / "signal") == record["signal"]
    opened = xarray.open_zarr(tmp_path / "a.zarr", consolidated=consolidated)["signal"]
    assert opened.attrs["lossy_compression_psnr"] == record["signal"]["lossy_compression_psnr"]


def test_what_cannot_be_described(tmp_path: Path) -> None:
    """Arrays of others, arrays that are open for reading only, and what is no array: an error that says so."""
    zarr.create_array(tmp_path / "plain.zarr", shape=(4,), dtype="u1")
    zarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=CHUNKS, **ZARR3)
    zarr.open_group(tmp_path / "g.zarr", mode="w")
    for wrong, said in (
        (tmp_path / "plain.zarr", "last codec"),
        (tmp_path / "none.zarr", "found none"),
        (tmp_path / "g.zarr", "got none"),
        (VALUES, "expected a zarr array"),
        (zarr.open_array(tmp_path / "a.zarr", mode="r"), "open for writing"),
    ):
        with pytest.raises(ConfigError, match=said):
            inr_codec.describe(wrong)


@pytest.mark.parametrize("scheduler", [[], ["plan"]])
def test_the_psnr_is_printed_on_every_path(
    scheduler: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """encode and finish print the PSNR of the array with its peak; an exact array is called that."""
    np.save(tmp_path / "v.npy", VALUES)
    for options, name in ((["--ratio", "20", "--effort", "fast"], "a"), (["--lossless"], "b")):
        source, target = str(tmp_path / "v.npy"), str(tmp_path / f"{name}.zarr")
        assert main(["plan" if scheduler else "encode", source, target, *options, "--chunks", "8,16,16"]) == 0
        if scheduler:
            assert main(["run", target]) == 0 and main(["finish", target]) == 0
        said = next(line for line in capsys.readouterr().out.splitlines() if "PSNR" in line)
        value = psnr(VALUES, zarr.open_array(target, mode="r")[:])
        assert "peak = max - min of the array" in said
        printed = said.split("PSNR ")[1].split()[0]
        assert printed == "exact" if name == "b" else float(printed) == pytest.approx(value, abs=0.05)
