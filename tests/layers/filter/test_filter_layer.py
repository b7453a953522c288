"""The filter layer: its definition in plain numpy, boxes against whole chunks, damage, what the encoder promises."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.errors import CorruptChunk
from inr_codec.layers.filter.encode import encode_filter, first_follower, next_follower
from inr_codec.layers.filter.features import SLAB, count_features, neighbours, pieces
from inr_codec.layers.filter.fit import draw_sample, fit_filters
from inr_codec.layers.filter.payload import (
    REACH,
    FilterLayer,
    apply_filter,
    gather_features,
    pack_filter,
    unpack_filter,
)
from inr_codec.layers.filter.rounding import CompensatedRounding, output_jacobian
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters


def layer_for(shape, hidden=(5, 3), seed=0, scale_code=24):
    """A filter with random weights, strong enough that every feature shows."""
    empty = FilterLayer(tuple(n > 1 for n in shape), hidden, scale_code, 120, 9)
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.normal(size=empty.shape.parameters) * 6).astype(np.int64)
    codes = tuple(16 + int(c) for c in rng.integers(-3, 4, 2 * empty.shape.depth))
    return FilterLayer(empty.axes, hidden, scale_code, 120, 9, codes, symbols)


def chunk_like(shape, seed=0):
    """Smooth structure, steps and noise between 0 and 1."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(0, 4, n) for n in shape], indexing="ij")
    values = 0.5 + 0.25 * np.sin(sum(grids)) + 0.2 * (grids[-1] > 2) + 0.02 * rng.normal(size=shape)
    return values.astype(np.float32)


def oracle(values, layer):
    """The definition in the modules' docstrings, voxel by voxel, in float64."""
    active = [n for n, a in zip(values.shape, layer.axes, strict=True) if a]
    u = values.reshape(active).astype(np.float64)
    dims = u.ndim

    def at(v):
        return u[tuple(min(max(i, 0), n - 1) for i, n in zip(v, u.shape, strict=True))]

    def s(x):
        return x / (1 + abs(x))

    near = [t for t in itertools.product((-1, 0, 1), repeat=dims) if t > (0,) * dims and np.abs(t).sum() <= 2]
    far = [tuple(r if a == b else 0 for b in range(dims)) for r in (2, 3) for a in range(dims)]
    parameters = layer.parameters().astype(np.float64)
    out = np.empty_like(u)
    for v in np.ndindex(*u.shape):
        sums, sizes = [], []
        for t in near + far:
            both = [s((at(np.add(v, t)) - u[v]) / layer.scale), s((at(np.subtract(v, t)) - u[v]) / layer.scale)]
            sums.append(sum(both))
            sizes.append(sum(map(abs, both)) / 2)
        box = [
            np.mean([at(np.add(v, t)) for t in itertools.product(range(-h, h + 1), repeat=dims)]) - u[v] for h in (1, 3)
        ]
        own = s((u[v] - layer.centre / 255) * 2 ** (layer.width_code / 4))
        h = np.array([*sums, np.mean(sizes[: len(near)]), *(s(b / layer.scale) for b in box), own])
        start = 0
        widths = layer.shape.widths
        for k, (n, m) in enumerate(zip(widths, widths[1:], strict=False)):
            matrix, start = parameters[start : start + n * m].reshape(m, n), start + n * m
            h, start = matrix @ h + parameters[start : start + m], start + m
            if k < len(widths) - 2:
                h = np.sin(5 * h)
        out[v] = u[v] + layer.scale * h[0]
    return out.reshape(values.shape)


@pytest.mark.parametrize(
    "shape", [(40,), (9, 11), (6, 1, 7), (5, 6, 7), (2, 3, 4), (1, 1, 30), (3, 2, 4, 3), (1, 5, 1, 4)], ids=str
)
@pytest.mark.parametrize("hidden", [(5, 3), (6,)], ids=str)
def test_filter_is_its_definition(shape, hidden):
    """Kernels give what the docstring says, for 1 to 4 dims and thin axes."""
    values, layer = chunk_like(shape), layer_for(shape, hidden)
    got = apply_filter(values, pack_filter(layer))
    assert got.shape == shape
    assert got.dtype == np.float32
    assert np.abs(got - values).max() > 0.1 * layer.scale
    np.testing.assert_allclose(got, oracle(values, layer), atol=3e-5 * layer.scale * np.abs(layer.parameters()).max())


