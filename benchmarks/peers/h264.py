"""H.264 (x264 by PyAV): High 10, monochrome, preset veryslow, tuned for PSNR."""

import numpy as np

from benchmarks.peers import Peer
from benchmarks.peers.support import scaling, video


def options(quality: float) -> dict[str, str]:
    """Constant rate factor, one key frame."""
    return {
        "preset": "veryslow", "tune": "psnr", "crf": f"{quality:g}", "x264-params": "keyint=infinite:threads=1",
    }  # fmt: skip


encode, decode = video.coder("libx264", "h264", "gray10le", 10, options)
PEERS = [
    Peer(
        "H.264", "video", "av", "x264, 10 bits, monochrome, preset veryslow, tune psnr, crf, one key frame",
        scaling.levels(np.arange(0, 51.01, 0.1)), encode, decode, 330, scaling.describe,
    )
]  # fmt: skip
