"""The frame of a stream, its mask and lossless layers, and the intensities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.chunk.intensity import Intensity, normalise, restore
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.layers.lossless import pack_lossless, unpack_lossless
from inr_codec.layers.mask import apply_mask, find_mask, pack_mask, unpack_mask
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import VERSION, Header, Layer, LayerType, Reached, pack_stream, unpack_stream

HEADER = Header((3, 4), np.dtype("u2"), True, False, Intensity(5.0, 700.0), Reached(41.5, 0.25))
LAYERS = [Layer(LayerType.NETWORK, b"abc"), Layer(LayerType.MASK, b"")]


def test_header_and_layers_come_back() -> None:
    """What is packed is unpacked; the reached figures to their stated precision."""
    header, layers = unpack_stream(pack_stream(HEADER, LAYERS))
    assert layers == LAYERS
    assert header == HEADER


def test_reached_figures_are_never_flattered() -> None:
    """The stored PSNR is rounded down and the stored error up."""
    header = Header((3,), np.dtype("f4"), False, False, Intensity(0.0, 1.0), Reached(33.3333, 0.1))
    reached = unpack_stream(pack_stream(header, []))[0].reached
    assert reached is not None and 33.3 < reached.psnr <= 33.3333 and 0.1 <= reached.max_error < 0.1001


def test_every_truncation_and_every_flipped_bit_is_noticed() -> None:
    """No prefix of a stream and no stream with one bit changed is read as one."""
    data = pack_stream(HEADER, LAYERS)
    for cut in range(len(data)):
        with pytest.raises(CorruptChunk):
            unpack_stream(data[:cut])
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptChunk, UnsupportedFormat)):
            unpack_stream(bytes(broken))


def test_newer_versions_are_refused_with_both_numbers() -> None:
    """The message names the version that is read and the one that was found."""
    data = bytearray(pack_stream(HEADER, LAYERS))
    data[3] = 77
    with pytest.raises(UnsupportedFormat, match=rf"{VERSION}.*77"):
        unpack_stream(bytes(data))


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_varints(values: list[int]) -> None:
    """Variable-length integers come back."""
    out = ByteWriter()
    for value in values:
        out.varint(value)
    data = ByteReader(out.getvalue())
    assert [data.varint() for _ in values] == values
    assert data.remaining == 0


def test_deflate_bombs_are_refused() -> None:
    """A few bytes that claim to inflate to a gigabyte are refused before anything is inflated."""
    with pytest.raises(CorruptChunk):
        ByteReader(b"x\x9c" + bytes(50)).deflated(1 << 30)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_intensities_come_back_to_the_precision_of_float32(dtype: str) -> None:
    """Normalising and restoring gives every value back within 2^-24 of the range, and the ends exactly."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = rng.normal(size=(20, 30)).astype(kind) * kind.type(1000)
    else:
        info = np.iinfo(kind)
        values = rng.integers(info.min, info.max, (20, 30), kind, endpoint=True)
    intensity = Intensity(float(values.min()), float(values.max()))
    back = restore(normalise(values, intensity), intensity, kind)
    assert back.dtype == kind
    span = intensity.hi - intensity.lo
    rounding = {2: 2**-11, 4: 2**-23, 8: 2**-23}[kind.itemsize] if kind.kind == "f" else 0
    assert (
        np.abs(back.astype("f8") - values.astype("f8")).max()
        <= span * 2**-24 + 0.5 * (kind.kind != "f" and kind.itemsize == 4) + rounding * 4000
    )
    assert back.min() == values.min() and back.max() == values.max()


def test_out_of_range_units_are_clipped() -> None:
    """Networks that overshoot cannot leave the range of the chunk or wrap around."""
    unit = np.array([-0.5, 0.0, 1.0, 1.5], np.float32)
    assert restore(unit, Intensity(3.0, 250.0), np.dtype("u1")).tolist() == [3, 3, 250, 250]


def test_squared_error_counts_valid_voxels_only() -> None:
    """Masked voxels do not count, and decoded values are clipped as the decoder does."""
    chunk = UnitChunk(np.array([0.0, 1.0, 0.5], np.float32), np.array([True, True, False]))
    assert chunk.squared_error(np.array([-3.0, 0.5, 9.0], np.float32)) == pytest.approx(0.125)


def masked_floats() -> np.ndarray:  # type: ignore[type-arg]
    """Noise with NaN, infinities, a NaN payload, negative zero and a padded corner."""
    values = np.random.default_rng(0).normal(size=(6, 8, 10)).astype("f4")
    values[0, 0, :3] = [np.nan, np.inf, -np.inf]
    values.view("u4")[1, 2, 3] = 0x7FC12345
    values[:, 6:, :] = np.nan
    values[5:] = np.nan
    return values


def test_masked_bits_come_back() -> None:
    """Non-finite values, with their payloads, and padding are exactly what they were, everywhere and in parts."""
    values = masked_floats()
    mask = find_mask(values)
    assert mask is not None and mask.extent == (5, 6, 10)
    back = unpack_mask(pack_mask(mask), values.shape, 4)
    out = np.where(np.isfinite(values), values, np.float32(7))
    apply_mask(out, back, all_indices(values.shape))
    np.testing.assert_array_equal(out.view("u4"), values.view("u4"))
    indices = [np.array([0, 1, 5]), np.array([0, 2, 7]), np.array([1, 3])]
    part = np.full((3, 3, 2), 7, "f4")
    apply_mask(part, back, indices)
    expected = np.where(np.isfinite(values), np.float32(7), values)[np.ix_(*indices)]
    np.testing.assert_array_equal(part.view("u4"), expected.view("u4"))


def test_nothing_to_mask() -> None:
    """Finite data without constant slabs at its end has no mask."""
    assert find_mask(np.random.default_rng(0).normal(size=(4, 5))) is None


@given(st.binary(max_size=40))
def test_any_bytes_are_a_mask_or_corrupt(data: bytes) -> None:
    """Unpacking a mask ends in a mask or CorruptChunk."""
    try:
        unpack_mask(data, (4, 5, 6), 4)
    except CorruptChunk:
        pass


@pytest.mark.parametrize(
    "values",
    [
        np.array(True),
        np.array("2024-05-01", "M8[s]"),
        np.array([["ab", "c"]]),
        np.zeros((0, 3)),
        np.arange(5) * 1j,
        np.array(["", ""], "U0"),
    ],
)
def test_lossless_round_trip(values: np.ndarray) -> None:  # type: ignore[type-arg]
    """0-d, dates, strings, empty arrays and complex numbers come back as they were."""
    back = unpack_lossless(pack_lossless(values), values.shape)
    assert back.dtype == values.dtype and back.shape == values.shape
    assert back.tobytes() == values.tobytes()


@given(st.binary(max_size=40), st.sampled_from([(), (3,), (2**16, 2**14)]))
def test_any_bytes_are_lossless_or_corrupt(data: bytes, shape: tuple[int, ...]) -> None:
    """Unpacking a lossless layer ends in an array or CorruptChunk."""
    try:
        assert unpack_lossless(data, shape).shape == shape
    except CorruptChunk:
        pass


def test_infinite_psnr_is_stored() -> None:
    """A lossless result is told as such."""
    header = Header((3,), np.dtype("u1"), False, False, Intensity(1.0, 1.0), Reached(math.inf, 0.0))
    assert unpack_stream(pack_stream(header, []))[0].reached == Reached(math.inf, 0.0)
