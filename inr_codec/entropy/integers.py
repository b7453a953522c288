"""Adaptive coding of signed integers (quantised weights and side information) with the binary range coder.

An integer v is coded as: zero or not; its sign (one plain bit); then |v| = 2^e + rest, e in unary, the two leading bits
of the rest modelled, the others plain. The contexts are chosen by a running mean of |v| over the integers coded before
in the same slot, in half octaves, so that no scale is ever stored. A context starts where a two-sided geometric
distribution of that mean would put it and adapts from there.
"""

import numpy as np
from numpy.typing import NDArray

from inr_codec.entropy.range_coder import (
    STATE_SIZE,
    adapt_counted,
    decode_bit,
    decoder_init,
    encode_bit,
    encoder_finish,
    encoder_init,
    probability,
)
from inr_codec.runtime.kernels import inner, kernel

HALF = 1 << 15  # probability of a plain bit
CLASSES = 40
PLAIN = 24  # exponents up to 2^24
ENTRIES = 4 * (PLAIN + 2)  # zero flag, exponents, leading bit, second bit after 0 and after 1
LARGEST = (1 << PLAIN) - 1
LIMIT = 120  # of the adaptive probabilities' counts
CONFIDENCE = 6  # observations that the starting probability is worth
FIRST_MEAN = 16 << 4
FREE_PARAMETERS, PARAMETERS_PER_BYTE = 1 << 11, 1 << 3
"""A layer has at most so many parameters, and so many more for each byte of its integers: few bytes are little work."""


def _class_mean(index: int) -> int:
    """Middle of class `index` of the running mean, in 1/16."""
    octave, upper = divmod(index, 2)
    return ((5 + 2 * upper) << octave) // 4


