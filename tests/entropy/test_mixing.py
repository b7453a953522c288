"""Mixing of probabilities: the model behind every bit is the one that FORMAT.md, section 3, writes down."""

import bisect
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inr_codec.entropy import mixing
from inr_codec.entropy.range_coder import STATE_SIZE, decoder_init, encoder_finish, encoder_init
from inr_codec.runtime.kernels import kernel

BASE, ENTRIES = 3, 12
LIMIT = 2839


@cache
def squash(k: int) -> int:
    """floor(2^16 / (1 + exp(-k / 256)) + 1/2), at most 65535, for k >= 0; 65536 - squash(-k) below."""
    if k < 0:
        return 65536 - squash(-k)
    with localcontext(prec=40):
        return min(int(Decimal(65536) / (1 + (Decimal(-k) / 256).exp()) + Decimal("0.5")), 65535)


@cache
def stretch(i: int) -> int:
    """The least k with squash(k) >= 16 i + 8."""
    return bisect.bisect_left(range(-LIMIT, LIMIT + 1), 16 * i + 8, key=squash) - LIMIT


def learn_bit(counted: list[int], weights: list[int], contexts: list[int], extra: int, bit: int) -> None:
    """Counted probabilities (P << 10 | n by context) and weights learn a bit, by the p that they give it."""
    s = []
    for c in contexts:
        n = counted[c] & 1023
        s.append((stretch(counted[c] >> 20) * ((256 * (2 * n + 1) + n + 2) // (2 * n + 4))) >> 8)
    s.append(extra)
    total = sum(w * x for w, x in zip(weights, s, strict=True)) >> 16
    p = squash(min(max(total, -LIMIT), LIMIT))
    for i, x in enumerate(s):
        weights[i] += ((65536 * bit - p) * 20 * x + 2**19) >> 20
    for c in contexts:
        learnt, n = counted[c] >> 10, counted[c] & 1023
        learnt += (((4194303 if bit else 0) - learnt) * (131072 // (2 * n + 3))) >> 16
        counted[c] = learnt << 10 | min(n + 1, 400)


@kernel()
def write(tables, contexts, weights, extra, bits, buffer):  # type: ignore[no-untyped-def]
    """Code bits; the weights after each, the number of bytes."""
    state, n = np.zeros(STATE_SIZE, np.int64), contexts.shape[1]
    inputs, learnt = np.zeros(n + 1, np.int64), np.zeros((len(bits), n + 1), np.int64)
    encoder_init(state)
    for k in range(len(bits)):
        inputs[n] = extra
        mixing.code(state, buffer, tables, BASE, contexts[k], weights, inputs, n, bits[k])
        learnt[k] = weights
    return learnt, encoder_finish(state, buffer)


@kernel()
def read(tables, contexts, weights, extra, buffer, count):  # type: ignore[no-untyped-def]
    """The bits again."""
    state, n, bits = np.zeros(STATE_SIZE, np.int64), contexts.shape[1], np.zeros(count, np.int64)
    inputs = np.zeros(n + 1, np.int64)
    decoder_init(state, buffer, 0, len(buffer))
    for k in range(count):
        inputs[n] = extra
        bits[k] = mixing.code(state, buffer, tables, BASE, contexts[k], weights, inputs, n, None)
    return bits


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 300), st.floats(0, 1), st.integers(-2000, 2000), st.integers(0, 99))
@example(9, 700, 0.3, 64, 0)  # counts reach their limit
def test_every_bit_is_learnt_as_the_formula_says(n: int, count: int, share: float, extra: int, seed: int) -> None:
    """Weights and counted probabilities are the formula's after every bit, and the bits come back."""
    rng = np.random.default_rng(seed)
    bits = (rng.random(count) < share).astype(np.int64)
    contexts = np.argsort(rng.random((count, ENTRIES)), axis=1)[:, :n]
    start = rng.integers(-20_000, 60_000, n + 1)
    tables, weights, buffer = mixing.new_tables(BASE + ENTRIES), start.copy(), np.zeros(count + 64, np.uint8)
    learnt, used = write(tables, contexts, weights, extra, bits, buffer)
    counted, expected = [2**31] * ENTRIES, start.tolist()
    for k in range(count):
        learn_bit(counted, expected, contexts[k].tolist(), extra, int(bits[k]))
        assert learnt[k].tolist() == expected
    assert tables[BASE:].tolist() == counted
    again = read(mixing.new_tables(BASE + ENTRIES), contexts, start.copy(), extra, buffer[:used], count)
    assert np.array_equal(again, bits)
