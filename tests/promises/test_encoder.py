"""What encoding promises: sizes, targets, exactness where nothing may be lost, input left alone, equal bytes again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import FAST, SHAPE, field, iterations_fitted, psnr, same_bits

from inr_codec import INRCodec, decode, inspect
from inr_codec.encoding.encoder import on_any_engine
from inr_codec.errors import UnsupportedArray
from inr_codec.stream.frame import Layer, LayerType, Reached

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"]


def arranged(values: np.ndarray, layout: str) -> np.ndarray:
    """The same values in C order, Fortran order, strided, reversed, or transposed memory."""
    match layout:
        case "C":
            return np.ascontiguousarray(values)
        case "F":
            return np.asfortranarray(values)
        case "strided":
            return np.repeat(values, 2, axis=-1)[..., ::2]
        case "reversed":
            return np.ascontiguousarray(values[::-1])[::-1]
        case _:
            return np.ascontiguousarray(values.transpose(1, 2, 0)).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("kind", "order", "layout"),
    [(kind, order, layout) for kind in DTYPES for order in "<>" for layout in "CF"]
    + [("i2", "<", layout) for layout in ("strided", "reversed", "transposed")],
)
def test_every_dtype_and_layout_comes_back(kind: str, order: str, layout: str) -> None:
    """Dtype, byte order, shape and memory order return; values are near; the input is read only and unchanged."""
    values = arranged(field(dtype=order + kind), layout)
    before = values.tobytes()
    values.flags.writeable = False
    data = INRCodec(ratio=16, **FAST).encode(values)
    decoded = decode(data)
    assert values.tobytes() == before
    assert (decoded.dtype, decoded.shape) == (values.dtype, values.shape)
    assert decoded.flags.f_contiguous == (layout == "F")
    assert decoded.flags.c_contiguous == (layout != "F")
    assert decoded.flags.writeable
    assert len(data) <= values.nbytes / 16
    assert psnr(values, decoded) > 20
    assert values.min() <= decoded.min()
    assert decoded.max() <= values.max()


def test_layout_and_byte_order_do_not_change_what_is_fitted() -> None:
    """The same values give the same voxels whatever their memory looks like."""
    values = field(dtype="<i2")
    codec = INRCodec(ratio=40, **FAST)
    expected = decode(codec.encode(values))
    for twin in (values.astype(">i2"), *(arranged(values, layout) for layout in ("F", "strided", "transposed"))):
        assert np.array_equal(decode(codec.encode(twin)), expected)


@pytest.mark.parametrize(
    "shape", [(70_000,), (40, 50), (1, 1, 600), (7, 11, 13), (3, 1, 200), (4, 6, 10, 9), (1, 40, 40)], ids=str
)
def test_every_shape_of_one_to_four_dimensions(shape: tuple[int, ...]) -> None:
    """Odd, prime, thin and size-1 axes are coded within the promise."""
    values = field(shape)
    data = INRCodec(ratio=10, **FAST).encode(values)
    assert "lossless" not in inspect(data).layers
    assert len(data) <= values.nbytes / 10
    assert decode(data).shape == shape
    assert psnr(values, decode(data)) > 20


@settings(max_examples=25)
@given(
    ratio=st.floats(1.5, 3000),
    dtype=st.sampled_from(DTYPES),
    shape=st.sampled_from([(16, 32, 32), (9, 17, 11), (40, 40)]),
    edge=st.integers(0, 8),
    partition=st.sampled_from(["spectrum", "equal", "none"]),
)
@example(ratio=1093.0, dtype="u2", shape=(16, 32, 32), edge=1, partition="spectrum")  # nothing is left for layers
def test_the_ratio_is_a_promise(ratio: float, dtype: str, shape: tuple[int, ...], edge: int, partition: str) -> None:
    """The stream takes at most nbytes / ratio, header included, down to the few bytes that a constant takes."""
    values = field(shape, dtype)
    values[..., shape[-1] - edge :] = 0
    data = INRCodec(ratio=ratio, partition=partition, effort="fast", steps=30).encode(values)
    assert len(data) <= values[..., : shape[-1] - edge].nbytes / ratio or inspect(data).missed
    assert decode(data).shape == shape


@pytest.mark.parametrize("ratio", [8, 30, 100, 250])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_the_budget_is_used(ratio: float, dtype: str) -> None:
    """A busy chunk gets at least 97 % of the bytes that the ratio allows, but for three."""
    values = field((24, 48, 48), dtype, noise=1.0)
    assert len(INRCodec(ratio=ratio, **FAST).encode(values)) >= 0.97 * (values.nbytes / ratio) - 3


@pytest.mark.parametrize("bpv", [0.05, 0.5, 2.0])
def test_bits_per_voxel_are_kept(bpv: float) -> None:
    """bpv= bounds the stream by voxels, whatever the dtype, and uses 97 % of it."""
    for dtype in ("u1", "f8"):
        values = field((24, 48, 48), dtype, noise=1.0)
        bits = 8 * len(INRCodec(bpv=bpv, **FAST).encode(values)) / values.size
        assert 0.97 * bpv <= bits <= bpv


@pytest.mark.parametrize("target", [22.0, 30.0, 45.0])
def test_the_psnr_is_a_floor(target: float) -> None:
    """psnr= is reached, measured on the decoded voxels, with fewer bytes for a lower target."""
    values = field((16, 24, 24), "u2", noise=0.2)
    data = INRCodec(psnr=target, effort="fast", steps=150).encode(values)
    assert psnr(values, decode(data)) >= target
    assert len(data) < values.nbytes


def test_the_psnr_is_a_floor_on_every_engine() -> None:
    """Networks evaluated by torch reach psnr= as well, and the search has counted their disagreement in."""
    torch = pytest.importorskip("torch")
    from inr_codec.decoding.gpu import decode_torch

    values = field((12, 20, 20), "f4", noise=0.02)
    data = INRCodec(psnr=24, layers="network", deblock=False, effort="fast", steps=150).encode(values)
    assert inspect(data).layers == ("network",)
    voxels, rest = decode_torch(data, torch.device("cpu"))
    for decoded in (decode(data), voxels.numpy()[rest]):
        assert psnr(values, decoded) >= 24
    counted = on_any_engine(Reached(80.0, 0.0), [Layer(LayerType.NETWORK, b"")])
    assert 79 < counted.psnr < 80 and counted.max_error == 1e-5
    assert on_any_engine(Reached(80.0, 0.0), [Layer(LayerType.RESIDUAL, b"")]).psnr == 80


def test_a_lower_psnr_costs_less() -> None:
    """Streams for 20, 26 and 32 dB grow."""
    values = field((16, 24, 24), "u2", noise=0.2)
    sizes = [len(INRCodec(psnr=target, effort="fast", steps=150).encode(values)) for target in (20, 26, 32)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize("value", [0, 7, -3.25, 65504, np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8"])
def test_a_constant_chunk_is_exact_and_tiny(value: float, dtype: str) -> None:
    """One value takes less than 40 bytes (48 where it is not finite) and comes back bit by bit."""
    values = np.full((30, 40, 50), value, dtype)
    data = INRCodec(ratio=100).encode(values)
    assert len(data) < (40 if np.isfinite(value) else 48)
    assert same_bits(decode(data), values)


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "i2", "u4", ">i4"])
def test_a_constant_chunk_of_integers_is_exact_and_tiny(dtype: str) -> None:
    """The ends of the range included."""
    info = np.iinfo(dtype)
    for value in (info.min, info.max, 1):
        values = np.full((30, 40, 50), value, dtype)
        data = INRCodec(ratio=100).encode(values)
        assert len(data) < 40
        assert same_bits(decode(data), values)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", ">f8"])
def test_non_finite_voxels_come_back_bit_by_bit(dtype: str) -> None:
    """NaN of two payloads and both infinities are where they were; the rest is finite and near."""
    values = field(dtype=dtype)
    values[2:5, 3:9, 4] = np.nan
    values[7, 7] = np.inf
    values[8, 8, :5] = -np.inf
    bits = values.view(f"{dtype[0]}u{dtype[2]}")
    bits[0, 0, 0] = bits[2, 3, 4] ^ 1
    odd = ~np.isfinite(values)
    data = INRCodec(ratio=8, **FAST).encode(values)
    decoded = decode(data)
    assert np.array_equal(~np.isfinite(decoded), odd)
    assert np.array_equal(decoded.view(bits.dtype)[odd], bits[odd])
    assert psnr(values, decoded) > 20
    assert len(data) <= values.nbytes / 8


def test_a_psnr_out_of_reach_keeps_masked_voxels() -> None:
    """What no stream of layers reaches is stored losslessly, NaN and infinities bit by bit."""
    values = field((8, 16, 16), "f4", noise=1.0)
    values[0, 0, :5] = np.nan
    values[3, 2, 1] = -np.inf
    data = INRCodec(psnr=150, **FAST).encode(values)
    assert inspect(data).layers == ("lossless",)
    assert same_bits(decode(data), values)


@pytest.mark.parametrize(("dtype", "fill"), [("f4", np.nan), ("u2", 0), ("u2", 65535), (">i2", -1), ("f8", 1e30)])
@pytest.mark.parametrize("extent", [(9, 32, 32), (16, 20, 32), (5, 17, 30), (1, 32, 1)])
def test_padding_of_edge_chunks_is_exact_and_costs_nothing(dtype: str, fill: float, extent: tuple[int, ...]) -> None:
    """What zarr adds around an edge chunk returns bit by bit; its voxels keep to their own bytes, or it is said."""
    values = np.full(SHAPE, fill, dtype)
    inner = tuple(slice(0, n) for n in extent)
    values[inner] = field(dtype=dtype)[inner]
    outside = np.ones(SHAPE, bool)
    outside[inner] = False
    data = INRCodec(ratio=30, **FAST).encode(values)
    decoded = decode(data)
    assert same_bits(decoded[outside], values[outside])
    assert len(data) <= values[inner].nbytes / 30 or inspect(data).missed
    assert psnr(values[inner], decoded[inner]) > (20 if values[inner].size > 2000 else 10)


EXACT: dict[str, Any] = {
    "quad": field(SHAPE).astype("g") if np.dtype("g").itemsize > 8 else np.array(["a"]),
    "long complex": (field(SHAPE) + 1j * field(SHAPE, seed=1)).astype("G"),
    "datetime": np.arange(1000).astype("datetime64[s]"),
    "timedelta": np.arange(12).reshape(3, 4).astype(">m8[ms]"),
    "strings": np.array([["a", "longer", ""], ["ä", "中", "z"]]),
    "fixed bytes": np.array([b"ab", b"c", b""]),
    "0-d": np.array(3.5),
    "one": np.array([[[7]]], ">u2"),
    "coordinates": np.linspace(0, 1, 5000),
    "tiny": field((7, 8, 9)),
    "int64": field(SHAPE, "i4").astype("i8") * 2**30,
    "uint64": np.full((16, 16, 16), 2**64 - 1, "u8"),
    "empty": np.zeros((0, 5), "f4"),
    "many NaNs": (field(dtype="f8").view("u8") | np.uint64(0x7FF8 << 48)).view("f8"),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_no_network_can_hold_is_exact(name: str, order: str) -> None:
    """Whole xarray datasets are written with one encoding: everything else is lossless, byte order included."""
    values = np.array(EXACT[name], order=order)
    data = INRCodec(ratio=100, **FAST).encode(values)
    decoded = decode(data)
    assert same_bits(decoded, values)
    assert decoded.flags.f_contiguous or order == "C"
    assert inspect(data).dtype == values.dtype
    assert inspect(data).psnr == np.inf


@pytest.mark.parametrize(
    "values",
    [np.array([1, "a", None], object), np.zeros(4, [("a", "f4"), ("b", "i2")]), np.zeros(3, "V5")],
    ids=["object", "structured", "void"],
)
def test_what_no_layer_can_hold_is_refused(values: np.ndarray) -> None:
    """Objects and structured dtypes raise UnsupportedArray that shows the dtype."""
    with pytest.raises(UnsupportedArray, match="got dtype"):
        INRCodec(ratio=100).encode(values)


def test_what_was_reached_is_in_the_stream() -> None:
    """inspect tells the PSNR and the largest error of the decoded voxels, rounded to the worse, without decoding."""
    values = field(dtype="i2", noise=0.3)
    data = INRCodec(ratio=40, layers="network", max_blocks=8, partition="equal", **FAST).encode(values)
    told, decoded = inspect(data), decode(data)
    assert told.psnr == pytest.approx(psnr(values, decoded), abs=1 / 128)
    assert told.psnr <= psnr(values, decoded) + 1e-6
    worst = float(np.abs(decoded.astype(float) - values).max())
    assert worst <= told.max_error <= worst + np.ptp(values.astype(float)) / 2**14
    assert (told.shape, told.dtype, told.order) == (values.shape, values.dtype, "C")
    assert (told.lo, told.hi) == (values.min(), values.max())
    assert told.bytes == len(data) == sum(told.bytes_by_section.values())
    assert told.ratio == values.nbytes / len(data)
    assert sum(np.prod(block.shape) for block in told.blocks) == values.size
    assert len(told.widths) == len(told.blocks) > 1
    counted = [sum(n * m + m for n, m in zip(widths, widths[1:], strict=False)) for widths in told.widths]
    assert told.parameters == sum(counted) > 0
    assert all(len(widths) == told.depth + 1 for widths in told.widths if widths)
    assert str(values.shape[0]) in str(told)
    assert "PSNR" in str(told)


@pytest.mark.parametrize("layers", ["network", "auto"])
def test_one_seed_gives_one_stream(layers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes depend on the seed alone: not on the number of threads, nor on how many callers there are at once."""
    values = field(noise=0.3)
    options = {"ratio": 25, "layers": layers, "max_blocks": 8, "partition": "equal", **FAST}
    monkeypatch.setenv("INR_CODEC_THREADS", "1")
    alone = INRCodec(**options).encode(values)
    assert layers == "auto" or len(inspect(alone).blocks) > 1
    monkeypatch.setenv("INR_CODEC_THREADS", "3")
    with ThreadPoolExecutor(4) as callers:
        assert set(callers.map(INRCodec(**options).encode, [values] * 6)) == {alone}
    assert layers == "auto" or INRCodec(seed=1, **options).encode(values) != alone


def test_networks_that_lose_in_a_short_fit_are_not_fitted_to_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Noise with a few bright voxels is nothing for networks: a tenth of the steps is all that is spent on them."""
    values = np.random.default_rng(0).normal(size=(32, 64, 64))
    values[np.random.default_rng(1).random(values.shape) < 0.003] += 60
    with caplog.at_level("DEBUG", "inr_codec"):
        INRCodec(ratio=600, effort="fast", steps=12000).encode(values.astype("f4"))
    assert 0 < max(iterations_fitted(caplog.records)) <= 1200


def test_many_callers_read_at_once() -> None:
    """Decoding from several threads gives what decoding alone gives."""
    streams = [INRCodec(ratio=30, seed=seed, **FAST).encode(field(seed=seed)) for seed in range(3)] * 5
    with ThreadPoolExecutor(6) as callers:
        for data, decoded in zip(streams, callers.map(decode, streams), strict=True):
            assert same_bits(decoded, decode(data))