@st.composite
def chunk_and_box(draw):
    """A chunk's shape and a box in it."""
    dims = draw(st.integers(1, 4))
    longest = {1: 600, 2: 90, 3: 24, 4: 9}[dims]
    shape = tuple(draw(st.integers(1, longest)) for _ in range(dims))
    if max(shape) == 1:
        shape = (2, *shape[1:])
    starts = [draw(st.integers(0, n - 1)) for n in shape]
    stops = [draw(st.integers(a + 1, n)) for a, n in zip(starts, shape, strict=True)]
    return shape, starts, stops


@given(chunk_and_box(), st.integers(0, 99))
@settings(max_examples=60)
def test_box_equals_whole_chunk(case, seed):
    """A box grown by REACH and cropped has, bit for bit, the values of the whole chunk."""
    shape, starts, stops = case
    values, payload = chunk_like(shape, seed), pack_filter(layer_for(shape, seed=seed))
    grown = [(max(a - REACH, 0), min(b + REACH, n)) for a, b, n in zip(starts, stops, shape, strict=True)]
    part = apply_filter(values[tuple(slice(a, b) for a, b in grown)], payload)
    crop = tuple(slice(a - g, b - g) for a, b, (g, _) in zip(starts, stops, grown, strict=True))
    whole = apply_filter(values, payload)[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))]
    assert np.array_equal(part[crop], whole)


def test_slabs_and_threads_do_not_show(monkeypatch):
    """A chunk of two slabs is the same on one thread, on many, and put together from halves that are one slab each."""
    values = chunk_like((70, 60, 64))
    assert values.size > SLAB > values[:38].size
    payload = pack_filter(layer_for(values.shape))
    many = apply_filter(values, payload)
    monkeypatch.setenv("INR_CODEC_THREADS", "1")
    assert np.array_equal(apply_filter(values, payload), many)
    halves = apply_filter(values[: 35 + REACH], payload)[:35], apply_filter(values[35 - REACH :], payload)[REACH:]
    assert np.array_equal(np.concatenate(halves), many)


def test_pieces_do_not_show():
    """Few large planes are filtered in pieces, and are the same as two halves that are one piece each."""
    values = chunk_like((6, 300, 300))
    payload = pack_filter(layer_for(values.shape))
    assert len(list(pieces(values.shape))) == 2 and len(list(pieces((6, 150 + REACH, 300)))) == 1
    halves = apply_filter(values[:, : 150 + REACH], payload), apply_filter(values[:, 150 - REACH :], payload)
    joined = np.concatenate([halves[0][:, :150], halves[1][:, REACH:]], axis=1)
    assert np.array_equal(apply_filter(values, payload), joined)


def test_input_is_left_alone():
    """The decoded chunk is read only, in any memory order."""
    values = np.asfortranarray(chunk_like((12, 13, 14)))
    before = values.copy()
    values.flags.writeable = False
    payload = pack_filter(layer_for(values.shape))
    assert np.array_equal(apply_filter(values, payload), apply_filter(np.ascontiguousarray(values), payload))
    assert np.array_equal(values, before)


def test_pairs_cover_each_offset_once():
    """No offset occurs twice, nor with the opposite sign, and none reaches further than REACH."""
    for dims in range(1, 5):
        offsets = neighbours(dims)
        both = offsets + [tuple(-x for x in t) for t in offsets]
        assert len(set(both)) == 2 * len(offsets)
        assert max(max(map(abs, t)) for t in both) == REACH
        assert count_features(dims) == len(offsets) + 4


@given(st.integers(1, 4), st.sampled_from([(1,), (4, 4), (64,), (16, 8)]), st.integers(0, 1000))
@settings(max_examples=30)
def test_pack_and_unpack(dims, hidden, seed):
    """Unpacking gives back what was packed."""
    shape = (5,) * dims
    layer = layer_for(shape, hidden, seed)
    again = unpack_filter(pack_filter(layer), shape)
    assert (again.axes, again.hidden, again.steps) == (layer.axes, layer.hidden, layer.steps)
    assert (again.scale_code, again.centre, again.width_code) == (layer.scale_code, layer.centre, layer.width_code)
    assert np.array_equal(again.symbols, layer.symbols)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=150)
def test_any_bytes_give_an_array_or_corrupt_chunk(data, plausible):
    """No payload crashes, hangs or gives another shape."""
    values = chunk_like((6, 7, 8))
    payload = bytes([7, 1 + data[0] % 64, data[-1] % 65]) + data if plausible and data else data
    try:
        assert apply_filter(values, payload).shape == values.shape
    except CorruptChunk:
        pass


