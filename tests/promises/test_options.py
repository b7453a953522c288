"""Options: what is told of them is what is checked and done, and what would do nothing is refused, but still read."""

import ast
import json
import pickle
import re
import runpy
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from places import ROOT
from samples import FAST, field

from inr_codec import ConfigError, INRCodec, INRSerializer, decode
from inr_codec.batch import encode_array
from inr_codec.batch.plan import Plan
from inr_codec.cli.parser import main
from inr_codec.config import OPTIONS, Config
from inr_codec.engines.fused import tiles
from inr_codec.engines.task import FitTask, Schedule
from inr_codec.engines.torch_engine.minibatch import batch_of
from inr_codec.networks.shape import NetworkShape

NETWORK: dict[str, Any] = {"ratio": 5, "layers": "network"} | FAST
BLOCKS: dict[str, Any] = NETWORK | {"partition": "equal", "max_blocks": 8}
BOUND: dict[str, Any] = {"max_error": 3.0, "effort": "fast"}

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "top_m beside measured": (NETWORK | {"partition": "measured", "levels": 1}, {"top_m": 40}),
    "concentration beside measured": (NETWORK | {"partition": "measured", "levels": 1}, {"concentration": "magnitude"}),
    "top_m beside equal": (BLOCKS, {"top_m": 40}),
    "concentration beside equal": (BLOCKS, {"concentration": "magnitude"}),
    "concentration beside equal and size": (BLOCKS | {"allocation": "size"}, {"concentration": "magnitude"}),
    "top_m beside equal and equal": (BLOCKS | {"allocation": "equal"}, {"top_m": 40}),
    "top_m beside the paper but measured": (
        NETWORK | {"preset": "paper", "partition": "equal", "max_blocks": 8, "allocation": "measured"},
        {"top_m": 40},
    ),
    "max_blocks of one block": (NETWORK | {"partition": "none"}, {"max_blocks": 8}),
    "levels of one block": (NETWORK | {"partition": "none"}, {"levels": 1}),
    "top_m of one block": (NETWORK | {"partition": "none"}, {"top_m": 40}),
    "allocation of one block": (NETWORK | {"partition": "none"}, {"allocation": "size"}),
    "seams of one block": (NETWORK | {"partition": "none"}, {"deblock": True}),
    "max_blocks of a siren": (NETWORK | {"architecture": "siren"}, {"max_blocks": 8}),
    "seams of a nerf": (NETWORK | {"architecture": "nerf"}, {"deblock": True}),
    "concentration of the paper's siren": (
        NETWORK | {"architecture": "siren", "preset": "paper"},
        {"concentration": "centred"},
    ),
    "w0 of a nerf": (NETWORK | {"architecture": "nerf"}, {"w0": 20}),
    "seed beside a bound": (BOUND, {"seed": 7}),
    "seed beside lossless": ({"lossless": True}, {"seed": 7}),
    "effort beside lossless": ({"lossless": True}, {"effort": "best"}),
    "steps beside a bound": (BOUND, {"steps": 9}),
    "batch beside lossless": ({"lossless": True}, {"batch": 256}),
    "weights beside a bound": (BOUND, {"weights": "foreground"}),
}
"""Recipes, and what does nothing beside them."""


def volume() -> np.ndarray:
    """A small volume that is worth cutting."""
    return field((16, 24, 24), "f4", noise=0.01)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", [INRCodec, INRSerializer])
def test_what_would_do_nothing_is_refused(case: str, kind: type) -> None:
    """ConfigError names the option, in one line of the usual form; without the option the recipe is good."""
    recipe, more = REFUSED[case]
    kind(**recipe)
    with pytest.raises(ConfigError, match=rf"^expected no {next(iter(more))}= beside .*, got .*: leave .*$") as caught:
        kind(**recipe | more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_does_nothing(case: str) -> None:
    """A stored recipe with the option writes the bytes that it writes without."""
    recipe, more = REFUSED[case]
    with_it = INRCodec.from_config(recipe | more)
    assert with_it.get_config() == {"id": "inr_codec"} | recipe | more
    assert with_it.encode(volume()) == INRCodec(**recipe).encode(volume())


READ: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "top_m": (BLOCKS | {"allocation": "spectrum"}, {"top_m": 40}),
    "concentration": (BLOCKS | {"allocation": "concentration"}, {"concentration": "magnitude"}),
    "concentration of the paper": (BLOCKS | {"preset": "paper", "depth": 4}, {"concentration": "centred"}),
    "top_m of the tree": (NETWORK | {"max_blocks": 15, "allocation": "size"}, {"top_m": 40}),
    "concentration of the tree": (NETWORK | {"max_blocks": 15, "allocation": "size"}, {"concentration": "magnitude"}),
    "levels of equal blocks": (BLOCKS, {"levels": 0}),
    "max_blocks of a siren that is cut": (BLOCKS | {"architecture": "siren"}, {"max_blocks": 3}),
    "no seams of one block": (NETWORK | {"partition": "none"}, {"deblock": False}),
    "effort beside a bound": ({"max_error": 600}, {"effort": "fast"}),
    "seed": (NETWORK, {"seed": 7}),
}
"""Recipes, and options that are read beside them though they look like those above."""


