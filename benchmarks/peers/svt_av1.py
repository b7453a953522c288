"""AV1 (SVT-AV1 by PyAV, decoded by dav1d): 10 bits, preset 2, tuned for PSNR, without the temporal
filter, which smooths planes that later ones are predicted from.
"""

import numpy as np

from benchmarks.peers import Peer
from benchmarks.peers.support import scaling, video


def options(quality: float) -> dict[str, str]:
    """Constant rate factor in quarters, one key frame, one thread."""
    return {"preset": "2", "svtav1-params": f"crf={quality:g}:tune=1:lp=1:keyint=-1:enable-tf=0"}


encode, decode = video.coder("libsvtav1", "libdav1d", "yuv420p10le", 10, options, least=64)
PEERS = [
    Peer(
        "SVT-AV1", "video", "av", "10 bits, preset 2, tune PSNR, no temporal filter, crf, one key frame",
        scaling.levels(np.arange(1, 70.01, 0.25)), encode, decode, 190, scaling.describe,
    )
]  # fmt: skip
