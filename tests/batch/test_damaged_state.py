"""Whatever is in the files of the state folder: one clear error, or lines that are counted; a rerun repairs."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import FAST, field

from inr_codec import batch
from inr_codec.batch import manifest, store
from inr_codec.batch.report import gather
from inr_codec.batch.verify import verify
from inr_codec.errors import ConfigError, IncompleteArray

CHUNKS = (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}
ODD = [b"{", b"null", b"3", b"[]", b'"x"', b"[" * 3000, b'{"n":' * 3000, b"\0\xff\xfe", b'{"n":"a"}', b"\xef\xbb\xbf{}"]
ODD += [b'{"n":-1,"state":"done"}', b'{"n":true,"state":"done"}', b'{"n":0,"state":[]}', b'{"n":0,"state":"done"}']
ODD += [b'{"n":1e400,"state":"done"}', b'{"n":99999999999999999999,"curve":[[1],[1]]}', b'{"n":0,"curve":[[],[]]}']
ODD += [b'{"n":0,"curve":[["a"],[1]]}', b'{"n":0,"curve":7}', b'{"n":0,"curve":[[1,2],[NaN,1]]}', b"9" * 5000]

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source and a finished array of two chunks."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "source.npy", field((8, 32, 16), np.uint16))
    batch.encode_array(str(folder / "source.npy"), str(folder / "made.zarr"), SETTINGS, chunks=CHUNKS)
    return folder


def files(target: Path) -> dict[str, Path]:
    """The files of a state folder by what they are."""
    state = Path(f"{target}.batch")
    found = {path.name: path for path in state.iterdir() if path.is_file()}
    return found | {name: next((state / name).iterdir()) for name in ("journal", "measures")}


def keys(target: Path) -> dict[str, bytes]:
    """All chunks of a store."""
    return {
        path.relative_to(target).as_posix(): path.read_bytes() for path in (target / "c").rglob("*") if path.is_file()
    }


@st.composite
def damages(draw: st.DrawFn) -> Any:
    """(bytes of a sound file) -> damaged ones: cut, changed somewhere, or with odd lines among its own."""
    kind = draw(st.sampled_from(["cut", "bytes", "line", "whole", "field"]))
    at, some = draw(st.floats(0, 1)), draw(st.binary(max_size=20))
    line = draw(st.sampled_from(ODD))
    value = draw(st.sampled_from([None, True, -1, 10**25, 1.5, "x", "../../x", [], {}, [[]], {"a": 1}]))
    place = draw(st.integers(0, 30))

    def damage(data: bytes) -> bytes:
        n = int(at * len(data))
        if kind == "cut":
            return data[:n]
        if kind == "bytes":
            return data[:n] + some + data[n + len(some) :]
        if kind == "whole":
            return line
        lines = data.split(b"\n")
        k = int(at * len(lines))
        if kind == "field":
            try:
                record = json.loads(data if b"\n " in data else lines[min(k, len(lines) - 1)])
                record[sorted(record)[place % len(record)]] = value
            except (ValueError, TypeError, KeyError, ZeroDivisionError):
                return data[:-1]
            return (
                b"\n".join([*lines[:k], json.dumps(record).encode(), *lines[k + 1 :]])
                if b"\n " not in data
                else (json.dumps(record).encode())
            )
        return b"\n".join([*lines[:k], line, *lines[k:]])

    return damage


@pytest.mark.parametrize("name", ["plan.json", "budget.npy", "manifest.jsonl", "summary.json", "journal", "measures"])
def test_a_damaged_file_is_told_of_and_repaired(name: str, made: Path) -> None:
    """run, finish, verify and report raise nothing but errors of ours, of one line; the same command again (for a plan
    also with --overwrite) gives a finished array of the same streams."""
    original = keys(made / "made.zarr")

    @settings(max_examples=25)
    @given(damages())
    def check(damage: Any) -> None:
        target = made / "a.zarr"
        for ending in ("", ".batch"):
            shutil.rmtree(f"{target}{ending}", ignore_errors=True)
            shutil.copytree(made / f"made.zarr{ending}", f"{target}{ending}")
        path = files(target)[name]
        path.write_bytes(damage(path.read_bytes()))
        steps = (
            lambda: verify(str(target)),
            lambda: gather(str(target)),
            lambda: batch.encode(str(target), batch.Here(1)),
            lambda: batch.finish(str(target)),
        )
        for step in steps:
            with suppress(ConfigError, IncompleteArray):
                step()
        again: dict[str, Any] = {"chunks": CHUNKS}
        try:
            done = batch.encode_array(str(made / "source.npy"), str(target), SETTINGS, **again)
        except ConfigError:
            assert name == "plan.json"
            done = batch.encode_array(str(made / "source.npy"), str(target), SETTINGS, **again, overwrite=True)
        assert done["failed"] == 0 and keys(target) == original
        assert verify(str(target)).wrong == 0 and gather(str(target)).recorded

    check()


def test_odd_lines_are_counted(made: Path) -> None:
    """The summary says how many lines of the journals were passed over, and nothing is encoded for them."""
    target = made / "counted.zarr"
    for ending in ("", ".batch"):
        shutil.copytree(made / f"made.zarr{ending}", f"{target}{ending}")
    with files(target)["journal"].open("ab") as file:
        file.write(b"\n".join(ODD) + b"\n")
    written = {path: path.stat().st_mtime_ns for path in (target / "c").rglob("*") if path.is_file()}
    batch.encode_array(str(made / "source.npy"), str(target), SETTINGS, chunks=CHUNKS)
    summary = json.loads(files(target)["summary.json"].read_text())
    assert summary["skipped_lines"] == len(ODD) and summary["failed"] == 0
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert [record["attempts"] for record in manifest.read_manifest(str(target))] == [1, 1]


def test_a_damaged_plan_is_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For every command, with status 2 and what to do."""
    from inr_codec.cli.parser import main

    target = made / "told.zarr"
    for ending in ("", ".batch"):
        shutil.copytree(made / f"made.zarr{ending}", f"{target}{ending}")
    for text in (b"", b"[" * 100000, b"\0", b"3", b'{"version": 1}', b'{"version": [1]}'):
        Path(f"{target}.batch", store.PLAN).write_bytes(text)
        for command in (["run"], ["measure"], ["finish"], ["verify"], ["report"]):
            assert main([*command, str(target)]) == 2
            said = capsys.readouterr().err.splitlines()
            assert len(said) == 1 and "expected a plan" in said[0] and "--overwrite" in said[0], said
