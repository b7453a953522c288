"""Compile most kernels before the tests begin, in two processes: `python warm.py 0` and `python warm.py 1`.

Workers that start without kernels would each compile all of them, while their first tests wait.
"""

import sys

import numpy as np
from samples import FAST, field

from inr_codec import INRCodec, decode

COARSE = {"ratio": 40, **FAST}


def networks() -> None:
    """Networks, residual, filter, deblocking, over one to four axes; a prior's and the paper's networks."""
    for shape in ((24, 40, 48), (70000,), (90, 100), (3, 12, 20, 20)):
        decode(INRCodec(ratio=40, effort="fast").encode(field(shape, "u2", noise=0.1)))
    for more in ({"weights": "foreground"}, {"layers": "network"}, {"layers": "network", "architecture": "nerf"}):
        decode(INRCodec(**COARSE, **more).encode(field((16, 32, 32))))


def bounds() -> None:
    """Corrections, lossless layers, masks and labels, of integers and floats."""
    for dtype in ("u1", "i2", "f4", "f8"):
        values = field((16, 24, 24), dtype)
        for target in ({"max_error": 0.05 * float(np.ptp(values.astype("f8")))}, {"lossless": True}):
            decode(INRCodec(**target).encode(values))
    holes = field((16, 24, 24))
    holes[np.random.default_rng(0).random(holes.shape) < 0.2] = np.nan
    decode(INRCodec(**COARSE).encode(holes))
    decode(INRCodec(**COARSE).encode((np.indices((24, 24, 24)).sum(0) // 9).astype("u2")))
    decode(INRCodec(max_error=0.5).encode(holes))


if __name__ == "__main__":
    (networks, bounds)[int(sys.argv[1])]()
