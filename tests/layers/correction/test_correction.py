"""Correction layer: bounds hold on decoded values, lossless is exact, parts equal the whole, bytes are safe."""

import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import field, same_bits

from inr_codec import INRCodec, INRSerializer, decode, inspect
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.chunk.selection import whole
from inr_codec.config import OPTIONS, TARGETS
from inr_codec.errors import ConfigError, CorruptChunk
from inr_codec.layers.correction.encode import encode_correction
from inr_codec.layers.correction.lattice import Multiples, widest
from inr_codec.layers.correction.level_coder import encode_levels, level_reader
from inr_codec.layers.correction.offset_coder import encode_offsets
from inr_codec.layers.correction.payload import (
    Lattice,
    as_3d,
    base_levels,
    base_values,
    fill_corrected,
    pack_correction,
)
from inr_codec.layers.correction.volume_coder import parts
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.stream.frame import Header, Layer, LayerType, pack_stream, unpack_stream
from tests.reference_decoder.correction import decode as plain_decode
from tests.reference_decoder.residual import decode as plain_residual

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4"]
FLOATS = ["f2", "f4", "f8"]
SHAPES = [(600,), (24, 30), (1, 1, 520), (9, 10, 11), (3, 4, 8, 9), (520, 1, 1)]


def worst(values: np.ndarray, decoded: np.ndarray) -> float:
    """The largest error of a voxel that is finite."""
    finite = np.isfinite(values)
    return float(np.abs(decoded[finite].astype(np.longdouble) - values[finite]).max(initial=0))


