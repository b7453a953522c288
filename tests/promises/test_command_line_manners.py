"""What the command line tells: help with examples, near misses, any terminal, compiling, one line for bad inputs."""

import os
import re
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import zarr
from numba.core import event
from samples import field

from inr_codec.cli.parser import EXAMPLES, main
from inr_codec.progress import Progress
from inr_codec.runtime.compiling import COMPILING, KIND, compiling, drawn

VERBS = ["encode", "decode", "prior", "inspect", "compare", "plan", "measure", "run", "finish", "verify", "report"]
VALUES = field((4, 8, 8), "u2")

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_help_ends_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that can be typed: each names a command that is there and options that it has."""
    with pytest.raises(SystemExit):
        main([verb, "--help"] if verb else ["--help"])
    shown = capsys.readouterr().out.split("examples:\n")[1].splitlines()
    assert shown and shown == EXAMPLES[verb or "inr-codec"].splitlines()
    for line in shown:
        name, command, *rest = line.split()
        assert name == "inr-codec" and command in VERBS
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known = capsys.readouterr().out
        assert all(re.search(rf"{word}\b", known) for word in rest if word.startswith("--"))


def test_near_misses_are_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    """A verb or a choice that is nearly one is answered with it, any other with the list alone."""
    for arguments, meant in (
        (["enocde", "a", "b"], "'encode'"),
        (["compress"], "'compare'"),
        (["verfy", "a"], "'verify'"),
        (["encode", "a", "b", "--effort", "fats"], "'fast'"),
        (["qqq"], None),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "--help" in said
        assert f"did you mean {meant}?" in said if meant else "did you mean" not in said


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_in_any_script_on_any_terminal(encoding: str, tmp_path: Path) -> None:
    """A name that the terminal cannot show is spelt in escapes: status 0 after complete work, one line for errors."""
    folder = tmp_path / "κύτταρα 脳"
    folder.mkdir()
    np.save(folder / "é.npy", VALUES)
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    commands = [
        ["encode", folder / "é.npy", folder / "ö.zarr", "--lossless"],
        ["inspect", folder / "ö.zarr"],
        ["compare", folder / "é.npy", folder / "ö.zarr", "--png", folder / "ß.png"],
        ["report", folder / "ö.zarr"],
        ["verify", folder / "ö.zarr"],
        ["encode", folder / "ø.npy", folder / "ü.zarr"],
    ]
    calls = "import sys; from inr_codec.cli import script; sys.argv[1:] = {}; script()"
    for command, status in zip(commands, (0, 0, 0, 0, 0, 2)):
        run = [sys.executable, "-c", calls.format([str(word) for word in command])]
        done = subprocess.run(run, env=environment, capture_output=True, check=False)
        assert done.returncode == status, done.stderr
        told = done.stderr.replace(f"{COMPILING}\n".encode(), b"")  # on a machine that has no kernels yet
        assert told.count(b"\n") == (status == 2)
    assert (folder / "ß.png").exists() and (folder / "ö.zarr.html").exists()


def test_a_shell_can_ask_what_comes_next(tmp_path: Path) -> None:
    """argcomplete gets the verbs, and the options of one."""
    pytest.importorskip("argcomplete")
    for line, expected in (("inr-codec en", {"encode"}), ("inr-codec decode a b --ov", {"--overwrite"})):
        answer = tmp_path / "answer"
        environment = os.environ | {
            "_ARGCOMPLETE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        }
        subprocess.run([sys.executable, "-m", "inr_codec"], env=environment, capture_output=True, check=False)
        assert {word.strip() for word in answer.read_text().split("\x0b")} == expected


def test_compiling_belongs_to_no_rate() -> None:
    """The clock stands still from the first to the last of compilations that overlap, and one line is told."""
    told: list[str] = []
    with compiling(lambda: told.append("compiling")) as clock:
        begin = clock()
        with event.trigger_event(KIND):
            inside = clock()
            other = threading.Thread(target=lambda: compile_for(0.05))
            other.start()
            other.join()
            assert clock() == inside
        assert inside - begin < 0.05
        assert clock() - inside < 0.05
        compile_for(0.05)
        assert clock() - inside < 0.1
    assert told == ["compiling"]
    compile_for(0)
    assert told == ["compiling"]


def compile_for(seconds: float) -> None:
    """What numba tells of a compilation that takes so long."""
    with event.trigger_event(KIND):
        threading.Event().wait(seconds)


def test_compiling_is_told_in_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bar, or alone where no bar is drawn; nothing is said where nothing is compiled."""
    for shown in (False, True):
        said = StringIO()
        monkeypatch.setattr(sys, "stderr", said)
        with drawn("encoding", 2, 10, shown=shown) as bar:
            compile_for(0)
            bar.step(5)
        lines = said.getvalue().split("\n")
        assert lines[0].rpartition("\r")[2] == COMPILING and len(lines) == 2
        assert ("1/2 chunks" in lines[1]) == shown
    said = StringIO()
    Progress("encoding", 1, 1, stream=said, shown=False).close()
    assert said.getvalue() == ""


