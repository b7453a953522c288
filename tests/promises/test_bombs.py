"""Decompression bombs: few bytes that declare or inflate to much take little memory, or are refused."""

import math
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forging import golden, header_of, network_of, reads_or_refuses, sealed
from versions import repacked

from inr_codec import CorruptChunk, INRCodec, decode, inspect
from inr_codec.chunk.intensity import Intensity
from inr_codec.layers.correction.level_coder import encode_levels
from inr_codec.layers.correction.offset_coder import encode_offsets
from inr_codec.layers.correction.payload import Lattice, base_levels, pack_correction
from inr_codec.layers.filter.payload import FilterLayer, pack_filter, unpack_filter
from inr_codec.layers.labels.payload import pack_labels
from inr_codec.layers.mask import Mask
from inr_codec.layers.missing import pack_missing
from inr_codec.layers.network.payload import FLAT, MEAN, SIZE, STD, TREE, pack_network, unpack_network
from inr_codec.layers.residual.coefficient_coder import encode_coefficients
from inr_codec.layers.residual.packet_tree import mallat_tree, pack_packet_tree, unpack_packet_tree
from inr_codec.layers.residual.subbands import subbands_table
from inr_codec.stream.byteio import ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType, Reached, pack_stream, unpack_stream


def with_shape(header: Header, layers: list[Layer], shape: tuple[int, ...]) -> bytes:
    """Layers under a header of another shape, without the padding that a writer would add."""
    one = (1,) * len(shape)
    data = repacked(replace(header, shape=one), layers)
    out = ByteWriter()
    for n in shape:
        out.varint(n)
    return sealed(data[:10] + out.getvalue() + data[10 + len(one) :])


def bombs(*shape: int) -> dict[str, bytes]:
    """Few bytes that say, or inflate to, millions of voxels: as few as the format allows for that shape of u1."""
    count = math.prod(shape)
    zeros = zlib.compress(bytes(count), 9)
    counted = ByteWriter()
    counted.raw(struct.pack("<dB", 1.0, 1))
    counted.varint(2**31 - 1)
    counted.varint(len(zeros))
    mask = ByteWriter()
    seen = header_of(shape, "u1").seen().shape
    for n in seen:
        mask.varint(n)
    mask.raw(b"\0\x01\x07" + zeros)
    plain = header_of(shape, "u1")
    turned = Header(shape, np.dtype("u2"), True, True, Intensity(3.0, 9.0), Reached(9, 0))
    exact = Header(shape, None, True, True, None, None)
    tree = unpack_stream(golden("residual"))[1][0].payload
    flat = network_of(2, (TREE, 0), (SIZE, 0), (FLAT, 9))
    few = [(slot, 1) for slot in (5, *[9] * len(seen), 6, 10, 7, 11, 8, 12)]
    network = Layer(LayerType.NETWORK, network_of(2, (TREE, 0), (SIZE, 1), (MEAN, 9), (STD, 0), *few))
    last = FilterLayer(tuple(n > 1 for n in seen), (2,), 40, 128, 8, (16,) * 4)
    last = replace(last, symbols=np.ones(last.shape.parameters, np.int64))
    return {
        "constant": pack_stream(Header(shape, turned.dtype, True, True, Intensity(3.0, 3.0), Reached(9, 0)), []),
        "nothing": pack_stream(plain, []),
        "flat network": pack_stream(plain, [Layer(LayerType.NETWORK, flat)]),
        "network": pack_stream(turned, [network]),
        "filter": pack_stream(plain, [network, Layer(LayerType.FILTER, pack_filter(last))]),
        "empty residual": pack_stream(plain, [Layer(LayerType.RESIDUAL, b"")]),
        "residual without levels": pack_stream(plain, [Layer(LayerType.RESIDUAL, tree[: 10 + tree[9]])]),
        "table": pack_stream(plain, [Layer(LayerType.CORRECTION, counted.getvalue() + zeros)]),
        "mask": pack_stream(plain, [Layer(LayerType.MASK, mask.getvalue())]),
        "inflated": pack_stream(exact, [Layer(LayerType.LOSSLESS, b"\x03<u2" + zlib.compress(bytes(2 * count), 9))]),
        "inflated short": pack_stream(exact, [Layer(LayerType.LOSSLESS, b"\x03|u1" + zeros[:-20])]),
        "inflated wide": pack_stream(exact, [Layer(LayerType.LOSSLESS, b"\x03<f8" + zeros * 9)]),
        "inflated text": pack_stream(exact, [Layer(LayerType.LOSSLESS, b"\x09<U9999999" + zeros)]),
    }


