"""The one list of layers: what is put into it is composed, inspected and counted as any other."""

import numpy as np
import pytest
from samples import FAST, field

from inr_codec import INRCodec, decode, inspect
from inr_codec.chunk.selection import Indices
from inr_codec.encoding.encoder import on_any_engine
from inr_codec.errors import ConfigError, UnsupportedFormat
from inr_codec.layers.kind import Asked, Unit, UnitKind
from inr_codec.layers.table import TABLE, open_stream
from inr_codec.stream.frame import Layer, Reached, pack_stream

MADE_UP = 100


def brighter(asked: Asked, values: Unit | None, have: Indices) -> Unit:
    """The mean of each voxel and the next one along the first axis, and payload[0] / 256 more."""
    assert values is not None
    first = have[0]
    here = np.searchsorted(first, asked.indices[0])
    after = np.searchsorted(first, np.minimum(asked.indices[0] + 1, asked.shape[0] - 1))
    return (values[here] + values[after]) / 2 + np.float32(asked.payload[0] / 256)


def one_more(asked: Asked) -> Indices:
    """Every voxel that is asked for, and the next one along the first axis."""
    first = asked.indices[0]
    return [np.unique(np.append(first, np.minimum(first + 1, asked.shape[0] - 1))), *asked.indices[1:]]


KIND = UnitKind(
    type=MADE_UP,
    name="brighter",
    exact=False,
    apply=brighter,
    needs=one_more,
    describe=lambda payload, shape: {"w0": payload[0] / 10},
)


@pytest.fixture
def streams() -> tuple[bytes, bytes]:
    """A chunk of a residual layer, without and with the made-up layer above it."""
    data = INRCodec(ratio=8, **FAST).encode(field(noise=0.3))
    header, layers = open_stream(data)
    assert TABLE[layers[0].type].name == "residual"
    return pack_stream(header, layers[:1]), pack_stream(header, [layers[0], Layer(MADE_UP, b"\x08")])


def test_a_made_up_layer_is_known_by_its_row_alone(
    streams: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row in the table composes, selects, inspects and counts as inexact; without it the stream is refused."""
    plain, more = streams
    with pytest.raises(UnsupportedFormat, match="got 100"):
        decode(more)
    with pytest.raises(UnsupportedFormat, match="got 100"):
        inspect(more)
    monkeypatch.setitem(TABLE, MADE_UP, KIND)
    told = inspect(more)
    assert told.layers == ("residual", "brighter") and told.bytes_by_section["brighter"] == 1 and told.w0 == 0.8
    assert told.lo is not None and told.hi is not None
    span = told.hi - told.lo
    below = (decode(plain).astype(np.float64) - told.lo) / span
    expected = (below + np.concatenate([below[1:], below[-1:]])) / 2 + 8 / 256
    inside = (below > 0.05) & (below < 0.9)
    inside &= np.concatenate([inside[1:], inside[-1:]])
    whole = (decode(more).astype(np.float64) - told.lo) / span
    np.testing.assert_allclose(whole[inside], expected[inside], atol=1e-5)
    np.testing.assert_array_equal(decode(more, selection=np.s_[5, ::3]), decode(more)[5, ::3])
    assert on_any_engine(Reached(60.0, 0.01), [Layer(MADE_UP, b"\x08")]).psnr < 60
    with pytest.raises(ConfigError, match="networks alone"):
        decode(more, shape=(4, 4, 4))


def test_numbers_and_names_are_those_of_the_format() -> None:
    """Every layer of FORMAT.md is in the table under its number."""
    names = {number: kind.name for number, kind in TABLE.items()}
    assert names == {
        1: "network", 2: "mask", 3: "lossless", 4: "residual", 5: "filter", 6: "deblock", 7: "correction",
        8: "labels", 9: "missing", 10: "residual4d",
    }  # fmt: skip
