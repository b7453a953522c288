"""Learned starts: what they are stored as, that streams name them, and that they help."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from samples import FAST, field, psnr

from inr_codec import INRCodec, INRSerializer, decode, inspect
from inr_codec.cli.parser import main
from inr_codec.config import Config
from inr_codec.encoding.learn_prior import learn_prior
from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedFormat
from inr_codec.layers.network.payload import pack_network, unpack_network
from inr_codec.layers.network.prior import Prior, make_prior, read_prior
from inr_codec.networks.shape import funnel_shape
from inr_codec.stream.frame import Layer, LayerType, pack_stream, unpack_stream

OPTIONS: dict[str, Any] = {"ratio": 20, "layers": "network", **FAST}


@pytest.fixture(scope="module")
def learnt() -> Prior:
    """A prior of fields like those that the tests encode, but other ones."""
    return learn_prior([field(seed=seed) for seed in range(1, 5)], Config(**OPTIONS), rounds=4, steps=250)


@given(st.integers(1, 4), st.integers(2, 6), st.lists(st.integers(6, 30), min_size=1, max_size=4, unique=True))
def test_text_holds_the_whole_prior(dims: int, depth: int, sizes: list[int]) -> None:
    """What is read from the text has the same starts, digest and text."""
    rng = np.random.default_rng(0)
    starts = {size: rng.normal(size=funnel_shape(dims, size, depth, 35).parameters) for size in sizes}
    made = make_prior(dims, depth, 35, 240, starts)
    back = read_prior(made.text)
    assert (back.dims, back.depth, back.funnel_units, back.w0_units) == (dims, depth, 35, 240)
    assert back.text == made.text and back.digest == made.digest
    assert all(np.array_equal(back.starts[size], made.starts[size]) for size in sizes)


@pytest.mark.parametrize("text", ["", "x", "SU5SUAE=", "SU5SUAEDBSPwAAE=", "SU5SUAEDBSPwAAH//w=="], ids=repr)
def test_any_other_text_is_refused(text: str) -> None:
    """Empty, foreign, cut short, without starts and with a start that is missing: one ConfigError."""
    with pytest.raises(ConfigError, match="text of a prior"):
        INRCodec(prior=text, **OPTIONS)


def test_what_a_prior_decides_cannot_be_asked_for(learnt: Prior) -> None:
    """Depth, funnel, w0, architecture and preset beside a prior raise a ConfigError."""
    for option in ({"depth": 4}, {"w0": 20}, {"funnel_ratio": 2}, {"architecture": "siren"}, {"preset": "paper"}):
        with pytest.raises(ConfigError, match="beside prior="):
            INRCodec(prior=learnt.text, **{**OPTIONS, **option})


def test_starts_that_were_learnt_help(learnt: Prior) -> None:
    """With few steps a prior from other fields gives a better picture in as many bytes."""
    chunk = field(seed=0)
    plain, primed = (INRCodec(prior=text, **OPTIONS) for text in (None, learnt.text))
    streams = [codec.encode(chunk) for codec in (plain, primed)]
    assert max(map(len, streams)) <= chunk.nbytes / 20
    assert psnr(chunk, primed.decode(streams[1])) > psnr(chunk, plain.decode(streams[0])) + 1


@pytest.mark.slow
def test_metadata_alone_decodes_and_another_prior_never_does(learnt: Prior, tmp_path: Any) -> None:
    """A fresh process reads an array of either zarr format; decode() of the bare stream names the prior it lacks."""
    chunk = field(seed=0)
    for number, (kind, name) in enumerate(((INRCodec, "compressors"), (INRSerializer, "serializer"))):
        extra = {"compressors": None} if number else {}
        array = zarr.create_array(
            tmp_path / f"{number}.zarr",
            shape=chunk.shape,
            chunks=chunk.shape,
            dtype=chunk.dtype,
            zarr_format=2 + number,
            **{name: kind(prior=learnt.text, **OPTIONS), **extra},
        )
        array[:] = chunk
    data = INRCodec(prior=learnt.text, **OPTIONS).encode(chunk)
    expected = decode(data)
    (tmp_path / "stream").write_bytes(data)
    np.save(tmp_path / "expected.npy", expected)
    code = """