def corrected(
    payload: bytes, shape: tuple[int, ...], intensity: Intensity, dtype: np.dtype, residual: bytes | None = None
) -> np.ndarray:
    """What a correction layer, alone or after a residual layer, decodes to."""
    out = np.zeros(shape, dtype)
    fill_corrected(out, payload, shape, whole(shape), intensity, residual)
    return out


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(INTEGERS + FLOATS),
    shape=st.sampled_from(SHAPES),
    share=st.sampled_from([1e-9, 1e-6, 1e-4, 0.003, 0.02, 0.3, 0.6, 2.0]),
    noise=st.sampled_from([0.0, 0.1, 3.0]),
    holes=st.booleans(),
    padded=st.booleans(),
    effort=st.sampled_from(["fast", "fast", "fast", "default"]),
    seed=st.integers(0, 99),
)
def test_the_bound_holds(
    dtype: str, shape: tuple[int, ...], share: float, noise: float, holes: bool, padded: bool, effort: str, seed: int
) -> None:
    """No decoded voxel is further off than max_error, which inspect tells exactly; masked voxels are as they were."""
    values = field(shape, dtype, noise, seed)
    if holes and values.dtype.kind == "f":
        values.reshape(-1)[::7] = np.nan
        values.reshape(-1)[3] = -np.inf
    if padded and shape[0] > 1:
        values[values.shape[0] // 2 :] = values.reshape(-1)[0]
    finite = np.isfinite(values)
    bound = share * float(np.ptp(values[finite].astype("f8"))) or 0.5
    data = INRCodec(max_error=bound, effort=effort).encode(values)
    decoded = decode(data)
    assert (decoded.dtype, decoded.shape) == (values.dtype, values.shape)
    assert worst(values, decoded) <= bound
    assert worst(values, decoded) <= inspect(data).max_error <= bound
    assert decoded[~finite].tobytes() == values[~finite].tobytes()


@settings(max_examples=30, deadline=None)
@given(
    dtype=st.sampled_from(INTEGERS + [">u2", ">i4", *FLOATS]),
    shape=st.sampled_from(SHAPES),
    noise=st.sampled_from([0.0, 0.1, 3.0]),
    levels=st.sampled_from([2, 3, 100, 1 << 40]),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_lossless_is_exact(
    dtype: str, shape: tuple[int, ...], noise: float, levels: int, holes: bool, seed: int
) -> None:
    """Every bit returns, whatever the dtype and however few the values are."""
    values = field(shape, dtype, noise, seed)
    if levels < 1000:
        values = (values.astype("f8") // max(float(np.ptp(values.astype("f8"))) / levels, 1e-9)).astype(dtype)
    if holes and values.dtype.kind == "f":
        values.reshape(-1)[::5] = np.nan
        values.reshape(-1)[1] = -0.0
    data = INRCodec(lossless=True).encode(values)
    assert same_bits(decode(data), values)
    assert (inspect(data).psnr, inspect(data).max_error) == (np.inf, 0.0)


def test_zeros_of_both_signs_are_kept() -> None:
    """A chunk of nothing but 0.0 and -0.0 is not constant when nothing may be lost."""
    values = np.where(np.arange(1000).reshape(10, 10, 10) % 3, 0.0, -0.0)
    assert same_bits(decode(INRCodec(lossless=True).encode(values)), values)


def test_a_long_line_is_bounded() -> None:
    """One dimension has one neighbour only, and the same promise."""
    values = np.cumsum(np.random.default_rng(0).normal(size=70_000)).astype("f4")
    data = INRCodec(max_error=0.5, effort="fast").encode(values)
    assert worst(values, decode(data)) <= 0.5
    assert len(data) < values.nbytes / 10


def test_integers_take_the_correction_layer_and_few_bytes() -> None:
    """A ramp with normal noise of two levels takes the entropy of that noise, to a tenth of a bit."""
    ramp = np.add.outer(np.arange(24), np.add.outer(np.arange(48), 3 * np.arange(48)))
    values = np.rint(ramp + np.random.default_rng(0).normal(size=ramp.shape) * 2).astype("i2")
    data = INRCodec(lossless=True).encode(values)
    assert inspect(data).layers == ("correction",)
    assert 8 * len(data) / values.size < np.log2(2 * np.sqrt(2 * np.pi * np.e)) + 0.2


def test_sparse_values_and_common_steps_are_found() -> None:
    """Multiples of 37, or a thousand of 65536 values, cost what they would cost without the gaps."""
    plain = field((12, 24, 24), "u1", 0.3)
    size = len(INRCodec(lossless=True).encode(plain))
    assert len(INRCodec(lossless=True).encode(plain.astype("u2") * 37 + 5)) <= size + 4
    assert len(INRCodec(lossless=True).encode(plain.astype("f4") * 0.25)) <= size + 20
    odd = np.cumsum(np.random.default_rng(0).integers(100, 140, 256)).astype("u2")
    assert len(INRCodec(lossless=True).encode(odd[plain])) <= 1.05 * size + 400


def test_a_wider_bound_costs_less() -> None:
    """Twice the bound takes at least a seventh off."""
    values = field((16, 32, 32), "u2", 0.3)
    sizes = [len(INRCodec(max_error=bound, effort="fast").encode(values)) for bound in (300, 600, 1200, 2400, 4800)]
    assert all(b < 0.85 * a for a, b in zip(sizes, sizes[1:]))


@pytest.mark.parametrize("shape", [(40, 50), (20, 30, 40), (3, 5, 20, 21)])
def test_parts_equal_the_whole(shape: tuple[int, ...]) -> None:
    """Any selection of a chunk has the values that decoding it whole gives, of both memory orders."""
    values = np.asfortranarray(field(shape, ">i2", 0.3))
    data = INRCodec(max_error=99, effort="fast").encode(values)
    whole = decode(data)
    for selection in (np.s_[1], np.s_[..., 3:9:2], np.s_[::-1, 5:], np.s_[-1, ..., 7], np.s_[1:2, 3:4]):
        assert np.array_equal(decode(data, selection=selection), whole[selection])


def test_targets_exclude_each_other() -> None:
    """One target only, a bound above 0, and lossless only as True."""
    for options in ({"max_error": 0}, {"max_error": -1}, {"max_error": np.inf}, {"lossless": False}, {"lossless": 1.5}):
        with pytest.raises(ConfigError, match="expected"):
            INRCodec(**options)
    with pytest.raises(ConfigError, match="exactly one target"):
        INRCodec(max_error=1.0, lossless=True)
    others = (*TARGETS, "seed", "dice_weight")
    of_networks = {name: known.limits[0] for name, known in OPTIONS.items() if known.limits and name not in others}
    of_networks |= {"preset": "paper", "layers": "network", "weights": "foreground", "architecture": "siren"}
    of_networks |= {"partition": "equal", "concentration": "centred", "allocation": "size", "optimiser": "adam"}
    for name, value in (of_networks | {"deblock": False, "segmentation": len, "prior": "SU5SUA=="}).items():
        for target in ({"max_error": 1.0}, {"lossless": True}):
            with pytest.raises(ConfigError, match=rf"expected no {name}= beside max_error= or lossless=.*, got "):
                INRCodec(**target, **{name: value})
    assert INRCodec.from_config(INRCodec(lossless=True).get_config()) == INRCodec(lossless=True)
    serializer = INRSerializer(max_error=0.5)
    assert INRSerializer.from_dict(serializer.to_dict()) == serializer


def test_masked_voxels_are_free() -> None:
    """Where any value will do, the predicted one is taken and costs almost nothing."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 200, (8, 32, 32)).astype(np.int32)
    free = np.zeros(levels.shape, bool)
    free[:, :, 8:] = True
    data, coded = encode_levels(levels, 199, free)
    assert np.array_equal(coded[~free], levels[~free])
    assert np.array_equal(level_reader(data, levels.shape, 199).read(levels.size), coded.ravel())
    assert len(data) < 0.35 * len(encode_levels(levels, 199)[0])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(1, 1, 1), (1, 1, 9), (1, 7, 1), (5, 1, 1), (2, 3, 4), (6, 5, 7)]),
    top=st.sampled_from([1, 2, 255, 65535, 2**31 - 1]),
    kind=st.sampled_from(["noise", "extremes", "ramp", "spikes"]),
    seed=st.integers(0, 9),
)
def test_any_levels_come_back(shape: tuple[int, int, int], top: int, kind: str, seed: int) -> None:
    """Noise over the whole range, jumps between its ends, ramps and lone spikes are coded exactly."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    levels = {
        "noise": lambda: rng.integers(0, top, size, endpoint=True),
        "extremes": lambda: rng.integers(0, 2, size) * top,
        "ramp": lambda: np.linspace(0, top, size),
        "spikes": lambda: np.where(rng.random(size) < 0.05, top, 0),
    }[kind]()
    levels = np.asarray(levels).astype(np.int32).reshape(shape)
    data, coded = encode_levels(levels, top)
    assert np.array_equal(coded, levels)
    assert np.array_equal(level_reader(data, shape, top).read(size), levels.ravel())


@pytest.mark.parametrize("shape", [(2**18 + 7,), (516, 512), (3, 400, 230), (2, 3, 5, 9000), (4, 70_000, 1)], ids=str)
@pytest.mark.parametrize("based", [False, True])
def test_what_is_read_part_by_part_is_what_was_written_at_once(shape: tuple[int, ...], based: bool) -> None:
    """Volumes of several parts, long lines, planes of many rows, single columns, mostly flat."""
    rng, size = np.random.default_rng(0), math.prod(shape)
    values = (np.arange(size) // 9000 * 7 % 50 + (rng.random(size) < 0.001) * 3).astype("u1").reshape(shape)
    values.flat[:2] = 0, 60
    intensity = Intensity(0.0, 60.0)
    residual = ResidualEncoder(normalise(values, intensity)).encode(400).payload if based else None
    if residual is None:
        lattice, before, numbers = Lattice(1.0, 60), None, values.astype(np.int32)
        data = encode_levels(numbers.reshape(as_3d(shape)), 60)[0]
    else:
        before = base_values(residual, shape, intensity, values.dtype)
        numbers = values.astype(np.int32) - before
        lattice = Lattice(1.0, 60, None, -60, True, Multiples(1.0), 0)
        levels, span = base_levels(before, intensity, lattice)
        data = encode_offsets(numbers.reshape(as_3d(shape)), levels, span, -60, 60, snap=True)
    assert len(parts(shape)) > 1 or as_3d(shape)[0] == 1
    payload = pack_correction(0.0, lattice, data)
    assert np.array_equal(corrected(payload, shape, intensity, values.dtype, residual), values)
    turned = np.zeros(shape, ">u2", order="F")
    fill_corrected(turned, payload, shape, whole(shape), intensity, residual)
    assert np.array_equal(turned, values)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=60),
    dtype=st.sampled_from(["u1", "i4", "f2", "f8"]),
    kind=st.sampled_from([0, 1, 2, 3, 4, 5]),
    residual=st.one_of(st.none(), st.just(b""), st.binary(min_size=10, max_size=40)),
)
def test_any_bytes_decode_or_raise_corrupt_chunk(data: bytes, dtype: str, kind: int, residual: bytes | None) -> None:
    """Bytes that nobody wrote give an array or CorruptChunk, with and without a sound beginning."""
    shape, intensity = (6, 9, 11), Intensity(3, 99)
    sound = [Lattice(2.0, 99), Lattice(0.5, 3, None, -2, True), Lattice(1.0, 2, np.array([0, 5, 9]))]
    sound += [replace(one, fixed=Multiples(2.0, fine), first=1) for one in sound for fine in (0, 7)]
    for payload in (data, bytes(8) + bytes([kind]) + data, *(pack_correction(0.5, one, data) for one in sound)):
        try:
            out = corrected(payload, shape, intensity, np.dtype(dtype), residual)
        except CorruptChunk:
            continue
        assert out.shape == shape


def test_damage_is_found_or_harmless() -> None:
    """Truncated anywhere or with any byte changed, a payload gives an array or CorruptChunk."""
    values = field((5, 8, 9), "u2", 0.3)
    intensity = Intensity(float(values.min()), float(values.max()))
    for bound in (300.0, 6000.0):
        layers = encode_correction(values, None, intensity, bound)
        assert layers is not None
        residual = layers[0].payload if len(layers) == 2 else None
        payload = layers[-1].payload
        damaged = [payload[:n] for n in range(len(payload))]
        damaged += [payload[:n] + bytes([payload[n] ^ 1 << n % 8]) + payload[n + 1 :] for n in range(len(payload))]
        for bad in damaged:
            try:
                corrected(bad, values.shape, intensity, values.dtype, residual)
            except CorruptChunk:
                pass


@pytest.mark.parametrize(
    ("payload", "shape", "message"),
    [
        (pack_correction(0.0, Lattice(1.0, 5), b""), (2**10, 2**13), "got more"),
        (pack_correction(np.nan, Lattice(1.0, 5), b"a"), (8, 8), "bound"),
        (pack_correction(0.0, Lattice(-1.0, 5), b"a"), (8, 8), "step"),
        (pack_correction(0.0, Lattice(1.0, 2**31), b"a"), (8, 8), "levels"),
        (bytes(8) + b"\6", (8, 8), "kind"),
        (bytes(8) + b"\3" + struct.pack("<d", 1e-30) + b"\0", (8, 8), "range below"),
        (bytes(8) + b"\4" + struct.pack("<d", 0.0) + b"\0\1\1", (8, 8), "step"),
        (bytes(8) + b"\1\0\0", (8, 8), "table"),
        (bytes(8) + b"\1\xff\xff\xff\xff\x07\4aaaa", (8, 8), "cannot hold"),
    ],
)
def test_lies_are_refused(payload: bytes, shape: tuple[int, ...], message: str) -> None:
    """Chunks larger than their bytes can hold, and impossible settings, raise CorruptChunk at once."""
    with pytest.raises(CorruptChunk, match=message):
        corrected(payload, shape, Intensity(0, 9), np.dtype("u1"))


def test_a_base_pays_where_noise_is_finer_than_the_bound() -> None:
    """Smooth structure under noise takes a residual layer and few corrections, fewer bytes than the lattice alone."""
    values = field((32, 48, 48), "u2", 0.05)
    bound = 0.03 * float(np.ptp(values.astype("f8")))
    data = INRCodec(max_error=bound, effort="fast").encode(values)
    assert inspect(data).layers == ("residual", "correction")
    assert worst(values, decode(data)) <= bound
    alone = encode_levels(((values.astype("i4") + int(bound)) // (2 * int(bound) + 1)).astype("i4"), 50)[0]
    assert len(data) < 0.99 * len(alone)
    for selection in (np.s_[3], np.s_[..., 5], np.s_[::-4, 7:9, 30]):
        assert np.array_equal(decode(data, selection=selection), decode(data)[selection])
    wrong = [layer for layer in unpack_stream(data)[1] if layer.type == LayerType.CORRECTION]
    with pytest.raises(CorruptChunk, match="base"):
        decode(pack_stream(unpack_stream(data)[0], wrong))


def test_a_correction_stands_alone() -> None:
    """With another layer, or twice, it is refused."""
    values: Any = field((9, 10, 11), "u1")
    header, layers = unpack_stream(INRCodec(lossless=True).encode(values))
    assert isinstance(header, Header)
    for more in ([Layer(LayerType.RESIDUAL, b"")], [Layer(LayerType.FILTER, b"")], layers):
        with pytest.raises(CorruptChunk, match="correction"):
            decode(pack_stream(header, more + layers))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((300,), "u1"), ((15, 20), "i4"), ((5, 7, 9), "f4"), ((2, 2, 8, 9), "f8")]
)
def test_a_second_decoder_agrees(shape: tuple[int, ...], dtype: str) -> None:
    """A decoder in plain Python, written from the format's description, gives the same bits with and without a base."""
    values = field(shape, dtype, 0.3 if shape[0] > 2 else 0.02)
    lo, hi = float(values.min()), float(values.max())
    intensity = Intensity(lo, hi)
    residual = ResidualEncoder(normalise(values, intensity)).encode(60).payload
    base = base_values(residual, shape, intensity, values.dtype)
    plain_unit = np.clip(plain_residual(residual, shape).astype("f8"), 0, 1)
    plain_base = (lo + (hi - lo) * plain_unit) if dtype[0] == "f" else np.rint(lo + (hi - lo) * plain_unit)
    assert np.array_equal(plain_base.astype(dtype), base)
    span = hi - lo
    fixed = widest(span / 80, np.dtype(dtype))
    far = replace(fixed, fine=9)
    first, last = (int(end) for end in fixed.nearest(np.array([lo, hi])))
    for lattice in (
        Lattice(span / 300, 300),
        Lattice(span / 40, 20, None, -20, True),
        Lattice(span / 2, 2),
        Lattice(fixed.step, last - first, fixed=fixed, first=first),
        Lattice(
            far.step,
            int(far.nearest(np.array([hi]))[0]) - (near := int(far.nearest(np.array([lo]))[0])),
            fixed=far,
            first=near,
        ),
        Lattice(fixed.step, 20, None, -20, True, fixed, first),
    ):
        before = residual if lattice.based else None
        levels = np.rint((values.astype("f8") - (base.astype("f8") if before else lo)) / lattice.step).astype(np.int32)
        levels = np.clip(levels, lattice.bottom, lattice.top).reshape(as_3d(shape))
        if before:
            sixteenths, wide = base_levels(base, intensity, lattice)
            data = encode_offsets(levels, sixteenths, wide, lattice.bottom, lattice.top, lattice.fixed is not None)
        else:
            data = encode_levels(levels, lattice.top)[0]
        payload = pack_correction(0.0, lattice, data)
        decoded = corrected(payload, shape, intensity, values.dtype, before)
        plain = plain_decode(payload, shape, lo, hi, dtype, plain_base.astype(dtype) if before else None)
        assert same_bits(decoded, plain)


def test_a_second_decoder_reads_tables() -> None:
    """The same for a table of values."""
    values = np.cumsum(np.arange(90, 150))[field((9, 10, 11), "u1") % 60].astype("u2")
    layers = unpack_stream(INRCodec(lossless=True).encode(values))[1]
    assert layers[0].payload[8] == 1
    plain = plain_decode(layers[0].payload, values.shape, float(values.min()), float(values.max()), "u2")
    assert same_bits(plain, values)