def _starting_contexts() -> NDArray[np.int64]:
    """Probabilities of a geometric distribution with each class's mean; exact integer arithmetic."""
    one = 1 << 64
    table = np.zeros((CLASSES, ENTRIES), np.int64)
    for c in range(CLASSES):
        ratio = one * max(_class_mean(c), 1) // (max(_class_mean(c), 1) + 16)

        def power(n: int, base: int = ratio) -> int:
            result = one
            while n:
                if n & 1:
                    result = result * base >> 64
                base = base * base >> 64
                n >>= 1
            return result

        def put(at: int, p: int, row: int = c) -> None:
            table[row, at] = (min(max(p >> 42, 1 << 12), (1 << 22) - (1 << 12)) << 10) | CONFIDENCE

        put(0, ratio)
        for e in range(PLAIN + 1):
            put(1 + e, power(1 << e))
            half, quarter = power((1 << e) >> 1), power((1 << e) >> 2)
            put(PLAIN + 2 + e, one * half // (one + half))
            put(2 * (PLAIN + 2) + e, one * quarter // (one + quarter))
            put(3 * (PLAIN + 2) + e, one * quarter // (one + quarter))
    return table


_START = _starting_contexts()


@inner()
def _context(mean):
    """Class of a running mean (in 1/16): two per octave."""
    octave = 0
    rest = mean
    while rest >= 2:
        rest >>= 1
        octave += 1
    upper = 0
    if octave > 0 and (mean >> (octave - 1)) & 1:
        upper = 1
    return min(2 * octave + upper, CLASSES - 1)


@inner()
def _write_bit(state, buffer, contexts, at, bit):
    """Write a bit under contexts[at], which learns it."""
    entry = contexts[at]
    encode_bit(state, buffer, probability(entry), bit)
    contexts[at] = adapt_counted(entry, bit, LIMIT)


@inner()
def _read_bit(state, buffer, contexts, at):
    """The bit that `_write_bit` wrote."""
    entry = contexts[at]
    bit = decode_bit(state, buffer, probability(entry))
    contexts[at] = adapt_counted(entry, bit, LIMIT)
    return bit


@inner()
def _write(state, buffer, contexts, negative, size):
    """Write an integer of magnitude `size`; negative: 1 for those below 0. contexts: int64 (ENTRIES,), of its class."""
    if size == 0:
        _write_bit(state, buffer, contexts, 0, 0)
        return
    _write_bit(state, buffer, contexts, 0, 1)
    encode_bit(state, buffer, HALF, negative)
    e = 0
    while e < PLAIN:
        more = np.int64(size >> (e + 1) != 0)
        _write_bit(state, buffer, contexts, 1 + e, more)
        if not more:
            break
        e += 1
    top = 0
    for k in range(e - 1, -1, -1):
        bit = (size >> k) & 1
        if k == e - 1:
            _write_bit(state, buffer, contexts, PLAIN + 2 + e, bit)
            top = bit
        elif k == e - 2:
            _write_bit(state, buffer, contexts, (2 + top) * (PLAIN + 2) + e, bit)
        else:
            encode_bit(state, buffer, HALF, bit)


@inner()
def _read(state, buffer, contexts):
    """The integer that `_write` wrote."""
    if _read_bit(state, buffer, contexts, 0) == 0:
        return 0
    negative = decode_bit(state, buffer, HALF)
    e = 0
    while e < PLAIN and _read_bit(state, buffer, contexts, 1 + e):
        e += 1
    size = 1
    for k in range(e - 1, -1, -1):
        if k == e - 1:
            bit = _read_bit(state, buffer, contexts, PLAIN + 2 + e)
        elif k == e - 2:
            bit = _read_bit(state, buffer, contexts, size * (PLAIN + 2) + e)
        else:
            bit = decode_bit(state, buffer, HALF)
        size = 2 * size + bit
    size = min(size, LARGEST)
    return -size if negative else size


@kernel()
def _encode(state, buffer, contexts, means, slot, values):
    """Write values, int64, under the statistics of a slot.

    state, buffer: of the range coder, with room for 8 bytes a value. contexts: int64 (CLASSES, ENTRIES), counted
    probabilities of the slot's group. means: int64, running means of magnitudes in 1/16, one for each slot.
    """
    for v in values:
        size = min(abs(v), LARGEST)
        _write(state, buffer, contexts[_context(means[slot])], np.int64(v < 0), size)
        means[slot] += ((size << 4) - means[slot] + 4) >> 3


@kernel()
def _decode(state, buffer, contexts, means, slot, values):
    """values <- what `_encode` wrote, with the same arguments."""
    for i in range(values.size):
        v = _read(state, buffer, contexts[_context(means[slot])])
        values[i] = v
        means[slot] += ((abs(v) << 4) - means[slot] + 4) >> 3


def most_parameters(n_bytes: int) -> int:
    """How many parameters a layer may have whose integers take so many bytes."""
    return FREE_PARAMETERS + PARAMETERS_PER_BYTE * n_bytes


def padded(data: bytes, parameters: int) -> bytes:
    """The integers of a layer with so many parameters, as long as they must be; zeros are read past the end anyway."""
    return data.ljust(-((FREE_PARAMETERS - parameters) // PARAMETERS_PER_BYTE), b"\0")


class IntegerEncoder:
    """A writer of integers of magnitude below 2^24 in `slots` independent statistics; `finish` returns the bytes."""

    def __init__(self, slots: int, groups: NDArray[np.int64] | None = None) -> None:
        self._state = np.zeros(STATE_SIZE, np.int64)
        self._buffer = np.zeros(1 << 16, np.uint8)
        self._contexts = np.repeat(_START[None], 1 if groups is None else int(groups.max()) + 1, axis=0)
        self._groups = np.zeros(slots, np.int64) if groups is None else groups
        self._means = np.full(slots, FIRST_MEAN, np.int64)
        encoder_init(self._state)

    def put(self, slot: int, values: NDArray[np.int64]) -> None:
        """Append `values` (int64, 1-D) under the statistics of `slot`."""
        needed = int(self._state[2]) + 16 + 8 * len(values)
        if needed > len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.zeros(2 * needed, np.uint8)])
        _encode(self._state, self._buffer, self._contexts[self._groups[slot]], self._means, slot, values)

    def finish(self) -> bytes:
        """The bytes of everything put so far; nothing can be put after."""
        return self._buffer[: encoder_finish(self._state, self._buffer)].tobytes()


class IntegerDecoder:
    """A reader of what `IntegerEncoder` wrote with the same slots and groups; any bytes give some integers."""

    def __init__(self, data: bytes, slots: int, groups: NDArray[np.int64] | None = None) -> None:
        self._state = np.zeros(STATE_SIZE, np.int64)
        self._buffer = np.frombuffer(bytearray(data), np.uint8)
        self._contexts = np.repeat(_START[None], 1 if groups is None else int(groups.max()) + 1, axis=0)
        self._groups = np.zeros(slots, np.int64) if groups is None else groups
        self._means = np.full(slots, FIRST_MEAN, np.int64)
        decoder_init(self._state, data, 0, len(data))

    def get(self, slot: int, count: int) -> NDArray[np.int64]:
        """The next `count` integers of `slot`."""
        values = np.zeros(count, np.int64)
        _decode(self._state, self._buffer, self._contexts[self._groups[slot]], self._means, slot, values)
        return values