def test_every_truncation_is_read_or_refused():
    """Cut anywhere, a payload still gives an array or CorruptChunk; without its head always the latter."""
    values = chunk_like((6, 7, 8))
    payload = pack_filter(layer_for(values.shape))
    for stop in range(len(payload)):
        try:
            apply_filter(values, payload[:stop])
        except CorruptChunk:
            continue
        assert stop >= 6


@pytest.mark.parametrize("bits", [0, 0b011, 0b1111, 0xF7])
def test_wrong_axes_are_refused(bits):
    """A filter of other axes than the chunk's is not applied."""
    payload = pack_filter(layer_for((6, 7, 8)))
    with pytest.raises(CorruptChunk, match="axes"):
        apply_filter(chunk_like((6, 7, 8)), bytes([bits]) + payload[1:])


def test_gathered_features_are_those_of_the_wanted_voxels():
    """Features come in the order that is asked for and do not depend on what else is gathered."""
    values = chunk_like((9, 20, 33))
    layer = layer_for(values.shape)
    rng = np.random.default_rng(1)
    wanted = rng.random(values.shape) < 0.3
    every = gather_features(values, layer, np.ones(values.shape, np.bool_), np.arange(values.size))
    assert every.shape == (values.size, count_features(3))
    places = rng.permutation(np.count_nonzero(wanted))
    assert np.array_equal(gather_features(values, layer, wanted, places)[places], every[wanted.reshape(-1)])


def test_features_in_the_place_of_coordinates_fit_the_same_network():
    """A fit to coordinates given as features is the fit to the grid, where each step sees all voxels."""
    sides, shape = (8, 8, 10), NetworkShape((3, 8, 5, 1))
    values = chunk_like(sides).reshape(-1)
    start = initial_parameters(shape, 6.0, np.random.default_rng(0))
    points = np.stack(np.meshgrid(*[coordinates(n) for n in sides], indexing="ij"), -1).reshape(-1, 3)
    schedule = Schedule(60, values.size, 2e-3)
    grid = FitTask(values, sides, shape, 6.0, start, schedule, 3)
    free = FitTask(values, (), shape, 6.0, start, schedule, 3, features=np.ascontiguousarray(points))
    one, two = fit_blocks([grid, free])
    np.testing.assert_allclose(one.parameters, two.parameters, atol=1e-4)
    assert np.abs(one.parameters - start).max() > 0.01


def degraded(shape=(24, 40, 48), seed=0):
    """A smooth chunk and itself coarsely quantised with an offset per block of eight: what a filter can undo."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(0, 6, n) for n in shape], indexing="ij")
    original = (0.5 + 0.3 * np.sin(sum(grids)) * np.cos(grids[-1])).astype(np.float32)
    offsets = rng.normal(size=[-(-n // 8) for n in shape]) * 0.02
    for axis in range(len(shape)):
        offsets = np.repeat(offsets, 8, axis)
    noise = offsets[tuple(slice(n) for n in shape)] + 0.01 * rng.normal(size=shape)
    return original, (original + noise).astype(np.float32)


@pytest.mark.parametrize("shape", [(24, 40, 48), (1, 200, 200), (30000,), (8, 8, 24, 24)], ids=str)
def test_encoder_lowers_the_error_within_its_bytes(shape):
    """Blocks and noise on a smooth chunk are mostly taken away, and the error reported is that of decoding."""
    original, decoded = degraded(shape)
    chunk = UnitChunk(original)
    result = encode_filter(chunk, decoded, 0.03, 400, 2e-4, effort="fast")
    assert result is not None
    payload, after = result
    assert len(payload) <= 400
    assert after == pytest.approx(chunk.squared_error(apply_filter(decoded, payload)), rel=1e-9)
    assert 10 * math.log10(chunk.squared_error(decoded) / after) > 1.0


def test_encoding_is_deterministic():
    """Same seed, same bytes."""
    original, decoded = degraded()
    chunk, options = UnitChunk(original), {"price": 1e-4, "effort": "fast", "seed": 5}
    runs = [encode_filter(chunk, decoded, 0.03, 200, **options) for _ in range(2)]
    assert runs[0] is not None
    assert runs[0] == runs[1]


def test_masked_voxels_do_not_count():
    """The original's masked voxels change neither the payload nor the error."""
    original, decoded = degraded()
    valid = np.ones(original.shape, np.bool_)
    valid[:, :13] = False
    spoilt = np.where(valid, original, np.float32(7.0))
    options = {"price": 1e-4, "effort": "fast"}
    clean = encode_filter(UnitChunk(original, valid), decoded, 0.03, 200, **options)
    assert clean is not None
    assert encode_filter(UnitChunk(spoilt, valid), decoded, 0.03, 200, **options) == clean


