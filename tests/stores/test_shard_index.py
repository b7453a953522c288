"""The shard index: zarr reads what is packed, what zarr wrote is found, and damage is."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, ShardingCodec

from inr_codec.errors import CorruptChunk
from inr_codec.stores.shard_index import pack_shard, unpack_shard

GRID = (2, 3)


def sharded(folder: Path, place: str, values: np.ndarray) -> zarr.Array:
    """An array of one shard that zarr itself writes, with its index at the start or at the end."""
    codec = ShardingCodec(chunk_shape=(4, 5), codecs=[BytesCodec()], index_location=place)
    array = zarr.create(store=folder, shape=(8, 15), chunks=(8, 15), dtype="u1", zarr_format=3, codecs=[codec])
    array[:] = values
    return array


@pytest.mark.parametrize("place", ["start", "end"])
def test_shards_of_zarr_are_read(tmp_path: Path, place: str) -> None:
    """Every chunk of a shard that zarr wrote is found, but those that hold the fill value alone."""
    values = np.arange(8 * 15, dtype="u1").reshape(8, 15)
    values[:4, 5:10] = 0
    sharded(tmp_path, place, values)
    streams = unpack_shard((tmp_path / "c/0/0").read_bytes(), GRID, at_start=place == "start")
    assert sorted(streams) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]
    for (z, y), stream in streams.items():
        assert stream == values[4 * z : 4 * z + 4, 5 * y : 5 * y + 5].tobytes()


def test_zarr_reads_what_is_packed(tmp_path: Path) -> None:
    """A shard of plain chunks reads as these chunks, and as the fill value where there is none."""
    array = sharded(tmp_path, "end", np.ones((8, 15), "u1"))
    (tmp_path / "c/0/0").write_bytes(pack_shard({(1, 2): bytes([7] * 20), (0, 1): bytes([5] * 20)}, GRID))
    expected = np.zeros((8, 15))
    expected[4:, 10:], expected[:4, 5:10] = 7, 5
    assert np.array_equal(array[:], expected)


def test_a_damaged_index_is_found() -> None:
    """Any flipped bit of the index, a shard that is cut short and an entry that points outside raise CorruptChunk."""
    shard = pack_shard({(0, 1): b"abc", (1, 2): b"de"}, GRID)
    assert unpack_shard(shard, GRID) == {(0, 1): b"abc", (1, 2): b"de"}
    for bit in range(8 * 5, 8 * len(shard), 7):
        damaged = bytearray(shard)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptChunk, match="shard index"):
            unpack_shard(bytes(damaged), GRID)
    for cut in (shard[5:], shard[:-1], b""):
        with pytest.raises(CorruptChunk):
            unpack_shard(cut, GRID)
