"""Bytes in and out: little-endian and variable-length integers, bounded inflation. Short reads are CorruptChunk."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from inr_codec.errors import ConfigError, CorruptChunk

PORTION = 1 << 20  # bytes that are inflated at a time


def as_bytes(data: Any) -> bytes:
    """Any buffer as bytes; ConfigError for what is none."""
    if isinstance(data, bytes):
        return data
    try:
        return memoryview(data).tobytes()
    except (TypeError, BufferError):
        raise ConfigError(f"expected the bytes of a stream, got {data!r:.80}: pass what encode returned") from None


class ByteWriter:
    """A string of bytes that grows."""

    def __init__(self) -> None:
        self._out = bytearray()

    def raw(self, data: bytes) -> None:
        """Append bytes as they are."""
        self._out += data

    def uint(self, value: int, size: int) -> None:
        """Append an unsigned integer of `size` bytes, little endian."""
        self._out += value.to_bytes(size, "little")

    def varint(self, value: int) -> None:
        """Append an unsigned integer, seven bits a byte, low bits first, high bit set on all but the last (LEB128)."""
        while value > 127:
            self._out.append(value & 127 | 128)
            value >>= 7
        self._out.append(value)

    def getvalue(self) -> bytes:
        """Everything appended so far."""
        return bytes(self._out)


class ByteReader:
    """A cursor in what a ByteWriter wrote."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self._data) - self._at:
            left = self.remaining
            raise CorruptChunk(f"expected {count} more bytes at {self._at}, got {left}: the chunk is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return int.from_bytes(self.raw(size), "little")

    def varint(self) -> int:
        """An unsigned integer of at most 63 bits."""
        value = shift = 0
        while True:
            byte = self.raw(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 56:
                raise CorruptChunk(f"expected an integer below 2^63 at {self._at}, got more: the chunk is damaged")

    @property
    def remaining(self) -> int:
        """Number of bytes not read yet."""
        return len(self._data) - self._at

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.raw(len(self._data) - self._at)

    def deflated(self, size: int) -> bytearray:
        """The rest, inflated to exactly `size` bytes (never more is held in memory)."""
        return next(self.deflated_pieces([size]))

    def expect_deflated(self, size: int) -> None:
        """CorruptChunk where the rest cannot hold so many bytes: deflate expands by 1032 at most."""
        if size > 1040 * self.remaining + 64:
            raise CorruptChunk(
                f"expected {size} bytes, got {self.remaining} that cannot hold them: the chunk is damaged"
            )

    def deflated_pieces(self, sizes: Sequence[int]) -> Iterator[bytearray]:
        """The rest, inflated, in pieces of these sizes, which are all of it; one is held at a time."""
        size = sum(sizes)
        self.expect_deflated(size)
        data, at = self.rest(), 0
        engine = zlib.decompressobj()
        got = 0
        for number, wanted in enumerate(sizes):
            piece, last = bytearray(), number == len(sizes) - 1
            while len(piece) < wanted + last:  # one byte more than there should be shows that there is more
                portion = engine.unconsumed_tail or data[at : at + PORTION]
                at += 0 if engine.unconsumed_tail else len(portion)
                try:
                    out = engine.decompress(portion, wanted + last - len(piece))
                except zlib.error as error:
                    raise CorruptChunk(f"expected zlib data, got {error}: the chunk is damaged") from None
                piece += out
                if not (out or portion) or engine.eof:
                    break
            got += len(piece)
            if len(piece) != wanted:
                raise CorruptChunk(f"expected {size} bytes after inflating, got {got}: the chunk is damaged")
            yield piece
