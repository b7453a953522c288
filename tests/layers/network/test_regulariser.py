"""The structural regulariser: Dice as it is defined, gradients that move the mask, slices, volumes, classes, errors."""

import subprocess
import sys

import numpy as np
import pytest
import segmenters
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import FAST

from inr_codec import ConfigError, INRCodec, INRSerializer, decode, metrics
from inr_codec.layers.network.structure_loss import dice

OPTIONS = {"effort": "fast", "steps": 400, "seed": 3}


def disc(side=32, z=None):
    """A bright disc on a slope, in a slice or in a stack where it grows."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radii = [side / 4] if z is None else np.linspace(2, side / 3, z)
    images = [60 * (np.hypot(y, x) < r) + 40 + x / 2 + 5 * np.sin(2.1 * x) * np.sin(1.7 * y) for r in radii]
    return (images[0] if z is None else np.stack(images)).astype("float32")


def overlap(network, decoded, labels):
    """Dice of what the network finds, by the package's metric."""
    images = torch.from_numpy(decoded.reshape(-1, 1, *decoded.shape[-2:]))
    found = (network(images)[:, 0] > 0).numpy().reshape(decoded.shape)
    return metrics.dice(found, labels)


@settings(max_examples=30)
@given(
    hnp.arrays(np.float64, (3, 2, 4, 5), elements=st.floats(-8, 8)),
    hnp.arrays(np.int64, (3, 4, 5), elements=st.integers(0, 1)),
)
def test_two_classes_are_one_of_probabilities(logits, labels):
    """Dice is (2 sum p s + 1) / (sum p + sum s + 1) for every slice; two logits are one of their difference."""
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    expected = (2 * (p * labels).sum((1, 2)) + 1) / (p.sum((1, 2)) + labels.sum((1, 2)) + 1)
    two = dice(torch.from_numpy(logits), torch.from_numpy(labels))
    one = dice(torch.from_numpy(logits[:, 1:] - logits[:, :1]), torch.from_numpy(labels))
    np.testing.assert_allclose(two.numpy(), expected[:, None], rtol=1e-9)
    np.testing.assert_allclose(one.numpy(), expected[:, None], rtol=1e-9)


def test_dice_of_empty_masks():
    """Nothing where nothing is scores 1; something where nothing is, or nothing where something is, nearly 0."""
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[1, 2:6, 2:6] = 1
    nothing = torch.full((2, 1, 8, 8), -40.0)
    torch.testing.assert_close(dice(nothing, labels), torch.tensor([[1.0], [1 / 17]]))
    everything = -nothing
    torch.testing.assert_close(dice(everything, labels), torch.tensor([[1 / 65], [33 / 81]]))


def test_dice_of_many_classes_is_that_of_each():
    """Each class above the background is scored by itself."""
    labels = torch.tensor([[[0, 1], [2, 2]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 1], [1, 2]]]), 4).movedim(-1, 1) * 60.0
    torch.testing.assert_close(dice(logits, labels), torch.tensor([[3 / 4, 3 / 4, 1.0]]))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 12])
def test_a_regularised_fit_moves_the_mask(bits):
    """At a few hundred bytes the network's threshold cuts the disc wrong; under the regulariser far less so, at the
    same bytes, and what is stored keeps it at coarse and at fine parameters."""
    image, network = disc(), segmenters.Threshold(75.0, 0.2)
    wanted = np.roll(disc(), 3, axis=1) > 75
    kept = {}
    for weight in (0.0, 50.0):
        codec = INRCodec(bpv=1.5, segmentation=network, dice_weight=weight, mask=wanted, bits=bits, steps=400)
        data = codec.encode(image)
        assert len(data) * 8 <= 1.5 * image.size
        kept[weight] = overlap(network, decode(data), wanted)
    assert kept[50.0] > kept[0.0] + 0.1


