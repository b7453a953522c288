"""Learned starts: parameters of networks of several sizes from which blocks of one data set are quickly reached.

A stream that was fitted from a prior holds differences to it and names it by the first 8 bytes of the SHA-256 of its
packed bytes. Whoever decodes must have met that prior in this process: `read_prior` makes known whatever it reads, and
every codec with `prior=` calls it when it is made (zarr makes codecs from the metadata) or unpickled.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedFormat
from inr_codec.networks.shape import funnel_shape

MAGIC = b"INRP\x01"
HEAD = struct.Struct("<BBBHB")
DIGEST_BYTES = 8
MOST_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Starts of funnel networks on `dims` axes: float32 parameters by network size (see `funnel_shape`).

    They are stored as float16: `make_prior` rounds them.
    """

    dims: int
    depth: int
    funnel_units: int
    w0_units: int
    starts: dict[int, NDArray[np.float32]]

    def pack(self) -> bytes:
        """Magic and version, dims, depth, funnel ratio and w0 in sixteenths, count; then size and float16 numbers."""
        head = HEAD.pack(self.dims, self.depth, self.funnel_units, self.w0_units, len(self.starts))
        parts = [struct.pack("<H", size) + self.starts[size].astype("<f2").tobytes() for size in sorted(self.starts)]
        return MAGIC + head + b"".join(parts)

    @property
    def digest(self) -> bytes:
        """What streams name it by."""
        return hashlib.sha256(self.pack()).digest()[:DIGEST_BYTES]

    @property
    def text(self) -> str:
        """The packed bytes in base64: the value of the codec's option `prior`."""
        return base64.b64encode(self.pack()).decode("ascii")

    def nearest(self, size: int) -> int:
        """The size that there is a start for, nearest to `size` (0 stays 0)."""
        return min(self.starts, key=lambda known: (abs(known - size), known)) if size else 0


def make_prior(
    dims: int, depth: int, funnel_units: int, w0_units: int, starts: dict[int, NDArray[np.float32]]
) -> Prior:
    """A prior whose numbers are those that its packed bytes hold."""
    rounded = {size: start.astype(np.float16).astype(np.float32) for size, start in starts.items()}
    return Prior(dims, depth, funnel_units, w0_units, rounded)


_met: dict[bytes, Prior] = {}
"""Every prior that this process has read, by its digest: the one place where decoding looks them up."""


@lru_cache(maxsize=64)
def read_prior(text: str) -> Prior:
    """The prior in the text of the option, from now on known to all decoding in this process.

    Raises ConfigError for any other text.
    """
    wrong = ConfigError(f"expected prior= to be the text of a prior (Prior.text), got {text!r:.60}: learn one")
    try:
        data = base64.b64decode(text, validate=True)
        if not data.startswith(MAGIC) or len(data) > MOST_BYTES:
            raise wrong
        dims, depth, units, w0_units, count = HEAD.unpack_from(data, len(MAGIC))
        at = len(MAGIC) + HEAD.size
        starts = {}
        for _ in range(count):
            (size,) = struct.unpack_from("<H", data, at)
            length = funnel_shape(dims, size, depth, units).parameters
            starts[size] = np.frombuffer(data, "<f2", length, at + 2).astype(np.float32)
            at += 2 + 2 * length
    except (binascii.Error, struct.error, ValueError, ZeroDivisionError):
        raise wrong from None
    finite = all(np.isfinite(start).all() for start in starts.values())
    if at != len(data) or not starts or not finite or not 1 <= dims <= 4 or depth < 2 or not w0_units:
        raise wrong
    prior = Prior(dims, depth, units, w0_units, starts)
    return _met.setdefault(prior.digest, prior)


def start_from(digest: bytes, size: int, parameters: int) -> NDArray[np.float32]:
    """The start of a network in the prior that a stream names.

    Raises UnsupportedFormat when that prior was not met, CorruptChunk when it has no such start.
    """
    prior = _met.get(digest)
    if prior is None:
        raise UnsupportedFormat(
            f"expected the prior {digest.hex()} that the chunk was fitted from, got none: decode through zarr or with "
            "INRCodec(prior=...) of the codec that wrote it"
        )
    start = prior.starts.get(size)
    if start is None or start.size != parameters:
        raise CorruptChunk(f"expected a start of {parameters} parameters, got none in the prior: the chunk is damaged")
    return start
