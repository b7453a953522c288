"""Binary adaptive range coder: integers only, so the same bytes give the same bits on every machine.

A bit is coded with p1 = P(bit = 1) in units of 2^-16, an integer in [1, 65535]. The coder keeps an interval
[low, low + range) of 48-bit numbers, 2^40 <= range <= 2^48:

    bound = (range >> 16) * p1
    bit 1: range = bound              bit 0: low += bound, range -= bound
    while range < 2^40: emit the top byte of low (its carry goes into the bytes before it), low <<= 8, range <<= 8

All functions are compiled into the kernels that call them, and work in plain Python too. States are small integer
arrays or lists (`STATE_SIZE` entries). Nothing here raises: writing past the end of a buffer only counts, reading past
it gives zeros.
"""

import bisect

import numpy as np
import numpy.typing as npt

from inr_codec.runtime.kernels import inner

State = npt.NDArray[np.int64] | list[int]
Written = npt.NDArray[np.uint8] | bytearray
Read = npt.NDArray[np.uint8] | bytes

# Format, frozen (FORMAT.md section 3), but for COST_BITS.
STATE_SIZE = 4
HALF = 1 << 15
STRETCH_LIMIT = 2839
"""Largest logit in units of 1/256: its probability is 65535 / 65536."""
MAX_COUNT = 1023
"""Largest number of observations that an adaptive probability remembers."""
COUNTED_HALF = 1 << 31
"""A counted adaptive probability of one half without observations, see `adapt_counted`."""

_TOP = 1 << 48
_LEAST = 1 << 40
_MASK48 = _TOP - 1
_MASK40 = _LEAST - 1


