"""What this process may take: bytes of the chunks that it decodes, for streams from strangers, and of encoding."""

import os

from inr_codec.errors import ConfigError, LimitExceeded

LIMIT = "INR_CODEC_LIMIT"
"""Environment variable: bytes of the largest chunk that is decoded, where `limit=` does not say it. Unset: any."""
MEMORY = "INR_CODEC_MEMORY"
"""Environment variable: bytes that the chunks which are encoded at a time may take. Unset: half of the machine's."""
BYTES_PER_CHUNK, BYTES_PER_VOXEL = 50e6, 300
"""Bytes of memory that encoding takes for a chunk, and for each of its voxels (benchmarks/studies/scale)."""


def whole_number(variable: str, default: int, what: str) -> int:
    """The number of `what` in an environment variable, or the default; ConfigError for anything else."""
    text = os.environ.get(variable)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"expected {variable} to be a number of {what}, got {text!r}: set it to one or unset it")
    return int(text)


def encoding_bytes(voxels: int) -> float:
    """Bytes of memory that encoding a chunk of so many voxels takes, at most."""
    return BYTES_PER_CHUNK + BYTES_PER_VOXEL * voxels


def memory() -> float:
    """Bytes that all chunks which are encoded at a time may take."""
    return whole_number(MEMORY, int(host_memory() / 2), "bytes")


def host_memory() -> float:
    """Bytes of memory that this machine has (4 GB where it does not tell)."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 4e9


def check_limit(nbytes: int, limit: int | None) -> None:
    """LimitExceeded for a chunk of more bytes than `limit`, or than INR_CODEC_LIMIT where that is None."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ConfigError(f"expected limit= to be a number of bytes, got {limit!r:.80}: give a whole number")
    most = whole_number(LIMIT, -1, "bytes") if limit is None else limit
    if most >= 0 and nbytes > most:
        raise LimitExceeded(
            f"expected a chunk of at most {most} bytes, got one of {nbytes}: raise limit= or {LIMIT} if you trust its "
            "source"
        )