import numpy as np, zarr, inr_codec
expected = np.load("expected.npy")
try:
    inr_codec.decode(open("stream", "rb").read())
except inr_codec.UnsupportedFormat as error:
    print(error)
for name in ("0.zarr", "1.zarr"):
    assert np.allclose(zarr.open(name, mode="r")[:], expected, atol=1e-3)
"""
    path = os.pathsep.join([os.getcwd(), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert learnt.digest.hex() in done.stdout


def test_the_config_with_a_prior_is_plain_json(learnt: Prior) -> None:
    """A codec made from the JSON of another one is equal to it; inspect works without evaluating."""
    codec = INRCodec(prior=learnt.text, **OPTIONS)
    assert INRCodec.from_config(json.loads(json.dumps(codec.get_config()))) == codec
    assert inspect(codec.encode(field(seed=0))).architecture == "funnel"


def test_a_prior_for_other_axes_changes_nothing(learnt: Prior) -> None:
    """A picture written with a volume's prior is written without it."""
    picture = field((40, 50))
    assert INRCodec(prior=learnt.text, **OPTIONS).encode(picture) == INRCodec(**OPTIONS).encode(picture)


def test_a_prior_that_was_not_met_is_never_noise(learnt: Prior) -> None:
    """A stream that names a prior nobody has: UnsupportedFormat; one that lacks the size: CorruptChunk."""
    header, layers = unpack_stream(INRCodec(prior=learnt.text, **OPTIONS).encode(field(seed=0)))
    networks = unpack_network(layers[0].payload, header.shape)
    lacking = make_prior(3, 5, 35, 240, {200: np.zeros(funnel_shape(3, 200, 5, 35).parameters)})
    assert networks.prior == learnt.digest and networks.networks[0].size != 200
    read_prior(lacking.text)
    for digest, error, words in (
        (b"nobody's", UnsupportedFormat, r"prior=\.\.\."),
        (lacking.digest, CorruptChunk, "damaged"),
    ):
        payload = pack_network(replace(networks, prior=digest), header.shape)
        with pytest.raises(error, match=words):
            decode(pack_stream(header, [Layer(LayerType.NETWORK, payload), *layers[1:]]))


def test_learning_says_what_it_lacks() -> None:
    """Constant chunks, other targets than bytes, and chunks of several dimensions are refused."""
    for chunks, options in (
        ([np.zeros((16, 32, 32), "f4")], OPTIONS),
        ([field()], {"psnr": 40}),
        ([field(), field((40, 50))], OPTIONS),
        ([field()], {**OPTIONS, "ratio": 5000}),
    ):
        with pytest.raises(ConfigError, match="expected"):
            learn_prior(chunks, Config(**options), rounds=1, steps=50)


def test_command_line_learns_and_uses_a_prior(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """inr-codec prior writes a text that encode --prior takes; another file gives one line."""
    volume, text, target = (str(tmp_path / name) for name in ("volume.npy", "learnt.prior", "out.zarr"))
    np.save(volume, field())
    assert main(["prior", volume, text, "--ratio", "20", "--layers", "network", "--samples", "2", "--rounds", "1"]) == 0
    assert "network sizes" in capsys.readouterr().out
    settings = ["--ratio", "20", "--effort", "fast", "--set", "steps=100", "--set", "layers=network"]
    assert main(["encode", volume, target, "--prior", text, *settings]) == 0
    assert zarr.open(target, mode="r")[:].shape == field().shape
    assert main(["encode", volume, target, "--overwrite", "--prior", volume, *settings]) == 2
    assert "expected a file that inr-codec prior wrote" in capsys.readouterr().err
