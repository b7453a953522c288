"""The driver without a cluster: the same bytes as the codec's, one budget, restarts, failures, other formats."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field
from zarr.codecs import Crc32cCodec

from inr_codec import INRCodec, INRSerializer, batch
from inr_codec.batch import manifest, store
from inr_codec.batch.plan import Plan
from inr_codec.cli.parser import main
from inr_codec.encoding.encoder import encode
from inr_codec.errors import ConfigError, IncompleteArray

SHAPE, CHUNKS = (20, 24, 40), (10, 16, 16)
SETTINGS = {"ratio": 20, **FAST}

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def volume(dtype: Any = np.uint16) -> np.ndarray:
    """A field in one corner, the fill value elsewhere."""
    values = np.full(SHAPE, np.nan if np.dtype(dtype).kind == "f" else 0, dtype)
    values[:, :20, :20] = field((20, 20, 20), dtype)
    return values


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A volume in a file."""
    np.save(tmp_path / "source.npy", volume())
    return str(tmp_path / "source.npy")


def keys(path: str | Path) -> dict[str, bytes]:
    """All chunks of a store."""
    files = [file for file in Path(path).rglob("*") if file.is_file() and not file.name.startswith((".z", "zarr."))]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def streams(path: str | Path) -> dict[str, bytes]:
    """The streams of all chunks, and how many chunks failed or are empty, as the store has them."""
    plan = store.load_plan(str(path))
    found = {n: manifest.stored_stream(plan, store.array_folder(plan), n) for n in range(plan.count)}
    return {str(n): stream for n, stream in found.items() if stream is not None}


@pytest.mark.parametrize(
    ("zarr_format", "dtype"), [(2, "u2"), (2, ">u2"), (3, "u2"), (3, "f4")], ids=["2", "2-big", "3", "3-float"]
)
def test_every_chunk_is_what_zarr_writes(zarr_format: Any, dtype: str, tmp_path: Path) -> None:
    """With the ratio per chunk, all keys equal those of `array[...] = volume`, bit for bit, padding included."""
    values = volume(dtype)
    np.save(tmp_path / "source.npy", values)
    batch.encode_array(
        str(tmp_path / "source.npy"),
        str(tmp_path / "a.zarr"),
        SETTINGS,
        chunks=CHUNKS,
        zarr_format=zarr_format,
        per_chunk=True,
    )
    codec: dict[str, Any] = {"compressors": INRCodec(**SETTINGS)}
    if zarr_format == 3:
        codec = {"serializer": INRSerializer(**SETTINGS), "compressors": None}
    expected = zarr.create_array(
        tmp_path / "b.zarr",
        shape=SHAPE,
        chunks=CHUNKS,
        dtype=values.dtype,
        zarr_format=zarr_format,
        fill_value=np.nan if values.dtype.kind == "f" else 0,
        **codec,
    )
    expected[...] = values
    written = keys(tmp_path / "a.zarr")
    assert written == keys(tmp_path / "b.zarr")
    assert 0 < len(written) < 12
    assert zarr.open_array(tmp_path / "a.zarr", mode="r")[...].tobytes() == expected[...].tobytes()


def test_one_budget_holds_for_the_array(source: str, tmp_path: Path) -> None:
    """All streams together keep the ratio; each is what the codec makes of its share; the manifest says so."""
    target = str(tmp_path / "a.zarr")
    done = batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    stored = keys(target)
    assert sum(map(len, stored.values())) == done["bytes"] <= done["budget"] == volume().nbytes // 20
    assert done["bytes"] > 0.8 * done["budget"]
    assert (done["done"], done["empty"], done["failed"]) == (len(stored), 12 - len(stored), 0)
    records = list(manifest.read_manifest(target))
    assert [record["n"] for record in records] == list(range(12))
    plan = store.load_plan(target)
    for record in records:
        assert set(record) == set(manifest.described(plan, 0, "done")) | {"attempts"}
        if record["state"] == "done":
            padded = np.zeros(CHUNKS, "u2")
            part = volume()[plan.region_of(record["n"])]
            padded[tuple(map(slice, part.shape))] = part
            assert encode(padded, plan.config, budget=record["budget"]).stream == stored[record["key"]]
            assert len(stored[record["key"]]) == record["bytes"] and record["attempts"] == 1
    assert sum(record["voxels"] for record in records) == volume().size
    worst = max(record["max_error"] for record in records if record["state"] == "done")
    assert zarr.open_array(target, mode="r").attrs["lossy_compression_max_error"] == worst


def attempts(target: str) -> dict[str, int]:
    """How often each chunk that is not empty was begun, by key and number."""
    records = [record for record in manifest.read_manifest(target) if record["state"] != "empty"]
    return {f"{record['key']} {record['n']}": record["attempts"] for record in records}


