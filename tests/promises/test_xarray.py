"""Lazy reading through dask and xarray, in processes that import nothing of ours; a whole dataset in one encoding."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray
import zarr
from samples import FAST, field, psnr, same_bits

from inr_codec import INRCodec, INRSerializer

SHAPE, CHUNKS = (18, 20, 24), (8, 16, 24)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def encoding(zarr_format: int) -> dict[str, Any]:
    """What xarray calls one variable's encoding."""
    if zarr_format == 2:
        return {"compressors": (INRCodec(ratio=10, **FAST),)}
    return {"serializer": INRSerializer(ratio=10, **FAST), "compressors": None}


@pytest.fixture(scope="module", params=[2, 3])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[xarray.Dataset, Path]:
    """A dataset of every kind of variable, and where it was written with one encoding for all of them."""
    rng = np.random.default_rng(0)
    data = xarray.Dataset(
        {
            "temperature": (("time", "y", "x"), field(SHAPE)),
            "counts": (("time", "y", "x"), field(SHAPE, "u2")),
            "holes": (("time", "y", "x"), np.where(field(SHAPE) > 70, np.nan, field(SHAPE)).astype("f4")),
            "mask": (("time", "y", "x"), rng.random(SHAPE) > 0.5),
            "names": (("y",), np.array([f"row {k}" for k in range(SHAPE[1])], "U8")),
            "scalar": ((), 3.5),
        },
        coords={
            "time": np.datetime64("2026-01-01", "ns") + np.arange(SHAPE[0]) * np.timedelta64(1, "D"),
            "y": np.linspace(-1, 1, SHAPE[1]),
            "x": np.arange(SHAPE[2]),
            "quality": (("time", "y"), rng.integers(0, 5, SHAPE[:2])),
        },
        attrs={"made": "by a test"},
    )
    path = tmp_path_factory.mktemp("xarray") / "data.zarr"
    options = {
        name: encoding(request.param) | ({"chunks": CHUNKS} if variable.ndim == 3 else {})
        for name, variable in data.variables.items()
    }
    data.to_zarr(path, zarr_format=request.param, encoding=options, consolidated=False)
    return data, path


def test_a_dataset_is_written_with_one_encoding(dataset: tuple[xarray.Dataset, Path]) -> None:
    """Volumes are near; masks, times, strings, scalars and coordinates are exact; NaN stay where they were."""
    data, path = dataset
    with xarray.open_zarr(path, consolidated=False) as read:
        for name in ("mask", "names", "scalar", "quality", "time", "y", "x"):
            assert np.array_equal(read[name].values, data[name].values), name
            assert read[name].dtype == data[name].dtype, name
        for name in ("temperature", "counts", "holes"):
            assert psnr(data[name].values, read[name].values) > 20, name
            assert read[name].dtype == data[name].dtype, name
        assert np.array_equal(np.isnan(read["holes"].values), np.isnan(data["holes"].values))
        assert read.attrs == data.attrs


def test_parts_of_a_dataset_are_those_of_the_whole(dataset: tuple[xarray.Dataset, Path]) -> None:
    """isel, sel and vectorised selection, lazily through dask, give what the loaded dataset gives."""
    _, path = dataset
    with xarray.open_zarr(path, consolidated=False) as lazy:
        volume = lazy["temperature"]
        assert volume.chunks == ((8, 8, 2), (16, 4), (24,))
        whole = volume.load().copy()
    with xarray.open_zarr(path, consolidated=False) as lazy:
        volume = lazy["temperature"]
        where = xarray.DataArray([1, 9, 17], dims="point")
        for selection in (
            {"time": 3},
            {"time": slice(2, 17, 5), "x": [1, 5, 7]},
            {"time": where, "y": where},
            {"y": slice(None, None, -1)},
        ):
            xarray.testing.assert_identical(volume.isel(selection).load(), whole.isel(selection))
        xarray.testing.assert_identical(volume.sel(time="2026-01-05").load(), whole.sel(time="2026-01-05"))


def test_an_encoded_dataset_is_written_again(dataset: tuple[xarray.Dataset, Path], tmp_path: Path) -> None:
    """The encoding that xarray reads back writes the same codec to a copy."""
    _, path = dataset
    with xarray.open_zarr(path, consolidated=False) as read:
        form = zarr.open_group(path, mode="r").metadata.zarr_format
        read[["temperature"]].to_zarr(tmp_path / "copy.zarr", zarr_format=form, consolidated=False)
    first, second = (zarr.open_array(p / "temperature", mode="r") for p in (path, tmp_path / "copy.zarr"))
    assert first.metadata.to_dict().get("codecs") == second.metadata.to_dict().get("codecs")
    assert first.metadata.to_dict().get("compressor") == second.metadata.to_dict().get("compressor")


@pytest.mark.slow
def test_a_fresh_process_reads_lazily(dataset: tuple[xarray.Dataset, Path]) -> None:
    """xarray.open_zarr and dask.array.from_zarr work in a process that imports nothing of ours."""
    data, path = dataset
    script = """
import json, sys
import dask, dask.array, xarray
path = sys.argv[1]
with xarray.open_zarr(path, consolidated=False) as data:
    plane = data["temperature"].isel(time=3)
    a = float(plane.mean())
    with dask.config.set(scheduler="threads", num_workers=4):
        b = float(plane.mean())
lazy = dask.array.from_zarr(path, component="temperature")
c = float(lazy[3].mean().compute(scheduler="threads", num_workers=4))
print(json.dumps([a, b, c]))
"""
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    means = json.loads(run.stdout)
    assert means == pytest.approx([float(data["temperature"][3].mean())] * 3, abs=5)
    assert means == pytest.approx([means[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_dask_writes_and_reads_chunk_by_chunk(zarr_format: int, tmp_path: Path) -> None:
    """A dask array stored into an encoded array by four threads is read back lazily, equal to the array itself."""
    values = field(SHAPE)
    options = {"compressors": INRCodec(ratio=10, **FAST)} if zarr_format == 2 else encoding(3)
    target = zarr.create_array(
        tmp_path / "a.zarr", shape=SHAPE, chunks=CHUNKS, dtype="f4", zarr_format=zarr_format, **options
    )
    source = dask.array.from_array(values, chunks=CHUNKS)
    dask.array.store(source, target, lock=False, scheduler="threads", num_workers=4)
    lazy = dask.array.from_zarr(tmp_path / "a.zarr")
    assert lazy.chunks == source.chunks
    whole = lazy.compute(scheduler="threads", num_workers=4)
    assert same_bits(whole, target[...])
    assert same_bits(lazy[5, ::2].compute(), np.ascontiguousarray(whole[5, ::2]))
    assert psnr(values, whole) > 20
