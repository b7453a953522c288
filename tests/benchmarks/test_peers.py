"""Peers of the benchmark: the search for a ratio, and that what they decode is the chunk, the better the larger."""

import importlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import field

from benchmarks.paper import rates
from benchmarks.peers import NetworkPeer, Peer, all_peers
from benchmarks.peers.support.mosaic import mosaic, planes
from benchmarks.peers.support.search import TOLERANCE, Search, Unreachable

PEERS = [peer for peer in all_peers() if isinstance(peer, Peer)]
NETWORKS = [peer for peer in all_peers() if isinstance(peer, NetworkPeer)]
SHAPE = (7, 40, 34)


def plain_search(sizes: list[int], wanted: float) -> tuple[int, ...]:
    """The independent answer for falling sizes: the neighbours on either side of the wanted one."""
    small = next(k for k, size in enumerate(sizes) if size <= wanted)
    return small - 1, small


@settings(max_examples=100)
@given(
    st.integers(2, 400), st.integers(0, 2**32 - 1), st.floats(0.001, 0.2), st.integers(0, 500), st.floats(0.02, 0.98)
)
def test_search_meets_the_size_or_brackets_it(levels: int, seed: int, steep: float, guess: int, depth: float) -> None:
    """On a monotone coder: within 2 % where a level is, else the two neighbours of the size, and in few encodings."""
    falls = np.random.default_rng(seed).exponential(steep, levels)
    sizes = [max(1, int(size)) for size in 1e6 * np.exp(-np.cumsum(falls))]
    wanted = math.exp(math.log(sizes[0]) * (1 - depth) + math.log(sizes[-1]) * depth)
    calls: list[int] = []
    search = Search(range(levels), lambda place: calls.append(place) or sizes[place], guess)
    found = search.meet(wanted)
    if any(abs(size / wanted - 1) <= TOLERANCE for size in sizes):
        assert len(found.places) == 1
        assert abs(sizes[found.places[0]] / wanted - 1) <= TOLERANCE
    else:
        assert found.places == plain_search(sizes, wanted)
        large, small = (math.log(sizes[place]) for place in found.places)
        assert math.isclose((1 - found.share) * large + found.share * small, math.log(wanted))
    assert len(calls) == len(set(calls)) <= 30


def test_search_remembers_and_never_extrapolates() -> None:
    """A second ratio costs no stream that is known; a size that no level reaches is refused with the reason."""
    sizes = [1000 - 9 * k for k in range(100)]
    calls: list[int] = []
    search = Search(sizes, lambda place: calls.append(place) or sizes[place], 50)
    for wanted in (900, 500, 120, 500):
        assert abs(sizes[search.meet(wanted).places[0]] / wanted - 1) <= TOLERANCE
    assert len(calls) == len(set(calls))
    with pytest.raises(Unreachable, match="smallest stream has 109 bytes, 80 are wanted"):
        search.meet(80)
    with pytest.raises(Unreachable, match="largest stream has 1000 bytes, 2000 are wanted"):
        search.meet(2000)


@pytest.mark.parametrize("count", [1, 5, 7, 16])
def test_mosaic_comes_back(count: int) -> None:
    """Planes of a mosaic are the planes, whether or not they fill it."""
    stack = np.arange(count * 6, dtype=np.uint16).reshape(count, 2, 3)
    assert np.array_equal(planes(mosaic(stack), stack.shape), stack)


@pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8, np.float32])
def test_peer_keeps_more_where_it_takes_more(peer: Peer, dtype: Any) -> None:
    """Decoding a stream alone gives the chunk back, with an error that falls as the size grows."""
    if reason := peer.missing() or peer.long:
        pytest.skip(reason)
    chunk = field(SHAPE, dtype)
    sizes, errors = [], []
    for share in (0.15, 0.5, 0.7):
        data = peer.encode(chunk, peer.levels[int(share * (len(peer.levels) - 1))])
        decoded = peer.decode(data, chunk.shape, chunk.dtype)
        assert decoded.shape == chunk.shape
        sizes.append(len(data))
        errors.append(float(np.sqrt(np.mean((decoded.astype(float) - chunk) ** 2))) / np.ptp(chunk.astype(float)))
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert errors[0] < 0.02
    assert errors[1] < 0.2


@pytest.mark.parametrize("peer", NETWORKS, ids=[peer.name for peer in NETWORKS])
def test_network_peer_keeps_to_its_bytes(peer: NetworkPeer) -> None:
    """Streams take what they may, nearly; they alone give back more of the chunk than its mean."""
    if reason := peer.missing():
        pytest.skip(reason)
    chunk = field((8, 32, 32), np.uint16, noise=0)
    data = peer.fit(chunk, 2400, 0, "tiny")
    assert 0.9 * 2400 < len(data) <= 2400
    decoded = peer.decode(data, chunk.shape, chunk.dtype)
    assert decoded.shape == chunk.shape
    assert np.mean((decoded.astype(float) - chunk) ** 2) < 0.9 * np.var(chunk.astype(float))
    with pytest.raises(Unreachable, match="smallest"):
        peer.fit(chunk, 20, 0, "tiny")


def test_missing_codecs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed every codec of it names what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert all(f"{peer.needs} is not installed: pip install " in peer.missing() for peer in PEERS + NETWORKS)


def test_rows_interpolate_and_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratio between two streams gets the PSNR between theirs along log(ratio); beyond the last, a reason."""
    chunk = field((8, 16, 16), np.uint16)
    sizes = [1000, 500, 250]

    def decode(data: bytes, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        sign = 1 - 2 * (np.indices(shape).sum(0) % 2)
        return chunk + sign * 1e5 / len(data)

    levels = list(range(3))
    coder = Peer("halves", "image", "numpy", "", levels, lambda _, level: bytes(sizes[level]), decode, 1)
    monkeypatch.setattr(rates, "_find", lambda name: coder)
    ratios = (chunk.nbytes / 1000, chunk.nbytes / math.sqrt(1000 * 500), chunk.nbytes / 250, chunk.nbytes / 200)
    whole, mixed, last, beyond = rates.conventional_rows("halves", "field", chunk, ratios)
    span = float(chunk.max()) - float(chunk.min())
    assert [row["interpolated"] for row in (whole, mixed, last)] == [False, True, False]
    assert whole["psnr"] == pytest.approx(20 * math.log10(span / 100))
    assert mixed["psnr"] == pytest.approx(20 * math.log10(span / 100) - 10 * math.log10(2), abs=0.02)
    assert mixed["bytes"] == pytest.approx(math.sqrt(1000 * 500), abs=1)
    assert mixed["bpv"] == pytest.approx(8 * mixed["bytes"] / chunk.size, rel=1e-2)
    assert last["max_error"] == pytest.approx(400)
    assert "psnr" not in beyond and "smallest stream has 250 bytes" in beyond["reason"]
