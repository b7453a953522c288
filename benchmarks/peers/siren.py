"""SIREN (Sitzmann et al. 2020): sines, one network for the chunk, weights of 32 bits."""

from benchmarks.peers import NetworkPeer
from benchmarks.peers.support import coordinate

fit, decode = coordinate.coder("siren", "<f4")
PEERS = [
    NetworkPeer(
        "SIREN", "numba", "5 layers of one width, w0 15, float32 weights, Adam, inr_codec's default number of steps",
        fit, decode,
    )
]  # fmt: skip
