"""Missing numbers: found where they stand apart, exact when decoded, and without weight on the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from samples import FAST, field

from inr_codec import INRCodec, INRSerializer, decode, inspect
from inr_codec.chunk.missing import missing_voxels
from inr_codec.cli import main

SEA = np.s_[:, 4:13, 7:20]


def land(dtype: str, number: float, seed: int = 0) -> Any:
    """A smooth field with a hole that a number stands for."""
    values = (field((6, 20, 24), "f4", seed=seed) + 300).astype(dtype)
    values[SEA] = number
    return values


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("f4", 1e20), ("f4", -9999), ("f8", 9.969209968386869e36), ("i2", -32768), ("i2", -9999), ("i4", -2147483647)]
    + [("f4", 1234.5), ("u2", 65535), ("f2", -999), ("u2", 0), ("f8", -1e300)],
)
def test_what_stands_apart_is_kept_exactly(dtype: str, number: float) -> None:
    """A number far from all others comes back where it was, the others are coded as well as without it."""
    values, plain = land(dtype, number), (field((6, 20, 24), "f4") + 300).astype(dtype)
    hole = values == np.asarray(number, dtype)
    data, without = (INRCodec(ratio=12, **FAST).encode(one) for one in (values, plain))
    back = decode(data)
    assert np.array_equal(back == np.asarray(number, dtype), hole)
    error = float(np.abs(back[~hole].astype("f8") - values[~hole]).max())
    assert error < 3 * float(np.abs(decode(without).astype("f8") - plain).max()) + 1
    assert inspect(data).hi < 500 and inspect(data).lo > 200
    assert inspect(data).max_error == pytest.approx(error, rel=0.02, abs=0.6)


def test_a_number_that_was_given_is_missing_wherever_it_lies() -> None:
    """missing=: inside of the range too, several of them, exactly those voxels; other options keep it."""
    values = land("i4", 300)
    values[2, 3] = 320
    hole = (values == 300) | (values == 320)
    for options in ({"ratio": 15, **FAST}, {"psnr": 50, **FAST}, {"max_error": 3.0}):
        codec = INRCodec(missing=[300, 320], **options)
        assert INRCodec.from_config(codec.get_config()) == codec
        back = decode(codec.encode(values))
        assert np.array_equal(back[hole], values[hole])
        assert not (np.isin(back[~hole], [300, 320]) & (np.abs(back[~hole] - values[~hole]) > 60)).any()


@given(st.integers(0, 2**16), st.sampled_from(["u1", "i2", "u2", "f4"]))
def test_nothing_is_missing_from_images(seed: int, dtype: str) -> None:
    """Fields with noise, dark ones with many zeros, saturated ones and sparse spots hold measurements alone."""
    rng = np.random.default_rng(seed)
    smooth = field((6, 12, 14), "f4", seed=seed) + 30
    top = 255 if dtype == "u1" else 4095
    for values in (
        smooth,
        rng.poisson(np.maximum(smooth - 60, 0) / 10),
        np.clip(smooth * top / 60, 0, top),
        np.where(rng.random(smooth.shape) < 0.2, smooth, 0),
        (smooth > 60) * 200,
    ):
        assert missing_voxels(np.asarray(values).astype(dtype), fill=0.0) is None


@pytest.mark.parametrize("fill", [-5.0, 250.0])
def test_an_array_s_own_fill_value_is_missing(fill: float) -> None:
    """zarr format 3: voxels of the fill value come back exactly, though it lies near the others."""
    values = land("f4", fill)
    array = zarr.create_array(
        {},
        data=values,
        fill_value=fill,
        chunks=values.shape,
        serializer=INRSerializer(ratio=12, **FAST),
        compressors=None,
    )
    assert np.array_equal(array[...] == fill, values == fill)


@pytest.mark.parametrize("way", ["fill value", "_FillValue", "missing_value", "given"])
@pytest.mark.parametrize("scheduler", [False, True])
def test_a_source_s_own_number_is_missing_in_its_copy(way: str, scheduler: bool, tmp_path: Path) -> None:
    """The command line takes it from the source's metadata, or is told; the recipe has it, and it comes back."""
    values = land("i2", 300)
    source = zarr.create_array(tmp_path / "a.zarr", data=values, fill_value=300 if way == "fill value" else 0)
    if way.endswith(("_FillValue", "missing_value")):
        source.attrs[way] = 300
    more = ["--missing", "300"] if way == "given" else []
    more += ["--scheduler", "local", "--workers", "1"] if scheduler else []
    target = str(tmp_path / "b.zarr")
    command = ["encode", str(tmp_path / "a.zarr"), target, "--ratio", "12", "--effort", "fast", "--set", "steps=200"]
    assert main([*command, *more]) == 0
    array = zarr.open_array(target, mode="r")
    assert np.array_equal(array[...][SEA], values[SEA])
    assert '"missing": 300' in array.attrs["lossy_compression_recipe"]
