"""NeRF's network (Mildenhall et al. 2020): ReLU on 12 octaves of the coordinates, weights of 16 bits."""

from benchmarks.peers import NetworkPeer
from benchmarks.peers.support import coordinate

fit, decode = coordinate.coder("nerf", "<f2")
PEERS = [
    NetworkPeer(
        "NeRF", "numba",
        "5 layers of one width, positional encoding of 12 octaves, ReLU, float16 weights, Adam, inr_codec's default "
        "number of steps",
        fit, decode,
    )
]  # fmt: skip