def test_nothing_is_encoded_twice(source: str, tmp_path: Path) -> None:
    """A finished target is left as it is; a damaged and a deleted chunk, and only those, are encoded again."""
    target = str(tmp_path / "a.zarr")
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    before, once = keys(target), attempts(target)
    written = {name: Path(target, name).stat().st_mtime_ns for name in before}
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    assert set(once.values()) == {1} and attempts(target) == once
    first, second, *_ = sorted(before)
    Path(target, first).unlink()
    Path(target, second).write_bytes(before[second][:-3])
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    assert keys(target) == before
    assert attempts(target) == {name: 1 + name.startswith((f"{first} ", f"{second} ")) for name in once}
    rewritten = {name for name in before if Path(target, name).stat().st_mtime_ns != written[name]}
    assert rewritten == {first, second}


def test_other_settings_are_refused(source: str, tmp_path: Path) -> None:
    """Another ratio, other chunks: refused; with force the ratio changes for what is not done yet, never the chunks."""
    target = str(tmp_path / "a.zarr")
    plan = batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    assert batch.prepare(source, target, SETTINGS, chunks=CHUNKS) == plan
    other = SETTINGS | {"ratio": 40}
    for settings, chunks, force in (
        (other, CHUNKS, False),
        (SETTINGS, (10, 8, 8), False),
        (SETTINGS, (10, 8, 8), True),
    ):
        with pytest.raises(ConfigError, match="begun with"):
            batch.prepare(source, target, settings, chunks=chunks, force=force)
    assert batch.prepare(source, target, other, chunks=CHUNKS, force=True).config.ratio == 40
    assert batch.prepare(source, target, SETTINGS, chunks=(10, 8, 8), overwrite=True).chunks == (10, 8, 8)
    zarr.create_array(tmp_path / "b.zarr", shape=(4,), dtype="u1")
    with pytest.raises(FileExistsError, match="without a plan"):
        batch.prepare(source, str(tmp_path / "b.zarr"), SETTINGS)


def test_the_source_is_never_deleted(tmp_path: Path) -> None:
    """A target that is the source, or holds it, is refused, and a wrong setting deletes nothing either."""
    source = tmp_path / "group.zarr" / "a"
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    zarr.create_array(source, data=volume(), chunks=CHUNKS)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "group.zarr")
    for target in (source, tmp_path / "group.zarr", tmp_path / "link.zarr"):
        with pytest.raises(ConfigError, match="outside of the target"):
            batch.prepare(str(source), str(target), SETTINGS, chunks=CHUNKS, overwrite=True)
    batch.encode_array(str(source), str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    with pytest.raises(ConfigError, match="effort"):
        batch.prepare(str(source), str(tmp_path / "b.zarr"), {"ratio": 9, "effort": "none"}, overwrite=True)
    assert keys(source) and keys(tmp_path / "b.zarr")


@pytest.mark.parametrize("shards", [None, (20, 32, 48)], ids=["chunks", "shards"])
def test_a_chunk_that_fails_is_listed(shards: Any, source: str, tmp_path: Path) -> None:
    """The others are written and readable, the manifest lists it, and once it can be read a rerun encodes it alone."""
    options: dict[str, Any] = {"chunks": CHUNKS, "shards": shards, "per_chunk": True}
    batch.encode_array(source, str(tmp_path / "good.zarr"), SETTINGS, **options)
    stored = zarr.create_array(tmp_path / "source.zarr", data=volume(), chunks=CHUNKS, compressors=Crc32cCodec())
    (chunk,) = (tmp_path / "source.zarr").glob("c/0/0/0")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="checksum") as unreadable:
        stored[:1, :1, :1]
    target = str(tmp_path / "a.zarr")
    with pytest.raises(IncompleteArray, match=r"1 failed.*checksum"):
        batch.encode_array(str(tmp_path / "source.zarr"), target, SETTINGS, **options)
    good = streams(tmp_path / "good.zarr")
    assert streams(target) == {n: stream for n, stream in good.items() if n != "0"}
    failed = [record for record in manifest.read_manifest(target) if record["state"] == "failed"]
    assert [record["n"] for record in failed] == [0] and str(unreadable.value)[:100] in failed[0]["error"]
    once = attempts(target)
    chunk.write_bytes(whole)
    batch.encode_array(str(tmp_path / "source.zarr"), target, SETTINGS, **options)
    assert keys(target) == keys(tmp_path / "good.zarr")
    assert attempts(target) == {name: count + name.endswith(" 0") for name, count in once.items()}