def _squash_table() -> npt.NDArray[np.uint16]:
    """round(2^16 / (1 + exp(-k / 256))) for |k| <= STRETCH_LIMIT, kept in [1, 65535]; exact integer arithmetic."""
    one = 1 << 160
    base = term = one
    for n in range(1, 40):  # exp(1 / 256) by its series
        term //= 256 * n
        base += term
    upper, power = [32768], one
    for _ in range(STRETCH_LIMIT):
        power = power * base >> 160
        upper.append(min(65535, ((power << 17) + one + power) // (2 * (one + power))))
    lower = [65536 - p for p in upper[:0:-1]]
    return np.array(lower + upper, np.uint16)


SQUASH = _squash_table()
"""Probability (2^-16) of a logit in units of 1/256: SQUASH[k + STRETCH_LIMIT], |k| <= STRETCH_LIMIT."""

STRETCH = np.array([bisect.bisect_left(SQUASH, 16 * i + 8) - STRETCH_LIMIT for i in range(4096)], np.int16)
"""Logit of a probability in units of 1/256: STRETCH[p >> 4] = least k with squash(k) >= 16 (p >> 4) + 8."""

COST_BITS = np.round(-np.log2((np.arange(4096) * 16 + 8) / 65536) * 65536).astype(np.int32)
"""Cost of a symbol of probability p in units of 2^-16 bit: COST_BITS[p >> 4]. Decoders never need it."""

RATES = np.array([2 * 65536 // (2 * n + 3) for n in range(MAX_COUNT + 1)], np.uint16)
"""Share (2^-16) of the error that a probability takes after n observations: floor(2^16 / (n + 1.5))."""


@inner()
def encoder_init(state: State) -> None:
    """Start an encoder: state is int64[STATE_SIZE] = (low, range, bytes emitted, unused)."""
    state[0] = 0
    state[1] = _TOP
    state[2] = 0
    state[3] = 0


@inner()
def _carry(buffer: Written, position: int) -> None:
    """Add one to the number that ends at buffer[position - 1]; only bytes that fitted exist."""
    i = position - 1
    while i >= len(buffer):
        i -= 1  # these bytes were only counted: the stream is too long to be used anyway
    while i >= 0:
        if buffer[i] != 255:
            buffer[i] += 1
            return
        buffer[i] = 0
        i -= 1


@inner()
def encode_bit(state: State, buffer: Written, p1: int, bit: int) -> None:
    """Write one bit; p1 = P(bit = 1) in [1, 65535]. Bytes past len(buffer) are counted in state[2] and not stored."""
    low = state[0]
    width = state[1]
    bound = (width >> 16) * p1
    if bit:
        width = bound
    else:
        low += bound
        width -= bound
    while width < _LEAST:
        position = state[2]
        if low >= _TOP:
            _carry(buffer, position)
            low &= _MASK48
        if position < len(buffer):
            buffer[position] = low >> 40
        state[2] = position + 1
        low = (low & _MASK40) << 8
        width <<= 8
    state[0] = low
    state[1] = width


@inner()
def encoder_finish(state: State, buffer: Written) -> int:
    """Write the last byte and drop trailing zeros, which a decoder reads anyway; return the number of bytes.

    More than len(buffer) means that the buffer was too small: it then holds no stream.
    """
    low = state[0] + _MASK40
    position = state[2]
    if low >= _TOP:
        _carry(buffer, position)
        low &= _MASK48
    if position < len(buffer):
        buffer[position] = low >> 40
    position += 1
    if position > len(buffer):
        return position
    while position > 0 and buffer[position - 1] == 0:
        position -= 1
    return position


@inner()
def decoder_init(state: State, buffer: Read, start: int, stop: int) -> None:
    """Start a decoder on buffer[start:stop]: state is int64[STATE_SIZE] = (code - low, range, next byte, stop)."""
    stop = min(max(stop, 0), len(buffer))
    position = max(start, 0)
    code = 0
    for _ in range(6):
        code <<= 8
        if position < stop:
            code |= buffer[position]
        position += 1
    state[0] = code
    state[1] = _TOP
    state[2] = position
    state[3] = stop


@inner()
def decode_bit(state: State, buffer: Read, p1: int) -> int:
    """Read one bit coded with p1 = P(bit = 1); past the end zeros are read, which always gives some bit."""
    code = state[0]
    width = state[1]
    bound = (width >> 16) * p1
    bit = 0
    if code < bound:
        width = bound
        bit = 1
    else:
        code -= bound
        width -= bound
    while width < _LEAST:
        position = state[2]
        code <<= 8
        if position < state[3]:
            code |= buffer[position]
        state[2] = position + 1
        width <<= 8
    state[0] = code
    state[1] = width
    return bit


@inner()
def read_golomb(state: State, buffer: Read, most: int) -> int:
    """A number >= 1 in an exponential Golomb code of at most `most` bits behind the first."""
    count = 0
    while count < most and decode_bit(state, buffer, HALF):
        count += 1
    value = 1
    for _ in range(count):
        value = 2 * value + decode_bit(state, buffer, HALF)
    return value


@inner()
def write_golomb(state: State, buffer: Written, value: int, most: int) -> None:
    """What `read_golomb` reads; value < 2^(most + 1)."""
    count = 0
    while count < most and value >> (count + 1):
        encode_bit(state, buffer, HALF, 1)
        count += 1
    if count < most:
        encode_bit(state, buffer, HALF, 0)
    for i in range(count - 1, -1, -1):
        encode_bit(state, buffer, HALF, (value >> i) & 1)


@inner()
def adapt(p: int, bit: int, rate: int) -> int:
    """The probability p in [1, 65535] after one bit: moves by 2^-rate of the error, 1 <= rate <= 15; stays in range."""
    if bit:
        return p + ((65536 - p) >> rate)
    return p - (p >> rate)


@inner()
def adapt_counted(entry: int, bit: int, limit: int) -> int:
    """The counted probability after one bit; entry = p (2^-22) << 10 | n, below 2^32.

    p moves by 1 / (n + 1.5) of its error; n grows up to limit <= MAX_COUNT, so young contexts learn fast and
    old ones slowly. `probability` reads p.
    """
    n = entry & 1023
    p: int = entry >> 10
    target = 4194303 if bit else 0
    p += ((target - p) * int(RATES[n])) >> 16
    if n < limit:
        n += 1
    return (p << 10) | n


@inner()
def probability(entry: int) -> int:
    """P(bit = 1) of a counted probability in units of 2^-16, kept in [1, 65535]."""
    return min(max(entry >> 16, 1), 65535)
