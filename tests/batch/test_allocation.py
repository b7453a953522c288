"""One budget for a data set: curves of chunks, and bytes shared out by equal slopes."""

import json
import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import FAST, field

from inr_codec import INRCodec, decode
from inr_codec.batch import allocation
from inr_codec.batch.allocation import allocate
from inr_codec.batch.rate_curves import CONSTANT_BYTES, NOTHING, Curve, measure_chunk
from inr_codec.config import Config
from inr_codec.encoding.encoder import encode
from inr_codec.errors import ConfigError
from inr_codec.layers.residual.encode import ResidualEncoder


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Any curve: from one point to some, log(error) falling ever more slowly with bytes."""
    lengths = draw(st.lists(st.integers(1, 4000), max_size=6))
    rates = sorted(draw(st.lists(st.floats(1e-5, 0.5), min_size=len(lengths), max_size=len(lengths))), reverse=True)
    sizes, logs = [draw(st.integers(0, 40))], [draw(st.floats(-20, 40))]
    for length, rate in zip(lengths, rates):
        sizes.append(sizes[-1] + length)
        logs.append(logs[-1] - rate * length)
    return Curve(tuple(sizes), tuple(math.exp(max(log, -600)) for log in logs) if lengths else (0.0,))


def error(curve: Curve, size: float) -> float:
    """What a curve says of a size: log(error) is a line between points."""
    if len(curve.bytes) == 1:
        return curve.errors[0]
    return math.exp(float(np.interp(size, curve.bytes, np.log(curve.errors))))


def slope(curve: Curve, size: int, side: int) -> float:
    """-dD/dR just above (side 1) or just below (side -1) a size; nothing is gained beyond the ends."""
    other = size + side * 1e-3
    if not curve.floor <= other <= curve.ceiling:
        return 0.0 if side > 0 else math.inf
    return abs(error(curve, size) - error(curve, other)) / 1e-3


@settings(max_examples=150)
@given(st.lists(curves(), min_size=1, max_size=12), st.floats(0, 1.2))
def test_the_budget_is_met_and_used(chunks: list[Curve], share: float) -> None:
    """Bytes lie between floor and ceiling, never exceed the total, and fall short of it only at all ceilings."""
    least, most = sum(c.floor for c in chunks), sum(c.ceiling for c in chunks)
    total = least + int(share * (most - least))
    given_bytes = allocate(iter(chunks), total)
    assert all(c.floor <= b <= c.ceiling for c, b in zip(chunks, given_bytes))
    assert min(total, most) - len(chunks) <= given_bytes.sum() <= total


@settings(max_examples=50)
@given(st.lists(curves(), min_size=1, max_size=12), st.floats(0, 1), st.integers(1, 5))
def test_slabs_on_disk_give_what_memory_gives(chunks: list[Curve], share: float, slab: int) -> None:
    """However few chunks are in memory at a time: the same bytes, but for what the order of sums leaves open."""
    least, most = sum(c.floor for c in chunks), sum(c.ceiling for c in chunks)
    total = least + int(share * (most - least))
    whole = allocate(chunks, total)
    with mock.patch.object(allocation, "SLAB", slab):
        parts = allocate(chunks, total)
    assert parts.sum() == whole.sum()
    np.testing.assert_allclose(parts, whole, atol=1)


@settings(max_examples=150)
@given(st.lists(curves(), min_size=2, max_size=8), st.floats(0, 1))
def test_slopes_are_equal_between_the_ends(chunks: list[Curve], share: float) -> None:
    """What a byte more gains in one chunk is at most what a byte less costs in another, but for rounding to bytes."""
    least, most = sum(c.floor for c in chunks), sum(c.ceiling for c in chunks)
    given_bytes = allocate(chunks, least + int(share * (most - least)))
    gains = [slope(c, min(b + 2, c.ceiling), 1) for c, b in zip(chunks, given_bytes)]
    losses = [slope(c, max(b - 2, c.floor), -1) for c, b in zip(chunks, given_bytes)]
    assert max(gains) <= min(losses) * 1.02 + 1e-250


@settings(max_examples=100)
@given(st.lists(curves(), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_more_bytes_never_take_from_a_chunk(chunks: list[Curve], a: float, b: float) -> None:
    """Bytes of every chunk grow with the total, but for one byte of rounding."""
    least, most = sum(c.floor for c in chunks), sum(c.ceiling for c in chunks)
    low, high = (allocate(chunks, least + int(share * (most - least))) for share in sorted((a, b)))
    assert (high >= low - 1).all()


@settings(max_examples=100)
@given(st.lists(curves(), min_size=1, max_size=8), st.integers(0, 9000))
def test_no_worse_than_the_same_for_all(chunks: list[Curve], each: int) -> None:
    """The total error by the curves is at most that of an even share at the same bytes."""
    even = np.clip(each, [c.floor for c in chunks], [c.ceiling for c in chunks])
    shared = allocate(chunks, int(even.sum()))
    rounding = sum(error(c, max(b - 1, c.floor)) - error(c, b) for c, b in zip(chunks, shared))
    best, plain = (sum(error(c, b) for c, b in zip(chunks, sizes)) for sizes in (shared, even))
    assert best <= plain * (1 + 1e-6) + rounding


def test_limits_for_all_chunks_hold() -> None:
    """`floor` and `ceiling` narrow the limits of the curves that allow it."""
    chunks = [Curve((30, 1000), (1e9, 1.0)), Curve((30, 1000), (1e3, 1e-6)), Curve((30,), (0.0,)), NOTHING]
    assert (allocate(chunks, 900, floor=200, ceiling=600) == [600, 270, 30, 0]).all()


def test_a_budget_below_the_floors_is_refused() -> None:
    """ConfigError says what the chunks cost at least."""
    with pytest.raises(ConfigError, match="at least 96 bytes"):
        allocate([Curve((32,), (0.0,))] * 3, 95)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4", "f8"])
def test_curves_fall_and_are_convex(dtype: str) -> None:
    """Bytes ascend, errors descend, log(error) is convex in bytes, and the first error is that of the mean."""
    values = field((20, 24, 28), dtype)
    curve = measure_chunk(values)
    sizes, errors = np.array(curve.bytes), np.array(curve.errors)
    assert curve.floor == CONSTANT_BYTES
    assert len(sizes) > 4
    assert (np.diff(sizes) > 0).all() and (np.diff(errors) < 0).all()
    assert (np.diff(np.diff(np.log(errors)) / np.diff(sizes)) > -1e-3 * abs(np.log(errors[1] / errors[0]))).all()
    assert errors[0] == pytest.approx(values.astype(float).var() * values.size, rel=1e-3)
    assert Curve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
def test_curves_are_near_what_the_residual_layer_does(noise: float) -> None:
    """At three rates the error of the layer alone is within 3 dB of the curve's."""
    values = field((32, 32, 32), noise=noise)
    curve, encoder = measure_chunk(values), ResidualEncoder(values)
    for size in (300, 1000, 4000):
        coded = encoder.encode(size, effort=0)
        real = float(np.square(coded.decoded - values, dtype=np.float64).sum())
        assert abs(10 * math.log10(real / error(curve, len(coded.payload) + 30))) < 3


