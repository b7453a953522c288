"""Written and read through zarr: formats 2 and 3, shards, orders, edges, missing chunks, all ways of indexing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import FAST, field, psnr
from zarr.codecs import TransposeCodec

from inr_codec import INRCodec, INRSerializer, inspect
from inr_codec.errors import CorruptChunk

SHAPE, CHUNKS = (10, 20, 17), (8, 16, 16)


def format_2(store: Any, dtype: Any = "f4", **options: Any) -> zarr.Array:
    """As the README writes it."""
    codec = INRCodec(ratio=10, **FAST)
    return zarr.open(
        store, mode="w", shape=SHAPE, chunks=CHUNKS, dtype=dtype, compressor=codec, zarr_format=2, **options
    )  # type: ignore[return-value]


def format_3(store: Any, dtype: Any = "f4", **options: Any) -> zarr.Array:
    """As the README writes it."""
    options = {"compressors": None, "chunks": CHUNKS} | options
    return zarr.create_array(
        store, shape=SHAPE, dtype=dtype, serializer=INRSerializer(ratio=10, **FAST), zarr_format=3, **options
    )


WAYS: dict[str, Any] = {
    "format 2": format_2,
    "format 2, order F": lambda store, dtype="f4": format_2(store, dtype, order="F"),
    "format 3": format_3,
    "shards": lambda store, dtype="f4": format_3(store, dtype, shards=(16, 32, 32)),
    "shards, whole": lambda store, dtype="f4": format_3(store, dtype, shards=(8, 16, 16)),
    "zstd after it": lambda store, dtype="f4": format_3(store, dtype, compressors="auto"),
    "transposed": lambda store, dtype="f4": format_3(store, dtype, filters=[TransposeCodec(order=(2, 0, 1))]),
}


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i2", "<f4", ">f8"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:.*fill_value.*")
def test_what_is_written_is_read(tmp_path: Path, way: str, dtype: str) -> None:
    """Every way of storing gives back the array, near what was written, after reopening by name only."""
    values = field(SHAPE, dtype)
    WAYS[way](tmp_path / "a.zarr", dtype)[...] = values
    array = zarr.open(tmp_path / "a.zarr", mode="r")
    read = array[...]
    assert read.shape == SHAPE
    assert read.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    assert psnr(values, read) > 20
    assert array.nbytes_stored() < values.nbytes


@pytest.mark.parametrize("way", ["format 2", "format 3", "shards"])
def test_edge_chunks_spend_nothing_on_padding(tmp_path: Path, way: str) -> None:
    """Voxels of chunks that reach over the edge are as good as their own bytes allow, whatever the fill value."""
    values = field(SHAPE) + 1000
    array = WAYS[way](tmp_path / "a.zarr")
    array[...] = values
    read = array[...]
    assert psnr(values[8:, 16:, 16:], read[8:, 16:, 16:]) > 8
    assert np.ptp(read[8:, 16:, 16:]) <= np.ptp(values)
    assert psnr(values[:8, :16, :16], read[:8, :16, :16]) > 20


@pytest.fixture(scope="module", params=["format 2", "format 3", "shards"])
def written(request: pytest.FixtureRequest) -> tuple[zarr.Array, np.ndarray]:
    """An array in memory of which one chunk was written twice, and all of it as read at once."""
    array = WAYS[request.param]({})
    array[...] = field(SHAPE)
    array[:8, :16, :16] = field(CHUNKS, seed=1)
    return array, array[...]


@settings(max_examples=25)
@given(st.tuples(*[st.one_of(st.integers(-n, n - 1), st.slices(n).filter(lambda s: (s.step or 1) > 0)) for n in SHAPE]))
def test_basic_indexing_equals_that_of_the_whole(written: tuple[zarr.Array, np.ndarray], selection: Any) -> None:
    """Integers and slices with steps."""
    array, whole = written
    assert np.array_equal(array[selection], whole[selection])


@settings(max_examples=25)
@given(st.data())
def test_other_indexing_equals_that_of_the_whole(written: tuple[zarr.Array, np.ndarray], data: st.DataObject) -> None:
    """oindex with lists, masks and slices, vindex with coordinates, boolean arrays and blocks."""
    array, whole = written
    lists = [data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6, unique=True).map(sorted)) for n in SHAPE]
    mask = np.zeros(SHAPE[1], bool)
    mask[lists[1]] = True
    assert np.array_equal(array.oindex[tuple(lists)], whole[np.ix_(*lists)])
    assert np.array_equal(array.oindex[lists[0][0], mask, 3:16:4], whole[lists[0][0], mask, 3:16:4])
    count = min(map(len, lists))
    points = tuple(side[:count] for side in lists)
    assert np.array_equal(array.vindex[points], whole[points])
    where = np.zeros(SHAPE, bool)
    where[points] = True
    assert np.array_equal(array[where], whole[where])
    if array.shards is None:
        assert np.array_equal(array.blocks[0, 1], whole[:8, 16:])


@pytest.mark.parametrize("way", ["format 2", "format 3", "shards"])
def test_part_of_a_chunk_can_be_written_again(way: str) -> None:
    """Overwriting a region decodes the chunk, changes it and encodes it; the input is not touched."""
    array = WAYS[way]({})
    array[...] = field(SHAPE)
    new = np.full((4, 10, 17), 50, np.float32)
    new.flags.writeable = False
    array[2:6, 5:15] = new
    assert np.abs(array[3, 6:14] - 50).mean() < np.abs(field(SHAPE)[3, 6:14] - 50).mean() / 2


@pytest.mark.parametrize("way", ["format 2", "format 3", "shards"])
def test_chunks_never_written_are_fill(way: str) -> None:
    """Missing chunks read as the fill value, whole and in part."""
    array = WAYS[way]({})
    array[:8, :16, :16] = field(CHUNKS)
    assert (array[9] == array.fill_value).all()
    assert (array[0, 17:] == array.fill_value).all()
    assert array[0, 0].any()


@pytest.mark.parametrize("way", ["format 2", "format 3", "shards"])
def test_many_threads_write_and_read_one_array(way: str, tmp_path: Path) -> None:
    """Chunks (shards) written at once from several threads, and read at once, are those written one after another."""
    values = field((32, 16, 16))
    options = {"shape": (32, 16, 16)}
    store = tmp_path / "a.zarr"
    if way == "format 2":
        codec = INRCodec(ratio=10, **FAST)
        array = zarr.open(store, mode="w", chunks=CHUNKS, dtype="f4", compressor=codec, zarr_format=2, **options)
    else:
        codec = INRSerializer(ratio=10, **FAST)
        shards = (16, 16, 16) if way == "shards" else None
        array = zarr.create_array(
            store, chunks=CHUNKS, shards=shards, dtype="f4", serializer=codec, compressors=None, **options
        )
    side = 16 if way == "shards" else 8
    parts = [slice(start, start + side) for start in range(0, 32, side)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: array.__setitem__(part, values[part]), parts))
        read = list(pool.map(lambda part: array[part], parts))
    chunk = INRCodec(ratio=10, **FAST)
    alone = [chunk.decode(chunk.encode(values[start : start + 8])) for start in range(0, 32, 8)]
    assert np.array_equal(np.concatenate(read), np.concatenate(alone))
    assert np.array_equal(np.concatenate(read), array[...])
    assert psnr(values, array[...]) > 20


def test_a_damaged_chunk_leaves_the_others_readable(tmp_path: Path) -> None:
    """Flipped bytes in one chunk's file raise CorruptChunk for reads that touch it, and for no other."""
    array = format_3(tmp_path / "a.zarr")
    array[...] = field(SHAPE)
    key = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    stream = bytearray(key.read_bytes())
    assert inspect(stream).shape == CHUNKS
    stream[-3] ^= 1
    key.write_bytes(stream)
    with pytest.raises(CorruptChunk, match="checksum"):
        array[0]
    assert array[9].any()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["format 2", "format 3"])
def test_a_fresh_process_reads_without_importing_us(tmp_path: Path, way: str) -> None:
    """zarr.open finds the codec by its entry point."""
    array = WAYS[way](tmp_path / "a.zarr")
    array[...] = field(SHAPE)
    script = f"import zarr; print(repr(float(zarr.open({str(tmp_path / 'a.zarr')!r}, mode='r')[3, 4, 5])))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(run.stdout) == float(array[3, 4, 5])


def test_strings_through_a_filter_are_exact() -> None:
    """Variable-length strings of format 2 reach the codec as raw bytes and come back exact."""
    array = zarr.create_array(
        {}, shape=(3,), dtype=str, compressors=INRCodec(ratio=100), zarr_format=2, fill_value="", overwrite=True
    )
    array[...] = np.array(["", "neuron", "ψ" * 900], object)
    assert list(array[...]) == ["", "neuron", "ψ" * 900]
