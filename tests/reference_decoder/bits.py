"""What the layers' readers share: cursor, range decoder, mixing; plain Python and numpy, written from FORMAT.md."""

import math
from fractions import Fraction

import numpy as np

LIMIT = 2839


class Bytes:
    """A cursor."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        if self.at + n > len(self.data):
            raise ValueError("bytes end early")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """LEB128."""
        byte = self.byte()
        return byte if byte < 128 else (byte & 127) + 128 * self.varint()

    def rest(self) -> bytes:
        """What is left."""
        return self.take(len(self.data) - self.at)


def at(values: np.ndarray, place, step=(0, 0, 0)) -> int:
    """The value at a place and a step from it, 0 outside of the array."""
    there = tuple(a + b for a, b in zip(place, step))
    return int(values[there]) if all(0 <= i < n for i, n in zip(there, values.shape)) else 0


def three(shape) -> tuple[int, int, int]:
    """Three axes."""
    padded = (1,) * (3 - len(shape)) + tuple(shape)
    return (math.prod(padded[:-2]), *padded[-2:])


def unshuffled(data: bytes, itemsize: int) -> bytes:
    """Byte planes back into elements."""
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes() if itemsize else b""


def octaves(v: int, parts: int) -> int:
    """Bins of v > 0, so many in each octave."""
    e = v.bit_length() - 1
    return parts * e + ((parts * v) >> e) - parts


def _exp_table() -> list[int]:
    base, term = Fraction(1), Fraction(1)
    for n in range(1, 30):
        term /= 256 * n
        base += term
    one = 1 << 200
    step, power, upper = int(base * one), one, []
    for _ in range(LIMIT + 1):
        upper.append(min(65535, (2 * 65536 * power + one + power) // (2 * (one + power))))
        power = power * step // one
    return upper


UPPER = _exp_table()


def squash(k: int) -> int:
    """The probability of a logit."""
    return UPPER[k] if k >= 0 else 65536 - UPPER[-k]


STRETCH: list[int] = []
for _i in range(4096):
    _k = STRETCH[-1] if STRETCH else -LIMIT
    while squash(_k) < 16 * _i + 8:
        _k += 1
    STRETCH.append(_k)


class Bits:
    """The range decoder."""

    def __init__(self, data: bytes) -> None:
        self.data, self.range, self.code, self.next = data, 1 << 48, 0, 0
        for _ in range(6):
            self._byte()

    def _byte(self) -> None:
        self.code = self.code << 8 | (self.data[self.next] if self.next < len(self.data) else 0)
        self.next += 1

    def bit(self, p: int) -> int:
        """One bit of probability p / 65536 to be 1."""
        bound = (self.range >> 16) * p
        one = self.code < bound
        if one:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 40:
            self.range <<= 8
            self._byte()
        return int(one)


class Mixer:
    """Counted probabilities by any key, mixed."""

    def __init__(self, bits: Bits) -> None:
        self.bits, self.counted = bits, {}

    def bit(self, keys: list, weights: list[int], extra: int) -> tuple[int, int]:
        """One bit from its contexts; everything learns."""
        p, inputs = self.mixed(keys, weights, extra)
        bit = self.bits.bit(p)
        self.learn(keys, weights, inputs, p, bit)
        return bit, p

    def mixed(self, keys: list, weights: list[int], extra: int) -> tuple[int, list[int]]:
        """The probability of a bit, and what it was mixed from."""
        inputs = []
        for key in keys:
            p, n = self.counted.get(key, (1 << 21, 0))
            inputs.append((STRETCH[p >> 10] * ((256 * (2 * n + 1) + n + 2) // (2 * n + 4))) >> 8)
        inputs.append(extra)
        total = sum(w * s for w, s in zip(weights, inputs, strict=True)) >> 16
        return squash(min(max(total, -LIMIT), LIMIT)), inputs

    def learn(self, keys: list, weights: list[int], inputs: list[int], p: int, bit: int) -> None:
        """What follows a bit."""
        for i, s in enumerate(inputs):
            weights[i] += (((bit << 16) - p) * 20 * s + (1 << 19)) >> 20
        for key in keys:
            self.count(key, bit, 400)

    def count(self, key, bit: int, most: int) -> None:
        """A counted probability learns a bit."""
        q, n = self.counted.get(key, (1 << 21, 0))
        q += (((4194303 if bit else 0) - q) * (131072 // (2 * n + 3))) >> 16
        self.counted[key] = (q, min(n + 1, most))

    def single(self, *key) -> int:
        """A bit of one probability that counts to 1023."""
        bit = self.bits.bit(self.plain(key))
        self.count(key, bit, 1023)
        return bit

    def plain(self, key) -> int:
        """That probability."""
        return min(max(self.counted.get(key, (1 << 21, 0))[0] >> 6, 1), 65535)
