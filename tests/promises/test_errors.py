"""Wrong settings, wrong arrays and damaged bytes: one kind of error each, one line, saying what to do."""

import copy
import pickle
import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from forging import reads_or_refuses, sealed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import FAST, field

from inr_codec import (
    ConfigError,
    CorruptChunk,
    INRCodec,
    InrCodecError,
    INRSerializer,
    UnsupportedArray,
    UnsupportedFormat,
    decode,
)
from inr_codec.stream.frame import Header, Layer, LayerType, pack_stream, unpack_stream

SHAPE = (6, 12, 10)
NAMES = ("network", "auto", "masked", "constant", "bool", "text", "single")


@cache
def stream(name: str) -> bytes:
    """A small stream of every kind."""
    values = field(SHAPE)
    match name:
        case "network":
            options = {"layers": "network", "partition": "equal", "max_blocks": 8}
            return INRCodec(ratio=16, **options, **FAST).encode(values)
        case "auto":
            return INRCodec(ratio=16, **FAST).encode(np.asfortranarray(field(SHAPE, ">i2")))
        case "masked":
            values[values > 60] = np.nan
            values[5:] = -1
            return INRCodec(ratio=16, **FAST).encode(values)
        case "constant":
            return INRCodec(ratio=16).encode(np.full(SHAPE, 3.5, "f2"))
        case "bool":
            return INRCodec(ratio=16).encode(values > 0)
        case "text":
            return INRCodec(ratio=16).encode(np.array([["a", "bc"], ["", "ä"]], order="F"))
        case _:
            return INRCodec(ratio=16).encode(np.array(7))


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_cut_short_anywhere_is_refused(name: str) -> None:
    """Every prefix of a stream, and a stream with more after it, raise CorruptChunk."""
    data = stream(name)
    for end in range(len(data)):
        with pytest.raises(CorruptChunk):
            decode(data[:end])
    with pytest.raises(CorruptChunk):
        decode(data + b"\0")


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_noticed(name: str) -> None:
    """Any single flipped bit raises CorruptChunk or, in the version byte, UnsupportedFormat."""
    data = stream(name)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnsupportedFormat if bit // 8 == 3 else CorruptChunk):
            decode(damaged)


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_under_a_good_checksum_reads_or_is_refused(name: str) -> None:
    """With the checksum made to fit, the parsers meet the damage: an array of the header's shape or an error."""
    data = stream(name)
    for bit in range(64, 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        reads_or_refuses(sealed(bytes(damaged)))


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_cut_short_under_a_good_checksum_reads_or_is_refused(name: str) -> None:
    """Prefixes with a checksum that fits."""
    data = stream(name)
    for end in range(9, len(data)):
        reads_or_refuses(sealed(data[:end]))


@settings(max_examples=300)
@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_garbage_under_a_good_checksum_reads_or_is_refused(name: str, seed: int) -> None:
    """Bytes of a stream overwritten, swapped, repeated and removed at random."""
    rng = random.Random(seed)
    data = bytearray(stream(name))
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randrange(8, len(data) + 1) for _ in range(2))
        match rng.randrange(4):
            case 0:
                data[a:b] = rng.randbytes(b - a)
            case 1:
                data[a:b] = data[a:b][::-1]
            case 2:
                data[a:a] = data[a:b]
            case _:
                del data[a : min(b, a + 3)]
    reads_or_refuses(sealed(bytes(data)))


