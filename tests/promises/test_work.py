"""Few bytes are little work: what a stream may ask for, what the encoder keeps to, and what a service may refuse."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from forging import golden, header_of, network_of, sealed

import inr_codec
from inr_codec import ConfigError, CorruptChunk, INRCodec, LimitExceeded, decode, inspect
from inr_codec.chunk.intensity import Intensity
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.layers.lossless import pack_lossless
from inr_codec.layers.network.encode import choose_sizes
from inr_codec.layers.network.payload import FLAT, MEAN, SIZE, STD, TREE
from inr_codec.layers.network.plan import plan_network
from inr_codec.layers.table import open_stream, weigh
from inr_codec.networks.shape import funnel_shape
from inr_codec.stream.byteio import ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType, Reached, pack_stream

GOLDEN = Path(inr_codec.__file__).parents[1] / "tests/golden/v1"


def with_bytes(shape: tuple[int, ...], layer: Layer, count: int) -> bytes:
    """A stream of one layer, its payload filled up with zeros to `count` bytes in all."""
    more = count - len(pack_stream(header_of((1,) * len(shape), "u1"), [layer])) - 9
    return pack_stream(header_of(shape, "u1"), [Layer(layer.type, layer.payload + bytes(max(more, 0)))])


def wide_network(size: int) -> bytes:
    """One network of so many neurons for a whole chunk of three axes, all its parameters one step from their starts."""
    tensors = ((5, 3 * size), (6, size), (7, size), (8, 1))
    symbols = [pair for slot, count in tensors for pair in [(slot, 0), *[(slot + 4, 1)] * count]]
    return network_of(2, (TREE, 0), (SIZE, size), (MEAN, 0), (STD, 0), *symbols)


@pytest.mark.parametrize("count", [1000, 3000, 10_000])
def test_networks_may_not_ask_for_more_than_their_bytes(count: int) -> None:
    """One wide network over as many voxels as so many bytes may have: refused by decode and by inspect, at once."""
    wide = Layer(LayerType.NETWORK, wide_network(1900 if count < 3000 else 4000))
    voxels = (1 << 20) + (1 << 14) * count
    data = with_bytes((voxels // 4096, 64, 64), wide, count)
    for read in (decode, inspect):
        with pytest.raises(CorruptChunk, match="multiplications"):
            read(data)
    assert inspect(with_bytes((8, 64, 64), wide, count)).depth == 2


def test_the_bound_on_work_is_set_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may allow less, and whoever trusts a stream more; the error says how much that is."""
    wide = Layer(LayerType.NETWORK, wide_network(1900))
    data = with_bytes((4000, 64, 64), wide, 1200)
    with pytest.raises(CorruptChunk, match="INR_CODEC_WORK to") as caught:
        inspect(data)
    monkeypatch.setenv("INR_CODEC_WORK", str(caught.value).rsplit(" ", 1)[1])
    assert inspect(data).parameters > 8000
    monkeypatch.setenv("INR_CODEC_WORK", "much")
    with pytest.raises(ConfigError, match="INR_CODEC_WORK"):
        inspect(data)


def test_old_streams_are_far_within_the_bounds() -> None:
    """No golden stream takes a hundredth of the work that is allowed."""
    most = {path.stem: weigh(*open_stream(path.read_bytes())) for path in GOLDEN.glob("*.inr")}
    assert {name: work for name, work in most.items() if work > (1 << 33) / 100} == {}


@pytest.mark.slow
def test_the_encoder_plans_fewer_parameters_where_one_network_is_too_much_work() -> None:
    """A network of a wide chunk gets what its work allows; one of a usual chunk gets what its bytes do."""
    config = Config(ratio=100, architecture="siren", partition="none").resolved()
    for shape, bound in (((32, 64, 64), False), ((420, 420, 420), True)):
        unit = np.broadcast_to(np.linspace(0, 1, shape[-1], dtype=np.float32), shape)
        plan = plan_network(UnitChunk(unit, None, 0.0), 4000, config)
        found = funnel_shape(3, choose_sizes(plan, config)[0], plan.settings.depth, plan.settings.funnel_units)
        allowed = (1 << 33) + (1 << 26) * 4000
        assert found.parameters * unit.size <= allowed
        assert (found.parameters < 0.9 * plan.parameters) == bound


