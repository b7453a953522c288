"""What is written is checked, wherever it lies, and what a plan says leads nowhere else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field

import inr_codec
from inr_codec import INRCodec, batch
from inr_codec.batch import manifest, store
from inr_codec.errors import ConfigError, IncompleteArray
from inr_codec.stores.folders import LocalFolder, open_folder

SHAPE, CHUNKS = (16, 32, 16), (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}
KINDS: dict[str, Any] = {"chunks": None, "shards": (8, 32, 16)}

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, and its encoded array with and without shards; one chunk is nothing but the fill value."""
    folder = tmp_path_factory.mktemp("made")
    values = field(SHAPE, np.uint16)
    values[8:, 16:] = 0
    np.save(folder / "source.npy", values)
    for kind, shards in KINDS.items():
        batch.encode_array(
            str(folder / "source.npy"), str(folder / f"{kind}.zarr"), SETTINGS, chunks=CHUNKS, shards=shards
        )
    return folder


def keys(target: str) -> dict[str, bytes]:
    """All chunks of a store."""
    plan, folder = store.load_plan(target), open_folder(target)
    found = {plan.key_of_job(job): folder.read(plan.key_of_job(job)) for job in range(plan.jobs)}
    return {key: data for key, data in found.items() if data is not None}


def again(target: str) -> None:
    """The same command again."""
    plan = store.load_plan(target)
    batch.encode_array(plan.source, target, SETTINGS, chunks=plan.chunks, shards=plan.shards)


def copy(made: Path, kind: str, target: str) -> str:
    """A store and its state at another place, a path or URL."""
    for root, place in ((made / f"{kind}.zarr", target), (made / f"{kind}.zarr.batch", f"{target}.batch")):
        folder = open_folder(place)
        folder.delete("")
        for file in root.rglob("*"):
            if file.is_file():
                folder.write(file.relative_to(root).as_posix(), file.read_bytes())
    return target


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda data: None,
    "cut": lambda data: data[:-7],
    "flipped": lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:],
    "another": lambda data: INRCodec(ratio=30, **FAST).encode(field(CHUNKS, np.uint16, seed=5)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", ["local", "memory"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_noticed_and_encoded_again(
    kind: str, place: str, damage: str, made: Path, tmp_path: Path
) -> None:
    """`finish` alone names the key and lists its chunks as failed; the same command again gives the bytes back."""
    target = copy(made, kind, str(tmp_path / "a.zarr") if place == "local" else "memory://written/a.zarr")
    before, folder = keys(target), open_folder(target)
    key = min(before)
    changed = DAMAGES[damage](before[key])
    if changed is None:
        folder.delete(key)
    else:
        folder.write(key, changed)
    with pytest.raises(IncompleteArray, match=key):
        batch.finish(target)
    failed = [record["key"] for record in manifest.read_manifest(target) if record["state"] == "failed"]
    assert set(failed) == {key}
    again(target)
    assert keys(target) == before
    assert batch.finish(target)["failed"] == 0


def test_sizes_alone_find_what_is_gone_or_cut(made: Path, tmp_path: Path) -> None:
    """check="sizes" reads no stream: it does not see a flipped bit, which check="bytes" (the default) does."""
    for kind in KINDS:
        target = copy(made, kind, str(tmp_path / f"{kind}.zarr"))
        file = Path(target, min(keys(target)))
        data = file.read_bytes()
        file.write_bytes(DAMAGES["flipped"](data) or b"")
        assert batch.finish(target, check="sizes")["failed"] == 0
        file.write_bytes(data[:-1])
        with pytest.raises(IncompleteArray, match="bytes"):
            batch.finish(target, check="sizes")


def test_a_stored_chunk_of_nothing_goes(made: Path, tmp_path: Path) -> None:
    """A key at the place of a chunk that holds nothing but the fill value would be read: it is noticed and deleted."""
    target = copy(made, "chunks", str(tmp_path / "a.zarr"))
    before = keys(target)
    (empty,) = (record["key"] for record in manifest.read_manifest(target) if record["state"] == "empty")
    open_folder(target).write(empty, before[min(before)])
    with pytest.raises(IncompleteArray, match=empty):
        batch.finish(target)
    again(target)
    assert keys(target) == before