@given(st.binary(max_size=200))
@example(b"")
@example(b"INR")
@example(b"INR\x01" + bytes(4))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Any bytes at all, and any bytes behind a valid frame."""
    with pytest.raises((CorruptChunk, UnsupportedFormat)):
        decode(data)
    reads_or_refuses(sealed(b"INR\x01" + bytes(4) + data))


@given(st.sampled_from(list(LayerType)), st.binary(max_size=80))
def test_any_payload_is_refused_or_read(kind: LayerType, payload: bytes) -> None:
    """A layer of any bytes, alone and after a network."""
    header, layers = unpack_stream(stream("network"))
    reads_or_refuses(pack_stream(header, [Layer(kind, payload)]))
    reads_or_refuses(pack_stream(header, [*layers, Layer(kind, payload)]))
    reads_or_refuses(pack_stream(Header(SHAPE, None, False, False, None, None), [Layer(kind, payload)]))


def test_layers_in_any_order_read_or_are_refused() -> None:
    """Layers swapped, doubled and taken from another stream."""
    layers = [layer for name in NAMES for layer in unpack_stream(stream(name))[1]]
    rng = random.Random(0)
    for name in NAMES:
        header = unpack_stream(stream(name))[0]
        for _ in range(40):
            reads_or_refuses(pack_stream(header, rng.sample(layers, rng.randint(0, 3))))


@pytest.mark.parametrize(
    "shape",
    [(2**31,), (2**16, 2**16), (2**60, 2**3), (0, 2**60), (2**31 - 1, 1, 1), (1,) * 33, (1290, 1290, 1290)],
    ids=str,
)
def test_shapes_that_promise_too_much_are_refused(shape: tuple[int, ...]) -> None:
    """A few bytes that declare a huge lossless array are refused before anything is allocated."""
    payload = unpack_stream(stream("bool"))[1][0]
    with pytest.raises(CorruptChunk):
        decode(pack_stream(Header(shape, None, False, False, None, None), [payload]))


def test_a_version_to_come_names_both() -> None:
    """A stream of format version 3 is UnsupportedFormat, which names the versions read and the version found."""
    data = bytearray(stream("network"))
    data[3] = 3
    with pytest.raises(UnsupportedFormat, match="version 1 or 2, got 3: install"):
        decode(data)
    unknown_layer = bytes([0, 3, *SHAPE, 0, 1, 0, 0, 0, 0, 200, 0])
    with pytest.raises(UnsupportedFormat, match="got 200: install"):
        decode(sealed(b"INR\x01" + bytes(4) + unknown_layer))


WRONG: dict[str, dict[str, Any]] = {
    "no target": {},
    "two targets": {"ratio": 10, "psnr": 40},
    "three targets": {"ratio": 10, "psnr": 40, "bpv": 1},
    "zero ratio": {"ratio": 0},
    "ratio below one": {"ratio": 0.5},
    "ratio above all": {"ratio": 1e9},
    "negative bpv": {"bpv": -1},
    "ratio is text": {"ratio": "100"},
    "ratio is true": {"ratio": True},
    "ratio is a list": {"ratio": [100]},
    "ratio is nan": {"ratio": float("nan")},
    "psnr is infinite": {"psnr": float("inf")},
    "unknown effort": {"ratio": 10, "effort": "heroic"},
    "no effort": {"ratio": 10, "effort": None},
    "unknown preset": {"ratio": 10, "preset": "sci"},
    "unknown architecture": {"ratio": 10, "architecture": "nerv"},
    "unknown partition": {"ratio": 10, "partition": "tree"},
    "partition is a list": {"ratio": 10, "partition": ["equal"]},
    "negative seed": {"ratio": 10, "seed": -1},
    "fractional seed": {"ratio": 10, "seed": 1.5},
    "no seed": {"ratio": 10, "seed": None},
    "no blocks": {"ratio": 10, "max_blocks": 0},
    "shallow": {"ratio": 10, "depth": 1},
    "fractional depth": {"ratio": 10, "depth": 3.5},
    "narrow funnel": {"ratio": 10, "funnel_ratio": 0},
    "w0 of zero": {"ratio": 10, "w0": 0},
    "deblock is text": {"ratio": 10, "deblock": "yes"},
    "deblock is a number": {"ratio": 10, "deblock": 1},
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", [INRCodec, INRSerializer])
def test_wrong_settings_are_refused_in_one_line(name: str, kind: type) -> None:
    """ConfigError names the option, shows what was got and says what to do; before any array is seen."""
    with pytest.raises(ConfigError) as caught:
        kind(**WRONG[name])
    message = str(caught.value)
    assert message.startswith("expected ")
    assert ", got " in message
    assert "\n" not in message
    option = list(WRONG[name])[-1] if len(WRONG[name]) in (1, 2) and "target" not in name else "target"
    assert option in message


def test_a_chunk_beyond_the_limit_is_refused() -> None:
    """2^31 voxels (that take no memory here) are UnsupportedArray, which says to use smaller chunks."""
    with pytest.raises(UnsupportedArray, match="smaller chunks"):
        INRCodec(ratio=10).encode(np.broadcast_to(np.uint8(0), (2**11, 2**10, 2**10)))


@pytest.mark.parametrize("error", [InrCodecError, ConfigError, UnsupportedArray, CorruptChunk, UnsupportedFormat])
def test_errors_cross_processes(error: type[InrCodecError]) -> None:
    """Every error is a ValueError with one message that survives pickling and copying."""
    raised = error("expected this, got that: do something")
    for twin in (pickle.loads(pickle.dumps(raised)), copy.deepcopy(raised)):
        assert type(twin) is error
        assert str(twin) == str(raised)
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("name", ["network", "auto", "masked"])
def test_a_part_of_a_forged_stream_never_writes_outside(name: str) -> None:
    """Partial reads of streams whose shape was changed under a good checksum read or are refused, too."""
    header, layers = unpack_stream(stream(name))
    for shape in ((1, 1, 1), (6, 12, 11), (60, 1, 12), (12, 10), (720,), (2, 3, 12, 10)):
        forged = replace(header, shape=shape)
        reads_or_refuses(pack_stream(forged, layers))
