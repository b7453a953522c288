"""Checking a store: what is damaged, missing or not what it says is found, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field
from zarr.codecs import TransposeCodec

from inr_codec import INRCodec, INRSerializer
from inr_codec.batch import encode_array
from inr_codec.batch.verify import arrays_of, verify
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError

SHAPE, CHUNKS = (20, 20, 24), (8, 16, 16)
COUNT = 3 * 2 * 2
VALUES = field(SHAPE)
VALUES[8:16, :16, 16:] = np.nan

WAYS: dict[str, dict[str, Any]] = {
    "format 2": {"zarr_format": 2, "compressors": INRCodec(ratio=20, **FAST)},
    "format 3": {"serializer": INRSerializer(ratio=20, **FAST), "compressors": None},
    "shards": {"serializer": INRSerializer(ratio=20, **FAST), "compressors": None, "shards": (16, 32, 32)},
    "transposed": {
        "serializer": INRSerializer(ratio=20, **FAST),
        "compressors": None,
        "filters": [TransposeCodec(order=(2, 0, 1))],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same array in every way; a chunk of it is nothing but the fill value and is not stored."""
    folder = tmp_path_factory.mktemp("made")
    for way, options in WAYS.items():
        array = zarr.create_array(
            folder / f"{way}.zarr", shape=SHAPE, chunks=CHUNKS, dtype="f4", fill_value=np.nan, **options
        )
        array[...] = VALUES
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of them, to be damaged."""

    def copy(way: str) -> Path:
        return Path(shutil.copytree(made / f"{way}.zarr", tmp_path / "a.zarr"))

    return copy


def keys(path: Path) -> list[Path]:
    """The files of chunks."""
    names = (".zarray", ".zattrs", "zarr.json")
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name not in names)


@pytest.mark.parametrize("way", WAYS)
def test_a_sound_store_is_sound(made: Path, way: str) -> None:
    """Every chunk is counted, what is not stored is no error, and all are as close to the source as they say."""
    path = made / f"{way}.zarr"
    found = verify(str(path), against=VALUES, sample=1)
    assert (found.chunks, found.stored, found.wrong) == (COUNT, COUNT - 1, 0)
    assert len(found.psnr) == COUNT - 1
    assert len(found.measured) == COUNT
    finite = np.isfinite(VALUES)
    error = np.square(np.asarray(zarr.open_array(path)[...])[finite].astype(float) - VALUES[finite]).mean()
    span = VALUES[finite].max() - VALUES[finite].min()
    assert found.sample.psnr == pytest.approx(10 * np.log10(float(span) ** 2 / error), abs=1e-3)
    assert found.recorded.psnr == pytest.approx(found.sample.psnr, abs=0.2)  # its voxels are counted with NaN
    if way in ("format 2", "format 3"):
        assert found.bytes == sum(file.stat().st_size for file in keys(path))


@pytest.mark.parametrize("way", ["format 2", "format 3"])
@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_flipped_bit_is_one_corrupt_chunk(store: Callable[[str], Path], way: str, at: int) -> None:
    """Wherever it is, the chunk is named and the others are still checked."""
    path = store(way)
    file = keys(path)[3]
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)
    found = verify(str(path))
    assert (found.corrupt, found.missing, found.far, found.stored) == (1, 0, 0, COUNT - 2)
    assert found.problems[0][0] == file.relative_to(path).as_posix()


def test_a_damaged_shard_is_found(store: Callable[[str], Path]) -> None:
    """A flipped bit in a stream costs that chunk, one in the index all chunks of the shard, a cut too."""
    path = store("shards")
    file = keys(path)[0]
    sound = file.read_bytes()
    for at, corrupt in ((50, 1), (len(sound) - 30, 8), (len(sound) - 1, 8)):
        data = bytearray(sound)
        data[at] ^= 1
        file.write_bytes(data)
        assert verify(str(path)).corrupt == corrupt
    for length in (0, 10, len(sound) // 2, len(sound) - 1):
        file.write_bytes(sound[:length])
        assert verify(str(path)).corrupt == 8


def test_a_cut_chunk_and_one_of_another_array_are_corrupt(store: Callable[[str], Path]) -> None:
    """A checksum that holds is not enough: shape and dtype must be the array's."""
    path = store("format 3")
    files = keys(path)
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].write_bytes(b"")
    files[2].write_bytes(INRCodec(ratio=20, **FAST).encode(field((8, 8, 16))))
    files[3].write_bytes(INRCodec(ratio=20, **FAST).encode(field(CHUNKS, "f8")))
    assert verify(str(path)).corrupt == 4


