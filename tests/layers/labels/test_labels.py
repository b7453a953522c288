"""Labels layer: every bit comes back, a second decoder agrees, sizes are small, damaged bytes are refused."""

import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.errors import CorruptChunk
from inr_codec.layers.labels import label_coder
from inr_codec.layers.labels.payload import pack_labels, unpack_labels
from inr_codec.stream.byteio import ByteWriter
from tests.reference_decoder.labels import labels as plain_labels


def cells(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Voronoi cells, numbered as their centres were drawn."""
    centres = np.random.default_rng(seed).random((count, len(shape))) * shape
    places = np.stack(np.indices(shape), -1)[..., None, :]
    found: np.ndarray = ((places - centres) ** 2).sum(-1).argmin(-1)
    return found


def packed(chunk: np.ndarray) -> bytes:
    """The payload of a chunk, which must have one."""
    data = pack_labels(chunk)
    assert data is not None
    return data


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Shape, dtype and bits."""
    return (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())


SHAPES = [(300,), (17, 19), (1, 18, 1, 19), (6, 7, 8), (2, 3, 4, 9), (2, 2, 3, 3, 7), (40, 1, 3)]
DTYPES = ["|b1", "|u1", "|i1", "<u2", ">i2", "<u4", "<i8", ">u8", "<f4", ">f8", "<M8[s]"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype_and_any_shape_comes_back_bit_by_bit(shape: tuple[int, ...], dtype: str) -> None:
    """Negative ids, 64-bit ids, floats and dates, in both memory orders."""
    rng = np.random.default_rng(len(shape))
    ids = np.frombuffer(rng.bytes(8 * 9), "<u8")
    kind = np.dtype(dtype)
    values: Any = ids.astype(f"u{kind.itemsize}").view(kind.newbyteorder("=")).astype(kind)
    if kind.kind == "b":
        values = np.array([False, True] * 5)[:9]
    chunk = np.ascontiguousarray(values[cells(shape, 9)])
    data = packed(chunk.astype(kind.newbyteorder("=")))
    for order in ("C", "F"):
        decoded = unpack_labels(data, shape, order)  # type: ignore[arg-type]
        assert same(decoded, chunk.astype(kind.newbyteorder("=")))
        assert decoded.flags.c_contiguous if order == "C" else decoded.flags.f_contiguous


@pytest.mark.parametrize("shape", [(200,), (13, 14), (4, 7, 9), (2, 3, 5, 4)], ids=str)
@pytest.mark.parametrize("kind", ["two", "cells", "noise", "all new", "one"])
def test_a_decoder_written_from_the_format_reads_the_same(shape: tuple[int, ...], kind: str) -> None:
    """Every step of section 11: questions, new labels in and out of order, rays, members, a single value."""
    rng = np.random.default_rng(5)
    size = int(np.prod(shape))
    chunk = {
        "two": cells(shape, 6) % 2 == 0,
        "cells": rng.permutation(40)[cells(shape, 30)].astype("i4") - 20,
        "noise": rng.integers(0, 12, shape).astype("u8") * 2**59,
        "all new": np.arange(size).reshape(shape).astype("u4"),
        "one": np.full(shape, 77, "u2"),
    }[kind]
    data = packed(chunk)
    assert same(plain_labels(data, shape), chunk)
    assert same(unpack_labels(data, shape), chunk)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    count=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0, 0.05, 1]),
)
def test_whatever_is_packed_is_unpacked(shape: tuple[int, ...], count: int, seed: int, noise: float) -> None:
    """Cells, cells with specks, and noise of up to 20 values."""
    rng = np.random.default_rng(seed)
    chunk = cells(shape, count, seed).astype("u8") * 3
    specks = rng.random(shape) < noise
    chunk[specks] = rng.integers(0, 60, int(specks.sum()))
    data = pack_labels(chunk)
    assert data is None or same(unpack_labels(data, shape), chunk)


