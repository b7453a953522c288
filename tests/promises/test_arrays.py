"""Arrays as they come: any number of axes, any dtype, edges and repeated writes keep what was asked for, or say so."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from samples import FAST, field, same_bits

from inr_codec import INRCodec, INRSerializer, TargetMissed, decode, inspect
from inr_codec.chunk.view import View, padding_extent
from tests.reference_decoder.decoder import decode as plain_decode

NUMBERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16", "b1"]
EXACT = ["M8[s]", "m8[D]", "S3", "U2"]


def smooth(shape: tuple[int, ...], dtype: str = "f4") -> Any:
    """A smooth array of any shape and dtype."""
    if math.prod(shape) < 2:
        return np.ones(shape, dtype)
    flat = field((math.prod(shape[:-1]), shape[-1]), "f4").reshape(shape)
    kind = np.dtype(dtype)
    if kind.kind == "c":
        return (flat + 1j * flat[::-1]).astype(kind)
    if kind.kind == "b":
        return flat > np.median(flat)
    if kind.kind in "iu":
        return (100 * (flat - flat.min()) / max(float(np.ptp(flat)), 1e-9)).astype(kind)
    return flat.astype(kind)


def told(codec: Any, values: Any) -> tuple[bytes, list[warnings.WarningMessage]]:
    """A stream, and what encoding it warned of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        data = codec.encode(values)
    assert all(issubclass(one.category, TargetMissed) for one in found)
    return data, found


@given(
    shape=hn.array_shapes(min_dims=0, max_dims=8, min_side=0, max_side=7),
    dtype=st.sampled_from(NUMBERS + EXACT),
    target=st.sampled_from([{"ratio": 4.0}, {"ratio": 100.0}, {"bpv": 1.0}, {"bpv": 0.05}]),
    order=st.sampled_from("CF"),
)
@settings(max_examples=60)
def test_a_ratio_is_kept_or_a_warning_given(shape: tuple[int, ...], dtype: str, target: Any, order: Any) -> None:
    """Any shape of 0 to 8 axes and any dtype: no more bytes than asked for, or TargetMissed, told in the stream too."""
    values = np.zeros(shape, dtype, order)
    if dtype in NUMBERS and values.size:
        values[...] = smooth(shape, dtype)
    data, found = told(INRCodec(**target, **FAST), values)
    back = decode(data)
    assert (back.shape, back.dtype) == (values.shape, values.dtype)
    budget = values.nbytes / target["ratio"] if "ratio" in target else values.size * target["bpv"] / 8
    assert len(data) <= budget or len(found) == 1 or values.size == 0
    assert bool(inspect(data).missed) == bool(found)


def test_axes_of_length_one_cost_their_number_and_no_more() -> None:
    """(1, 1, 8, 1, 32, 32) has the layers of (8, 32, 32) at the same bytes, and nearly its error."""
    values = field((8, 32, 32), "f4")
    plain, more = (inspect(INRCodec(bpv=0.6, **FAST).encode(one)) for one in (values, values[None, None, :, None]))
    assert more.bytes <= 0.6 * values.size / 8 and not more.missed
    assert more.layers == plain.layers
    assert more.psnr > plain.psnr - 1.5


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 3, 2, 16, 16), "u2"), ((1, 9, 1, 1, 20, 3), "i8"), ((6, 10, 12), "c8"), ((2, 2, 2, 2, 8, 8), "c16")]
    + [((9, 10, 11), "b1"), ((9, 10, 11), "u8"), ((2,) * 11, "f4"), ((1,) * 25 + (9, 8, 8) + (1,) * 4, "f8")],
)
def test_a_second_decoder_sees_the_same(shape: tuple[int, ...], dtype: str) -> None:
    """What layers see of many axes, parts and wide dtypes, by a reader written from the format's description."""
    values = smooth(shape, dtype)
    for options in ({"ratio": 5.0, **FAST}, {"max_error": 3.0}, {"lossless": True}):
        data = INRCodec(**options).encode(values)
        back = decode(data)
        plain = plain_decode(data)
        assert (plain.dtype, plain.shape) == (back.dtype, back.shape) == (values.dtype, values.shape)
        if "ratio" not in options:
            assert same_bits(plain, back)
        else:
            wide = np.complex128 if values.dtype.kind == "c" else np.float64
            a, b = plain.astype(wide), back.astype(wide)
            assert np.abs(a - b).max() <= 1 + 2e-5 * max(float(np.abs(b).max()), 1)


