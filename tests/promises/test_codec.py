"""The numcodecs codec: options, buffers in and out, and what importing the package costs."""

import array
import inspect as python_inspect
import json
import pickle
import subprocess
import sys
from dataclasses import fields
from typing import Any, Never, get_type_hints

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import FAST, field, same_bits

import inr_codec
from inr_codec import INRCodec, INRSerializer
from inr_codec.config import Config
from inr_codec.errors import ConfigError, UnsupportedArray

OPTIONS = st.fixed_dictionaries(
    {"ratio": st.one_of(st.integers(1, 10**6), st.floats(1, 1e6))},
    optional={
        "effort": st.sampled_from(["fast", "default", "best"]),
        "seed": st.integers(0, 2**32 - 1),
        "preset": st.just("paper"),
        "architecture": st.just("funnel"),
        "partition": st.sampled_from(["spectrum", "equal"]),
        "max_blocks": st.integers(1, 64),
        "depth": st.integers(2, 16),
        "w0": st.floats(1, 100),
        "deblock": st.booleans(),
    },
)


@pytest.mark.parametrize("kind", [INRCodec, INRSerializer])
def test_the_signature_shows_every_option_of_the_config(kind: type) -> None:
    """Names, order, defaults and types of the keyword-only parameters are those of Config, and help() explains each."""
    *parameters, unknown = python_inspect.signature(kind).parameters.values()
    assert (unknown.kind, unknown.annotation) == (unknown.VAR_KEYWORD, Never)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    assert [(p.name, p.default) for p in parameters] == [(f.name, f.default) for f in fields(Config)]
    hints = get_type_hints(kind.__init__)
    assert {name: hints[name] for name in hints if name not in ("return", "unknown")} == get_type_hints(Config)
    words = set((kind.__init__.__doc__ or "").replace(",", " ").split())
    assert {f.name for f in fields(Config)} <= words


@given(OPTIONS)
def test_the_configuration_is_json_and_makes_an_equal_codec(options: dict[str, Any]) -> None:
    """Through JSON, through pickle, through repr and through the registry comes the same codec."""
    codec = INRCodec(**options)
    config = codec.get_config()
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    assert config["id"] == "inr_codec"
    for twin in (
        numcodecs.get_codec(json.loads(json.dumps(config))),
        pickle.loads(pickle.dumps(codec)),
        eval(repr(codec)),
        INRCodec.from_config(config),
    ):
        assert twin == codec
        assert hash(twin) == hash(codec)
        assert twin.get_config() == config


def test_codecs_differ_when_an_option_does() -> None:
    """Equality is that of the options; a codec equals nothing that is not one."""
    assert INRCodec(ratio=100) == INRCodec(ratio=100.0)
    assert INRCodec(ratio=100) != INRCodec(ratio=101)
    assert INRCodec(ratio=8) != INRCodec(bpv=8)
    ones, twos = np.ones((4, 4)), np.full((4, 4), 2.0)
    assert INRCodec(ratio=8, weights=ones) == INRCodec(ratio=8, weights=ones.copy())
    assert INRCodec(ratio=8, weights=ones) != INRCodec(ratio=8, weights=twos)
    assert INRCodec(ratio=100) != numcodecs.Zlib()


def test_numbers_of_numpy_are_taken_as_plain_ones() -> None:
    """numpy scalars are accepted as options, and none is left in the configuration."""
    codec = INRCodec(ratio=np.float32(64), depth=np.int64(4), deblock=np.bool_(False))  # type: ignore[arg-type]
    assert codec == INRCodec(ratio=64, depth=4, deblock=False)
    assert {type(value) for value in codec.get_config().values()} <= {str, int, float, bool}


def test_an_option_of_a_newer_release_is_named() -> None:
    """A stored configuration or a call with an unknown option names the codec, the option and the nearest known one."""
    with pytest.raises(ConfigError, match=r"inr_codec, got sparkle=1: .* install a release that knows it"):
        numcodecs.get_codec({"id": "inr_codec", "ratio": 100, "sparkle": 1})
    with pytest.raises(ConfigError, match=r"inr_codec, got funel_ratio=3: did you mean funnel_ratio=\?"):
        INRSerializer.from_dict({"name": "inr_codec", "configuration": {"ratio": 9, "funel_ratio": 3}})
    for kind in (INRCodec, INRSerializer):
        with pytest.raises(ConfigError, match=f"option of {kind.__name__}, got dept=4: did you mean depth="):
            kind(ratio=100, dept=4)