def test_a_full_disk_ends_the_run(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk is fitted for nothing after the disk is full, no file is torn, and a rerun completes the array."""
    target, written, real = str(tmp_path / "a.zarr"), [], os.replace

    def full(source: Any, place: Any) -> None:
        if "/c/" in str(place):
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "no space left on device")
            written.append(place)
        real(source, place)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(IncompleteArray, match="make room"):
        batch.encode_array(source, target, SETTINGS, chunks=CHUNKS, workers=1)
    assert len(keys(target)) == 2 and not list(Path(store.state_of(target), "tmp").iterdir())
    monkeypatch.undo()
    before = keys(target)
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    batch.encode_array(source, str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    assert before.items() <= keys(target).items() and keys(target) == keys(tmp_path / "b.zarr")


def test_lost_records_are_read_from_the_store(source: str, tmp_path: Path) -> None:
    """A torn journal line costs no chunk: its record is made from the stream itself."""
    target = str(tmp_path / "a.zarr")
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    before = list(manifest.read_manifest(target))
    (journal,) = Path(store.state_of(target), "journal").iterdir()
    lines = sorted(journal.read_bytes().splitlines(), key=lambda line: b'"done"' in line)
    journal.write_bytes(b"\n".join(lines)[:-20])
    batch.finish(target)
    names = ("n", "key", "state", "bytes", "psnr", "blocks", "attempts")
    for old, new in zip(before, manifest.read_manifest(target), strict=True):
        assert [old[name] for name in names] == [new[name] for name in names]


def test_parts_make_up_the_whole(source: str, tmp_path: Path) -> None:
    """Parts share the jobs out, each measures and encodes its own, and the array is that of a single run."""
    target, here = str(tmp_path / "a.zarr"), batch.Here()
    batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    with pytest.raises(IncompleteArray, match="measure"):
        batch.encode(target, here, part=(1, 3))
    for step in (batch.measure, batch.encode):
        for k in (3, 1, 2):
            step(target, here, part=(k, 3))
    with_parts = batch.finish(target)
    whole = batch.encode_array(source, str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    assert keys(target) == keys(tmp_path / "b.zarr") and with_parts["bytes"] == whole["bytes"]


def test_a_target_behind_a_url(source: str, tmp_path: Path) -> None:
    """Keys, plan and records go through fsspec where the target is a URL; the chunks are those of a local target."""
    pytest.importorskip("fsspec")
    options: dict[str, Any] = {"chunks": CHUNKS, "shards": (20, 32, 48)}
    batch.encode_array(source, str(tmp_path / "a.zarr"), SETTINGS, **options)
    done = batch.encode_array(source, "memory://test/a.zarr", SETTINGS, **options)
    again = batch.encode_array(source, "memory://test/a.zarr", SETTINGS, **options)
    assert done["bytes"] == again["bytes"] > 0 and done["failed"] == 0
    assert streams("memory://test/a.zarr") == streams(tmp_path / "a.zarr")
    assert keys(tmp_path / "a.zarr")["c/0/0/0"] == store.open_folder("memory://test/a.zarr").read("c/0/0/0")


def test_a_plan_survives_its_file(source: str, tmp_path: Path) -> None:
    """Plan.from_json(plan.to_json()) is the plan; a plan of another version is refused."""
    plan = batch.prepare(source, str(tmp_path / "a.zarr"), SETTINGS, chunks=CHUNKS, shards=(20, 32, 48))
    assert Plan.from_json(plan.to_json()) == plan == store.load_plan(plan.target)
    with pytest.raises(ConfigError, match="version"):
        Plan.from_json(plan.to_json().replace('"version": 1', '"version": 99'))


def test_the_commands_of_a_cluster_without_dask(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """plan, measure, run --part, finish: status 0 when all is there, 1 while chunks are missing, 2 for other errors."""
    target = str(tmp_path / "a.zarr")
    recipe = ["--ratio", "20", "--effort", "fast", "--set", "steps=200", "--chunks", "10,16,16"]
    assert main(["plan", source, target, *recipe]) == 0
    assert main(["plan", source, target, *recipe, "--seed", "1"]) == 2
    for part in ("1/2", "2/2"):
        assert main(["run", target, "--part", part]) == 1
        assert main(["measure", target, "--part", part]) == 0
    assert main(["run", target, "--part", "2/2", "--memory", "2GB", "--progress"]) == 0
    assert main(["finish", target]) == 1
    assert main(["run", target, "--part", "1/2"]) == 0
    assert main(["finish", target]) == 0
    said = capsys.readouterr()
    assert "12 chunks, 12 jobs to do" in said.out and "20." in said.out and "PSNR" in said.out
    assert all(text in said.err for text in ("measure", "begun with", "never encoded", "encoding [", "MB", "left"))
    batch.encode_array(source, str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    assert keys(target) == keys(tmp_path / "b.zarr")
