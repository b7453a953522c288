"""What this process will decode at most: limits that a service sets for streams from strangers."""

import os

from inr_codec.errors import ConfigError, LimitExceeded

LIMIT = "INR_CODEC_LIMIT"
"""Environment variable: bytes of the largest chunk that is decoded, where `limit=` does not say it. Unset: any."""


def whole_number(variable: str, default: int, what: str) -> int:
    """The number of `what` in an environment variable, or the default; ConfigError for anything else."""
    text = os.environ.get(variable)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"expected {variable} to be a number of {what}, got {text!r}: set it to one or unset it")
    return int(text)


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
