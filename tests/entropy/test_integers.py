"""The adaptive integer code."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.entropy.integers import LARGEST, IntegerDecoder, IntegerEncoder

runs = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(-LARGEST, LARGEST) | st.integers(-40, 40), max_size=30)),
    max_size=6,
)


@given(runs)
def test_round_trip(parts: list[tuple[int, list[int]]]) -> None:
    """Any integers below 2^24 in any slots come back."""
    groups = np.array([0, 0, 1])
    code = IntegerEncoder(3, groups)
    for slot, values in parts:
        code.put(slot, np.array(values, np.int64))
    back = IntegerDecoder(code.finish(), 3, groups)
    for slot, values in parts:
        assert back.get(slot, len(values)).tolist() == values


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_give_integers(data: bytes, count: int) -> None:
    """Reading never fails and stays in range."""
    values = IntegerDecoder(data, 1).get(0, count)
    assert (np.abs(values) <= LARGEST).all()


def test_near_the_entropy_of_a_gaussian() -> None:
    """3000 normal symbols cost at most 0.1 bit more than their entropy, log2(sigma sqrt(2 pi e)), whatever sigma is."""
    rng = np.random.default_rng(0)
    for sigma in (2.0, 10.0, 50.0, 400.0):
        code = IntegerEncoder(1)
        code.put(0, np.rint(rng.normal(size=3000) * sigma).astype(np.int64))
        entropy = float(np.log2(sigma * np.sqrt(2 * np.pi * np.e)))
        assert len(code.finish()) * 8 / 3000 < entropy + 0.1
