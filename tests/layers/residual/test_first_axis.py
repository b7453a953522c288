"""Levels along the first of four axes: the transform is one, parts are the whole's, a series gains, damage is told."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from forging import golden
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT
from samples import field
from versions import repacked

from inr_codec import CorruptChunk, UnsupportedFormat, decode, inspect
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.layers.residual.first_axis import FirstAxis, most_levels
from inr_codec.layers.residual.payload import decode_residual
from inr_codec.stream.frame import Layer, LayerType, pack_stream, unpack_stream

STREAM = (ROOT / "tests" / "golden" / "v2" / "residual-over-four-axes.inr").read_bytes()


def series(shape: tuple[int, ...]) -> np.ndarray:
    """A volume that fades while another one comes, with noise."""
    share = np.linspace(0, 1, shape[0], dtype="f4")[:, None, None, None]
    noise = np.random.default_rng(2).normal(size=shape).astype("f4")
    return (1 - share) * field(shape[1:], noise=0) + share * field(shape[1:], noise=0, seed=1) + 0.2 * noise


@given(st.integers(2, 70), st.data())
def test_the_transform_is_inverted_and_transposed(side: int, data: Any) -> None:
    """Inverse of forward is the identity; <S c, v> = <c, S'v>; each weighted coefficient gives an array of norm 1."""
    axis = FirstAxis((side, 1, 2, 3), data.draw(st.integers(1, most_levels(side))))
    rng = np.random.default_rng(side)
    values, others = (rng.normal(size=axis.shape).astype("f4") for _ in range(2))
    there = values.copy()
    axis.forward(there)
    back = there.copy()
    axis.inverse(back)
    np.testing.assert_allclose(back, values, atol=1e-5)
    turned = others.copy()
    axis.transposed(turned)
    assert np.vdot(values, others) == pytest.approx(np.vdot(there, turned), abs=1e-3)
    unit = np.zeros(axis.shape, "f4")
    unit[data.draw(st.integers(0, side - 1)), 0, 1, 2] = 1
    axis.inverse(unit)
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("side", [2, 3, 11, 33])
def test_parts_are_those_of_the_whole(side: int) -> None:
    """Any box of any number of levels, bit for bit."""
    shape = (side, 3, 9, 10)
    rng = np.random.default_rng(0)
    for levels in range(1, most_levels(side) + 1):
        coded = ResidualEncoder(series(shape), levels=levels).encode(300)
        along = FirstAxis(shape, levels)
        assert coded.payload[0] == levels and len(coded.payload) <= 300
        whole = decode_residual(coded.payload[1:], shape, None, along)
        assert np.array_equal(whole, coded.decoded)
        for _ in range(4):
            box = tuple(tuple(sorted(rng.choice(n + 1, 2, replace=False))) for n in shape)
            part = decode_residual(coded.payload[1:], shape, box, along)
            assert np.array_equal(part, whole[tuple(slice(a, b) for a, b in box)])


def test_a_series_leaves_less_error_in_as_many_bytes() -> None:
    """A tenth less at least than without levels, where the tree knows three axes."""
    values = series((16, 4, 24, 24))
    errors = {
        levels: float(np.square(values - ResidualEncoder(values, levels=levels).encode(1500).decoded).mean())
        for levels in (0, most_levels(16))
    }
    assert errors[most_levels(16)] < 0.9 * errors[0]


@pytest.mark.parametrize("payload", [b"", b"\0", b"\6" + bytes(10), b"\5" + bytes(10)], ids=repr)
def test_levels_that_cannot_be_are_refused(payload: bytes) -> None:
    """None, none given, more than there may be, and more than the axis has."""
    header, _ = unpack_stream(STREAM)
    with pytest.raises(CorruptChunk, match="levels along the first"):
        decode(pack_stream(header, [Layer(LayerType.RESIDUAL4D, payload)]))


def test_other_axes_and_versions_have_no_such_layer() -> None:
    """A chunk of three axes is damaged, a stream of version 1 is of no release."""
    layer = unpack_stream(STREAM)[1][0]
    assert layer.type == LayerType.RESIDUAL4D and inspect(STREAM).layers == ("residual4d",)
    header, _ = unpack_stream(golden("residual"))
    assert len(header.shape) == 3
    with pytest.raises(CorruptChunk, match="levels along the first"):
        decode(pack_stream(replace(header, version=2), [layer]))
    with pytest.raises(UnsupportedFormat, match="of no release"):
        decode(repacked(header, [layer]))