@pytest.mark.parametrize("way", ["format 3", "shards"])
def test_a_chunk_of_another_place_is_too_far(store: Callable[[str], Path], way: str) -> None:
    """Sound streams in the wrong place are told by the source alone."""
    path = store(way)
    array = zarr.open_array(path, mode="r+")
    array[:8, :16, :16] = field(CHUNKS, seed=9)
    assert verify(str(path)).wrong == 0
    found = verify(str(path), against=VALUES, sample=1)
    assert (found.far, found.wrong) == (1, 1)


def test_a_sample_holds_at_least_one_chunk_and_is_drawn_by_its_seed(made: Path) -> None:
    """However small the share."""
    path = str(made / "format 3.zarr")
    assert len(verify(path, against=VALUES, sample=1e-9).measured) == 1
    seen = {tuple(sorted(verify(path, against=VALUES, sample=0.4, seed=seed).measured)) for seed in (0, 0, 1, 2)}
    assert 1 < len(seen) < 4


def test_sources_of_another_shape_are_refused(made: Path) -> None:
    """As are paths without an array of ours."""
    with pytest.raises(ConfigError, match="shape"):
        verify(str(made / "format 3.zarr"), against=VALUES[1:])
    with pytest.raises(ConfigError, match="none"):
        arrays_of(str(made / "nothing.zarr"))
    zarr.create_array(made / "plain.zarr", shape=(4,), chunks=(4,), dtype="f4")
    with pytest.raises(ConfigError, match="inr_codec"):
        arrays_of(str(made / "plain.zarr"))


@pytest.mark.parametrize("shards", [None, (16, 32, 32)], ids=["chunks", "shards"])
def test_with_a_manifest_a_missing_key_is_an_error(
    tmp_path: Path, shards: tuple[int, ...] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line ends with status 1, names the key, and with 0 before it was deleted."""
    np.save(tmp_path / "a.npy", VALUES)
    target = tmp_path / "b.zarr"
    encode_array(str(tmp_path / "a.npy"), str(target), {"ratio": 20, **FAST}, chunks=CHUNKS, shards=shards)
    arguments = ["verify", str(target), "--against", str(tmp_path / "a.npy"), "--sample", "50%"]
    assert main(arguments) == 0
    assert "0 missing, 0 corrupt" in capsys.readouterr().out
    key = keys(target)[-1]
    key.unlink()
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert key.relative_to(target).as_posix() in printed.out
    assert "do not" in printed.err
    state = tmp_path / "b.zarr.batch" / "manifest.jsonl"
    lines = [json.loads(line) for line in state.read_text().splitlines()]
    assert [line["n"] for line in lines if line["state"] == "empty"] == [5]


def test_all_arrays_of_a_group_are_checked(made: Path, tmp_path: Path) -> None:
    """In groups of groups, by their path; other arrays are passed over."""
    zarr.open_group(tmp_path / "g.zarr", mode="w")
    zarr.open_group(tmp_path / "g.zarr" / "deep", mode="w")
    shutil.copytree(made / "format 3.zarr", tmp_path / "g.zarr" / "deep" / "0")
    zarr.create_array(tmp_path / "g.zarr" / "plain", shape=(4,), chunks=(4,), dtype="f4")
    assert list(arrays_of(str(tmp_path / "g.zarr"))) == ["deep/0"]
    assert verify(str(tmp_path / "g.zarr"), array="deep/0").stored == COUNT - 1
