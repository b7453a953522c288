"""Bytes that lie: every kind of layer damaged, shuffled and forged gives an array or an error, in little memory."""

import random
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from forging import golden, header_of, network_of, reads_or_refuses, sealed
from fuzz import PARSERS, blind, mutated, parsers
from samples import FAST, field
from versions import repacked

from inr_codec import CorruptChunk, INRCodec, INRSerializer, UnsupportedFormat, decode
from inr_codec.batch.verify import verify
from inr_codec.chunk.intensity import DTYPES
from inr_codec.layers.network.payload import FLAT, MEAN, SIZE, STD
from inr_codec.stream.byteio import ByteWriter
from inr_codec.stream.frame import Layer, LayerType, pack_stream, unpack_stream

GOLDEN = (
    "prior",
    "bounded-order",
    "nerf",
    "siren",
    "all-layers",
    "all-layers-nerf",
    "lossless-table",
    "constant-padded",
)
TINY = ("levels", "based", "nerf", "lossless", "labels", "missing")
CASES = 200
"""Damaged streams of one kind that are decoded; all of a stream shorter than that."""


@cache
def tiny(name: str) -> bytes:
    """Streams of some dozens of bytes."""
    match name:
        case "levels":
            return INRCodec(max_error=9).encode(np.rint(field((3, 5, 6), "f4")).astype("i2"))
        case "based":
            base = unpack_stream(golden("bounded-order"))
            return repacked(base[0], [base[1][0], Layer(LayerType.CORRECTION, base[1][1].payload[:60])])
        case "nerf":
            return INRCodec(bpv=3, architecture="nerf", **FAST).encode(field((8, 9, 7)))
        case "labels":
            return INRCodec(ratio=10).encode(np.indices((9, 9, 9)).sum(0) // 7 * 1000)
        case "missing":
            return INRCodec(psnr=9).encode(np.where(np.indices((9, 9, 9)).sum(0) % 9 < 3, np.nan, 3.0))
        case _:
            return INRCodec(lossless=True).encode(field((2, 3, 4), "f4"))


@pytest.mark.parametrize("name", GOLDEN)
def test_every_cut_and_every_flipped_bit_is_noticed(name: str) -> None:
    """No prefix of a stream and no stream with one bit changed is decoded."""
    data = golden(name)
    for end in range(len(data)):
        with pytest.raises(CorruptChunk):
            decode(data[:end])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnsupportedFormat if bit // 8 == 3 else CorruptChunk):
            decode(bytes(damaged))


def flipped(data: bytes) -> Iterator[bytes]:
    """The stream with one bit changed under a good checksum: all bits of the first 38 bytes, then every n-th."""
    bits = 8 * len(data)
    first = min(64 + 240, bits)
    for bit in (*range(64, first), *range(first, bits, max(1, (bits - first) // CASES))):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield sealed(bytes(damaged))


@pytest.mark.parametrize("name", [*GOLDEN, *(f"tiny {name}" for name in TINY)])
def test_damage_under_a_good_checksum_reads_or_is_refused(name: str) -> None:
    """Flipped bits and cuts that the checksum does not show: an array of the header's shape or an error."""
    data = tiny(name[5:]) if name.startswith("tiny") else golden(name)
    seen = [reads_or_refuses(stream) for stream in flipped(data)]
    seen += [reads_or_refuses(sealed(data[:end])) for end in range(9, len(data), max(1, len(data) // 100))]
    assert "read" in seen and "refused" in seen


def test_layers_of_other_streams_in_any_order_read_or_are_refused() -> None:
    """Layers swapped, doubled, and taken from streams of other shapes and dtypes."""
    streams = [unpack_stream(golden(name)) for name in GOLDEN]
    layers = [layer for _, found in streams for layer in found]
    rng = random.Random(0)
    for header, own in streams:
        for _ in range(15):
            reads_or_refuses(repacked(header, rng.sample(layers, rng.randint(1, 3))))
            reads_or_refuses(repacked(header, rng.sample(own, len(own))))
            reads_or_refuses(repacked(header, own + rng.sample(own, 1)))


@pytest.mark.parametrize("code", [*range(len(DTYPES)), 31])
@pytest.mark.parametrize(
    "shape", [(2**60,), (2**62, 2**62), (2**16, 2**15), (2**21, 2**21, 2**21), (2**60, 0)], ids=str
)
def test_shapes_beyond_the_limit_are_refused(code: int, shape: tuple[int, ...]) -> None:
    """2^31 voxels and more are refused by the header, whatever layers follow."""
    out = ByteWriter()
    out.raw(bytes([code, len(shape)]))
    for n in shape:
        out.varint(n)
    if code < len(DTYPES):
        out.raw(bytes(2 * np.dtype(DTYPES[code]).itemsize + 4))
    else:
        out.raw(b"\x03\x0b\x03|u1" + zlib.compress(b"", 9)[:7])
    for tail in (b"", b"\x04\x00"):
        with pytest.raises(CorruptChunk):
            decode(sealed(b"INR\x01" + bytes(4) + out.getvalue() + tail))


@pytest.mark.parametrize("lie", [-1, 1, 127, 2**14, 2**31, 2**62])
@pytest.mark.parametrize("name", GOLDEN)
def test_lengths_that_lie_are_refused_or_read(name: str, lie: int) -> None:
    """Each layer's length replaced by another: no reader goes past the end."""
    header, layers = unpack_stream(golden(name))
    for at in range(len(layers)):
        out = ByteWriter()
        out.raw(repacked(header, layers[:at]))
        for n, layer in enumerate(layers[at:]):
            out.uint(layer.type, 1)
            out.varint(max(len(layer.payload) + (lie if n == 0 else 0), 0))
            out.raw(layer.payload)
        assert reads_or_refuses(sealed(out.getvalue())) == "refused" or lie == -1


@pytest.mark.parametrize("step", [-64 - 24, -63 - 24, 255 - 24, 2**23, -(2**23)])
@pytest.mark.parametrize("symbol", [1, -1, 2**24 - 1, -(2**24 - 1)])
@pytest.mark.parametrize("std", [-16, 0, 239, 2**20, -(2**20)])
def test_weights_and_scales_that_overflow_stay_in_the_range(step: int, symbol: int, std: int) -> None:
    """The largest symbols, steps, means and standard deviations: values between lo and hi, never NaN, or an error."""
    tensors = [pair for t in range(4) for pair in ((5 + t, step if t == 0 else 0), *([(9 + t, symbol)] * 3))]
    for mean in (0, 2**24 - 1, -(2**24 - 1)):
        payload = network_of(2, (SIZE, 1), (MEAN, mean), (STD, std), *tensors)
        for dtype in ("f4", "u1", "f2"):
            try:
                values = decode(pack_stream(header_of((5, 6, 7), dtype), [Layer(LayerType.NETWORK, payload)]))
            except CorruptChunk:
                continue
            assert np.isfinite(values).all()
            assert values.min() >= 0 and values.max() <= 100
    flat = network_of(2, (SIZE, 0), (FLAT, symbol))
    assert np.isfinite(decode(pack_stream(header_of((5, 6, 7)), [Layer(LayerType.NETWORK, flat)]))).all()


@pytest.mark.parametrize("number", [b"\xff\xff\xff", b"\x7f\x80\x00", b"\x7f\x7f\xff", b"\xff\x80\x00"], ids=bytes.hex)
@pytest.mark.parametrize("at", [0, 3])
def test_numbers_of_a_residual_that_are_none_are_refused_or_clipped(number: bytes, at: int) -> None:
    """NaN, infinities and the largest float as step or mean: an error, or values between lo and hi."""
    payload = bytearray(unpack_stream(golden("residual"))[1][0].payload)
    payload[at : at + 3] = number
    header = unpack_stream(golden("residual"))[0]
    data = repacked(header, [Layer(LayerType.RESIDUAL, bytes(payload))])
    try:
        values = decode(data)
    except CorruptChunk:
        return
    assert header.intensity is not None
    assert values.min() >= header.intensity.lo and values.max() <= header.intensity.hi


WAYS: dict[str, dict[str, Any]] = {
    "format 2": {"zarr_format": 2, "compressors": INRCodec(ratio=10, **FAST)},
    "format 3": {"serializer": INRSerializer(ratio=10, **FAST), "compressors": None},
    "shards": {"serializer": INRSerializer(ratio=10, **FAST), "compressors": None, "shards": (16, 8, 8)},
}


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign", "newer"])
@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_chunk_is_named_and_the_others_are_read(way: str, damage: str, tmp_path: Path) -> None:
    """One error for reads that touch the chunk, with its key where zarr tells it; `verify` names it in every format."""
    path = tmp_path / "a.zarr"
    values = field((16, 8, 16))
    array = zarr.create_array(path, shape=values.shape, chunks=(8, 8, 8), dtype="f4", **WAYS[way])
    array[...] = values
    before = array[...]
    key = {"format 2": "1.0.1", "format 3": "c/1/0/1", "shards": "c/0/0/1"}[way]
    stored = (path / key).read_bytes()
    start = stored.rindex(b"INR\x02") if way == "shards" else 0
    stream = bytearray(stored[start:])
    match damage:
        case "flipped":
            stream[30] ^= 16
        case "cut" if way != "shards":
            del stream[-5:]
        case "empty" if way != "shards":
            stream.clear()
        case "newer":
            stream[3] = 9
        case _:
            stream[: len(b"PNG")] = b"PNG"
    (path / key).write_bytes(stored[:start] + bytes(stream))
    array = zarr.open_array(path, mode="r")
    named = {"format 2": "expected", "format 3": "c/1/0/1", "shards": r"\(1, 0, 0\) of its shard"}[way]
    if way == "shards" and start == 0:
        named = "of its shard"
    error = UnsupportedFormat if damage == "newer" else CorruptChunk
    for selection in (np.s_[...], np.s_[12, 2, 9:]):
        with pytest.raises(error, match=named) as caught:
            array[selection]
        assert "\n" not in str(caught.value)
    assert np.array_equal(array[:8, :, :8], before[:8, :, :8])
    assert np.array_equal(array[8:, :, :8], before[8:, :, :8])
    found = verify(str(path))
    assert found.corrupt == 1
    assert found.problems[0][0] == key


def test_the_fuzzer_watches_all_parsers() -> None:
    """Every module that it names is there and has functions whose coverage guides it."""
    assert {function.__module__ for function in parsers()} == {f"inr_codec.{name}" for name in PARSERS}


@pytest.mark.parametrize("name", GOLDEN)
def test_what_the_fuzzer_makes_reads_or_is_refused(name: str) -> None:
    """Layers shuffled, doubled, dropped, renamed and damaged, each time under a good checksum."""
    for seed in range(10):
        reads_or_refuses(mutated(golden(name), seed, blind), 1 << 16)