@pytest.mark.parametrize("shape", [(900,), (60, 31), (2, 90), (14, 9, 11)], ids=str)
def test_bytes_are_the_same_whatever_is_coded_at_a_time(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a line, rows of a plane, planes of a volume: in batches of few voxels or in one."""
    rng = np.random.default_rng(1)
    chunk = np.where(rng.random(shape) < 0.1, rng.integers(0, 40, shape), cells(shape, 15)).astype("u2")
    data = packed(chunk)
    for few in (1, 100, 500):
        monkeypatch.setattr(label_coder, "AT_ONCE", few)
        assert packed(chunk) == data and same(unpack_labels(data, shape), chunk)


@pytest.mark.parametrize("shape", [(300_000,), (700, 900), (40, 90, 90)], ids=str)
def test_large_chunks_come_back(shape: tuple[int, ...]) -> None:
    """More voxels than are coded at a time."""
    chunk = (np.indices(shape, sparse=True)[-1] // 37 + sum(np.indices(shape, sparse=True)) // 90).astype("u2")
    assert chunk.size > label_coder.AT_ONCE
    assert same(unpack_labels(packed(chunk), shape), chunk)


def test_segmentations_take_a_fraction_of_what_deflate_does() -> None:
    """Voronoi cells in three axes and in two, with ids in order and not, thin boundaries, a ball of two values."""
    solid = cells((20, 40, 40), 40)
    edges = solid.copy()
    edges[
        (np.diff(solid, axis=2, append=solid[..., -1:]) != 0) | (np.diff(solid, axis=1, append=solid[:, -1:]) != 0)
    ] = 0
    ball = np.where(((np.indices((30,) * 3) - 14.5) ** 2).sum(0) < 100, 200, 0)
    for chunk, times in ((solid, 4), (cells((150, 150), 60), 3), (edges, 4), (ball, 2)):
        chunk = np.ascontiguousarray(chunk, "u2")
        assert len(packed(chunk)) * times < len(zlib.compress(chunk.tobytes(), 9))
    assert len(packed(ball.astype("i2"))) < 150


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_noise_of_two_values_takes_no_more_than_its_entropy(share: float) -> None:
    """Contexts that say nothing cost nothing: within 1 % of -p log2 p - (1 - p) log2 (1 - p) bits a voxel."""
    chunk = np.random.default_rng(1).random((40, 50, 60)) < share
    p = chunk.mean()
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * chunk.size / 8
    assert len(packed(chunk)) < 1.01 * entropy


def test_ids_of_64_bits_take_what_is_random_in_them() -> None:
    """Random ids take 64 bits each, less what their order is worth; ids in sequence next to nothing."""
    chunk = cells((60, 60), 200)
    plain = len(packed(chunk.astype("u8")))
    ids = np.sort(np.random.default_rng(3).integers(0, 2**63, 200, dtype=np.uint64))
    assert len(packed(ids[chunk])) - plain < 200 * 8


def test_more_bytes_than_asked_for_give_none() -> None:
    """A limit of bytes, that of the chunk itself among them."""
    chunk = cells((30, 30), 9).astype("u1")
    data = packed(chunk)
    assert pack_labels(chunk, len(data)) == data and pack_labels(chunk, len(data) - 1) is None
    assert pack_labels(np.random.default_rng(0).integers(0, 256, (30, 30)).astype("u1")) is None


def head(name: bytes, count: int) -> bytes:
    """The start of a payload."""
    out = ByteWriter()
    out.varint(len(name))
    out.raw(name)
    out.varint(count)
    return out.getvalue()


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "bytes"), (head(b"|x9", 2), "dtype"), (head(b"<U4", 2), "labels of"), (head(b"|u1", 0), "labels"),
        (head(b"|u1", 257), "labels"), (head(b"<u4", 901) + bytes(200), "labels"), (head(b"<u8", 2**40), "labels"),
        (head(b"<u4", 1) + b"ab", "bytes"), (head(b"<u8", 850), "ascending|end with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(payload: bytes, what: str) -> None:
    """Names, counts, ids that do not fit the dtype, bytes that end early."""
    with pytest.raises(CorruptChunk, match=what):
        unpack_labels(payload, (30, 30))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(2, 256), st.sampled_from([(40,), (9, 9), (4, 5, 6)]))
def test_any_bytes_are_labels_or_refused(data: bytes, count: int, shape: tuple[int, ...]) -> None:
    """Forged bytes give an array of the shape or CorruptChunk."""
    try:
        labels = unpack_labels(head(b"<u2", count) + data, shape)
    except CorruptChunk:
        return
    assert labels.shape == shape and labels.dtype == "u2"


def test_few_bytes_take_little_memory() -> None:
    """Up to a megavoxel under a byte: the array and 16 MB, whatever its axes and its number of labels."""
    for shape in ((16, 256, 256), (1024, 1024), (2**20,), (2, 2**19)):
        for count in (2, 4000):
            tracemalloc.start()
            try:
                unpack_labels(head(b"|u1" if count == 2 else b"<u4", count) + b"\0", shape)
            except CorruptChunk:
                pass
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert most < 2**20 * (1 if count == 2 else 4) + (16 << 20)
