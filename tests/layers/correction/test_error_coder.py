"""Coder of prediction errors: every error that levels may have comes back, whatever its expected size and contexts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.entropy.mixing import new_tables
from inr_codec.entropy.range_coder import STATE_SIZE, decoder_init, encoder_finish, encoder_init
from inr_codec.layers.correction.error_coder import BINS, CONTEXTS, DECISIONS, PART, PLACES, code_error, new_mixers
from inr_codec.runtime.kernels import kernel

MOST = 2**31 - 1
"""Levels lie below 2^31, so errors do not go beyond."""
MOST_SHIFT = 24


@kernel()
def write(errors, around, shifts, contexts, tables, mixers, buffer):  # type: ignore[no-untyped-def]
    """Code errors; the number of bytes."""
    state, inputs = np.zeros(STATE_SIZE, np.int64), np.full(CONTEXTS + 1, 64)
    encoder_init(state)
    for k in range(len(errors)):
        code_error(state, buffer, tables, mixers, around[k], shifts[k], contexts[k], inputs, errors[k])
    return encoder_finish(state, buffer)


@kernel()
def read(buffer, around, shifts, contexts, tables, mixers):  # type: ignore[no-untyped-def]
    """The errors again."""
    state, inputs = np.zeros(STATE_SIZE, np.int64), np.full(CONTEXTS + 1, 64)
    decoder_init(state, buffer, 0, len(buffer))
    errors = np.zeros(len(around), np.int64)
    for k in range(len(around)):
        errors[k] = code_error(state, buffer, tables, mixers, around[k], shifts[k], contexts[k], inputs, None)
    return errors


def comes_back(errors: np.ndarray, shifts: np.ndarray, seed: int) -> bool:
    """Whether errors are read as they were written, under random contexts."""
    rng = np.random.default_rng(seed)
    around = rng.integers(0, BINS, errors.size)
    contexts = PLACES[:-1] + rng.integers(0, np.diff(PLACES), (errors.size, CONTEXTS))
    buffer = np.zeros(16 * errors.size + 64, np.uint8)
    used = write(errors, around, shifts, contexts, new_tables(DECISIONS * PART), new_mixers(), buffer)
    again = read(buffer[:used], around, shifts, contexts, new_tables(DECISIONS * PART), new_mixers())
    return np.array_equal(again, errors)


def test_all_of_the_range_comes_back() -> None:
    """Every error up to 300, and those around every power of two up to the largest, of either sign, at every shift."""
    near = [2**k + d for k in range(8, 31) for d in (-1, 0, 1)]
    sizes = np.array([*range(300), *near, MOST - 1, MOST])
    errors, shifts = np.meshgrid(np.concatenate([sizes, -sizes]), np.arange(MOST_SHIFT + 1), indexing="ij")
    assert comes_back(errors.reshape(-1), shifts.reshape(-1), 0)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-MOST, MOST), st.integers(0, MOST_SHIFT)), min_size=1, max_size=60),
    st.integers(0, 99),
)
def test_any_order_of_errors_comes_back(coded: list[tuple[int, int]], seed: int) -> None:
    """What has been coded before changes the bytes, not what is read."""
    errors, shifts = np.array(coded, np.int64).T.copy()
    assert comes_back(errors, shifts, seed)