def test_limit_refuses_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """`limit=` counts bytes of the whole chunk, for parts of it too; without it the variable does."""
    sevens = pack_stream(Header((2**28,), np.dtype("f8"), False, False, Intensity(7.0, 7.0), Reached(9, 0)), [])
    exact = golden("lossless-time")
    size = decode(exact).nbytes
    np.testing.assert_array_equal(decode(exact, limit=size), decode(exact))
    for data, limit in ((sevens, 2**31 - 1), (exact, size - 1)):
        for arguments in ({}, {"selection": np.s_[:1]}):
            with pytest.raises(LimitExceeded, match="raise limit="):
                decode(data, limit=limit, **arguments)
            monkeypatch.setenv("INR_CODEC_LIMIT", str(limit))
            with pytest.raises(LimitExceeded):
                decode(data, **arguments)
            with pytest.raises(LimitExceeded):
                INRCodec(ratio=9).decode(data)
            monkeypatch.delenv("INR_CODEC_LIMIT")
    assert (decode(sevens, limit=2**31, selection=np.s_[5:7]) == 7).all()
    with pytest.raises(ConfigError, match="limit="):
        decode(exact, limit=-1)


@pytest.mark.parametrize("shape", [(2**27,), (2**13, 2**14)], ids=str)
def test_constant_lines_take_their_own_memory(shape: tuple[int, ...]) -> None:
    """No index of a whole axis is made: 128 MB of one value take 128 MB, by Python's own count."""
    data = pack_stream(Header(shape, np.dtype("u1"), False, False, Intensity(7.0, 7.0), Reached(9, 0)), [])
    tracemalloc.start()
    try:
        assert (decode(data)[..., ::4096] == 7).all()
        assert tracemalloc.get_traced_memory()[1] < 2**27 + (1 << 22)
        tracemalloc.reset_peak()
        assert decode(data, selection=np.s_[1:]).shape == (shape[0] - 1, *shape[1:])
        assert tracemalloc.get_traced_memory()[1] < 2**27 + (1 << 22)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["<U0", "|S0"])
@pytest.mark.parametrize("shape", [(2**31 - 1,), (5,), (0,)], ids=str)
def test_elements_of_no_bytes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """numpy would make them elements of one: 8 GB from some bytes."""
    payload = ByteWriter()
    payload.varint(3)
    payload.raw(name.encode() + pack_lossless(np.zeros(0, "u1"))[4:])
    data = pack_stream(Header(shape, None, False, False, None, None), [Layer(LayerType.LOSSLESS, payload.getvalue())])
    for read in (decode, inspect):
        with pytest.raises(CorruptChunk, match="1 byte or more"):
            read(data)


def test_long_texts_and_empty_arrays_of_huge_sides() -> None:
    """Elements of a megabyte come back in few steps; sides that numpy cannot make are refused."""
    texts = np.array(["a" * 300_000, "b"])
    codec = INRCodec(lossless=True)
    np.testing.assert_array_equal(codec.decode(codec.encode(texts)), texts)
    shape = (0, 2**31 - 1, 2**31 - 1, 2**31 - 1)
    data = pack_stream(
        Header(shape, None, False, False, None, None), [Layer(LayerType.LOSSLESS, pack_lossless(np.zeros(0, "f8")))]
    )
    for read in (decode, inspect):
        with pytest.raises(CorruptChunk, match="memory can hold"):
            read(data)


@pytest.mark.parametrize(("lo", "hi"), [(-np.inf, np.inf), (-np.inf, 0.0), (0.0, np.inf), (np.nan, 1.0), (2.0, 1.0)])
def test_forged_ranges_are_refused(lo: float, hi: float) -> None:
    """A range whose width is no number would give NaN and infinity: both readers refuse it."""
    data = pack_stream(Header((8, 8, 9), np.dtype("f8"), False, False, Intensity(0.0, 1.0), Reached(9, 0)), [])
    ends = np.array([lo, hi], "<f8").tobytes()
    data = sealed(data[:13] + ends + data[29:])
    for read in (decode, inspect):
        with pytest.raises(CorruptChunk, match="finite range"):
            read(data)


def test_a_constant_has_no_layers_but_a_mask() -> None:
    """Both readers refuse what FORMAT.md does not allow, and say the same."""
    flat = Layer(LayerType.NETWORK, network_of(2, (TREE, 0), (SIZE, 0), (FLAT, 9)))
    for layers in ([flat], [Layer(LayerType.RESIDUAL, b"")]):
        data = pack_stream(Header((8, 8, 9), np.dtype("u1"), False, False, Intensity(3.0, 3.0), None), layers)
        for read in (decode, inspect):
            with pytest.raises(CorruptChunk, match="no layers but a mask"):
                read(data)


@pytest.mark.parametrize("scale", [1e-40, 1e-300])
def test_what_the_caller_asks_of_numpy_does_not_matter(scale: float) -> None:
    """Values that underflow are encoded and read where numpy is to raise, and the caller's setting stays."""
    values = np.linspace(0, scale, 1000).reshape(10, 10, 10)
    with np.errstate(all="raise"):
        for options in ({"ratio": 9}, {"lossless": True}):
            data = INRCodec(**options).encode(values)
            assert decode(data).shape == inspect(data).shape == values.shape
        assert np.geterr()["under"] == "raise"
