"""Nothing is deleted or overwritten that is not the product's own, whichever way a target is given."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import zarr
from matplotlib.image import imsave
from samples import field

from inr_codec import batch, io, targets
from inr_codec.batch.clearing import forget
from inr_codec.cli.parser import main
from inr_codec.errors import ConfigError
from inr_codec.layers.network.prior import make_prior
from inr_codec.runtime.compiling import COMPILING

VALUES = field((6, 8, 8), "u2")
QUICK = ["--lossless"]
DRIVEN = [*QUICK, "--scheduler", "local", "--workers", "1"]

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def array(path: Path, **options: object) -> None:
    """A zarr array of other values than VALUES."""
    zarr.create_array(str(path), data=np.arange(64, dtype="u1").reshape(4, 4, 4), **options)


def folder(path: Path) -> None:
    """Somebody's work."""
    path.mkdir()
    (path / "thesis.tex").write_text("years")


def group(path: Path) -> None:
    """A group of two arrays."""
    zarr.open_group(str(path), mode="w")
    array(path / "a")
    array(path / "b")


def array_with_notes(path: Path) -> None:
    """An array in whose folder somebody keeps notes."""
    array(path)
    (path / "notes.txt").write_text("seen on Monday")


def array_with_array(path: Path) -> None:
    """An array in whose folder another array was put."""
    array(path)
    array(path / "sub")


def array_with_folder(path: Path) -> None:
    """An array in whose folder there is an empty folder of another name."""
    array(path)
    (path / "later").mkdir()


def link(path: Path) -> None:
    """A link to an array elsewhere."""
    array(path.with_name("elsewhere.zarr"))
    path.symlink_to(path.with_name("elsewhere.zarr"))


def dead_link(path: Path) -> None:
    """A link to a disk that is not there now."""
    path.symlink_to(path.with_name("unmounted"))


def file(path: Path) -> None:
    """A file where a folder would be written."""
    path.write_text("a list")


def broken(path: Path) -> None:
    """A folder whose zarr metadata cannot be read."""
    path.mkdir()
    (path / "zarr.json").write_text("{")


def plain_group(path: Path) -> None:
    """A group without arrays, but with attributes."""
    zarr.open_group(str(path), mode="w", attributes={"patient": 7})


FOREIGN = [
    folder,
    group,
    array_with_notes,
    array_with_array,
    array_with_folder,
    link,
    dead_link,
    file,
    broken,
    plain_group,
]


def everything(path: Path) -> dict[str, bytes | str | None]:
    """Every path below, links not followed, with what it holds."""
    found: dict[str, bytes | str | None] = {}
    for one in sorted(path.rglob("*")):
        name = str(one.relative_to(path))
        found[name] = os.readlink(one) if one.is_symlink() else one.read_bytes() if one.is_file() else None
    return found


