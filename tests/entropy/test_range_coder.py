"""Range coder: what is written is read, sizes are near the entropy, nothing reads or writes out of bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from inr_codec.entropy import range_coder as entropy

PAIRS = st.lists(st.tuples(st.integers(1, 65535), st.booleans()), max_size=300)
SKEWED = st.lists(st.tuples(st.sampled_from([1, 2, 255, 32768, 65534, 65535]), st.booleans()), max_size=300)


@njit
def encode_all(bits, p, buffer, state):
    """Encode bits under fixed probabilities."""
    entropy.encoder_init(state)
    for i in range(bits.size):
        entropy.encode_bit(state, buffer, p[i], bits[i])
    return entropy.encoder_finish(state, buffer)


@njit
def decode_all(buffer, p, start, stop, state):
    """Decode as many bits as there are probabilities."""
    out = np.zeros(p.size, np.int64)
    entropy.decoder_init(state, buffer, start, stop)
    for i in range(p.size):
        out[i] = entropy.decode_bit(state, buffer, p[i])
    return out


@njit
def encode_adaptive(bits, buffer, state, limit):
    """Encode bits under one counted adaptive probability."""
    entropy.encoder_init(state)
    entry = np.int64(entropy.COUNTED_HALF)
    for i in range(bits.size):
        entropy.encode_bit(state, buffer, entropy.probability(entry), bits[i])
        entry = entropy.adapt_counted(entry, bits[i], limit)
    return entropy.encoder_finish(state, buffer)


def state() -> np.ndarray:
    """An empty coder state."""
    return np.zeros(entropy.STATE_SIZE, np.int64)


def encode(bits, p, size=4096):
    """Buffer and length of an encoding."""
    buffer = np.full(size, 77, np.uint8)
    used = encode_all(np.array(bits, np.int64), np.array(p, np.int64), buffer, state())
    return buffer, used


def reference(bits, p):
    """The same coder in unbounded integers: the exact interval of the message, then its shortest byte string."""
    low, width, emitted = 0, 1 << 48, 0
    for bit, q in zip(bits, p, strict=True):
        bound = (width >> 16) * q
        low, width = (low, bound) if bit else (low + bound, width - bound)
        while width < 1 << 40:
            low, width, emitted = low << 8, width << 8, emitted + 1
    number = (low + (1 << 40) - 1) >> 40
    return number.to_bytes(emitted + 1, "big").rstrip(b"\0")


@settings(deadline=None)
@given(st.one_of(PAIRS, SKEWED))
def test_round_trip(pairs):
    """Any bits under any probabilities come back."""
    bits, p = [int(b) for _, b in pairs], [q for q, _ in pairs]
    buffer, used = encode(bits, p)
    assert decode_all(buffer, np.array(p, np.int64), 0, used, state()).tolist() == bits


@settings(deadline=None)
@given(st.one_of(PAIRS, SKEWED))
def test_bytes_equal_unbounded_arithmetic(pairs):
    """The stream is the one that exact big-integer interval arithmetic gives, carries included."""
    bits, p = [int(b) for _, b in pairs], [q for q, _ in pairs]
    buffer, used = encode(bits, p)
    assert buffer[:used].tobytes() == reference(bits, p)


def test_carry_runs_through_many_bytes():
    """A carry crosses a long run of 255 bytes."""
    bits, p = [0] * 40 + [1] * 3 + [0] * 3, [65535] * 40 + [65535, 1, 3, 9, 65535, 40000]
    buffer, used = encode(bits, p)
    assert buffer[:used].tobytes() == reference(bits, p)


@pytest.mark.parametrize("q", [0.0005, 0.03, 0.5, 0.97])
def test_size_is_near_the_entropy(q):
    """Fixed probabilities cost within 0.1 % + 2 bytes of the entropy of the data under them."""
    rng = np.random.default_rng(1)
    bits = (rng.random(200_000) < q).astype(np.int64)
    p = np.full(bits.size, round(q * 65536), np.int64)
    used = encode(bits, p, 100_000)[1]
    ones = int(bits.sum())
    ideal = -(ones * math.log2(p[0] / 65536) + (bits.size - ones) * math.log2(1 - p[0] / 65536)) / 8
    assert used <= ideal * 1.001 + 2


def test_adaptive_size_is_near_the_entropy():
    """A counted adaptive probability learns a constant source at a cost of some bytes only."""
    rng = np.random.default_rng(2)
    bits = (rng.random(100_000) < 0.1).astype(np.int64)
    used = encode_adaptive(bits, np.zeros(50_000, np.uint8), state(), 1023)
    q = bits.mean()
    assert used <= -(q * math.log2(q) + (1 - q) * math.log2(1 - q)) * bits.size / 8 * 1.002 + 8


@settings(deadline=None)
@given(PAIRS, st.integers(0, 40))
def test_small_buffer_counts_and_never_writes_past_the_end(pairs, size):
    """A buffer that is too small gives the length it would have needed, and guards beyond it stay."""
    bits, p = [int(b) for _, b in pairs], [q for q, _ in pairs]
    backing = np.full(size + 64, 99, np.uint8)
    used = encode_all(np.array(bits, np.int64), np.array(p, np.int64), backing[:size], state())
    assert (backing[size:] == 99).all()
    full = encode(bits, p)[1]
    assert used == full if used <= size else full <= used


@settings(deadline=None)
@given(st.binary(max_size=20), st.integers(-5, 30), st.integers(-5, 30))
def test_decoding_any_bytes_any_range_is_safe(data, start, stop):
    """Reading before, inside and past the end gives bits, and equals reading the same bytes followed by zeros."""
    p = np.full(400, 21845, np.int64)
    got = decode_all(np.frombuffer(data, np.uint8), p, start, stop, state())
    inside = data[max(start, 0) : max(stop, 0)]
    padded = np.frombuffer(inside + bytes(100), np.uint8)
    assert got.tolist() == decode_all(padded, p, 0, padded.size, state()).tolist()


def test_squash_is_the_logistic_function():
    """SQUASH equals the rounded logistic function, is symmetric and STRETCH inverts it."""
    k = np.arange(-entropy.STRETCH_LIMIT, entropy.STRETCH_LIMIT + 1)
    exact = 65536 / (1 + np.exp(-k / 256))
    assert np.abs(entropy.SQUASH - np.clip(exact, 1, 65535)).max() < 0.51
    assert (entropy.SQUASH.astype(int) + entropy.SQUASH[::-1] == 65536).all()
    p = np.arange(4096) * 16 + 8
    assert np.abs(entropy.STRETCH - 256 * np.log(p / (65536 - p))).max() < 64
    assert np.abs(entropy.STRETCH - 256 * np.log(p / (65536 - p)))[100:-100].max() < 2


@pytest.mark.parametrize("bit", [0, 1])
def test_adaptive_probabilities_stay_in_range(bit):
    """Endless equal bits never push a probability out of [1, 65535]."""
    p, entry = 32768, entropy.COUNTED_HALF
    for _ in range(5000):
        p, entry = entropy.adapt(p, bit, 4), entropy.adapt_counted(entry, bit, 255)
        assert 1 <= p <= 65535
        assert 0 <= entry < 1 << 32
        assert 1 <= entropy.probability(entry) <= 65535


def test_cost_table_is_the_information():
    """COST_BITS is -log2 of the middle of each cell."""
    i = np.arange(4096)
    assert np.allclose(entropy.COST_BITS / 65536, -np.log2((i + 0.5) / 4096), atol=1e-5)
