"""Table 1 and Figure 3: fidelity of all codecs at given ratios, on the same chunks, by the same measures.

    python -m benchmarks.run --only rates [--full | --smoke] [--volumes FOLDER] [--results FOLDER]

Conventional codecs run two at a time, each in one thread; so do networks that are one network for a chunk, which no
second thread would make faster. inr_codec runs alone, with all cores. Seconds are those of the stream that is reported,
not of the search for its quality; what a codec compiles is compiled before.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import one_of_each_kind
from benchmarks.harness.rows import Results, between, measured, row, timed
from benchmarks.peers import NetworkPeer, Peer, all_peers
from benchmarks.peers.support.search import Search, Unreachable
from inr_codec import INRCodec, decode

QUICK_RATIOS = (64, 256, 1024)
FULL_RATIOS = (64, 160, 256, 640, 1024, 1600)
"""Of 16-bit volumes 0.25, 0.1, 0.0625, 0.025, 0.015625 and 0.01 bits per voxel, the paper's rates."""
SMOKE_RATIOS = (16,)
PROCESSES = 2
OURS: dict[str, dict[str, Any]] = {"inr_codec": {}, "inr_codec, networks alone": {"layers": "network"}}
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "INR_CODEC_THREADS", "NUMBA_NUM_THREADS")


def run(chunks: dict[str, NDArray], out: Path, *, full: bool = False, smoke: bool = False) -> None:
    """Measure everything and write out/rates.json."""
    ratios = SMOKE_RATIOS if smoke else FULL_RATIOS if full else QUICK_RATIOS
    seeds = (0, 1) if full else (0,)
    some = list(chunks) if full else one_of_each_kind(list(chunks))
    effort = "tiny" if smoke else "default"
    conventional, networks, skipped = [], [], []
    for peer in all_peers():
        reason = peer.missing() or ("" if full or isinstance(peer, NetworkPeer) else peer.long)
        if reason:
            skipped.append((peer.name, peer.family, reason))
        elif isinstance(peer, Peer):
            peer.prepare()
            conventional += [(peer.name, volume, chunk, ratios) for volume, chunk in chunks.items()]
        else:
            networks += [(peer.name, v, chunks[v], r, s, effort) for v in some for s in seeds for r in ratios]
    ours = [("inr_codec", v, r, s) for v in chunks for s in seeds for r in ratios]
    ours += [("inr_codec, networks alone", v, r, s) for v in some for s in seeds for r in ratios]
    results = Results(out / "rates.json", len(conventional) + len(networks) + len(ours))
    for skip in skipped:
        results.skip(*skip)
    for rows in in_two_processes([(conventional_rows, job) for job in conventional]):
        results.add(rows)
    for rows in in_two_processes([(network_rows, job) for job in networks]):
        results.add(rows)
    warm_up()
    for name, volume, ratio, seed in ours:
        options = OURS[name] | ({"steps": 200} if smoke else {})
        results.add([our_row(name, volume, chunks[volume], ratio, seed, "fast" if smoke else "default", options)])


def conventional_rows(name: str, volume: str, chunk: NDArray, ratios: tuple[float, ...]) -> list[dict]:
    """Rows of one conventional codec on one chunk, a row for every ratio."""
    peer = _find(name)
    assert isinstance(peer, Peer)
    streams: dict[int, tuple[bytes, float, float]] = {}
    measures: dict[int, dict] = {}

    def size_at(place: int) -> int:
        streams[place] = timed(lambda: peer.encode(chunk, peer.levels[place]))
        return len(streams[place][0])

    def measures_at(place: int) -> dict:
        if place not in measures:
            data, wall, processor = streams[place]
            decoded, seconds, _ = timed(lambda: peer.decode(data, chunk.shape, chunk.dtype))
            measures[place] = measured(chunk, decoded, len(data), (wall, seconds, processor))
        return measures[place]

    search, rows = Search(peer.levels, size_at, peer.guess), []
    for ratio in ratios:
        try:
            found = search.meet(int(chunk.nbytes / ratio))
        except Unreachable as unreachable:
            rows.append(row(volume, chunk, ratio, name, peer.family, peer.settings, reason=str(unreachable)))
            continue
        parts = [measures_at(place) for place in found.places]
        quality, note = peer.describe(peer.levels[found.places[0]])
        settings = f"{peer.settings}, {note}" if note else peer.settings
        figures = parts[0] if len(parts) == 1 else between(parts[0], parts[1], found.share)
        more = {"quality": quality, "interpolated": len(parts) > 1, "stream": streams[found.places[0]][0]} | figures
        rows.append(row(volume, chunk, ratio, name, peer.family, settings, **more))
    return rows