def nearly_nothing() -> dict[str, bytes]:
    """The same of the layers that are read as a whole, for 2 million voxels that are all alike."""
    shape = (128, 128, 128)
    plain, levels = header_of(shape, "u1"), np.zeros(shape, np.int32)
    splits = mallat_tree(shape)
    tree = pack_packet_tree(shape, splits)
    bands = subbands_table(shape, unpack_packet_tree(shape, tree)[1])
    data = encode_coefficients(np.zeros(shape, np.float32), bands, 1.0, 0.1)[0]
    start = bytes.fromhex("3f8000 3f0000 808080") + bytes([len(tree)]) + tree
    residual = Layer(LayerType.RESIDUAL, start + data)
    alone = pack_correction(0.0, Lattice(1.0, 5), encode_levels(levels, 5)[0])
    base, span = base_levels(np.full(shape, 50, "u1"), Intensity(0.0, 100.0), Lattice(1.0, 1))
    based = pack_correction(1.0, Lattice(1.0, 1, None, -1, True), encode_offsets(levels, base, span, -1, 1))
    one = np.zeros(shape, np.uint8)
    one[64, 64, 64] = 1
    labels, missing = pack_labels(one), pack_missing(Mask(shape, b"\0", (b"\7",), one), shape)
    assert labels is not None and missing is not None
    return {
        "labels": pack_stream(Header(shape, None, False, False, None, None), [Layer(LayerType.LABELS, labels)]),
        "missing": pack_stream(plain, [Layer(LayerType.MISSING, missing)]),
        "residual": pack_stream(plain, [residual]),
        "levels": pack_stream(plain, [Layer(LayerType.CORRECTION, alone)]),
        "based": pack_stream(plain, [residual, Layer(LayerType.CORRECTION, based)]),
    }


REFUSED = {"table", "inflated short", "inflated wide", "inflated text"}
SLACK = 64 << 20
"""Bytes that decoding may take beside what the header declares."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads a process's peak memory from Linux")
@pytest.mark.parametrize("shape", [(128, 256, 128), (160, 256, 512), (1, 2**22)], ids=str)
def test_bombs_take_no_more_than_they_declare(shape: tuple[int, ...], tmp_path: Path) -> None:
    """4 and 20 Mvoxel of every layer: the process grows by at most the array and 64 MB for each.

    With two threads, as each has buffers of its own; with memory that is given back when it is freed, as what an
    allocator keeps depends on which thread was first; and after every kernel is compiled, for streams that are none.
    """
    for name in ("network-u1", "residual", "bounded-base", "bounded-levels", "mask", "all-layers", "lossless-time"):
        (tmp_path / f"a-{name}").write_bytes(golden(name))
    streams = bombs(*shape) | (nearly_nothing() if shape[0] == 128 else {})
    assert max(map(len, streams.values())) < 200_000
    for name, data in streams.items():
        (tmp_path / f"b-{name}").write_bytes(data)
    script = """