def refused(capsys: pytest.CaptureFixture[str], arguments: list[object]) -> str:
    """The line of a command that must fail with status 2."""
    assert main([str(argument) for argument in arguments]) == 2, arguments
    said = capsys.readouterr().err.replace(f"{COMPILING}\n", "")  # where nothing is compiled yet
    assert said.startswith("inr-codec: error: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_not_a_zarr_array_alone_is_kept(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No way of encoding or decoding replaces it, with or without --overwrite, and it stays as it was."""
    np.save(tmp_path / "v.npy", VALUES)
    array(tmp_path / "v.zarr")
    target = tmp_path / "x.zarr"
    make(target)
    before = everything(tmp_path)
    for command in (
        ["encode", tmp_path / "v.npy", target, *QUICK],
        ["encode", tmp_path / "v.npy", f"{target}/", *QUICK],
        ["encode", tmp_path / "v.npy", f"file://{target}", *QUICK],
        ["encode", tmp_path / "v.npy", target, *DRIVEN],
        ["plan", tmp_path / "v.npy", target, *QUICK],
        ["plan", tmp_path / "v.npy", f"file://{target}", *QUICK],
        ["decode", tmp_path / "v.zarr", target],
    ):
        for more in ([], ["--overwrite"]):
            assert "x.zarr" in refused(capsys, [*command, *more])
    with pytest.raises(FileExistsError, match="replace nothing but"):
        batch.prepare(str(tmp_path / "v.npy"), str(target), {"lossless": True}, overwrite=True)
    with pytest.raises(FileExistsError), io.create(target, (2,), "u1", overwrite=True):
        pass
    assert everything(tmp_path) == before


def spellings(path: Path) -> list[str]:
    """Names of one place of this machine."""
    other = path.with_name("link.zarr")
    other.symlink_to(path)
    (path.parent / "here").symlink_to(path.parent)
    return [
        str(path),
        f"{path}/",
        os.path.relpath(path),
        f"{path.parent}/./{path.parent.name}/../{path.name}",
        f"{path.parent}/here/{path.name}",
        str(other),
        f"file://{path}",
        f"file://localhost{path}",
        f"FILE://{path}/",
        f"local://{path}",
        f"simplecache::file://{path}",
    ]


def test_a_target_is_never_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However both are spelt: relative, with slashes, through links, as URLs, percent signs and all."""
    source = tmp_path / "a b.zarr"
    array(source)
    (tmp_path / tmp_path.name).mkdir()
    names = [*spellings(source), f"file://{str(source).replace(' ', '%20')}"]
    before = everything(tmp_path)
    for name in names:
        with pytest.raises(ConfigError, match="outside of the target"):
            targets.check_apart(str(source), [name])
        if "::" not in name:
            refused(capsys, ["plan", name, source, *QUICK, "--overwrite"])
            refused(capsys, ["encode", source, name, *QUICK, "--overwrite"])
            refused(capsys, ["decode", source, name, "--overwrite"])
            with pytest.raises((ConfigError, FileExistsError)):
                batch.encode_array(name, str(source), {"lossless": True}, overwrite=True)
    assert everything(tmp_path) == before


def test_a_target_neither_holds_nor_lies_in_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it lie in any array; beside the source in its group it may be."""
    np.save(tmp_path / "v.npy", VALUES)
    group(tmp_path / "g.zarr")
    array(tmp_path / "q.zarr")
    np.save(tmp_path / "q.zarr" / "in.npy", VALUES)
    before = everything(tmp_path)
    for source, target in [
        ("g.zarr/a", "g.zarr"),
        ("q.zarr/in.npy", "q.zarr"),
        ("v.npy", "q.zarr/sub"),
        ("v.npy", "q.zarr/deep/sub"),
        ("v.npy", "g.zarr/a/sub"),
        ("q.zarr", "q.zarr/sub"),
        ("q.zarr", "q.zarr/sub.zarr"),
    ]:
        for verb, options in (("encode", QUICK), ("encode", DRIVEN), ("plan", QUICK), ("decode", [])):
            refused(capsys, [verb, tmp_path / source, tmp_path / target, *options, "--overwrite"])
    assert everything(tmp_path) == before
    assert main(["encode", str(tmp_path / "g.zarr/a"), str(tmp_path / "g.zarr/c"), *QUICK]) == 0


def test_places_behind_urls(tmp_path: Path) -> None:
    """The same holds for file systems of fsspec, whose URLs have spellings too."""
    array(tmp_path / "a.zarr")
    source = "memory://place/a.zarr"
    zarr.create_array(source, data=np.arange(64, dtype="u1").reshape(4, 4, 4))
    for name in (source, f"{source}/", "memory:///place/a.zarr", "memory://place/b/../a.zarr"):
        with pytest.raises(ConfigError, match="outside of the target"):
            batch.prepare(source, name, {"lossless": True}, overwrite=True)
    with pytest.raises(ConfigError, match="outside of any zarr array"):
        batch.prepare(str(tmp_path / "a.zarr"), f"{source}/sub", {"lossless": True})
    store = targets.place_of("memory://place/thesis.zarr").files
    store.pipe_file("/place/thesis.zarr/text", b"years")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            batch.prepare(source, "memory://place/thesis.zarr", {"lossless": True}, overwrite=overwrite)
    assert store.cat_file("/place/thesis.zarr/text") == b"years"
    target = "memory://place/new.zarr"
    batch.encode_array(source, target, {"lossless": True})
    store.pipe_file("/place/new.zarr/notes", b"seen")
    with pytest.raises(FileExistsError, match="notes"):
        batch.prepare(source, target, {"lossless": True}, overwrite=True)
    store.rm_file("/place/new.zarr/notes")
    batch.prepare(source, target, {"lossless": True}, chunks=(2, 2, 2), overwrite=True)
    assert not [name for name in store.find("/place/new.zarr") if "/c/" in name]
    for wrong in ("https://somewhere/a.zarr", f"simplecache::{target}"):
        with pytest.raises(ConfigError, match="can be written to"):
            targets.check_apart(wrong, [])


@pytest.mark.parametrize(
    "name", ["out.npy", "out.tif", "out.nii.gz", "out.NRRD", "out.h5", "out.png", "out.jpg", "a.zip"]
)
def test_a_target_of_another_format_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """encode writes zarr: a name that promises anything else is refused, and the line says what to do."""
    np.save(tmp_path / "v.npy", VALUES)
    for target in (tmp_path / name, tmp_path / "g.zarr" / name, f"file://{tmp_path}/{name}"):
        if "g.zarr" in str(target) and name == "out.jpg":
            continue
        for verb, options in (("encode", QUICK), ("encode", DRIVEN), ("plan", QUICK)):
            said = refused(capsys, [verb, tmp_path / "v.npy", target, *options])
            assert "inr-codec decode" in said and "encode to" in said
    assert [one.name for one in tmp_path.iterdir()] == ["v.npy"]


def test_names_that_are_zarr() -> None:
    """A name without a suffix, with .zarr, or with a point inside of a store is that of an array."""
    for name in ("a", "a.zarr", "a.ome.zarr/", "A.ZARR", "g.zarr/0", "g.zarr/0.5um", "memory://x.y/a", "s3://b/a.zarr"):
        targets.check_array_name(name)


def volume_files(folder: Path) -> None:
    """A small volume in each format."""
    np.save(folder / "a.npy", VALUES)
    tifffile.imwrite(folder / "a.tif", VALUES, photometric="minisblack")
    tifffile.imwrite(folder / "a.tiff", VALUES, bigtiff=True, photometric="minisblack")
    nibabel.save(nibabel.Nifti1Image(VALUES, np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti2Image(VALUES, np.eye(4)), folder / "b.nii")
    nibabel.save(nibabel.Nifti1Image(VALUES, np.eye(4)), folder / "a.nii.gz")
    nrrd.write(str(folder / "a.nrrd"), VALUES)


def test_a_file_is_replaced_only_by_its_own_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Volumes, and empty files, are; a file of another kind, a folder, a link and a device are not."""
    array(tmp_path / "v.zarr")
    volume_files(tmp_path)
    (tmp_path / "empty.npy").touch()
    for name in ("a.npy", "a.tif", "a.tiff", "a.nii", "b.nii", "a.nii.gz", "a.nrrd", "empty.npy"):
        assert "--overwrite" in refused(capsys, ["decode", tmp_path / "v.zarr", tmp_path / name])
        assert main(["decode", str(tmp_path / "v.zarr"), str(tmp_path / name), "--overwrite"]) == 0
        np.testing.assert_array_equal(io.load(tmp_path / name).array, zarr.open(tmp_path / "v.zarr", mode="r")[:])
    suffixes = [".npy", ".tif", ".nii", ".nii.gz", ".nrrd"]
    for suffix in suffixes:
        (tmp_path / f"text{suffix}").write_text("my thesis " * 50)
        shutil.copy(tmp_path / ("a.npy" if suffix != ".npy" else "a.tif"), tmp_path / f"other{suffix}")
        folder(tmp_path / f"folder{suffix}")
        array(tmp_path / f"array{suffix}")
        (tmp_path / f"link{suffix}").symlink_to(tmp_path / f"a{suffix}")
    os.mkfifo(tmp_path / "pipe.npy")
    pipe = [tmp_path / "pipe.npy"]
    kept = (
        everything(tmp_path / "folder.npy"),
        {one: one.read_bytes() for one in tmp_path.glob("[ot]*.*") if one.is_file()},
    )
    for what in ("text", "other", "folder", "array", "link"):
        for target in [*(tmp_path / f"{what}{suffix}" for suffix in suffixes), *pipe]:
            assert "replace nothing but" in refused(capsys, ["decode", tmp_path / "v.zarr", target, "--overwrite"])
            with pytest.raises(FileExistsError), io.create(target, (2, 2), "u1", overwrite=True):
                pass
    assert (everything(tmp_path / "folder.npy"), {one: one.read_bytes() for one in kept[1]}) == kept
    refused(capsys, ["decode", tmp_path / "v.zarr", tmp_path / "v.zarr" / "out.npy"])


def test_pictures_pages_and_priors_replace_their_own_kind_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older one gives way; a photo, a page and a text of somebody else, a source and a folder do not."""
    np.save(tmp_path / "v.npy", VALUES)
    assert main(["encode", str(tmp_path / "v.npy"), str(tmp_path / "a.zarr"), *QUICK]) == 0
    volume, store, png, page = (str(tmp_path / name) for name in ("v.npy", "a.zarr", "p.png", "p.html"))
    for _ in range(2):
        assert main(["compare", volume, store, "--png", png]) == 0
        assert main(["report", store, "--html", page]) == 0
    imsave(tmp_path / "photo.png", VALUES[0])
    (tmp_path / "index.html").write_text("<!DOCTYPE html><title>home</title>")
    (tmp_path / "notes.txt").write_text("seen on Monday")
    prior = tmp_path / "old.txt"
    prior.write_text(make_prior(3, 4, 16, 480, {}).text)
    targets.check_file_target(str(prior), overwrite=True, kind="prior")
    for name, kind in (("old.txt", "page"), ("p.png", "prior"), ("p.html", "picture")):
        with pytest.raises(FileExistsError, match="did not write"):
            targets.check_file_target(str(tmp_path / name), overwrite=True, kind=kind)
    before = everything(tmp_path)
    for target in ("photo.png", "index.html", "notes.txt", "v.npy", "a.zarr", "a.zarr/x.png"):
        for command in (
            ["compare", volume, store, "--png", tmp_path / target],
            ["report", store, "--html", tmp_path / target],
            ["prior", volume, tmp_path / target],
        ):
            refused(capsys, command)
    assert everything(tmp_path) == before


def test_the_records_of_others_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder NAME.zarr.batch of somebody else stops a plan; of ours, only what a plan consists of is deleted."""
    np.save(tmp_path / "v.npy", VALUES)
    source, target, state = str(tmp_path / "v.npy"), tmp_path / "x.zarr", tmp_path / "x.zarr.batch"
    folder(state)
    (state / "tmp").mkdir()
    (state / "tmp" / "draft").touch()
    before = everything(tmp_path)
    for more in ([], ["--overwrite"]):
        assert "thesis.tex" in refused(capsys, ["plan", source, target, *QUICK, *more])
    assert everything(tmp_path) == before
    for text in ("[]", "{}", "no json"):
        (state / "plan.json").write_text(text)
        for left in ("thesis.tex", "tmp/draft", None):
            assert "something else" in refused(capsys, ["plan", source, target, *QUICK, "--overwrite"])
            if left is not None:
                (state / left).unlink()
        assert [one.name for one in state.iterdir() if one.is_file()] == ["plan.json"]
        (state / "thesis.tex").touch()
        (state / "tmp" / "draft").touch()
    assert not target.exists()
    shutil.rmtree(state)
    batch.encode_array(source, str(target), {"lossless": True})
    (state / "notes.txt").write_text("seen on Monday")
    batch.encode_array(source, str(target), {"lossless": True}, chunks=(2, 4, 4), overwrite=True)
    assert (state / "notes.txt").read_text() == "seen on Monday"
    assert zarr.open_array(target, mode="r").chunks == (2, 4, 4)
    assert "begun with --scheduler" in refused(capsys, ["encode", source, *gone(target), *QUICK])
    assert main(["encode", source, str(target), *QUICK, "--overwrite"]) == 0
    assert [one.name for one in state.iterdir()] == ["notes.txt"]


def gone(path: Path) -> list[Path]:
    """A path that no longer leads anywhere."""
    shutil.rmtree(path)
    return [path]


def test_another_array_in_the_place_of_the_target_is_not_continued(tmp_path: Path) -> None:
    """A plan whose array was exchanged for something else stops, and begins anew only over an array."""
    np.save(tmp_path / "v.npy", VALUES)
    source, target = str(tmp_path / "v.npy"), tmp_path / "x.zarr"
    for make, replaceable in ((array, True), (folder, False), (group, False), (array_with_notes, False)):
        batch.prepare(source, str(target), {"lossless": True})
        shutil.rmtree(target)
        make(target)
        before = everything(tmp_path)
        with pytest.raises(FileExistsError, match="found something else"):
            batch.encode_array(source, str(target), {"lossless": True})
        if not replaceable:
            with pytest.raises(FileExistsError, match="replace nothing but"):
                batch.encode_array(source, str(target), {"lossless": True}, overwrite=True)
            assert everything(tmp_path) == before
        shutil.rmtree(target)
        forget(str(target))
        assert not Path(f"{target}.batch").exists()


def ome(path: Path) -> None:
    """An OME-Zarr group of two levels."""
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [step, step, step]}]}
        for name, step in (("0", 1.0), ("1", 2.0))
    ]
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    scales = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    zarr.open_group(str(path), mode="w", attributes={"ome": scales})
    zarr.create_array(str(path / "0"), data=VALUES)
    zarr.create_array(str(path / "1"), data=VALUES[::2, ::2, ::2].copy())


def test_a_planned_group_gives_way_but_for_what_others_added(tmp_path: Path) -> None:
    """The levels of an OME-Zarr group begin anew together; labels that somebody put beside them keep it."""
    ome(tmp_path / "s.zarr")
    source, target = str(tmp_path / "s.zarr"), tmp_path / "t.zarr"
    batch.encode_array(source, str(target), {"lossless": True})
    batch.encode_array(source, str(target), {"lossless": True}, chunks=(2, 2, 2), overwrite=True)
    assert [zarr.open_array(target / name, mode="r").chunks for name in "01"] == [(2, 2, 2)] * 2
    array(target / "labels")
    before = everything(tmp_path)
    with pytest.raises(FileExistsError, match="labels"):
        batch.encode_array(source, str(target), {"lossless": True}, overwrite=True)
    with pytest.raises(ConfigError, match="outside of the target"):
        batch.prepare(source, str(tmp_path / "s.zarr" / "small"), {"lossless": True})
    assert everything(tmp_path) == before


def test_a_failed_start_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No store, no group, no folder of records, whatever it was that failed; an old target is still there."""
    np.save(tmp_path / "v.npy", VALUES)
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    array(tmp_path / "old.zarr")
    before = everything(tmp_path)
    volume, targets_ = tmp_path / "v.npy", (tmp_path / "x.zarr", tmp_path / "g.zarr" / "a", tmp_path / "old.zarr")
    wrong = [
        [volume, [*DRIVEN, "--set", "colour=1"]],
        [volume, [*DRIVEN, "--chunks", "0,1,1"]],
        [volume, [*DRIVEN, "--chunks", "8,8"]],
        [volume, [*DRIVEN, "--chunks", "2,2,2", "--shards", "3,4,4"]],
        [volume, [*DRIVEN, "--mask", volume]],
        [tmp_path / "none.npy", DRIVEN],
        [tmp_path / "text.npy", DRIVEN],
        [volume, [*QUICK, "--scheduler", "tcp://127.0.0.1:9"]],
        [volume, [*QUICK, "--scheduler", "nonsense"]],
        [volume, [*QUICK, "--set", "colour=1"]],
        [volume, [*QUICK, "--chunks", "8,8"]],
        [tmp_path / "none.npy", QUICK],
    ]
    monkeypatch.setattr("distributed.client.Client._start", refuse)
    for source, options in wrong:
        for target in targets_:
            refused(capsys, ["encode", source, target, *options, "--overwrite"])
            assert everything(tmp_path) == before, options
    monkeypatch.setitem(sys.modules, "distributed", None)
    for target in targets_:
        assert "pip install" in refused(capsys, ["encode", volume, target, *DRIVEN, "--overwrite"])
    assert everything(tmp_path) == before
    for place in ("inr_codec.batch.store.new_array", "inr_codec.cli.volumes.new_array"):
        monkeypatch.setattr(place, full)
    for target in targets_[:2]:
        refused(capsys, ["encode", volume, target, *QUICK])
        refused(capsys, ["plan", volume, target, *QUICK])
    assert everything(tmp_path) == before


async def refuse(*_: object, **__: object) -> None:
    """What a cluster does that is not there, at once."""
    raise OSError("nobody there")


def full(*_: object) -> None:
    """What a full disk does."""
    raise OSError("no space left on device")
