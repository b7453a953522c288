"""HEVC (x265 by PyAV): Main 12, monochrome, preset veryslow, tuned for PSNR."""

import numpy as np

from benchmarks.peers import Peer
from benchmarks.peers.support import scaling, video


def options(quality: float) -> dict[str, str]:
    """Constant rate factor, one key frame, one thread."""
    return {
        "preset": "veryslow", "tune": "psnr", "crf": f"{quality:g}",
        "x265-params": "pools=none:frame-threads=1:info=0:keyint=-1:log-level=none",
    }  # fmt: skip


encode, decode = video.coder("libx265", "hevc", "gray12le", 12, options, least=64)
# x265 writes beyond its buffers for frames narrower than its coding units of 64
PEERS = [
    Peer(
        "HEVC", "video", "av", "x265, 12 bits, monochrome, preset veryslow, tune psnr, crf, one key frame",
        scaling.levels(np.arange(0, 51.01, 0.1)), encode, decode, 325, scaling.describe,
    )
]  # fmt: skip