def test_the_registry_finds_the_codec_by_its_entry_point() -> None:
    """A process that imports nothing of ours decodes what was encoded here."""
    values = np.arange(12).reshape(3, 4)
    script = (
        "import sys, numcodecs\n"
        "codec = numcodecs.get_codec({'id': 'inr_codec', 'ratio': 100})\n"
        "print(codec.decode(bytes.fromhex(sys.stdin.read())).tolist())\n"
    )
    data = INRCodec(ratio=100).encode(values)
    run = subprocess.run([sys.executable, "-c", script], input=data.hex(), capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == values.tolist()


@pytest.mark.slow
def test_reading_works_where_the_encoder_libraries_are_missing() -> None:
    """`import inr_codec` loads neither numpy nor numba; decode and inspect need numpy, numba and numcodecs alone."""
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['scipy', 'threadpoolctl', 'torch', 'ortools', 'dask', 'zarr', 'xarray']))\n"
        "import inr_codec\n"
        "assert not {'numpy', 'numba'} & set(sys.modules)\n"
        "data = bytes.fromhex(sys.stdin.read())\n"
        "inr_codec.decode(data, selection=3); inr_codec.inspect(data)\n"
        "print(inr_codec.INRCodec(ratio=2).decode(data).shape)\n"
    )
    data = INRCodec(ratio=100, **FAST).encode(field())
    run = subprocess.run([sys.executable, "-c", script], input=data.hex(), capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "(16, 32, 32)"


def test_the_package_lists_its_names() -> None:
    """Every public name exists, is listed by dir(), and others raise AttributeError."""
    for name in inr_codec.__all__:
        assert getattr(inr_codec, name) is not None
    assert set(inr_codec.__all__) <= set(dir(inr_codec))
    assert inr_codec.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nonsense"):
        inr_codec.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "buffer",
    [bytes(range(256)) * 300, bytearray(b"ab" * 40_000), memoryview(b"text" * 20_000), b""],
    ids=["bytes", "bytearray", "memoryview", "empty"],
)
def test_raw_bytes_come_back_exact(buffer: Any) -> None:
    """What is a buffer of bytes and no array (what another codec made) is stored losslessly, whatever its length."""
    codec = INRCodec(ratio=100)
    decoded = codec.decode(codec.encode(buffer))
    assert bytes(decoded) == bytes(buffer)
    assert decoded.dtype == np.uint8


def test_buffers_of_numbers_are_arrays() -> None:
    """array.array and typed memoryviews keep their shape and type."""
    codec = INRCodec(ratio=20, **FAST)
    numbers = array.array("d", [0.5, -1.0, 3.25])
    assert same_bits(codec.decode(codec.encode(numbers)), np.array(numbers))
    volume = field()
    assert codec.encode(memoryview(volume)) == codec.encode(volume)


def test_out_receives_the_values() -> None:
    """`out` of the chunk's shape takes the values whatever its memory order; a flat buffer takes the memory."""
    volume = np.asfortranarray(field(dtype="<u2"))
    codec = INRCodec(ratio=50, **FAST)
    data = codec.encode(volume)
    decoded = codec.decode(data)
    assert decoded.flags.f_contiguous
    for out in (np.empty(volume.shape, "<u2"), np.empty(volume.shape, "<u2", "F"), np.empty(volume.shape, ">u2")):
        assert codec.decode(data, out=out) is out
        assert np.array_equal(out, decoded)
    flat = bytearray(volume.nbytes)
    codec.decode(data, out=flat)
    assert bytes(flat) == decoded.tobytes("A")


@pytest.mark.parametrize(
    "out",
    [
        np.empty((16, 32, 31), np.float32),
        np.empty((32, 32, 16), np.float32),
        np.empty((16, 32, 32), np.int32),
        np.empty((16, 32, 32), np.float64),
        bytearray(7),
        np.broadcast_to(np.float32(0), (16, 32, 32)),
    ],
    ids=["shape", "axes", "dtype", "width", "short", "read-only"],
)
def test_out_that_does_not_fit_is_refused(out: Any) -> None:
    """Wrong shape, wrong dtype, too few bytes and read-only memory are ConfigErrors that name what is there."""
    codec = INRCodec(ratio=50, **FAST)
    data = codec.encode(np.full((16, 32, 32), 7, np.float32))
    with pytest.raises(ConfigError, match=r"writable out= of float32 \(16, 32, 32\)"):
        codec.decode(data, out=out)


@pytest.mark.parametrize(
    "thing", [object(), 3, "text", [1, 2], None, np.array([{}, []], object)], ids=lambda thing: type(thing).__name__
)
def test_what_is_no_array_is_refused(thing: Any) -> None:
    """Objects that are neither arrays nor buffers, and arrays of objects, raise UnsupportedArray."""
    with pytest.raises(UnsupportedArray, match="expected"):
        INRCodec(ratio=50).encode(thing)


@pytest.mark.parametrize("thing", [3, "text", None, object()], ids=lambda thing: type(thing).__name__)
def test_decode_wants_bytes(thing: Any) -> None:
    """decode and inspect of what is no buffer say so; a number is not taken as a length."""
    for read in (inr_codec.decode, inr_codec.inspect):
        with pytest.raises(ConfigError, match="bytes of a stream"):
            read(thing)