@pytest.mark.slow
def test_a_first_encoding_tells_that_it_compiles(tmp_path: Path) -> None:
    """With an empty cache the line is there, and the rate is that of the work; with a full one nothing is said."""
    np.save(tmp_path / "v.npy", field((16, 16, 16), "u2"))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for target, lines in (("a.zarr", 1), ("b.zarr", 0)):
        run = [sys.executable, "-m", "inr_codec", "encode", "v.npy", target, "--max-error", "9"]
        done = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr.count(COMPILING) == done.stderr.count("\n") == lines
    begin = [sys.executable, "-m", "inr_codec", "inspect", "b.zarr"]
    assert subprocess.run(begin, env=environment, cwd=tmp_path, capture_output=True, check=True).stderr == b""


def test_bad_inputs_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever cannot be a volume is named in one line, here and on the way to a cluster, and nothing is written."""
    pair = np.zeros((4, 4, 4), [("real", "f4"), ("imag", "f4")])
    np.save(tmp_path / "fields.npy", pair)
    for name, values in {
        "empty": np.zeros((0, 4, 4), "u2"),
        "number": np.array(5.0),
        "nan": np.full((4, 8, 8), np.nan, "f4"),
        "complex": np.ones((4, 8, 8), "c8"),
        "v": VALUES,
    }.items():
        np.save(tmp_path / f"{name}.npy", values)
    for folder in ("slices", "nothing"):
        (tmp_path / folder).mkdir()
    for k in range(2):
        (tmp_path / "slices" / f"IM{k}").write_bytes(b"text")
    zarr.create_array(tmp_path / "words.zarr", shape=(3,), dtype=str)
    zarr.create_array(tmp_path / "none.zarr", shape=(0, 3), dtype="u1")
    before = sorted(tmp_path.rglob("*"))
    for source, said in (
        ("fields.npy", "fields real, imag"),
        ("empty.npy", "(0, 4, 4)"),
        ("number.npy", "()"),
        ("slices", "a folder that is no zarr"),
        ("nothing", "a folder that is no zarr"),
        ("words.zarr", "numbers"),
        ("none.zarr", "(0, 3)"),
    ):
        for verb in ("encode", "plan"):
            assert main([verb, str(tmp_path / source), str(tmp_path / "t.zarr"), "--lossless"]) == 2
            message = capsys.readouterr().err
            assert message.count("\n") == 1 and said in message and source in message
    for first, second, said in (
        ("nan.npy", "nan.npy", "finite voxel"),
        ("nan.npy", "v.npy", "finite voxel"),
        ("v.npy", "nan.npy", "256 that are not"),
        ("complex.npy", "complex.npy", "real numbers"),
        ("fields.npy", "fields.npy", "fields"),
        ("empty.npy", "empty.npy", "(0, 4, 4)"),
    ):
        assert main(["compare", str(tmp_path / first), str(tmp_path / second)]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and said in message
    assert sorted(tmp_path.rglob("*")) == before


def test_sources_behind_urls_need_no_scheduler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A zarr array behind a URL is encoded here; one that cannot be reached, or a scheme nobody knows, is one line."""
    zarr.create_array("memory://manners/a.zarr", data=VALUES)
    assert main(["encode", "memory://manners/a.zarr", str(tmp_path / "a.zarr"), "--lossless"]) == 0
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[:], VALUES)
    np.save(tmp_path / "v.npy", VALUES)
    assert main(["encode", f"file://{tmp_path}/v.npy", str(tmp_path / "b.zarr"), "--lossless"]) == 0
    capsys.readouterr()
    for source in ("https://127.0.0.1:9/a.zarr", "memory://manners/none.zarr", "nonsense://a/b"):
        for verb in ("encode", "plan", "inspect"):
            target = [] if verb == "inspect" else [str(tmp_path / "t.zarr")]
            assert main([verb, source, *target]) == 2
            message = capsys.readouterr().err
            assert message.count("\n") == 1 and source in message
    assert main(["encode", str(tmp_path / "v.npy"), "memory://manners/t.zarr", "--lossless"]) == 2
    assert "--scheduler local" in capsys.readouterr().err