def test_a_shard_loses_nothing_to_a_chunk_that_fails(made: Path, tmp_path: Path) -> None:
    """A damaged chunk whose source can no longer be read is listed; the sound ones of its shard stay as they are."""
    target = copy(made, "shards", str(tmp_path / "a.zarr"))
    plan, key = store.load_plan(target), min(keys(target))
    before, hidden = keys(target)[key], made / "hidden.npy"
    first, *others = (manifest.stored_stream(plan, open_folder(target), n) for n in plan.chunks_of_job(0))
    assert first is not None and others
    Path(target, key).write_bytes(DAMAGES["flipped"](before) or b"")
    os.rename(plan.source, hidden)
    inr_codec.clear_caches()
    try:
        assert batch.encode(target, batch.Here()) == 1
    finally:
        os.rename(hidden, plan.source)
    left = [manifest.stored_stream(plan, open_folder(target), n) for n in plan.chunks_of_job(0)]
    assert left == [None, *others]
    again(target)
    assert keys(target)[key] == before


def test_a_moved_store_goes_on_at_its_new_place(made: Path, tmp_path: Path) -> None:
    """Run, finish and the same command write where they are pointed at, and nothing where the store once was."""
    old = copy(made, "chunks", str(tmp_path / "old.zarr"))
    new = str(tmp_path / "new.zarr")
    for ending in ("", ".batch"):
        shutil.copytree(old + ending, new + ending)
    assert store.load_plan(old).target == old and store.load_plan(new).target == new
    for ending in ("", ".batch"):
        shutil.rmtree(old + ending)
    before = keys(new)
    Path(new, min(before)).unlink()
    assert batch.encode(new, batch.Here()) == 0
    assert batch.finish(new)["failed"] == 0
    again(new)
    assert keys(new) == before
    assert sorted(os.listdir(tmp_path)) == ["new.zarr", "new.zarr.batch"]


FORGED: dict[str, dict[str, Any]] = {
    "target": {"target": "other.zarr"},
    "array": {"array": "../other.zarr"},
    "absolute": {"array": "/other.zarr"},
    "separator": {"separator": "/../", "zarr_format": 2},
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_plan_changes_no_other_store(forged: str, made: Path, tmp_path: Path) -> None:
    """Whatever a plan says of its target, another store stays as it is, byte by byte and to the nanosecond."""
    target, other = (copy(made, "chunks", str(tmp_path / name)) for name in ("a.zarr", "other.zarr"))
    Path(target, min(keys(target))).unlink()
    Path(other, min(keys(other))).unlink()

    def state() -> dict[str, tuple[bytes, int]]:
        files = [file for root in (other, f"{other}.batch") for file in Path(root).rglob("*") if file.is_file()]
        return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    before, file = state(), Path(f"{target}.batch", "plan.json")
    changes = {
        name: str(tmp_path) + value if value == "/other.zarr" else value for name, value in FORGED[forged].items()
    }
    changes = {name: str(tmp_path / value) if name == "target" else value for name, value in changes.items()}
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    for act in (lambda: batch.encode(target, batch.Here()), lambda: batch.finish(target), lambda: again(target)):
        try:
            act()
        except (ConfigError, IncompleteArray):
            continue
    assert state() == before


def test_links_lead_nowhere(made: Path, tmp_path: Path) -> None:
    """Keys and records behind a link to another folder are refused, not written there."""
    target, elsewhere = copy(made, "chunks", str(tmp_path / "a.zarr")), tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(Path(target, "c"))
    Path(target, "c").symlink_to(elsewhere)
    assert batch.encode(target, batch.Here()) > 0
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(ConfigError, match="leads to"):
        LocalFolder(str(tmp_path)).write("../b", b"")
    with pytest.raises(ConfigError, match="leads to"):
        LocalFolder(target).delete("../elsewhere")


def test_levels_stay_in_their_group(made: Path, tmp_path: Path) -> None:
    """Paths of levels that lead out of an OME-Zarr group are refused, and a target in its own source too."""
    group = zarr.open_group(tmp_path / "group.zarr", mode="w", zarr_format=3)
    for name in ("0", "1"):
        group.create_array(name, shape=SHAPE, chunks=CHUNKS, dtype="u2")
    for paths in (["0", "../other.zarr"], ["../group.zarr/0"], ["/0"]):
        scales = [{"datasets": [{"path": path} for path in paths], "axes": []}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": scales}
        with pytest.raises(ConfigError, match="inside of a group"):
            batch.prepare(str(tmp_path / "group.zarr"), str(tmp_path / "b.zarr"), SETTINGS, chunks=CHUNKS)
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}
    for level in ("0", "1", "2"):
        with pytest.raises(ConfigError, match="outside of the target"):
            batch.prepare(str(tmp_path / "group.zarr"), str(tmp_path / "group.zarr" / level), SETTINGS, overwrite=True)
    assert sorted(name for name, _ in group.members()) == ["0", "1"]