def network_rows(name: str, volume: str, chunk: NDArray, ratio: float, seed: int, effort: str) -> list[dict]:
    """One row of a coordinate network or a convolutional one."""
    peer = _find(name)
    assert isinstance(peer, NetworkPeer)
    _compile(name)
    try:
        data, wall, processor = timed(lambda: peer.fit(chunk, int(chunk.nbytes / ratio), seed, effort))
    except Unreachable as unreachable:
        more = {"reason": str(unreachable), "seed": seed}
        return [row(volume, chunk, ratio, name, peer.family, peer.settings, **more)]
    peer.decode(data, chunk.shape, chunk.dtype)
    decoded, seconds, _ = timed(lambda: peer.decode(data, chunk.shape, chunk.dtype))
    figures = measured(chunk, decoded, len(data), (wall, seconds, processor))
    return [row(volume, chunk, ratio, name, peer.family, peer.settings, seed=seed, **figures)]


@cache
def _compile(name: str) -> None:
    """Once a process: a tiny fit, so that no row's seconds are a compiler's."""
    peer, chunk = _find(name), np.arange(8 * 32 * 32, dtype=np.uint16).reshape(8, 32, 32)
    assert isinstance(peer, NetworkPeer)
    peer.decode(peer.fit(chunk, 4000, 0, "tiny"), chunk.shape, chunk.dtype)


def our_row(codec: str, volume: str, chunk: NDArray, ratio: float, seed: int, effort: Any, options: dict) -> dict:
    """One row of inr_codec."""
    encoder = INRCodec(ratio=ratio, seed=seed, effort=effort, **options)
    data, wall, processor = timed(lambda: encoder.encode(chunk))
    decode(data)
    decoded, seconds, _ = timed(lambda: decode(data))
    settings = ", ".join([f"effort {effort}", *(f"{name} {value}" for name, value in options.items())])
    figures = measured(chunk, decoded, len(data), (wall, seconds, processor))
    return row(volume, chunk, ratio, codec, "ours", settings, seed=seed, stream=data, **figures)


def warm_up() -> None:
    """Compile what inr_codec encodes and decodes with."""
    values = np.random.default_rng(0).normal(size=(16, 32, 32)).cumsum(2)
    chunk = np.rint((values - values.min()) * 100).astype(np.uint16)
    for options in OURS.values():
        decode(INRCodec(ratio=16, effort="fast", steps=100, **options).encode(chunk))


def in_two_processes(jobs: list[tuple[Callable[..., list[dict]], tuple]]) -> Iterator[list[dict]]:
    """Results of functions of arguments, in the order in which they are done; errors are told after the rest."""
    if not jobs:
        return
    failed: list[str] = []
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(function, *arguments): arguments[:2] for function, arguments in jobs}
            for done in as_completed(waiting):
                if error := done.exception():
                    failed.append(f"{' of '.join(waiting[done])}: {error!r}")
                    traceback.print_exception(error)
                else:
                    yield done.result()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(jobs)} jobs failed: {'; '.join(failed)}")


def _find(name: str) -> Peer | NetworkPeer:
    return next(peer for peer in all_peers() if peer.name == name)
