"""Architectures as options of the codec: what each implies, refuses, stores and says of itself."""

from typing import Any

import numpy as np
import pytest
from samples import FAST, field, psnr

from inr_codec import INRCodec, decode, inspect
from inr_codec.errors import ConfigError

OTHERS = ["siren"]
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
    data = INRCodec(bpv=1.2, architecture=architecture, **FAST).encode(values)
    told = inspect(data)
    assert told.architecture == architecture and architecture in str(told)
    assert told.layers == ("network",) and len(told.blocks) == 1 and wide(told.widths[0]) <= 1
    assert told.bpv <= 1.2
    assert psnr(values, decode(data)) > 20


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
    "layers": {"architecture": "siren", "layers": "auto"},
    "funnel_ratio": {"architecture": "siren", "funnel_ratio": 2.2},
    "max_blocks": {"architecture": "siren", "max_blocks": 8},
    "allocation": {"architecture": "siren", "allocation": "size"},
}


@pytest.mark.parametrize("option", CONTRADICTIONS)
def test_contradictions_are_refused(option: str) -> None:
    """An option that the architecture excludes is named, in one line."""
    with pytest.raises(ConfigError, match=rf"expected .*{option}=.*, got {option}=.*: .*") as caught:
        INRCodec(ratio=10, **CONTRADICTIONS[option])
    assert "\n" not in str(caught.value)


def test_what_agrees_is_taken() -> None:
    """Options that an architecture implies may be given, and a preset stands back behind it."""
    assert INRCodec(ratio=10, architecture="siren", layers="network", funnel_ratio=1, partition="none")
    told = inspect(INRCodec(bpv=2, architecture="siren", preset="paper", **FAST).encode(field(PICTURE, "u2")))
    assert (told.depth, told.w0, len(told.blocks), told.architecture) == (7, 20.0, 1, "siren")


def test_a_siren_is_decoded_on_any_grid() -> None:
    """A finer grid goes through the same voxels, and a part is that part."""
    values = field((33, 41), "f4", noise=0.0)
    data = INRCodec(bpv=2, architecture="siren", **FAST).encode(values)
    whole = decode(data)
    np.testing.assert_allclose(decode(data, shape=(65, 81))[::2, ::2], whole, atol=1e-3)
    np.testing.assert_array_equal(decode(data, step=4), whole[::4, ::4])
