"""Architectures as options of the codec: what each implies, refuses, stores and says of itself."""

from typing import Any

import numpy as np
import pytest
from samples import FAST, field, psnr

from inr_codec import INRCodec, decode, inspect
from inr_codec.errors import ConfigError

OTHERS = ["siren", "nerf"]
PICTURE = (60, 70)


def wide(widths: tuple[int, ...]) -> int:
    """Difference of the widest and the narrowest hidden layer."""
    return max(widths[1:-1]) - min(widths[1:-1])


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("shape", [PICTURE, (12, 20, 24)])
@pytest.mark.parametrize("architecture", OTHERS)
def test_one_network_of_one_width_and_nothing_else(architecture: str, shape: tuple[int, ...], dtype: str) -> None:
    """Neither partition nor funnel nor other layers, within the budget; the stream says what it holds."""
    values = field(shape, dtype, noise=0.01)
    data = INRCodec(bpv=3, architecture=architecture, effort="fast", steps=1000).encode(values)
    told = inspect(data)
    assert told.architecture == architecture and architecture in str(told)
    assert told.layers == ("network",) and len(told.blocks) == 1 and wide(told.widths[0]) <= 1
    assert told.bpv <= 3
    assert psnr(values, decode(data)) > psnr(values, np.full_like(values, values.mean())) + 7


@pytest.mark.parametrize("architecture", OTHERS)
def test_a_partition_is_taken_where_it_is_given(architecture: str) -> None:
    """partition= cuts the chunk for every architecture, max_blocks= and allocation= with it."""
    codec = INRCodec(
        bpv=2, architecture=architecture, partition="equal", max_blocks=4, allocation="size", deblock=False, **FAST
    )
    told = inspect(codec.encode(field((64, 64), "u2")))
    assert len(told.blocks) == 4 and told.architecture == architecture


def test_bits_of_a_parameter_may_be_sixteen() -> None:
    """COIN's 16-bit weights: fewer parameters for the same bytes, and nearly all of the bytes are used."""
    values = field(PICTURE, "u2")
    six, sixteen = (inspect(INRCodec(bpv=2, architecture="siren", bits=b, **FAST).encode(values)) for b in (6, 16))
    assert sixteen.parameters < 0.45 * six.parameters
    assert 1.9 < sixteen.bpv <= 2


def test_funnel_is_the_default() -> None:
    """Naming it changes no byte."""
    values = field(PICTURE, "u1")
    assert INRCodec(bpv=1, architecture="funnel", **FAST).encode(values) == INRCodec(bpv=1, **FAST).encode(values)


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "w0": {"architecture": "nerf", "w0": 15},
    "layers": {"architecture": "siren", "layers": "auto"},
    "funnel_ratio": {"architecture": "siren", "funnel_ratio": 2.2},
    "max_blocks": {"architecture": "siren", "max_blocks": 8},
    "allocation": {"architecture": "siren", "allocation": "size"},
    "levels": {"partition": "none", "levels": 2},
}


@pytest.mark.parametrize("option", CONTRADICTIONS)
def test_contradictions_are_refused(option: str) -> None:
    """An option that the architecture or the partition excludes is named, in one line."""
    with pytest.raises(ConfigError, match=rf"expected .*{option}=.*, got .*: .*") as caught:
        INRCodec(ratio=10, **CONTRADICTIONS[option])
    assert "\n" not in str(caught.value)


def test_what_agrees_is_taken() -> None:
    """Options that an architecture implies may be given, and a preset stands back behind it."""
    assert INRCodec(ratio=10, architecture="siren", layers="network", funnel_ratio=1, partition="none")
    told = inspect(INRCodec(bpv=2, architecture="siren", preset="paper", **FAST).encode(field(PICTURE, "u2")))
    assert (told.depth, told.w0, len(told.blocks), told.architecture) == (7, 20.0, 1, "siren")


@pytest.mark.parametrize("architecture", OTHERS)
def test_any_grid_and_any_part_are_decoded(architecture: str) -> None:
    """A finer grid goes through the same voxels, a part is that part, a plane that plane."""
    values = field((9, 17, 21), "f4", noise=0.0)
    data = INRCodec(bpv=2, architecture=architecture, **FAST).encode(values)
    whole = decode(data)
    slack = 2e-5 * float(np.ptp(values))
    np.testing.assert_allclose(decode(data, shape=(17, 33, 41))[::2, ::2, ::2], whole, atol=20 * slack)
    np.testing.assert_allclose(decode(data, step=4), whole[::4, ::4, ::4], atol=slack)
    np.testing.assert_allclose(decode(data, selection=np.s_[5, 2:9, [3, 1]]), whole[5, 2:9, [3, 1]], atol=slack)


@pytest.mark.parametrize("architecture", OTHERS)
def test_a_slice_of_a_stack_is_a_picture(architecture: str) -> None:
    """A chunk of one slice has as many parameters as the picture (a SIREN: nearly) and decodes as well, on any grid."""
    picture = field((40, 44), "u2", noise=0.01)
    options = {"bpv": 4, "architecture": architecture, "effort": "fast", "steps": 400}
    flat, slab = (INRCodec(**options).encode(values) for values in (picture, picture[None]))
    assert inspect(slab).w0 == inspect(flat).w0
    assert abs(inspect(slab).parameters - inspect(flat).parameters) < 0.06 * inspect(flat).parameters
    assert abs(inspect(slab).psnr - inspect(flat).psnr) < 3
    thick = decode(slab, shape=(3, 40, 44))
    np.testing.assert_array_equal(thick[1], thick[2])
    np.testing.assert_allclose(thick[0], decode(slab)[0], atol=1)


def test_a_preset_stands_back_behind_a_nerf() -> None:
    """The SCI paper's w0 is none of a network's without sines."""
    told = inspect(INRCodec(bpv=2, architecture="nerf", preset="paper", **FAST).encode(field(PICTURE, "u2")))
    assert (told.depth, told.w0, told.architecture, "w0" in str(told)) == (7, None, "nerf", False)


@pytest.mark.parametrize("architecture", OTHERS)
def test_both_engines_fit_and_torch_decodes(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """INR_CODEC_ENGINE=torch writes streams too, and torch decodes what numba decodes."""
    import torch

    from inr_codec.decoding.gpu import decode_torch

    monkeypatch.setenv("INR_CODEC_ENGINE", "torch")
    monkeypatch.setenv("INR_CODEC_DEVICE", "cpu")
    values = field((40, 48), "f4", noise=0.0)
    data = INRCodec(bpv=6, architecture=architecture, effort="fast", steps=400).encode(values)
    assert psnr(values, decode(data)) > psnr(values, np.full_like(values, values.mean())) + 7
    done = decode_torch(data, torch.device("cpu"))
    assert done is not None
    np.testing.assert_allclose(done[0].numpy(), decode(data), atol=2e-5 * float(np.ptp(values)))