@pytest.mark.parametrize("case", READ)
def test_what_is_read_is_taken(case: str) -> None:
    """The option is no error, and changes the bytes."""
    recipe, more = READ[case]
    values = field((24, 32, 32), "u2", noise=0.1) if "max_error" in recipe else field((64, 64), "f4", noise=0.05)
    assert INRCodec(**recipe | more).encode(values) != INRCodec(**recipe).encode(values)


def test_an_explicit_default_is_no_request() -> None:
    """seed=0 and effort="default" stand beside anything, and are not stored."""
    assert INRCodec(lossless=True, seed=0, effort="default").get_config() == {"id": "inr_codec", "lossless": True}
    assert repr(INRCodec(max_error=2, seed=0)) == "INRCodec(max_error=2)"


@pytest.mark.parametrize(("given", "nearest"), [(129, 128), (191, 128), (192, 256), (255, 256), (1000, 1024)])
def test_a_batch_that_an_engine_would_round_is_refused(given: int, nearest: int) -> None:
    """The message gives the nearest number that every engine takes as it is."""
    with pytest.raises(ConfigError, match=f"^expected batch to be a multiple of 128, got {given}: give {nearest}, "):
        INRCodec(ratio=9, batch=given)
    assert INRCodec(ratio=9, batch=nearest).config.batch == nearest
    assert INRCodec.from_config({"ratio": 9, "batch": given}).config.batch == given


@pytest.mark.parametrize("batch", [128, 384, 1 << 20])
def test_engines_take_whole_batches(batch: int) -> None:
    """A multiple that is accepted is a whole number of the tiles of each engine, and stays what it is."""
    shape = NetworkShape((1, 2, 1))
    start = np.zeros(shape.parameters, np.float32)
    values = np.zeros(1 << 20, np.float32)
    task = FitTask(values, (values.size,), shape, 15.0, start, Schedule(1, batch, 1e-3), 0)
    assert batch_of(task) == batch
    assert batch % tiles.TILE == 0


OLD: list[dict[str, Any]] = [
    {"lossless": True, "effort": "fast", "seed": 3},
    {"max_error": 2.0, "effort": "fast", "seed": 3},
    {"ratio": 9, "partition": "measured", "top_m": 3, "concentration": "centred", "batch": 255} | FAST,
    {"ratio": 9, "partition": "equal", "concentration": "magnitude", "layers": "network"} | FAST,
]
"""Recipes that an earlier release took."""


@pytest.mark.parametrize("recipe", OLD, ids=lambda recipe: next(iter(recipe)))
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stores_of_an_earlier_release_are_read_and_written(
    recipe: dict[str, Any], zarr_format: int, tmp_path: Path
) -> None:
    """Metadata with options that are refused today opens, decodes, takes new values, and stays what it is."""
    values, place, known = volume(), tmp_path / "a.zarr", {"lossless": True}
    codec: dict[str, Any] = {"serializer": INRSerializer(**known), "compressors": None}
    if zarr_format == 2:
        codec = {"compressors": INRCodec(**known)}
    zarr.create_array(place, data=values, chunks=values.shape, zarr_format=zarr_format, **codec)
    file = place / ("zarr.json" if zarr_format == 3 else ".zarray")
    written = json.loads(file.read_text())
    here = written["codecs"][0]["configuration"] if zarr_format == 3 else written["compressor"]
    assert here.pop("lossless")
    here |= recipe
    file.write_text(json.dumps(written))
    array = zarr.open_array(place, mode="r+")
    np.testing.assert_array_equal(array[:], values)
    array[:] = values[::-1]
    assert np.abs(array[:] - values[::-1]).max() < 0.2 * np.ptp(values)
    array.resize((32, 24, 24))
    assert json.loads(file.read_text()) == written | {"shape": [32, 24, 24]}


@pytest.mark.parametrize("recipe", OLD, ids=lambda recipe: next(iter(recipe)))
def test_a_codec_of_an_old_recipe_is_whole(recipe: dict[str, Any]) -> None:
    """The registry makes it, it is equal to its twins, and pickles."""
    codec = numcodecs.get_codec({"id": "inr_codec"} | recipe)
    with pytest.raises(ConfigError):
        INRCodec(**recipe)
    assert pickle.loads(pickle.dumps(codec)) == codec == INRCodec.from_config(codec.get_config())
    serializer = INRSerializer.from_dict({"name": "inr_codec", "configuration": recipe})
    assert pickle.loads(pickle.dumps(serializer)) == serializer
    assert serializer.to_dict()["configuration"] == recipe


