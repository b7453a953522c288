"""Label images and masks come back exactly, whatever was asked for, and a target that this misses is told."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field, same_bits
from versions import repacked

from inr_codec import (
    ConfigError,
    CorruptChunk,
    INRCodec,
    INRSerializer,
    TargetMissed,
    UnsupportedFormat,
    decode,
    inspect,
)
from inr_codec.layers.table import open_stream
from inr_codec.stream.frame import Layer, LayerType
from tests.layers.labels.test_labels import cells
from tests.reference_decoder.decoder import decode as plain_decode

MANY = cells((10, 24, 24), 150)


@pytest.mark.parametrize("target", [{"ratio": 100}, {"bpv": 0.1}, {"psnr": 40}], ids=str)
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "i8", "u8"])
def test_labels_are_exact_under_every_target(target: dict[str, Any], dtype: str) -> None:
    """Ids of 8 to 64 bits, in both byte orders; a second decoder reads the same."""
    values = cells((9, 20, 21), 12).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetMissed)
        data = INRCodec(**target).encode(np.asfortranarray(values))
    told, back = inspect(data), decode(data)
    assert told.layers == ("labels",) and told.max_error == 0
    assert same_bits(back, values) and back.dtype == values.dtype and back.flags.f_contiguous
    assert same_bits(np.ascontiguousarray(plain_decode(data)), values)
    assert same_bits(decode(data, selection=np.s_[3, ::2, 5]), values[3, ::2, 5])


def test_labels_that_take_more_than_asked_for_are_told() -> None:
    """One warning for an array of many chunks; `inspect` says so of each, the serializer as well."""
    values = MANY.astype("u2")
    second: dict[str, Any] = {"compressors": INRCodec(ratio=1000), "zarr_format": 2}
    third: dict[str, Any] = {"compressors": None, "serializer": INRSerializer(ratio=1000)}
    for given in (second, third):
        store = zarr.storage.MemoryStore()
        array = zarr.create_array(store, shape=values.shape, chunks=(5, 24, 24), dtype="u2", fill_value=0, **given)
        with pytest.warns(TargetMissed, match="labels are stored exactly") as told:
            array[:] = values
        assert len(told) == 1 and np.array_equal(array[:], values)
    with pytest.warns(TargetMissed):
        data = INRCodec(ratio=1000).encode(values)
    assert inspect(data).missed == ("labels are stored exactly",) and "target missed" in str(inspect(data))


def test_lossy_can_be_insisted_on_and_exactness_too() -> None:
    """labels="never" keeps the ratio; labels="always" stores integers exactly that are no labels."""
    values = MANY.astype("u2")
    data = INRCodec(ratio=100, labels="never", **FAST).encode(values)
    assert len(data) <= values.nbytes / 100 and "labels" not in inspect(data).layers
    image = np.rint(field(noise=0.1) * 100).astype("i4")
    assert not same_bits(decode(INRCodec(ratio=20, **FAST).encode(image)), image)
    with pytest.warns(TargetMissed, match="labels are stored exactly"):
        assert same_bits(decode(INRCodec(ratio=20, labels="always").encode(image)), image)
    with pytest.raises(ConfigError, match="labels"):
        INRCodec(lossless=True, labels="never")
    assert "labels" not in inspect(INRCodec(ratio=60, layers="network", **FAST).encode(values)).layers


def test_a_ball_of_two_values_is_exact_within_its_budget() -> None:
    """30^3 voxels of {0, 200} at 100x may take 540 bytes; any dtype of two values is coded as well."""
    ball = np.where(((np.indices((30,) * 3) - 14.5) ** 2).sum(0) < 100, 200, 0)
    for dtype, ratio in (("i2", 100), ("u1", 50), ("b1", 50), ("f4", 100)):
        values = ball.astype(dtype)
        for options in ({"ratio": ratio}, {"ratio": ratio, "labels": "never"}, {"lossless": True}):
            data = INRCodec(**options).encode(values)
            assert len(data) < 170 and same_bits(decode(data), values)


def test_missing_voxels_take_the_smaller_layer() -> None:
    """Speckle by contexts, within 1 % of its entropy, a pattern by either; the ratio that was reached is told."""
    values, rng = field((32, 40, 40), "f4"), np.random.default_rng(1)
    holes = rng.random(values.shape) < 0.1
    values[holes] = np.nan
    p = holes.mean()
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * holes.size / 8
    data = INRCodec(ratio=20, **FAST).encode(values)
    told = inspect(data)
    assert told.layers[-1] == "missing" and told.ratio >= 20 and told.bytes_by_section["missing"] < 1.01 * entropy
    assert np.array_equal(np.isnan(decode(data)), holes)
    assert np.array_equal(np.isnan(decode(data, selection=np.s_[::3, 7])), holes[::3, 7])
    with pytest.warns(TargetMissed, match="missing takes more bytes alone"):
        assert inspect(INRCodec(ratio=100, **FAST).encode(values)).ratio > 60
    rows = field((32, 40, 40), "f4")
    rows[np.arange(32) % 2 == 0] = np.nan
    assert inspect(INRCodec(ratio=20, **FAST).encode(rows)).layers[-1] in ("mask", "missing")


def test_lossless_takes_the_smallest_of_its_layers() -> None:
    """Labels by contexts, floats and dates of few values too; images by corrections, noise of floats by deflate."""
    labels = cells((9, 30, 30), 20)
    for values in (labels.astype("u4"), labels.astype("f4") / 3, labels.astype("M8[s]"), labels > 9):
        data = INRCodec(lossless=True).encode(values)
        assert inspect(data).layers == ("labels",) and same_bits(decode(data), values)
    image = np.rint(field(noise=0.1) * 100).astype("i4")
    assert inspect(INRCodec(lossless=True).encode(image)).layers == ("correction",)
    noise = np.random.default_rng(0).normal(size=(9, 10, 11))
    assert inspect(INRCodec(lossless=True).encode(noise)).layers == ("lossless",)


def test_layers_of_version_2_are_refused_in_version_1_and_beside_others() -> None:
    """Labels stand alone; one layer covers missing voxels, not two."""
    header, layers = open_stream(INRCodec(ratio=10).encode(cells((9, 9, 9), 3)))
    with pytest.raises(CorruptChunk, match="alone"):
        decode(repacked(header, layers * 2))
    with pytest.raises(UnsupportedFormat, match="version 1"):
        decode(repacked(replace(header, version=1), layers))
    values = np.where(np.random.default_rng(0).random((9, 9, 9)) < 0.3, np.nan, 3)
    header, layers = open_stream(INRCodec(psnr=9).encode(values))
    assert layers[0].type == LayerType.MISSING
    mask = Layer(LayerType.MASK, bytes([0, 0, 0]) + bytes(8) + b"\0")
    with pytest.raises(CorruptChunk, match="once and in order"):
        decode(repacked(header, [mask, *layers]))
