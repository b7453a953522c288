import json
import os
import signal
import subprocess
import sys
from functools import partial
from io import StringIO

import numpy as np
import pytest
import tifffile
import xarray
import zarr
from matplotlib.image import imread

from inr_codec import INRCodec, io
from inr_codec.cli import volumes as commands
from inr_codec.cli.parser import main
from inr_codec.errors import CorruptChunk
from inr_codec.stores.encoded_chunks import stored_streams

FAST = ["--effort", "fast", "--ratio", "30", "--chunks", "16,16,24"]


@pytest.fixture(scope="module")
def volume():
    """A smooth volume of 16-bit voxels that no chunk size below divides."""
    z, y, x = np.ogrid[:20, :30, :40]
    return (2000 + 900 * np.sin(z / 6 + y / 9) * np.cos(x / 8)).astype(np.uint16)


@pytest.fixture(scope="module")
def encoded(volume, tmp_path_factory):
    """A folder with the volume as tif, and encoded in both zarr formats."""
    folder = tmp_path_factory.mktemp("cli")
    with io.create(
        folder / "v.tif", volume.shape, "u2", axes=("z", "y", "x"), attributes={"spacing": [2, 1, 1]}
    ) as out:
        out[...] = volume
    for number in "23":
        target = str(folder / f"v{number}.zarr")
        assert main(["encode", str(folder / "v.tif"), target, "--zarr-format", number, *FAST]) == 0
    return folder


def fails(capsys, *arguments):
    """Run a command that must fail with status 2 and one line on stderr; that line."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("inr-codec: error: ")
    return said.err


@pytest.mark.parametrize("number", [2, 3])
def test_encode_keeps_the_promise_and_the_names(encoded, volume, number):
    """Each chunk is at most 1/30 of its voxels' bytes, and names and spacing of the axes are in the array."""
    opened = io.load(encoded / f"v{number}.zarr")
    assert opened.array.metadata.zarr_format == number
    streams = dict(stored_streams(opened.array))
    assert len(streams) == 2 * 2 * 2
    assert all(len(stream) <= 2 * 16 * 16 * 24 / 30 for stream in streams.values())
    assert opened.axes == ("z", "y", "x")
    assert opened.attributes["spacing"] == [2, 1, 1]
    assert np.abs(opened.array[...].astype(float) - volume).mean() < 60


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".nii.gz", ".nrrd", ".zarr"])
def test_decode_writes_what_the_array_holds(encoded, tmp_path, suffix, capsys):
    """Every output format holds exactly what zarr reads, spacing included where the format has it."""
    target = tmp_path / f"out{suffix}"
    assert main(["decode", str(encoded / "v3.zarr"), str(target)]) == 0
    back = io.load(target)
    np.testing.assert_array_equal(back.array[...], zarr.open(encoded / "v3.zarr", mode="r")[...])
    assert suffix == ".npy" or back.attributes["spacing"] == [2, 1, 1]
    assert "20 x 30 x 40 uint16" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["2", "3"])
def test_an_array_in_a_group_opens_in_xarray(encoded, tmp_path, number):
    """GROUP.zarr/ARRAY makes the group where it is missing; xarray opens it with the names of the axes."""
    target = tmp_path / "g.zarr" / "nuclei"
    assert main(["encode", str(encoded / "v.tif"), str(target), "--zarr-format", number, *FAST]) == 0
    lazy = xarray.open_zarr(tmp_path / "g.zarr", consolidated=False, chunks={})["nuclei"]
    assert lazy.dims == ("z", "y", "x")
    np.testing.assert_array_equal(lazy[3].values, zarr.open(target, mode="r")[3])


