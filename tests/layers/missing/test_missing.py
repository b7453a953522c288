"""Layer of missing voxels: it holds what the mask layer holds, bit by bit, in fewer bytes; forged bytes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.errors import CorruptChunk
from inr_codec.layers.mask import Mask, apply_mask, find_mask, pack_mask
from inr_codec.layers.missing import pack_missing, unpack_missing
from tests.reference_decoder.labels import missing as plain_missing


def holes(shape: tuple[int, ...], share: float, seed: int = 0) -> np.ndarray:
    """Floats of which a share is NaN of three kinds or infinite, padded at the end of the first axis."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype("f4")
    odd = np.array([0x7FC00000, 0x7FC00001, 0xFF800000, 0x7F800000], "u4").view("f4")
    where = rng.random(shape) < share
    values[where] = odd[rng.integers(0, 4, int(where.sum()))]
    values[shape[0] - shape[0] // 3 :] = -7
    return values


def found(values: np.ndarray) -> Mask:
    """The mask of a chunk that has one."""
    mask = find_mask(values)
    assert mask is not None
    return mask


@pytest.mark.parametrize("shape", [(90,), (12, 13), (6, 7, 5), (3, 4, 5, 6)], ids=str)
@pytest.mark.parametrize("share", [0, 0.1, 1])
def test_what_was_masked_comes_back(shape: tuple[int, ...], share: float) -> None:
    """Extent, padding, every bit pattern; a decoder written from FORMAT.md puts the same bits."""
    values = holes(shape, share)
    mask = found(values)
    payload = pack_missing(mask, shape)
    assert payload is not None
    read = unpack_missing(payload, shape, 4)
    assert (read.extent, read.patterns) == (mask.extent, mask.patterns)
    assert read.fill == mask.fill or mask.extent == shape
    np.testing.assert_array_equal(read.valid(shape), mask.valid(shape))
    ours, plain = np.zeros(shape, "f4"), np.zeros(shape, "f4")
    apply_mask(ours, read, [np.arange(n) for n in shape])
    plain_missing(payload, plain)
    ours[mask.valid(shape)] = plain[mask.valid(shape)] = values[mask.valid(shape)]
    assert ours.tobytes() == plain.tobytes() == values.tobytes()


def test_masks_take_less_than_deflated_ones() -> None:
    """Speckle within 1 % of its entropy, a smooth region in a third of the bytes."""
    rng = np.random.default_rng(2)
    speckle = rng.normal(size=(32, 48, 48)).astype("f4")
    speckle[rng.random(speckle.shape) < 0.1] = np.nan
    p = np.isnan(speckle).mean()
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * speckle.size / 8
    taken = pack_missing(found(speckle), speckle.shape)
    assert taken is not None and len(taken) < 1.01 * entropy + 9
    y, x = np.indices((200, 300))
    coast = np.where(np.hypot(y - 90, x - 150) < 70 + 9 * np.sin(x / 9), np.nan, 1.0)
    smooth = pack_missing(found(coast), coast.shape)
    assert smooth is not None and 3 * len(smooth) < len(pack_mask(found(coast)))


def test_more_bytes_than_asked_for_give_none() -> None:
    """The encoder keeps the mask layer where that is smaller."""
    values = holes((8, 20, 20), 0.3)
    payload = pack_missing(found(values), values.shape)
    assert payload is not None
    assert pack_missing(found(values), values.shape, len(payload)) == payload
    assert pack_missing(found(values), values.shape, len(payload) - 1) is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_mask_or_refused(data: bytes) -> None:
    """Forged bytes give a mask inside of the chunk or CorruptChunk."""
    try:
        mask = unpack_missing(data, (5, 9), 2)
    except CorruptChunk:
        return
    assert mask.classes is None or mask.classes.max(initial=0) <= len(mask.patterns)
    assert all(a <= b for a, b in zip(mask.extent, (5, 9)))
