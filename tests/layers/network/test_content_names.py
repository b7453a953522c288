"""Networks and masks named by content: what the name depends on, and what happens when only the name is known."""

import json
import os
import pickle
import sys
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import segmenters
import torch
import zarr
from samples import FAST, field

from inr_codec import ConfigError, INRCodec, INRSerializer, decode
from inr_codec.content_names import VARIABLE, mask_reference, network_reference

CODE = {"bpv": 2, **FAST}


def save(module, path, size=16):
    """A module as a program of torch.export, for any number of slices."""
    program = torch.export.export(
        module, (torch.zeros(3, 1, size, size),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, path)
    return path


def test_a_module_is_named_by_what_it_computes():
    """Equal modules have one name; another weight, structure or class gives another; training on changes nothing."""
    module = segmenters.Threshold(0.5, 3.0)
    reference = network_reference(module)
    assert reference == network_reference(segmenters.Threshold(0.5, 3.0))
    assert reference == network_reference(reference)
    others = [segmenters.Threshold(0.25, 3.0), torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 3, padding=1)]
    assert len({network_reference(other).name for other in (module, *others)}) == 4
    with torch.no_grad():
        module.threshold += 1
    assert reference.content.threshold == 0.5
    assert network_reference(module) != reference


def test_a_file_is_named_by_its_bytes(tmp_path):
    """Two paths of one content have one name, which no path is part of."""
    first, second = tmp_path / "a.pt2", tmp_path / "b.pt2"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    assert network_reference(first) == network_reference(str(second))
    assert str(tmp_path) not in repr(network_reference(first)) + json.dumps(
        INRCodec(ratio=9, segmentation=first).get_config()
    )


def test_masks_are_named_by_shape_and_labels():
    """The dtype and memory order of a mask do not matter, its shape and labels do."""
    mask = np.arange(12).reshape(3, 4) % 3
    assert mask_reference(mask) == mask_reference(np.asfortranarray(mask.astype("u1")))
    assert mask_reference(mask) != mask_reference(mask.reshape(4, 3))
    assert mask_reference(mask) != mask_reference(mask + 1)


@pytest.mark.parametrize("mask", [np.zeros(3, "f4"), np.array([-1, 0]), "file.npy"])
def test_masks_are_labels(mask):
    """Fractions, negative labels and names of files are no masks."""
    with pytest.raises(ConfigError, match="mask"):
        mask_reference(mask)


def test_the_configuration_holds_names_and_comes_back():
    """get_config is plain JSON that builds an equal codec; its options print and pickle."""
    mask = np.zeros((4, 4), bool)
    codec = INRCodec(ratio=9, segmentation=segmenters.Threshold(1.0, 2.0), dice_weight=2, mask=mask)
    config = codec.get_config()
    assert config["segmentation"].startswith("sha256:") and config["mask"].startswith("sha256:")
    for twin in (numcodecs.get_codec(json.loads(json.dumps(config))), pickle.loads(pickle.dumps(codec))):
        assert twin == codec
        assert twin.get_config() == config
    assert codec != INRCodec(ratio=9, segmentation=segmenters.Threshold(1.5, 2.0), dice_weight=2, mask=mask)


def test_a_codec_from_its_configuration_decodes_but_asks_for_the_network(tmp_path, monkeypatch):
    """Reading needs no network; writing needs the one of that name, given again or as a file that is named."""
    monkeypatch.delenv(VARIABLE, raising=False)
    image = field((16, 16, 16))
    path = save(segmenters.Threshold(0.0, 1.0), tmp_path / "network.pt2")
    codec = INRCodec(segmentation=path, **CODE)
    data = codec.encode(image)
    twin = INRCodec.from_config(codec.get_config())
    np.testing.assert_array_equal(twin.decode(data), codec.decode(data))
    with pytest.raises(ConfigError, match="its name alone: give it as segmentation= or set INR_CODEC_SEGMENTATION"):
        twin.encode(image)
    other = save(segmenters.Threshold(9.0, 1.0), tmp_path / "other.pt2")
    monkeypatch.setenv(VARIABLE, str(other))
    with pytest.raises(ConfigError, match="give the file that the configuration names"):
        twin.encode(image)
    monkeypatch.setenv(VARIABLE, str(path))
    assert twin.encode(image) == data
    path.write_bytes(other.read_bytes())
    with pytest.raises(ConfigError, match=r"got sha256:.* in .*network.pt2"):
        codec.encode(image)


def test_a_pickled_codec_brings_its_network():
    """What crosses to another process encodes there: a module travels with the codec."""
    image = field((16, 16, 16))
    codec = INRCodec(segmentation=segmenters.Threshold(0.0, 1.0), **CODE)
    assert pickle.loads(pickle.dumps(codec)).encode(image) == codec.encode(image)


