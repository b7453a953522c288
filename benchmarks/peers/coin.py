"""COIN (Dupont et al. 2021): a SIREN whose weights are stored in 16 bits."""

from benchmarks.peers import NetworkPeer
from benchmarks.peers.support import coordinate

fit, decode = coordinate.coder("siren", "<f2")
PEERS = [
    NetworkPeer(
        "COIN", "numba", "5 layers of one width, w0 15, float16 weights, Adam, inr_codec's default number of steps",
        fit, decode,
    )
]  # fmt: skip
