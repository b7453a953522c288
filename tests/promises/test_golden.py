"""Streams written once are decoded for ever: golden files, which no test ever writes."""

import numpy as np
import pytest
from places import GOLDEN, VERSIONS

from inr_codec import decode, inspect
from inr_codec.layers.network.prior import read_prior
from inr_codec.stream.frame import PADDING, LayerType, unpack_stream

NAMES = sorted(f"{folder.name}/{path.stem}" for folder in VERSIONS for path in folder.glob("*.inr"))
FIRST = [name for name in NAMES if name.startswith("v1/")]
for _prior in GOLDEN.glob("*.prior"):
    read_prior(_prior.read_text())


EXACT = ("constant", "lossless", "bounded", "labels")
"""Names of cases that decode to the same bits on every machine."""


def test_there_are_golden_streams() -> None:
    """The files came along with the checkout."""
    assert len(FIRST) > 50 and len(NAMES) > len(FIRST) + 20


@pytest.mark.parametrize("name", NAMES)
def test_golden_stream(name: str) -> None:
    """Decodes to what it decoded to when it was written: bits where they are promised, elsewhere 2e-5 of the range."""
    data = (GOLDEN.parent / f"{name}.inr").read_bytes()
    expected = np.load(GOLDEN.parent / f"{name}.npz")["arr_0"]
    values = decode(data)
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    assert values.flags.f_contiguous == expected.flags.f_contiguous
    if name[3:].startswith(EXACT):
        assert values.tobytes() == expected.tobytes()
        return
    if expected.dtype.kind == "c":
        expected, values = (np.stack([one.real, one.imag]) for one in (expected, values))
    finite = np.isfinite(expected) if expected.dtype.kind == "f" else np.ones(expected.shape, bool)
    assert (np.isfinite(values) == finite).all() if expected.dtype.kind == "f" else True
    assert values[~finite].tobytes() == expected[~finite].tobytes()
    a, b = values[finite].astype("f8"), expected[finite].astype("f8")
    allowed = 2e-5 * (b.max() - b.min()) + (expected.dtype.kind != "f") + (expected.dtype.itemsize == 2) * 0.1
    assert np.abs(a - b).max() <= allowed


def test_every_feature_is_among_them() -> None:
    """All layers, alone and in one stream, dtypes, orders, numbers of axes and architectures are held."""
    streams = {name: (GOLDEN.parent / f"{name}.inr").read_bytes() for name in NAMES}
    told = {name: inspect(data) for name, data in streams.items()}
    layers = {what.layers for what in told.values()}
    assert {layer for found in layers for layer in found} == {kind.name.lower() for kind in LayerType}
    assert layers >= {("network", "deblock", "residual", "filter", "mask"), ("residual", "correction"), ("correction",)}
    assert sorted({data[3] for data in streams.values()}) == [1, 2]
    padded = [data for data in streams.values() if data.endswith(bytes([PADDING, 20]) + bytes(20))]
    assert len(padded) == 1
    dtypes = {what.dtype.newbyteorder("=").str[1:] for what in told.values()}
    assert dtypes >= {"u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "b1", "M8[D]", "c16", "U7"}
    assert {(what.order, what.dtype.byteorder == ">") for what in told.values()} >= {
        ("F", True),
        ("F", False),
        ("C", True),
    }
    assert {len(what.shape) for what in told.values() if "network" in what.layers} >= {2, 3, 4}
    assert {len(what.shape) for what in told.values()} >= {0, 1, 2, 3, 4, 5, 6}
    assert {reason for what in told.values() for reason in what.missed}
    assert {len(what.blocks) for what in told.values()} >= {1, 8}
    heads = {next((layer for layer in unpack_stream(data)[1] if layer.type == 1), None) for data in streams.values()}
    assert {layer.payload[0] >> 5 for layer in heads if layer is not None} == {0, 1, 2}