import pathlib, re, sys
import inr_codec
def resident(word):
    return 1024 * int(re.search(word + r":\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, told = resident("VmRSS"), 0
    try:
        told = inr_codec.decode(path.read_bytes()).nbytes
    except (inr_codec.CorruptChunk, inr_codec.UnsupportedFormat):
        pass
    if path.name.startswith("b-"):
        print(path.name[2:], resident("VmHWM") - before, told, sep=":")
"""
    environment = {**os.environ, "INR_CODEC_THREADS": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, env=environment
    )
    told = [line.split(":") for line in done.stdout.splitlines()]
    assert len(told) == len(streams)
    declared = {name: int(nbytes) for name, _, nbytes in told} | {"inflated wide": 8 * math.prod(shape)}
    assert {name for name in declared if not declared[name]} == REFUSED - {"inflated wide"}
    assert {name: grown for name, grown, _ in told if int(grown) > SLACK + declared[name]} == {}


@pytest.mark.parametrize("name", sorted(set(bombs(8, 8, 8)) - {"constant", "inflated", "inflated short"}))
@pytest.mark.parametrize("shape", [(128, 128, 128), (2**31 - 1,), (2**8, 2**8, 2**7, 2**7)], ids=str)
def test_more_voxels_than_bytes_may_ask_for_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """A few bytes that declare 2 million to 2^31 voxels of any layer are refused before anything is allocated."""
    header, layers = unpack_stream(bombs(8, 8, 8)[name])
    data = with_shape(header, layers, shape)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptChunk, match="expected"):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_constant_chunk_of_any_size_is_read() -> None:
    """25 bytes for 2^31 - 1 voxels are no bomb: zeros take no memory until they are touched, a part takes its own."""
    shape = (127, 2**24)
    zeros = pack_stream(Header(shape, np.dtype("u1"), False, False, Intensity(0.0, 0.0), Reached(9, 0)), [])
    assert len(zeros) < 30
    values = decode(zeros)
    assert values.shape == shape and not values[5, :9].any()
    sevens = pack_stream(Header(shape, np.dtype("f8"), False, True, Intensity(7.0, 7.0), Reached(9, 0)), [])
    assert (decode(sevens, selection=np.s_[3:5, ::100_000]) == 7).all()


@pytest.mark.parametrize(
    ("options", "layered"),
    [
        pytest.param({"ratio": 50_000, "layers": "network", "steps": 20}, True, marks=pytest.mark.slow),
        ({"lossless": True}, True), ({"max_error": 2}, True), ({"ratio": 60_000}, False), ({"ratio": 100}, False),
        ({"bpv": 0.0001}, False), ({"psnr": 20}, False),
    ],
    ids=str,
)  # fmt: skip
def test_the_encoder_pads_what_would_be_refused(options: dict[str, Any], layered: bool) -> None:
    """Nearly empty chunks of more voxels than a few bytes may have: what is asked for holds, and is read."""
    values = np.zeros((40, 256, 256), "u2")
    values[3, 4, 5:9] = [7, 7, 9, 900]
    values[-1, -1, -1] = 3
    data = INRCodec(**options).encode(values)
    told, decoded = inspect(data), decode(data)
    assert "ratio" not in options or len(data) <= values.nbytes / options["ratio"]
    assert "bpv" not in options or 8 * len(data) <= values.size * options["bpv"]
    assert np.abs(decoded - values.astype(int)).max() <= {"lossless": 0, "max_error": 2}.get(next(iter(options)), 900)
    assert (told.layers not in ((), ("lossless",), ("labels",))) == layered
    if layered:
        assert len(data) >= (values.size - (1 << 20)) / (1 << 14) == 96
        with pytest.raises(CorruptChunk, match="at least 96 bytes"):
            decode(sealed(data[:95]))


def test_more_parameters_than_bytes_may_ask_for_are_refused() -> None:
    """Networks and filters of a few bytes have few parameters; a writer that has more of them adds zeros."""
    wide = network_of(2, (SIZE, 4000))
    for more, found in ((0, CorruptChunk), (3000, None)):
        layer = Layer(LayerType.NETWORK, wide + bytes(more))
        if found:
            with pytest.raises(found, match="parameters"):
                decode(pack_stream(header_of((5, 6, 7)), [layer]))
        else:
            assert decode(pack_stream(header_of((5, 6, 7)), [layer])).shape == (5, 6, 7)
    networks = unpack_network(wide + bytes(3000), (5, 6, 7))
    assert unpack_network(pack_network(networks, (5, 6, 7)), (5, 6, 7)).networks[0].size == 4000
    last = FilterLayer((True,) * 3, (64, 64), 40, 128, 8, (16,) * 6, np.zeros(5505, np.int64))
    packed = pack_filter(last)
    assert unpack_filter(packed, (5, 6, 7)).hidden == (64, 64)
    with pytest.raises(CorruptChunk, match="parameters"):
        unpack_filter(packed[:40], (5, 6, 7))


@pytest.mark.parametrize("name", ["inflated", "inflated wide", "inflated text", "mask", "table"])
def test_inflation_stops_at_what_is_declared(name: str) -> None:
    """Python's own count of allocated memory says the same of deflated bytes."""
    data = bombs(128, 256, 128)[name]
    tracemalloc.start()
    try:
        reads_or_refuses(data)
        assert tracemalloc.get_traced_memory()[1] < SLACK + (1 << 22)
    finally:
        tracemalloc.stop()