@pytest.mark.slow
def test_regularised_sirens_and_nerfs_move_the_mask_and_decode_without_torch(tmp_path):
    """The other architectures follow the mask as well, and a process that cannot import torch decodes the same."""
    image, network = disc(), segmenters.Threshold(75.0, 0.2)
    wanted = np.roll(image, 3, axis=1) > 75
    for architecture, w0 in (("siren", 15), ("nerf", None)):
        options = {"bpv": 2, "architecture": architecture, "w0": w0, "segmentation": network, "mask": wanted}
        plain, kept = (INRCodec(dice_weight=weight, steps=300, **options).encode(image) for weight in (0.0, 50.0))
        assert overlap(network, decode(kept), wanted) > overlap(network, decode(plain), wanted) + 0.08
        np.save(tmp_path / f"{architecture}.npy", decode(kept))
        (tmp_path / f"{architecture}.inr").write_bytes(kept)
    script = (
        "import sys, numpy; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from inr_codec import decode\n"
        "for path in Path(sys.argv[1]).glob('*.inr'):\n"
        "    numpy.testing.assert_array_equal(decode(path.read_bytes()), numpy.load(path.with_suffix('.npy')))\n"
        "    print(path.stem)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert sorted(run.stdout.split()) == ["nerf", "siren"]


def test_without_a_mask_the_network_says_what_to_keep():
    """What it finds in the original is what is kept."""
    image, network = disc(), segmenters.Threshold(75.0, 0.2)
    wanted = (network(torch.from_numpy(image)[None, None])[0, 0] > 0).numpy()
    options = {"bpv": 0.5, "segmentation": network, "dice_weight": 5.0, **OPTIONS}
    assert INRCodec(**options).encode(image) == INRCodec(mask=wanted, **options).encode(image)


@pytest.mark.parametrize("dtype", ["u2", "f8"])
def test_slices_of_a_stack_and_volumes(dtype):
    """A 2-D network sees every slice of a stack, masked and empty ones too; a 3-D network sees the volume."""
    stack = disc(16, 8).astype(dtype)
    stack[0] = 0
    wanted = stack > 80
    wanted[:3] = False
    for network in (segmenters.Threshold(75.0, 0.2), segmenters.Volume(75.0, 0.2)):
        data = INRCodec(bpv=2, segmentation=network, mask=wanted, **OPTIONS).encode(stack)
        assert decode(data).shape == stack.shape
        assert metrics.psnr(stack, decode(data)) > 15


def test_missing_voxels_are_what_decoding_gives():
    """NaN in the data never reaches the network, and comes back."""
    image = disc()
    image[:5] = np.nan
    data = INRCodec(bpv=1, segmentation=segmenters.Threshold(75.0, 0.2), **OPTIONS).encode(image)
    np.testing.assert_array_equal(np.isnan(decode(data)), np.isnan(image))


def test_three_classes():
    """Labels 0..2 of a network with three outputs are kept; a label that it does not know is refused."""
    image = disc()
    labels = (image > 50).astype(int) + (image > 80)
    options = {"bpv": 1, "segmentation": segmenters.Bands(50.0, 80.0), **OPTIONS}
    assert decode(INRCodec(mask=labels, **options).encode(image)).shape == image.shape
    with pytest.raises(ConfigError, match="labels below the network's 3 classes, got 3"):
        INRCodec(mask=labels + 1, **options).encode(image)


def test_a_network_that_finds_nothing_changes_little():
    """Where neither the network nor the mask has anything the penalty is flat: the fit is one of pixels."""
    image, network = disc(), segmenters.Threshold(1e4, 0.2)
    plain = decode(INRCodec(bpv=1, segmentation=network, dice_weight=0, **OPTIONS).encode(image))
    kept = decode(INRCodec(bpv=1, segmentation=network, dice_weight=1, **OPTIONS).encode(image))
    assert metrics.psnr(image, kept) > metrics.psnr(image, plain) - 0.5


@pytest.mark.parametrize(
    ("network", "mask", "words"),
    [
        (segmenters.threshold_at_zero, np.zeros((32, 31), int), r"of the chunk.s shape \(32, 32\), got \(32, 31\)"),
        (segmenters.not_a_number, None, "finite logits"),
        (segmenters.too_small, None, r"expected logits \(1, classes, 32, 32\) .* got \(1, 1, 16, 16\)"),
        (segmenters.no_tensor, None, "expected a tensor .* got <class 'dict'>"),
        (segmenters.refuses, None, "sizes of tensors must match: use chunks"),
        (segmenters.Volume(1.0, 1.0), None, r"at least 3 dimensions .* got shape \(32, 32\)"),
    ],
)
def test_errors_are_one_line(network, mask, words):
    """What network and mask do wrong is a ConfigError of one line, before anything is fitted."""
    with pytest.raises(ConfigError, match=words) as caught:
        INRCodec(bpv=1, segmentation=network, mask=mask, **FAST).encode(disc())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_encoding_says_that_torch_is_missing():
    """Without the extra a codec with a segmentation is made and told of, and encoding names the extra."""
    script = (
        "import sys, numpy; sys.modules['torch'] = None\n"
        "from inr_codec import INRCodec, ConfigError\n"
        "codec = INRCodec(bpv=1, segmentation='sha256:' + 64 * '0')\n"
        "image = numpy.random.default_rng(0).normal(size=(32, 32))\n"
        "try: codec.encode(image)\n"
        "except ConfigError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'inr_codec[sinco]'" in run.stdout


@pytest.mark.parametrize("version", [2, 3])
def test_through_zarr(version, tmp_path):
    """An array that is written with a network names it by hash in its metadata and reads without it."""
    import zarr

    image = disc(16, 8)
    options = {"bpv": 2, "segmentation": segmenters.Threshold(75.0, 0.2), **FAST}
    path = tmp_path / "a.zarr"
    common = {"store": str(path), "shape": image.shape, "chunks": (8, 16, 16), "dtype": image.dtype}
    if version == 2:
        array = zarr.create_array(**common, compressors=INRCodec(**options), zarr_format=2)
    else:
        array = zarr.create_array(**common, serializer=INRSerializer(**options), compressors=None)
    array[:] = image
    text = (path / (".zarray" if version == 2 else "zarr.json")).read_text()
    assert "sha256:" in text and "segmenters" not in text
    again = zarr.open_array(str(path), mode="r+")
    assert metrics.psnr(image, again[:]) > 15
    with pytest.raises(ConfigError, match="its name alone"):
        again[:] = image