def test_only_names_are_looked_up_in_a_configuration(tmp_path):
    """A configuration that names a mask of another process says so when it encodes."""
    codec = INRCodec(segmentation=segmenters.threshold_at_zero, mask=np.zeros((16, 16, 16), int), **CODE)
    twin = INRCodec(**{**CODE, "segmentation": segmenters.threshold_at_zero, "mask": codec.get_config()["mask"]})
    with pytest.raises(ConfigError, match="give the array as mask="):
        twin.encode(field((16, 16, 16)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dice_weight": 1.0}, "expected segmentation="),
        ({"mask": np.zeros(4, int)}, "expected segmentation="),
        ({"segmentation": 7}, "a file's path"),
        ({"segmentation": "missing.pt2"}, "missing.pt2"),
        ({"segmentation": lambda images: images}, "pickles"),
        ({"segmentation": segmenters.threshold_at_zero, "layers": "auto"}, "layers='network'"),
        ({"segmentation": segmenters.threshold_at_zero, "dice_weight": -1}, "dice_weight"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, words):
    """A regulariser without a network, and networks that are none, are told in one line when the codec is made."""
    with pytest.raises(ConfigError, match=words) as caught:
        INRCodec(ratio=10, **options)
    assert "\n" not in str(caught.value)


def test_torchscript_files_load_too(tmp_path, recwarn):
    """A file that is not called .pt2 is TorchScript."""
    module = torch.jit.trace(segmenters.Threshold(0.0, 1.0), torch.zeros(1, 1, 16, 16))
    module.save(tmp_path / "network.pt")
    image = field((16, 16, 16))
    data = INRCodec(segmentation=tmp_path / "network.pt", **CODE).encode(image)
    assert decode(data).shape == image.shape


def test_a_file_that_is_no_program_says_so(tmp_path):
    """Any other bytes are one line that names both kinds of files."""
    for name in ("network.pt2", "network.pt"):
        (tmp_path / name).write_bytes(b"not a program")
        with pytest.raises(ConfigError, match=r"expected a program of torch.export \(.pt2\) or TorchScript"):
            INRCodec(segmentation=tmp_path / name, **CODE).encode(field((16, 16, 16)))


_opened: list[str] = []
sys.addaudithook(lambda event, args: _opened.append(os.fspath(args[0])) if event == "open" and _is_path(args) else None)


def _is_path(args):
    return isinstance(args[0], str | os.PathLike)


STRANGE = ["/etc/shadow", "FIFO", "http://127.0.0.1:9/network.pt2", ["FIFO"], [[0, 1], [1, 0]], {"path": "FIFO"}, True]


@pytest.mark.parametrize("option", ["segmentation", "mask", "prior", "weights"])
@pytest.mark.parametrize("value", STRANGE, ids=str)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_nothing_in_metadata_is_opened(tmp_path, option, value, zarr_format):
    """Paths, URLs and lists in the place of names are refused, and no file of theirs is touched.

    A FIFO would hang whoever opens it; Python's own audit of opened files is the oracle.
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    value = json.loads(json.dumps(value).replace("FIFO", str(fifo)))
    stated = {"ratio": 9, option: value} | ({} if option == "segmentation" else {"segmentation": "sha256:" + "0" * 64})
    how = {"compressors": INRCodec(ratio=9)} if zarr_format == 2 else {"serializer": INRSerializer(ratio=9)}
    zarr.create_array(tmp_path / "a.zarr", shape=(9, 9), dtype="f4", zarr_format=zarr_format, **how)
    path = tmp_path / "a.zarr" / (".zarray" if zarr_format == 2 else "zarr.json")
    told = json.loads(path.read_text())
    if zarr_format == 2:
        told["compressor"] = {"id": "inr_codec", **stated}
    else:
        told["codecs"][0]["configuration"] = stated
    path.write_text(json.dumps(told))
    _opened.clear()
    with pytest.raises(ConfigError, match=f"expected {option}"):
        zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert not {str(fifo), "/etc/shadow"} & {os.path.abspath(name) for name in _opened}


@pytest.mark.parametrize("value", ["network.pt2", b"x", Path("network.pt2"), "sha256:" + "0" * 63])
def test_a_stored_network_is_a_name(value, tmp_path, monkeypatch):
    """Whatever else stands for a network is refused for what it is, also where there is such a file; the constructor
    takes the file."""
    (tmp_path / "network.pt2").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="nothing that metadata names is opened"):
        INRCodec.from_config({"id": "inr_codec", "ratio": 9, "segmentation": value})
    assert INRCodec(ratio=9, segmentation="network.pt2").get_config()["segmentation"].startswith("sha256:")


@pytest.mark.parametrize("option", ["ratio", "seed", "steps", "weights"])
def test_numbers_of_any_size_are_refused_in_one_line(option):
    """JSON holds integers that no float does."""
    with pytest.raises(ConfigError, match=f"expected {option}") as caught:
        INRCodec.from_config({"id": "inr_codec", **({} if option == "ratio" else {"ratio": 9}), option: 10**400})
    assert len(str(caught.value)) < 400
