"""A second reader of the frame and of what layers see: plain Python and numpy, written from FORMAT.md."""

import math
import zlib

import numpy as np

from .bits import Bytes

CODES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8", "c8", "c16", "b1")
SEEN = {"c8": "f4", "c16": "f8", "b1": "u1"}


class Frame:
    """Header and layers of a stream: what layers see, and the way back."""

    def __init__(self, stream: bytes) -> None:
        data = Bytes(stream)
        magic, self.version, crc = data.take(3), data.byte(), int.from_bytes(data.take(4), "little")
        if magic != b"INR" or self.version not in (1, 2) or crc != zlib.crc32(stream[8:]):
            raise ValueError("not a stream of version 1 or 2, or damaged")
        head, second = data.byte(), data.byte()
        if self.version == 1:
            head, flags, axes = head | 32, 0, second
        else:
            flags, axes = second & 192, second & 63
        self.real_shape = tuple(data.varint() for _ in range(axes))
        self.big, self.order, self.code = bool(head & 64), "F" if head & 128 else "C", head & 31
        self.shape, self.lo, self.hi, self.power = self.real_shape, 0.0, 0.0, 0
        if self.code != 31:
            self.name = CODES[self.code]
            self.dtype = np.dtype(SEEN.get(self.name, self.name))
            count = 1 if flags & 64 else 2
            ends = np.frombuffer(data.take(count * self.dtype.itemsize), self.dtype.newbyteorder("<"))
            self.lo, self.hi = float(ends[0]), float(ends[-1])
            if head & 32:
                measured = data.take(4)[:2] != b"\xff\xff"
                data.take(2 * self.dtype.itemsize if count == 1 and measured else 0)
        if flags & 128:
            while data.byte():
                data.take(data.varint())
        self.layers: dict[int, bytes] = {}
        while data.at < len(stream):
            kind = data.byte()
            last = self.version == 2 and kind & 128
            self.layers[kind & 127 if last else kind] = data.rest() if last else data.take(data.varint())
        if self.version == 2 and self.code != 31:
            self._look()

    def _look(self) -> None:
        """The steps of section 1.1."""
        sides = ([2] if self.name[0] == "c" else []) + [n for n in self.real_shape if n > 1]
        sides = sides or [1]
        while len(sides) > 4:
            sides[:2] = [sides[0] * sides[1]]
        self.shape = tuple(sides)
        most = max(abs(self.lo), abs(self.hi))
        if self.name in ("f8", "c16") and most > 0:
            e = math.frexp(most)[1]
            if abs(e) >= 500:
                self.power = e
                self.lo, self.hi = math.ldexp(self.lo, -e), math.ldexp(self.hi, -e)

    def array(self, values: np.ndarray, mask) -> np.ndarray:
        """The chunk of what layers give; `mask` changes values in place."""
        values = np.ldexp(values, self.power) if self.power else values
        values = np.array(values, self.dtype)
        mask(values)
        if self.version == 2:
            values = values.reshape(((2,) if self.name[0] == "c" else ()) + self.real_shape)
            if self.name[0] == "c":
                both = np.empty(self.real_shape, self.name)
                both.real, both.imag = values
                values = both
            values = values.astype(self.name)
        return np.array(values, values.dtype.newbyteorder(">" if self.big else "<"), order=self.order)
