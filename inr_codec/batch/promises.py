"""What the settings of an array promise of each of its streams, compared with what a stream says of itself."""

import math
from typing import Any

import numpy as np

from inr_codec.config import Config
from inr_codec.decoding.inspection import Inspection

ROUNDING = 2 / 256
"""dB by which a stream may tell less than it was asked for: what was reached is rounded down to 1/256 dB."""
LEAST_VOXELS, LEAST_BYTES = 512, 128
"""A ratio is promised for chunks of so many voxels, and so many bytes are never too many."""


def beyond(told: Inspection, config: Config) -> str | None:
    """What a stream breaks of `max_error=`, `lossless=` or `psnr=`; None where it keeps them."""
    exact = told.psnr is not None and math.isinf(told.psnr)
    if exact:
        return None
    if config.lossless:
        return "is lossy in an array that is lossless"
    if config.max_error is not None and not (told.max_error is not None and told.max_error <= config.max_error):
        bound = "no bound" if told.max_error is None else f"a largest error of {told.max_error:g}"
        return f"has {bound} in an array of max_error={config.max_error:g}"
    if config.psnr is not None and told.psnr is not None and told.psnr < config.psnr - ROUNDING:
        return f"has a PSNR of {told.psnr:.2f} dB in an array of psnr={config.psnr:g}"
    return None


def counted_bytes(told: Inspection) -> int:
    """Bytes of a stream of which a ratio is promised.

    0 for those that say why they take more, and of version 1 for lossless ones and chunks that are too small for it.
    """
    if told.missed:
        return 0
    return told.bytes if "lossless" not in told.layers and math.prod(told.shape) >= LEAST_VOXELS else 0


def too_many(counted: int, budget: int, streams: int = 1) -> bool:
    """Whether so many streams take more bytes than they may."""
    return counted > max(budget, LEAST_BYTES * streams)


def same_kind(told: Inspection, dtype: Any, chunks: tuple[int, ...]) -> bool:
    """Whether a stream holds a chunk of this dtype and shape; its axes may be in another order (transposed)."""
    dtypes = [np.dtype(one).newbyteorder("=") for one in (told.dtype, dtype)]
    return sorted(told.shape) == sorted(chunks) and dtypes[0] == dtypes[1]