def test_nothing_is_stored_where_nothing_is_gained():
    """White noise, an exact chunk, a tiny one and a hopeless budget get no filter."""
    rng = np.random.default_rng(0)
    original = np.full((24, 40, 48), 0.5, np.float32)
    flat = original.copy()
    noisy = (flat + 0.02 * rng.normal(size=flat.shape)).astype(np.float32)
    assert encode_filter(UnitChunk(noisy), flat, 0.05, 300, 3e-4, effort="fast") is None
    assert encode_filter(UnitChunk(original), flat, 0.05, 300, 5e-5, effort="fast") is None
    one = original.copy()
    one[3, 4, 5] = 1.0
    assert encode_filter(UnitChunk(one), flat, 0.05, 300, 5e-5, effort="fast") is None
    for shape, room in (((8, 8, 8), 300), ((24, 40, 48), 5)):
        blocky, decoded = degraded(shape)
        assert encode_filter(UnitChunk(blocky), decoded, 0.03, room, 5e-5, effort="fast") is None


def test_output_jacobian_is_the_derivative():
    """Derivatives agree with central differences in float64."""
    shape = NetworkShape((4, 5, 3, 1))
    rng = np.random.default_rng(2)
    parameters, points = rng.normal(size=shape.parameters) * 0.3, rng.normal(size=(4, 20))

    def output(p):
        h, tensors = points, list(shape.tensors())
        for k in range(3):
            h = p[tensors[2 * k]].reshape(shape.widths[k + 1], -1) @ h + p[tensors[2 * k + 1], None]
            h = np.sin(5 * h) if k < 2 else h
        return h[0]

    got = output_jacobian(parameters.astype(np.float32), shape, points.astype(np.float32))
    for i in range(shape.parameters):
        nudge = np.zeros(shape.parameters)
        nudge[i] = 1e-6
        np.testing.assert_allclose(
            got[:, i], (output(parameters + nudge) - output(parameters - nudge)) / 2e-6, atol=2e-4, rtol=1e-3
        )


def test_compensated_rounding_beats_rounding():
    """On strongly coupled parameters it more than halves the quadratic form that plain rounding leaves."""
    rng = np.random.default_rng(0)
    plain = compensated = 0.0
    for _ in range(20):
        samples = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 40)) + 0.3 * rng.normal(size=(400, 40))
        curvature = samples.T @ samples / 400
        values, steps = rng.normal(size=40), np.full(40, 0.1)
        apart = [
            q * steps - values for q in (np.rint(values / steps), CompensatedRounding(curvature).symbols(values, steps))
        ]
        plain += float(apart[0] @ curvature @ apart[0])
        compensated += float(apart[1] @ curvature @ apart[1])
    assert compensated < 0.5 * plain


def test_a_fit_goes_on_where_another_ended():
    """A step that moves nothing gives the same filter, whatever whitens the sample; a fit from there is better."""
    original, decoded = degraded()
    chunk = UnitChunk(original)
    first = first_follower(chunk, decoded, 0.03, 400, 2e-4, seed=0)
    assert first is not None
    other = draw_sample(chunk, 0.9 * decoded + 0.05, first.layer, 5000, 3)
    still = fit_filters([first.layer.hidden], other, Schedule(1, 64, 0.0), 0, first)[0]
    np.testing.assert_allclose(still.apply(decoded), first.apply(decoded), atol=2e-5)
    second = next_follower(chunk, decoded, first, seed=1)
    assert chunk.squared_error(second.apply(decoded)) < chunk.squared_error(first.apply(decoded))
    assert chunk.squared_error(first.apply(decoded)) < 0.9 * chunk.squared_error(decoded)


def test_nothing_follows_where_no_filter_pays():
    """Exact, tiny and noisy chunks, and bytes that are dear."""
    original, decoded = degraded()
    small = UnitChunk(original[:8, :8, :8])
    noisy = UnitChunk((original + np.random.default_rng(1).normal(size=original.shape)).astype(np.float32))
    assert first_follower(UnitChunk(original), original, 0.03, 400, 2e-4, seed=0) is None
    assert first_follower(small, decoded[:8, :8, :8], 0.03, 400, 2e-4, seed=0) is None
    assert first_follower(noisy, np.full_like(original, 0.5), 0.05, 300, 3e-4, seed=0) is None
    assert first_follower(UnitChunk(original), decoded, 0.03, 400, 1.0, seed=0) is None