@pytest.mark.parametrize("dtype", ["f8", "c16"])
@pytest.mark.parametrize("size", [1e-307, 1e-300, 1e300, 4e306])
def test_floats_far_from_one_are_coded_as_others(size: float, dtype: str) -> None:
    """Ranges whose squares no float64 holds cost what the same values near 1 cost, and bounds hold."""
    values = smooth((9, 16, 18), dtype) / 4
    plain, far = (inspect(INRCodec(ratio=20, **FAST).encode(one)) for one in (values, values * size))
    assert far.psnr == pytest.approx(plain.psnr, abs=1.0)
    assert far.max_error / size == pytest.approx(plain.max_error, rel=0.3)
    bound = max(size * 0.01, 1e-300)
    back = decode(INRCodec(max_error=min(bound, 1e300)).encode(values * size))
    assert float(np.abs((back / size) - values).max()) * (1 - 1e-9) <= min(bound, 1e300) / size * math.sqrt(2)
    assert same_bits(decode(INRCodec(lossless=True).encode(values * size)), values * size)


@given(
    shape=hn.array_shapes(min_dims=1, max_dims=7, max_side=5),
    dtype=st.sampled_from(["f4", "c8", "b1"]),
    data=st.data(),
)
def test_a_view_finds_every_voxel(shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    """The outer product of any indices lies where `View.indices` says, in the array that layers see."""
    values = np.arange(math.prod(shape)).reshape(shape)
    values = (values % 2 == 0) if dtype == "b1" else (values + 0.5j * values).astype(dtype) if dtype == "c8" else values
    values = values.astype(dtype)
    view = View(shape, values.dtype)
    axes = [np.unique(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n))) for n in shape]
    seen = view.of(values)
    assert seen.shape == view.seen_shape and 1 <= seen.ndim <= 4
    picked = seen[np.ix_(*[np.asarray(axis) for axis in view.indices(axes)])]
    assert np.array_equal(picked, view.of(np.ascontiguousarray(values[np.ix_(*axes)])))


@given(hn.arrays("u1", hn.array_shapes(max_dims=4, max_side=5), elements=st.integers(0, 1)))
def test_padding_is_what_lies_outside(values: Any) -> None:
    """Outside of the extent all is as the last voxel; each face of it has another one."""
    extent = padding_extent(values)
    corner = values[(-1,) * values.ndim]
    outside = np.ones(values.shape, bool)
    outside[tuple(slice(0, n) for n in extent)] = False
    assert (values[outside] == corner).all()
    if 0 in extent:
        assert (values == corner).all() and not any(extent)
    for axis, n in enumerate(extent if 0 not in extent else ()):
        assert (values.take(n - 1, axis)[tuple(slice(0, m) for k, m in enumerate(extent) if k != axis)] != corner).any()


