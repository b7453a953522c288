"""Parts of a chunk: every selection that numpy takes, answered from the voxels that it needs."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import FAST, field, voxels_evaluated

import inr_codec
from inr_codec import INRCodec, decode
from inr_codec.chunk.selection import outer, plain, split_selection
from inr_codec.errors import ConfigError

SHAPE = (9, 14, 11)

NAMES = ("network", "masked", "fortran", "constant", "lossless")


@cache
def stream(name: str) -> bytes:
    """A small stream of every kind."""
    values = field(SHAPE)
    match name:
        case "network":
            return INRCodec(ratio=30, layers="network", max_blocks=8, partition="equal", **FAST).encode(values)
        case "masked":
            values[values > 60] = np.nan
            values[7:] = -1
            return INRCodec(ratio=30, **FAST).encode(values)
        case "fortran":
            return INRCodec(ratio=30, **FAST).encode(np.asfortranarray(field(SHAPE, ">i2")))
        case "constant":
            return INRCodec(ratio=30).encode(np.full(SHAPE, 3, np.int8))
        case _:
            return INRCodec(ratio=30).encode(values > 0)


@cache
def whole(name: str) -> np.ndarray:
    """All of it."""
    return decode(stream(name))


basic = hnp.basic_indices(SHAPE, allow_newaxis=False)
fancy = hnp.integer_array_indices(SHAPE, result_shape=hnp.array_shapes(max_dims=2, max_side=5, min_side=0))
mixed = st.tuples(
    *[
        st.one_of(inside, st.slices(n), hnp.arrays(np.intp, 3, elements=inside))
        for n, inside in [(n, st.integers(-n, n - 1)) for n in SHAPE]
    ]
)
boolean = st.one_of(hnp.arrays(bool, SHAPE), st.tuples(hnp.arrays(bool, SHAPE[:2]), st.slices(SHAPE[2])))


@given(st.one_of(basic, fancy, mixed, boolean))
def test_a_split_selection_is_the_selection(selection: Any) -> None:
    """chunk[selection] == chunk[outer product][rest], and the product is sorted, distinct and no larger than due."""
    chunk = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    axes, rest = split_selection(selection, SHAPE)
    indices, expected = plain(axes), chunk[selection]
    assert np.array_equal(chunk[np.ix_(*indices)][rest], expected)
    assert np.array_equal(chunk[outer(axes, (0,) * chunk.ndim)], chunk[np.ix_(*indices)])
    for axis, (index, n) in enumerate(zip(indices, SHAPE, strict=True)):
        assert (np.diff(index) > 0).all()
        assert index.size == 0 or (index[0] >= 0 and index[-1] < n)
        if expected.size:
            assert np.array_equal(index, np.unique(np.unravel_index(expected, SHAPE)[axis]))


@given(st.sampled_from(NAMES), st.one_of(basic, fancy, mixed, boolean))
def test_a_part_equals_the_same_part_of_the_whole(name: str, selection: Any) -> None:
    """decode(data, selection=s) is decode(data)[s], bit by bit, whatever the layers and the memory order."""
    part, expected = decode(stream(name), selection=selection), whole(name)[selection]
    assert part.shape == expected.shape
    assert part.dtype == np.asarray(whole(name)).dtype
    assert np.array_equal(part, expected, equal_nan=part.dtype.kind == "f")


@given(st.sampled_from(NAMES), st.tuples(*[st.integers(1, 20)] * 3))
def test_a_step_takes_every_so_manieth_voxel(name: str, step: tuple[int, ...]) -> None:
    """step= is decode(data)[::step], one number for all axes or one for each."""
    a, b, c = step
    part = decode(stream(name), step=step)
    assert part.dtype == whole(name).dtype
    assert np.array_equal(part, whole(name)[::a, ::b, ::c], equal_nan=name == "masked")
    assert np.array_equal(decode(stream(name), step=a), whole(name)[::a, ::a, ::a], equal_nan=name == "masked")


def test_a_chunk_of_networks_is_evaluated_on_any_grid() -> None:
    """shape= samples the chunk's extent anew: its own shape gives the chunk, a finer grid what is between."""
    data = INRCodec(ratio=30, layers="network", deblock=False, partition="none", **FAST).encode(field(SHAPE))
    values = decode(data)
    assert np.allclose(decode(data, shape=SHAPE), values, atol=1e-4 * np.ptp(values))
    fine = decode(data, shape=[2 * n - 1 for n in SHAPE])
    assert np.allclose(fine[::2, ::2, ::2], values, atol=1e-4 * np.ptp(values))
    assert decode(data, shape=(1, 5, 40)).shape == (1, 5, 40)


@pytest.mark.parametrize(
    "selection",
    [
        9, -10, (0, 0, 0, 0), (None, 1), True, (..., ...), 1.5, "a", [1.5], slice(1.5), slice(0, 5, 0),
        ([0, 1], [0, 1, 2]), [9], np.zeros(8, bool), np.zeros((9, 13), bool), {0}, np.array(True), [[1], [1, 2]],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["network", "constant", "lossless"])
def test_selections_that_cannot_be_meant_are_refused(name: str, selection: Any) -> None:
    """What numpy refuses, and new axes, raise ConfigError that shows the selection."""
    with pytest.raises(ConfigError, match="expected a selection of a chunk of shape"):
        decode(stream(name), selection=selection)


@pytest.mark.parametrize(
    "arguments",
    [
        {"step": 0}, {"step": -1}, {"step": 1.5}, {"step": (1, 2)}, {"step": (1, 2, 0)}, {"step": "abc"},
        {"shape": 5}, {"shape": (1, 2)}, {"shape": (0, 2, 3)}, {"shape": (1.0, 2, 3)}, {"step": 2, "selection": 3},
    ],
    ids=str,
)  # fmt: skip
def test_grids_that_cannot_be_meant_are_refused(arguments: dict[str, Any]) -> None:
    """Steps and shapes that are no whole numbers above 0, and two of them at once, are ConfigErrors."""
    with pytest.raises(ConfigError, match="expected"):
        decode(stream("network"), **arguments)


@pytest.mark.parametrize("name", ["masked", "constant", "lossless", "fortran"])
def test_only_networks_can_be_sampled_anew(name: str) -> None:
    """shape= of a stream with anything else says what to do."""
    if inr_codec.inspect(stream(name)).layers == ("network",):
        pytest.skip("the encoder chose networks alone")
    with pytest.raises(ConfigError, match="layers='network'"):
        decode(stream(name), shape=SHAPE)


@pytest.mark.parametrize(
    ("selection", "voxels"),
    [(5, 32 * 32), (np.s_[:, 3], 16 * 32), ((1, 2, 3), 1), (np.s_[:, :, ::8], 16 * 32 * 4), (np.s_[5:5], 0)],
)
def test_only_the_voxels_asked_for_are_evaluated(selection: Any, voxels: int, caplog: pytest.LogCaptureFixture) -> None:
    """A plane, a line, a voxel and a stride cost just the voxels that they hold."""
    data = INRCodec(ratio=30, layers="network", deblock=False, max_blocks=8, partition="equal", **FAST).encode(field())
    with caplog.at_level("DEBUG", "inr_codec"):
        decode(data, selection=selection)
    assert sum(voxels_evaluated(caplog.records)) == voxels