def test_an_old_plan_is_continued_and_a_new_one_refused(tmp_path: Path) -> None:
    """Plans keep what they were made with; whoever makes a new one is told."""
    old = {"lossless": True, "effort": "fast"}
    plan = Plan("a.npy", str(tmp_path / "b.zarr"), "", (8, 8), "<f4", (8, 8), None, 3, old)
    assert Plan.from_json(plan.to_json()).config.to_dict() == old
    np.save(tmp_path / "a.npy", np.zeros((8, 8), "f4"))
    with pytest.raises(ConfigError, match="expected no effort= beside lossless="):
        encode_array(str(tmp_path / "a.npy"), str(tmp_path / "b.zarr"), old)
    assert not (tmp_path / "b.zarr").exists()


def test_the_command_line_refuses_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, status 2, nothing written."""
    np.save(tmp_path / "a.npy", np.zeros((8, 8), "f4"))
    target = tmp_path / "b.zarr"
    for words, said in (
        (["--lossless", "--effort", "fast"], "no effort= beside lossless="),
        (["--max-error", "2", "--seed", "7"], "no seed= beside max_error="),
        (["--set", "partition=measured", "--set", "top_m=3"], "no top_m= beside"),
        (["--set", "batch=255"], "give 256"),
    ):
        for command in ("encode", "plan"):
            assert main([command, str(tmp_path / "a.npy"), str(target), *words]) == 2
            assert said in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("command", ["encode", "plan"])
def test_the_command_line_has_the_options_of_the_codec(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option with a flag is there, with the words of its metadata."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = _words(capsys.readouterr().out)
    flags = {name for name, option in OPTIONS.items() if option.flag}
    assert flags >= {"ratio", "bpv", "psnr", "max_error", "lossless", "effort", "seed", "preset", "prior"}
    for name in flags:
        assert f"--{name.replace('_', '-')}" in shown
        assert _words(OPTIONS[name].text) in shown


def _words(text: str) -> str:
    """Text without its line breaks (argparse breaks words at hyphens too)."""
    return re.sub(r"-\s+", "-", " ".join(text.split()))


@pytest.mark.parametrize(
    "told", [INRCodec.__init__, INRSerializer.__init__, Config], ids=["codec", "serializer", "Config"]
)
def test_docstrings_tell_every_option(told: Any) -> None:
    """help() shows each name with its meaning, and the limits and the default where there are some."""
    shown = " ".join((told.__doc__ or "").split())
    for name, option in OPTIONS.items():
        assert f"{name} {option.text}" in shown
        assert option.chosen in shown
    assert "layers of a network (2 to 16). Default: `5`" in shown
    assert "{" not in shown


def test_the_pages_tell_every_option() -> None:
    """The tables of README.md and docs/OPTIONS.md are those that the metadata gives: `make format` writes them."""
    script = runpy.run_path(str(ROOT / "docs" / "options.py"))
    assert {path.name for path in script["PAGES"]} == {"README.md", "OPTIONS.md"}
    for path, tables in script["PAGES"].items():
        page = path.read_text()
        assert tables in page
        assert script["filled"](page, tables) == page
        assert script["filled"](page, "nothing") != page
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "OPTIONS.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(OPTIONS)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.limits])
def test_limits_are_the_last_good_numbers(name: str) -> None:
    """Both ends of what the tables tell are taken, and the next numbers beyond them refused."""
    beside: dict[str, Any] = {} if OPTIONS[name].group == OPTIONS["ratio"].group else {"ratio": 9}
    if name == "dice_weight":
        beside["segmentation"] = "sha256:" + 64 * "0"
    low, high = OPTIONS[name].limits or (0, 0)
    whole = isinstance(low, int)
    below, above = (low - 1, high + 1) if whole else (float(np.nextafter(low, -1)), float(np.nextafter(high, np.inf)))
    for good in (low, high):
        assert getattr(INRCodec(**beside, **{name: good}).config, name) == good
    for bad in (below, above, "1", True, float("nan"), *([low + 0.5] if whole else [])):
        with pytest.raises(ConfigError, match=f"expected {name} to be a "):
            INRCodec(**beside, **{name: bad})


def test_the_defaults_that_are_told_are_those_that_are_used() -> None:
    """Naming every default that is a value changes no byte, for each architecture."""
    told = {}
    for name, option in OPTIONS.items():
        if (found := re.match("`(.+?)`", option.chosen)) is not None and name != "dice_weight":
            told[name] = ast.literal_eval(found[1])
    assert {"layers", "partition", "concentration", "top_m", "levels", "allocation", "depth", "bits"} <= set(told)
    values = field((24, 32, 32), "f4", noise=0.02)
    plain = INRCodec(ratio=30, **FAST).encode(values)
    assert INRCodec(ratio=30, **told, **FAST).encode(values) == plain
    assert INRCodec(ratio=30, **{**told, "layers": "network"}, **FAST).encode(values) == INRCodec(
        ratio=30, layers="network", **FAST
    ).encode(values)
    for architecture in ("siren", "nerf"):
        other = {"architecture": architecture, "layers": "network", "partition": "none", "funnel_ratio": 1, "bits": 5.5}
        expected = INRCodec(ratio=30, architecture=architecture, **FAST).encode(values)
        assert INRCodec(ratio=30, **other, **FAST).encode(values) == expected
    assert decode(plain).shape == values.shape