def test_inspect_adds_up(encoded, capsys):
    """Inspecting an array lists every chunk; the total is the bytes on disk."""
    assert main(["inspect", str(encoded / "v2.zarr")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 1 + 8 + 1 + 1
    on_disk = sum(path.stat().st_size for path in (encoded / "v2.zarr").iterdir() if not path.name.startswith(".z"))
    assert f" {on_disk:,} " in lines[-2]


def test_inspect_shortens_long_lists(tmp_path, capsys):
    """Past some chunks only a count is printed, unless all are asked for."""
    several = np.repeat(np.arange(1, commands.LISTED_CHUNKS + 6, dtype="u1"), 600)
    zarr.create_array(tmp_path / "a.zarr", data=several, chunks=(600,), compressors=INRCodec(ratio=9), zarr_format=2)
    assert main(["inspect", str(tmp_path / "a.zarr")]) == 0
    assert "and 5 more" in capsys.readouterr().out
    assert main(["inspect", "--all", str(tmp_path / "a.zarr")]) == 0
    assert "more" not in capsys.readouterr().out


def test_inspect_reads_a_single_stream(encoded, tmp_path, capsys):
    """A file that holds one stream, as INRCodec.encode returns it, is inspected like a chunk."""
    stream = next(iter(stored_streams(zarr.open(encoded / "v2.zarr", mode="r"))))[1]
    (tmp_path / "stream").write_bytes(stream)
    assert main(["inspect", str(tmp_path / "stream")]) == 0
    assert f"{len(stream):,}" in capsys.readouterr().out


def test_sharded_arrays_are_inspected(encoded, volume, tmp_path, capsys):
    """The streams inside shards are found: as many and as large as without shards."""
    from inr_codec import INRSerializer

    array = zarr.create_array(
        tmp_path / "s.zarr", shape=volume.shape, chunks=(16, 16, 24), shards=(32, 32, 48), dtype="u2",
        serializer=INRSerializer(ratio=30, effort="fast"), compressors=None,
    )  # fmt: skip
    array[...] = volume
    plain = dict(stored_streams(zarr.open(encoded / "v3.zarr", mode="r")))
    assert dict(stored_streams(array)) == plain
    assert main(["inspect", str(tmp_path / "s.zarr")]) == 0
    assert f" {sum(map(len, plain.values())):,} " in capsys.readouterr().out
    shard = tmp_path / "s.zarr" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(CorruptChunk, match="shard index"):
        dict(stored_streams(array))


def test_compare_measures_and_draws(encoded, tmp_path, capsys):
    """Comparing the tif with the encoded array prints PSNR, SSIM and ratio and draws a picture."""
    picture = tmp_path / "out.png"
    assert main(["compare", str(encoded / "v.tif"), str(encoded / "v3.zarr"), "--png", str(picture)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("PSNR", "SSIM", "times smaller", "bits per voxel", str(picture)))
    assert imread(picture).shape[1] > 1000


def test_compare_with_itself_is_perfect(encoded, capsys):
    """A volume compared with itself has infinite PSNR and an SSIM of one, and no ratio."""
    assert main(["compare", str(encoded / "v.tif"), str(encoded / "v.tif")]) == 0
    said = capsys.readouterr().out
    assert "inf dB" in said
    assert "1.0000" in said
    assert "times smaller" not in said


def test_settings_reach_the_codec(encoded, tmp_path):
    """--bpv, --seed and --set NAME=VALUE are what INRCodec gets."""
    options = ["--bpv", "0.5", "--seed", "7", "--set", "partition=none", "--set", "w0=15", "--effort", "fast"]
    target = str(tmp_path / "a.zarr")
    assert main(["encode", str(encoded / "v.tif"), target, "--zarr-format", "2", *options]) == 0
    stored = json.loads((tmp_path / "a.zarr" / ".zarray").read_text())["compressor"]
    expected = INRCodec(bpv=0.5, seed=7, partition="none", w0=15, effort="fast").get_config()
    assert stored == expected


def test_thin_and_flat_volumes_have_a_similarity(tmp_path, capsys):
    """SSIM is the mean over planes where a stack is too thin for 3-D windows; for constants it says there is none."""
    thin = np.random.default_rng(0).normal(size=(3, 20, 20)).astype("f4")
    np.save(tmp_path / "thin.npy", thin)
    np.save(tmp_path / "flat.npy", np.zeros((8, 8, 8), "u1"))
    assert main(["compare", str(tmp_path / "thin.npy"), str(tmp_path / "thin.npy")]) == 0
    assert "1.0000" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "flat.npy"), str(tmp_path / "flat.npy")]) == 0
    assert "constant" in capsys.readouterr().out


def test_mistakes_are_one_line(encoded, tmp_path, capsys):
    """Whatever a person can get wrong ends with status 2 and one line that says what it was."""
    tif, good = encoded / "v.tif", encoded / "v3.zarr"
    (tmp_path / "text.tif").write_text("not a picture\n")
    (tmp_path / "stream").write_bytes(b"not a stream")
    plain = zarr.create_array(tmp_path / "plain.zarr", shape=(4, 4), dtype="u1")
    plain[...] = 1
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    new = tmp_path / "new.zarr"
    for arguments, said in [
        ([], "COMMAND"),
        (["encode"], "source"),
        (["transcode"], "transcode"),
        (["encode", tif, new, "--ratio", "50", "--bpv", "1"], "not allowed with"),
        (["encode", tif, new, "--ratio", "many"], "many"),
        (["encode", tif, new, "--ratio", "0.1"], "ratio"),
        (["encode", tif, new, "--chunks", "64,0,64"], "'0'"),
        (["encode", tif, new, "--chunks", "64,64"], "(64, 64)"),
        (["encode", tif, new, "--set", "w0"], "NAME=VALUE"),
        (["encode", tif, new, "--set", "colour=blue"], "colour"),
        (["encode", tif, good], "v3.zarr"),
        (["encode", tmp_path / "none.tif", new], "none.tif"),
        (["encode", tmp_path / "text.tif", new], "text.tif"),
        (["encode", tmp_path / "objects.npy", new], "objects.npy"),
        (["decode", good, tmp_path / "a.jpg"], ".jpg"),
        (["decode", good, tmp_path / "no" / "such" / "a.npy"], "no/such"),
        (["inspect", tmp_path / "plain.zarr"], "inr_codec"),
        (["inspect", tmp_path / "stream"], "stream"),
        (["inspect", tmp_path / "none"], "none"),
        (["compare", tif, tmp_path / "plain.zarr"], "(4, 4)"),
    ]:
        assert said in fails(capsys, *arguments), arguments
    assert not new.exists()