@pytest.mark.parametrize(
    ("shape", "chunks"), [((33, 33, 33), (32, 32, 32)), ((9, 130), (1, 128)), ((2, 3, 2, 20, 20), (1, 2, 2, 16, 16))]
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_ratio_counts_voxels_that_exist(shape: Any, chunks: Any, zarr_format: Any) -> None:
    """Chunks at the array's edge get no bytes for their padding, nor for its value: all streams keep the ratio."""
    values: Any = smooth(shape, "f4") + 5
    store = zarr.storage.MemoryStore()
    if zarr_format == 2:
        options: Any = {"compressors": INRCodec(ratio=20, **FAST)}
    else:
        options = {"serializer": INRSerializer(ratio=20, **FAST), "compressors": None}
    array = zarr.create_array(store, data=values, chunks=chunks, zarr_format=zarr_format, fill_value=0, **options)
    streams = [value.to_bytes() for key, value in store._store_dict.items() if "zarr" not in key and ".z" not in key]
    found = [inspect(data) for data in streams]
    assert len(found) == math.prod(-(-n // c) for n, c in zip(shape, chunks))
    over = sum(one.bytes for one in found if one.missed)
    assert sum(map(len, streams)) - over <= values.nbytes / 20
    assert np.array_equal(array[...].shape, shape)


@pytest.mark.parametrize(("dtype", "voxels"), [("u1", 1728), ("u2", 1000), ("f8", 512)])
def test_one_value_keeps_a_ratio_down_to_a_few_bytes(dtype: str, voxels: int) -> None:
    """A constant chunk takes 11 bytes, its value and its sides; where that is too much, it is said."""
    for shape in ((voxels,) if voxels > 65536 else (voxels // 8, 8), (voxels // 16, 4, 4)):
        values = np.full(shape, 7, dtype)
        data, found = told(INRCodec(ratio=100), values)
        sides = sum(1 + (n > 127) for n in shape)
        assert len(data) <= 10 + sides + values.itemsize + 4 * bool(found)
        assert bool(found) == (10 + sides + values.itemsize > values.nbytes / 100)


WRITES = st.lists(
    st.tuples(*[st.integers(*ends) for ends in ((0, 5), (1, 6), (0, 7), (1, 8))], st.floats(-1e3, 1e3, width=32)),
    min_size=1,
    max_size=8,
)


@given(
    writes=WRITES,
    dtype=st.sampled_from(["f2", "f4", "f8", "u1", "i2", "u4", "i8"]),
    bound=st.sampled_from([0.05, 0.3, 1.0, 2.0, 7.5]),
)
@settings(max_examples=40)
def test_errors_of_repeated_writes_do_not_add_up(writes: Any, dtype: str, bound: float) -> None:
    """Any sequence of writes into parts of one chunk: every voxel stays within the bound of what was written last."""
    if np.dtype(dtype).kind in "iu" and bound < 1:
        bound = 1.0
    base: Any = smooth((6, 8, 12), "f4")
    values = (base * 20 + 40).astype(dtype)
    codec = INRCodec(max_error=bound)
    stored = codec.encode(values)
    for z, dz, y, dy, level in writes:
        part = np.s_[z : z + dz, y : y + dy]
        with np.errstate(all="ignore"):
            new = (base[part] * 10 + np.clip(level, 0, 100 if dtype == "u1" else 1000)).astype(dtype)
        now = decode(stored)
        now[part] = new
        values[part] = new
        stored = codec.encode(now)
    assert float(np.abs(decode(stored).astype(np.longdouble) - values).max()) <= bound
    assert same_bits(decode(codec.encode(decode(stored))), decode(stored))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_written_plane_by_plane_keeps_its_bound(zarr_format: Any) -> None:
    """Planes written one after the other, through zarr, end within max_error of what was written."""
    values: Any = smooth((8, 24, 24), "f4") + np.random.default_rng(0).normal(0, 0.05, (8, 24, 24)).astype("f4")
    recipe = {"max_error": 0.05, "effort": "fast"}
    options: Any = {"compressors": INRCodec(**recipe)} if zarr_format == 2 else {
        "serializer": INRSerializer(**recipe), "compressors": None
    }  # fmt: skip
    common: Any = {"shape": values.shape, "dtype": "f4", "chunks": values.shape, "zarr_format": zarr_format}
    array = zarr.create_array({}, **common, **options)
    for z in (3, 1, 7, 0, 2, 6, 5, 4):
        array[z] = values[z]
    assert np.abs(array[...] - values).max() <= 0.05