def test_intensities_scale_errors_alone() -> None:
    """Values times 10 have the same bytes and 100 times the error, wherever their zero is."""
    values = field((16, 16, 16), "f8")
    one, ten = measure_chunk(values), measure_chunk(10 * values + 3000)
    assert one.bytes[:-1] == ten.bytes[:-1]
    assert np.allclose(100 * np.array(one.errors[:-1]), ten.errors[:-1], rtol=2e-3)


def test_masked_voxels_have_no_error() -> None:
    """Padding and NaN change neither the first error nor, much, the bytes."""
    values = field((20, 20, 20))
    padded = np.full((24, 24, 32), np.nan, np.float32)
    padded[:20, :20, :20] = values
    holes = padded.copy()
    holes[:3, :3] = np.inf
    plain, with_padding, with_holes = map(measure_chunk, (values, padded, holes))
    assert with_padding.errors[0] == pytest.approx(plain.errors[0], rel=2e-3)
    assert with_holes.errors[0] == pytest.approx(np.nanvar(values[3:]) * 17 * 400 + 0, rel=0.2)
    assert measure_chunk(np.full((8, 8, 8), np.nan)) == Curve((CONSTANT_BYTES,), (0.0,))


@pytest.mark.parametrize(
    "values",
    [np.full((16, 16, 16), 7, "u2"), np.zeros((3, 0)), np.array(5.0), np.arange(100), np.zeros((9, 9, 9), "M8[s]")],
    ids=["constant", "empty", "0-d", "coordinates", "times"],
)
def test_what_no_budget_changes_has_one_point(values: Any) -> None:
    """Constant, tiny and other arrays have one size, near that of their stream, and no error."""
    curve = measure_chunk(values)
    assert curve.errors == (0.0,)
    if values.size:
        assert curve.floor / 3 < len(INRCodec(ratio=100).encode(values)) <= curve.floor + 8


@pytest.mark.parametrize("values", [np.array([[1e300, -1e300] * 400]), np.array([[1e-300, 0] * 400])])
def test_extreme_ranges_do_not_overflow(values: np.ndarray) -> None:
    """Ranges whose squares leave float64 have a curve of finite errors that fall."""
    errors = measure_chunk(values).errors
    assert all(math.isfinite(error) for error in errors)
    assert list(errors) == sorted(errors, reverse=True)


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_any_number_of_axes(dims: int) -> None:
    """Chunks of one, two and four axes have curves too."""
    shape = {1: (70000,), 2: (100, 90), 4: (3, 10, 12, 14)}[dims]
    assert len(measure_chunk(field(shape)).bytes) > 4


def test_a_chunk_is_encoded_within_its_bytes() -> None:
    """A budget takes the place of the target, to the byte; all other settings count."""
    values = field((16, 16, 16), "u2")
    config = Config(bpv=3, seed=4, **FAST)
    found = encode(values, config, budget=333)
    assert len(found.stream) <= 333 and found.missed is None
    assert found.stream == encode(values, Config(ratio=9, seed=4, **FAST), budget=333).stream


def test_one_budget_beats_the_same_ratio_per_chunk() -> None:
    """Real encodes: one busy and three quiet chunks have less error in all with one budget, at the same bytes."""
    quiet = [np.rint(field((16, 16, 16), noise=0.02, seed=k) * 0.3).astype("f4") for k in range(3)]
    chunks = [field((16, 16, 16), noise=0.02, seed=5) * 20, *quiet]
    each = chunks[0].nbytes // 40
    sizes = allocate(map(measure_chunk, chunks), 4 * each)

    def total(budgets: Any) -> tuple[float, int]:
        streams = [encode(c, Config(ratio=40, **FAST), budget=int(b)).stream for c, b in zip(chunks, budgets)]
        squares = sum(float(np.square(decode(s) - c, dtype=np.float64).sum()) for s, c in zip(streams, chunks))
        return squares, sum(map(len, streams))

    (shared, used), (plain, _) = total(sizes), total([each] * 4)
    assert used <= 4 * each
    assert shared < plain / 1.25
