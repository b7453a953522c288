"""The codec of zarr format 3: metadata, refusals at creation, partial decoding with and without an event loop."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, SHAPE, field, voxels_evaluated
from zarr.core.buffer import default_buffer_prototype
from zarr.registry import get_codec_class

from inr_codec import INRCodec, INRSerializer, decode
from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedArray


def created(serializer: INRSerializer, values: np.ndarray, **options: Any) -> zarr.Array:
    """A zarr array in memory that holds `values`."""
    options = {"chunks": values.shape, "compressors": None} | options
    array = zarr.create_array({}, shape=values.shape, dtype=values.dtype, serializer=serializer, **options)
    array[...] = values
    return array


class StoredChunk:
    """A store's getter, asynchronous and synchronous, for one chunk or for one that is missing."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data

    def get_sync(self, prototype: Any, byte_range: Any = None) -> Any:
        return None if self.data is None else prototype.buffer.from_bytes(self.data)


def spec_of(values: np.ndarray) -> Any:
    """What zarr tells a codec of a chunk."""
    specs = []

    class Listening(INRSerializer):
        """Keeps what it is told."""

        def _encode_sync(self, chunk_array: Any, chunk_spec: Any) -> Any:
            specs.append(chunk_spec)
            return super()._encode_sync(chunk_array, chunk_spec)

    created(Listening(ratio=40, **FAST), values)
    return specs[0]


def test_metadata_makes_an_equal_codec() -> None:
    """Through to_dict, JSON, pickle and repr comes the same codec, found by its name in zarr's registry."""
    codec = INRSerializer(ratio=100, effort="best", deblock=False)
    metadata = codec.to_dict()
    assert json.loads(json.dumps(metadata, allow_nan=False)) == metadata
    assert metadata == {"name": "inr_codec", "configuration": {"ratio": 100, "effort": "best", "deblock": False}}
    assert get_codec_class("inr_codec") is INRSerializer
    for twin in (INRSerializer.from_dict(metadata), pickle.loads(pickle.dumps(codec)), eval(repr(codec))):
        assert twin == codec
        assert hash(twin) == hash(codec)
    assert codec != INRSerializer(ratio=100)
    assert codec.config == INRCodec(ratio=100, effort="best", deblock=False).config


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "zstd", "configuration": {"ratio": 3}},
        {"name": "inr_codec", "configuration": {"ratio": 3, "sparkle": 1}},
        {"name": "inr_codec", "configuration": {}},
        {"name": "inr_codec"},
        {"name": "inr_codec", "configuration": [3]},
    ],
    ids=str,
)
def test_metadata_of_something_else_is_refused(metadata: dict[str, Any]) -> None:
    """Another name, an unknown option, no target and no configuration are ConfigErrors."""
    with pytest.raises(ConfigError, match="expected"):
        INRSerializer.from_dict(metadata)


def test_the_encoded_size_is_unknown() -> None:
    """As with every codec that compresses, sizes are known after encoding only."""
    codec = INRSerializer(ratio=100)
    assert not codec.is_fixed_size
    with pytest.raises(NotImplementedError):
        codec.compute_encoded_size(1000, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", [None, (4, 4)])
@pytest.mark.parametrize("dtype", [str, np.dtype([("a", "f4")])], ids=str)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_dtypes_that_cannot_be_stored_are_refused_at_creation(dtype: Any, shards: Any) -> None:
    """Variable-length strings and records raise UnsupportedArray before any chunk is written, inside shards too."""
    with pytest.raises(UnsupportedArray, match="leave serializer= out"):
        zarr.create_array(
            {}, shape=(4, 4), chunks=(2, 2), shards=shards, dtype=dtype, serializer=INRSerializer(ratio=9)
        )


def test_the_stored_chunk_is_the_stream_itself() -> None:
    """With compressors=None nothing wraps the stream: what lies in the store is what INRCodec returns."""
    values = field()
    store: dict[str, Any] = {}
    array = zarr.create_array(
        store, shape=SHAPE, chunks=SHAPE, dtype="f4", serializer=INRSerializer(ratio=40, **FAST), compressors=None
    )
    array[...] = values
    stored = store["c/0/0/0"].to_bytes()
    assert stored == INRCodec(ratio=40, **FAST).encode(values)
    assert np.array_equal(array[...], decode(stored))


def test_a_plane_costs_a_plane(caplog: pytest.LogCaptureFixture) -> None:
    """Reading one z-plane through zarr evaluates 1 / nz of the voxels of each chunk that it crosses, in shards too."""
    codec = INRSerializer(ratio=40, layers="network", deblock=False, partition="none", **FAST)
    values = np.tile(field(), (1, 2, 1))
    for shards in (None, (16, 64, 32)):
        array = created(codec, values, chunks=SHAPE, shards=shards)
        with caplog.at_level("DEBUG", "inr_codec"):
            caplog.clear()
            plane = array[5]
        assert voxels_evaluated(caplog.records) == [values[5].size // 2] * 2
        assert np.array_equal(plane, array[...][5])


@pytest.mark.parametrize(
    "selection", [(3,), np.s_[2:9:3, ::-2], (np.array([[1], [4]]), np.array([[2, 5]]), slice(3, 9))], ids=str
)
def test_pipelines_without_an_event_loop_read_the_same(selection: Any) -> None:
    """The synchronous methods that newer releases of zarr call give what the asynchronous ones give."""
    values = field()
    codec = INRSerializer(ratio=40, **FAST)
    array = created(codec, values)
    spec = spec_of(values)
    data = codec._encode_sync(spec.prototype.nd_buffer.from_numpy_array(values), spec).to_bytes()
    whole = codec._decode_sync(spec.prototype.buffer.from_bytes(data), spec).as_numpy_array()
    assert np.array_equal(whole, array[...])
    part = codec._decode_partial_sync(StoredChunk(data), selection, spec)
    assert part is not None
    assert np.array_equal(part.as_numpy_array(), whole[selection])
    assert codec._decode_partial_sync(StoredChunk(None), selection, spec) is None


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [((16, 32, 31), "f4", "shape"), (SHAPE, "i4", "float32"), (SHAPE, "f8", "float32"), (SHAPE, "?", "float32")],
)
def test_a_chunk_of_another_array_is_found_out(shape: tuple[int, ...], dtype: str, message: str) -> None:
    """A stream of another shape or dtype under a chunk's key raises CorruptChunk, for whole and partial reads."""
    store: dict[str, Any] = {}
    array = zarr.create_array(
        store, shape=SHAPE, chunks=SHAPE, dtype="f4", serializer=INRSerializer(ratio=40, **FAST), compressors=None
    )
    array[...] = field()
    values = field(shape) > 0 if dtype == "?" else field(shape, dtype)
    stranger = INRCodec(ratio=40, **FAST).encode(values)
    store["c/0/0/0"] = default_buffer_prototype().buffer.from_bytes(stranger)
    for selection in (slice(None), 3):
        with pytest.raises(CorruptChunk, match=message):
            array[selection]
