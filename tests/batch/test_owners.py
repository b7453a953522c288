"""One owner of a target at a time, unless they have different parts of one plan; owners that are gone hinder nobody."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field

from inr_codec import INRCodec, batch
from inr_codec.batch import manifest, owners, store, tasks
from inr_codec.batch.verify import verify
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError

CHUNKS = (8, 16, 16)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A volume of four chunks in a file."""
    np.save(tmp_path / "source.npy", field((8, 32, 32), np.uint16))
    return str(tmp_path / "source.npy")


def refused(target: str, plan: str | None, part: tuple[int, int] = (1, 1)) -> bool:
    """Whether somebody who comes now may not work on a target: alone, or on a part of a plan."""
    try:
        with owners.alone(target) if plan is None else owners.working(target, plan, part):
            return False
    except ConfigError as error:
        return "to be free" in str(error)


def elsewhere(call: Any, *arguments: Any) -> Any:
    """The result of a call in another thread: another owner."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("place", ["local", "memory"])
def test_parts_of_one_plan_work_together_and_nobody_else(place: str, tmp_path: Path) -> None:
    """Another part of the same plan may come; the same part, another number of parts, another plan, and whoever wants
    the target, what lies in it or what it lies in for itself may not. Arrays beside it are free."""
    root = str(tmp_path / "a.zarr") if place == "local" else "memory://owners/a.zarr"
    with owners.working(f"{root}/x", "p", (1, 4)):
        assert not elsewhere(refused, f"{root}/x", "p", (2, 4))
        for plan, part in (("p", (1, 4)), ("p", (2, 3)), ("q", (2, 4)), (None, (1, 1))):
            assert elsewhere(refused, f"{root}/x", plan, part)
        for target in (root, f"{root}/x/0"):
            assert elsewhere(refused, target, None) and elsewhere(refused, target, "p", (2, 4))
        assert not elsewhere(refused, f"{root}/y", None)
    with owners.alone(root):
        assert elsewhere(refused, root, "p") and elsewhere(refused, f"{root}/x", None)
        assert not refused(root, "p") and not refused(f"{root}/x", None)  # its own steps
    assert not elsewhere(refused, root, None)
    assert store.open_folder(f"{root}.batch").names("") == [] or place == "memory"


def test_an_owner_that_is_gone_hinders_nobody(tmp_path: Path) -> None:
    """A killed process of this host counts for nothing at once, one of another host after STALE seconds; a number of a
    process that has been given again is another process, and damaged files are of nobody."""
    target, folder = str(tmp_path / "a.zarr"), tmp_path / "a.zarr.batch" / owners.FOLDER
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here: dict[str, Any] = {"inner": "", "plan": None, "part": [1, 1], "host": owners._host(), "beat": time.time()}
    mine = owners._process(os.getpid())

    def leave(**what: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.json").write_text(json.dumps({"name": "x.json"} | here | what))

    for what in ({"process": str(ended.pid)}, {"process": mine}, {"process": f"{os.getppid()} 1"}):
        leave(**what)
        assert not refused(target, None), what
    leave(process=owners._process(os.getppid()))
    assert refused(target, None)
    leave(host="another", process="1 1")
    assert refused(target, None)
    leave(host="another", process="1 1", beat=time.time() - owners.STALE - 1)
    assert not refused(target, None)
    for text in ("", "[]", "[" * 5000, '{"name": 3}', "\0\xff", json.dumps(here | {"name": "x.json", "process": " "})):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.json").write_text(text)
        assert not refused(target, None)


def test_an_owner_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is written again and again, so that other hosts know that it lives."""
    monkeypatch.setattr(owners, "BEAT", 0.05)
    with owners.alone(str(tmp_path / "a.zarr")):
        (file,) = (tmp_path / "a.zarr.batch" / owners.FOLDER).glob("*.json")
        first = json.loads(file.read_text())["beat"]
        end = time.monotonic() + 20
        while json.loads(file.read_text())["beat"] == first:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_nobody_overwrites_what_is_in_work(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a run works, --overwrite, other settings and `finish` are refused in one line with status 2; a killed run
    is taken over at once."""
    target = str(tmp_path / "a.zarr")
    recipe = ["--max-error", "40", "--chunks", "8,16,16"]
    assert main(["plan", source, target, *recipe]) == 0
    code = (
        "import sys, time; from inr_codec import batch; from inr_codec.batch import owners, store; "
        "plan = store.load_plan(sys.argv[1]).id; "
        "work = owners.working(sys.argv[1], plan, (1, 1)); work.__enter__(); "
        "print('at work', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "at work\n"
        for arguments in (["plan", source, target, "--max-error", "2", "--overwrite"], ["finish", target]):
            assert main(arguments) == 2
            assert f"process {other.pid} on" in capsys.readouterr().err
        assert main(["run", target]) == 2
    finally:
        other.kill()
        other.communicate()
    assert main(["run", target]) == 0 and main(["finish", target]) == 0


def test_a_task_of_an_older_plan_writes_nothing(source: str, tmp_path: Path) -> None:
    """Whatever outlived the lock, a worker of a driver that is gone say: keys, streams and records stay those of the
    plan that is there."""
    target = str(tmp_path / "a.zarr")
    old = batch.prepare(source, target, {"max_error": 40}, chunks=CHUNKS)
    begun = tasks.encode_jobs(target, old.id, range(old.jobs), 1)
    next(begun)  # it has looked at what is stored
    new = batch.prepare(source, target, {"max_error": 2}, chunks=CHUNKS, overwrite=True)
    assert old.id != new.id
    with pytest.raises(tasks.PlanReplaced, match="planned again"):
        list(begun)
    with pytest.raises(tasks.PlanReplaced, match="planned again"):
        list(tasks.measure_chunks(target, old.id, [0], 1))
    assert sorted(os.listdir(target)) == ["zarr.json"]
    assert batch.encode_array(source, target, {"max_error": 2}, chunks=CHUNKS)["done"] == 4
    error = np.abs(zarr.open_array(target)[...].astype(int) - np.load(source).astype(int))
    assert error.max() <= 2 and verify(target).wrong == 0


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        ({"max_error": 2}, {"max_error": 40}),
        ({"lossless": True}, {"max_error": 2}),
        ({"psnr": 60, **FAST}, {"psnr": 40, **FAST}),
        ({"max_error": 2}, {"psnr": 40, **FAST}),
        ({"ratio": 40, **FAST}, {"ratio": 5, **FAST}),
    ],
)
def test_streams_are_compared_with_what_the_array_says(
    settings: Any, streams: Any, source: str, tmp_path: Path
) -> None:
    """`verify` finds streams that keep less than the array's metadata promise, with a manifest and without; the next
    run encodes those again that break a bound, or that are not the ones that were written."""
    target = str(tmp_path / "a.zarr")
    batch.encode_array(source, target, settings, chunks=CHUNKS, per_chunk=True)
    assert verify(target).wrong == 0
    chunk = np.load(source)[:, :16, :16]
    Path(target, "c/0/0/0").write_bytes(INRCodec(**streams).encode(np.ascontiguousarray(chunk)))
    assert verify(target).corrupt == 1  # not that of the manifest
    for file in ("manifest.jsonl", "journal"):
        path = Path(f"{target}.batch", file)
        path.rename(f"{path}.away")
    found = verify(target)
    assert found.wrong == found.beyond == 1
    Path(f"{target}.batch", "journal.away").rename(Path(f"{target}.batch", "journal"))
    batch.encode_array(source, target, settings, chunks=CHUNKS, per_chunk=True)
    assert verify(target).wrong == 0


def test_force_makes_the_array_tell_its_settings(source: str, tmp_path: Path) -> None:
    """With --force and a tighter bound the metadata say so, and chunks that do not keep it are encoded again."""
    target = str(tmp_path / "a.zarr")
    batch.encode_array(source, target, {"max_error": 40}, chunks=CHUNKS)
    batch.encode_array(source, target, {"max_error": 2}, chunks=CHUNKS, force=True)
    assert verify(target).wrong == 0
    told = [record["max_error"] for record in manifest.read_manifest(target)]
    assert max(told) <= 2
    assert zarr.open_array(target).metadata.codecs[-1].config.max_error == 2


@pytest.mark.slow
def test_parts_in_processes(source: str, tmp_path: Path) -> None:
    """Two processes with a part each measure and encode at the same time, and the array is complete."""
    target, recipe = str(tmp_path / "a.zarr"), {"ratio": 20, **FAST}
    batch.prepare(source, target, recipe, chunks=CHUNKS)
    for verb in ("measure", "run"):
        command = [sys.executable, "-c", "from inr_codec.cli import script; script()", verb, target, "--part"]
        running = [subprocess.Popen([*command, part]) for part in ("1/2", "2/2")]
        assert [process.wait(timeout=300) for process in running] == [0, 0]
    assert batch.finish(target)["done"] == 4