def test_a_damaged_chunk_is_one_line(encoded, tmp_path, capsys):
    """Decoding an array with a damaged chunk fails with one line and leaves no output."""
    array = zarr.create_array(
        tmp_path / "d.zarr", shape=(8, 8, 8), dtype="u2", compressors=INRCodec(ratio=4, effort="fast"), zarr_format=2
    )
    array[...] = np.arange(512, dtype="u2").reshape(8, 8, 8)
    chunk = tmp_path / "d.zarr" / "0.0.0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0x55
    chunk.write_bytes(data)
    fails(capsys, "decode", tmp_path / "d.zarr", tmp_path / "d.npy")
    assert not list(tmp_path.glob("*d.npy"))


class Interrupting(StringIO):
    """A terminal at which Ctrl-C is pressed when the first chunk is done."""

    def write(self, text):
        """Once, what the signal's handler does."""
        super().write(text)
        if "1/8" in text:
            raise KeyboardInterrupt


def test_interrupting_leaves_nothing(encoded, tmp_path, monkeypatch):
    """Ctrl-C ends with status 130, says so, and leaves no half-written array."""
    monkeypatch.setattr(sys, "stderr", Interrupting())
    assert main(["encode", str(encoded / "v.tif"), str(tmp_path / "a.zarr"), *FAST, "--progress"]) == 130
    assert sys.stderr.getvalue().splitlines()[-1] == "inr-codec: error: interrupted"
    assert not list(tmp_path.iterdir())


def test_the_bar_is_drawn_when_asked(encoded, tmp_path, capsys):
    """--progress draws chunks, rate and time left on stderr even where that is no terminal; without, nothing."""
    assert main(["decode", str(encoded / "v3.zarr"), str(tmp_path / "a.tif"), "--progress", "--workers", "1"]) == 0
    assert "8/8 chunks" in capsys.readouterr().err
    assert main(["decode", str(encoded / "v3.zarr"), str(tmp_path / "a.tif"), "--overwrite"]) == 0
    assert capsys.readouterr().err == ""


def test_chunks_that_nobody_chose_are_told(tmp_path, capsys):
    """The sides, and whether the axes they follow are those of the file or guessed; nothing where they were given."""
    series = np.random.default_rng(0).integers(0, 9, (6, 8, 10, 12)).astype("u2")
    tifffile.imwrite(tmp_path / "named.ome.tif", series, metadata={"axes": "ZCYX"}, photometric="minisblack")
    np.save(tmp_path / "bare.npy", series)
    for name, told in (
        ("named.ome.tif", "chunks (6,8,10,12): axes z,c,y,x as the source names them"),
        ("bare.npy", "chunks (6,8,10,12): axes t,z,y,x guessed from the shape (--chunks sets others)"),
    ):
        assert main(["encode", str(tmp_path / name), str(tmp_path / "a.zarr"), *FAST[:4], "--overwrite"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == told
        assert zarr.open_array(tmp_path / "a.zarr").chunks == (6, 8, 10, 12)
    assert (
        main(
            [
                "encode",
                str(tmp_path / "bare.npy"),
                str(tmp_path / "a.zarr"),
                *FAST[:4],
                "--chunks",
                "6,8,10,6",
                "--overwrite",
            ]
        )
        == 0
    )
    assert "chunks (" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_installed_script_runs(encoded, tmp_path):
    """The script `inr-codec` is installed, prints warnings nowhere, and stops quietly when its reader does."""
    script = os.path.join(os.path.dirname(sys.executable), "inr-codec")
    done = subprocess.run([script, "inspect", str(encoded / "v3.zarr")], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "sections:" in done.stdout
    failed = subprocess.run([script, "decode", str(tmp_path / "none.zarr"), "a.npy"], capture_output=True, text=True)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_ctrl_c_reaches_a_running_encode(encoded, tmp_path):
    """A real interrupt after the first chunk ends the script with 130; no solver has taken the signal over."""
    script = os.path.join(os.path.dirname(sys.executable), "inr-codec")
    long = ["--set", "layers=network", "--set", "steps=100000"]
    arguments = ["encode", encoded / "v.tif", tmp_path / "a.zarr", *FAST[:4], "--chunks", "4,16,16", *long]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    command = [script, *arguments, "--workers", "1", "--progress"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heard) as running:
        said = b""
        while b" 1/" not in said:
            said += running.stderr.read1()
        running.send_signal(signal.SIGINT)
        said += running.stderr.read()
    assert running.returncode == 130
    assert said.endswith(b"inr-codec: error: interrupted\n")
    assert not list(tmp_path.iterdir())
