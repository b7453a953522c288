"""How much work and memory a few bytes can ask for, by search.

    python -m tests.trust.worst [SECONDS] [SIZE ...]

For each size the search begins with golden streams, with bombs of every layer, and with empty chunks of as many voxels
as the bytes may have, of residuals and corrections. It changes them one by one: another
shape with as many voxels as the bytes may have, other dtypes, layers swapped, repeated and taken out, damaged bytes,
payloads filled up, each under a checksum that fits. Those that take the most CPU seconds and those that take the most
memory beside their array are kept and changed further. What is found for one size is where the next larger one begins.
A process of its own decodes, on one thread.
"""

import itertools
import json
import math
import multiprocessing
import os
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from forging import header_of
from fuzz import blind, mutated
from places import GOLDEN, STREAMS

import inr_codec
from inr_codec.errors import InrCodecError
from inr_codec.layers.correction.payload import Lattice, pack_correction
from inr_codec.layers.network.prior import read_prior
from inr_codec.stream.frame import Layer, LayerType, pack_stream, unpack_stream
from tests.promises.test_bombs import bombs, nearly_nothing, with_shape
from tests.promises.test_work import wide_network

KEPT = 6
"""Streams that are changed further, for each of the two measures."""
SIZES = 100, 1000, 10_000, 100_000
MOST = 300.0
"""Seconds by the clock after which a stream is given up: it counts with the CPU time that it has had."""
MEMORY = 6 << 30
"""Bytes that the process which decodes may take: what wants more ends in MemoryError, and counts as so many, less the
array that it declares."""
QUIET = {"INR_CODEC_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
"""Environment of the process that decodes: memory that is freed goes back, as what an allocator keeps is chance."""
DTYPES = "u1", "u2", "f4", "f8"


@dataclass(frozen=True)
class Found:
    """A stream, the CPU seconds and the bytes of memory beside its array that decoding took, whether it was read.

    given_up: whether it was not decoded to its end.
    """

    data: bytes
    seconds: float
    bytes: int
    voxels: int
    read: bool
    given_up: bool = False

    @property
    def shape(self) -> str:
        """Sides of the chunk."""
        with suppress(InrCodecError):
            return " x ".join(map(str, unpack_stream(self.data)[0].shape))
        return "no chunk"

    @property
    def layers(self) -> str:
        """Names of its layers."""
        with suppress(InrCodecError):
            types = [layer.type for layer in unpack_stream(self.data)[1]]
            known = {kind.value: kind.name.lower() for kind in LayerType}
            return ", ".join(known.get(int(kind), f"unknown {kind}") for kind in types) or "none"
        return "damaged"


def decoder(pipe: Connection) -> None:
    """The process that decodes: a stream comes, seconds, bytes, voxels and whether it was read go back."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for path in GOLDEN.glob("*.prior"):
        read_prior(path.read_text())
    for path in STREAMS:  # kernels are loaded
        inr_codec.decode(path.read_bytes())
    pipe.send(None)
    while True:
        data = pipe.recv()
        inr_codec.clear_caches()
        Path("/proc/self/clear_refs").write_text("5")
        before, begun, array, read = resident("VmRSS"), time.process_time(), 0, False
        voxels = 0
        try:
            values = inr_codec.decode(data)
            array, voxels, read = values.nbytes, values.size, True
            del values
            beside = max(resident("VmHWM") - before - array, 0)
        except InrCodecError:
            beside = max(resident("VmHWM") - before - declared(data), 0)
        except MemoryError:
            beside = max(MEMORY - declared(data), 0)
        pipe.send((time.process_time() - begun, beside, voxels, read))


def resident(word: str) -> int:
    """Bytes that this process has now (VmRSS) or has had (VmHWM)."""
    return 1024 * int(re.search(word + r":\s*(\d+)", Path("/proc/self/status").read_text())[1])


def declared(data: bytes) -> int:
    """Bytes of the array that a stream says it holds; 0 where it does not tell."""
    with suppress(InrCodecError):
        told = inr_codec.inspect(data)
        return math.prod(told.shape) * told.dtype.itemsize
    with suppress(InrCodecError):
        header = unpack_stream(data)[0]
        return 0 if header.dtype is None else header.size * header.dtype.itemsize
    return 0


class Decoder:
    """A process that decodes; another one where a stream takes too long."""

    def __init__(self) -> None:
        self._process: Any = None

    def __call__(self, data: bytes) -> Found:
        """What a stream takes."""
        if self._process is None:
            spawn = multiprocessing.get_context("spawn")
            self._pipe, there = spawn.Pipe()
            self._process = spawn.Process(target=decoder, args=(there,), daemon=True)
            self._process.start()
            self._pipe.recv()
        before = self._seconds()
        self._pipe.send(data)
        if self._pipe.poll(MOST):
            return Found(data, *self._pipe.recv())
        seconds = self._seconds() - before
        self.close()
        return Found(data, seconds, 0, unpack_stream(data)[0].size, False, True)

    def _seconds(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def beginnings() -> Iterator[bytes]:
    """Golden streams, and bombs of every layer."""
    for path in STREAMS:
        yield path.read_bytes()
    shape = (128, 128, 160)
    yield from (bombs(*shape) | nearly_nothing()).values()
    for size in (8, 40, 200):
        yield pack_stream(header_of(shape, "u1"), [Layer(LayerType.NETWORK, wide_network(size))])


def changed(data: bytes, size: int, rng: random.Random) -> bytes:
    """Another stream of at most `size` bytes, near to this one."""
    try:
        header, layers = unpack_stream(data)
    except InrCodecError:
        return mutated(data, rng.getrandbits(32), blind)
    match rng.randrange(6):
        case 0:
            return mutated(data, rng.getrandbits(32), blind)
        case 1:
            header = replace(header, dtype=np.dtype(rng.choice(DTYPES)))
        case 2 if layers:
            at = rng.randrange(len(layers))
            room = max(size - len(data) - 4, 0)
            more = rng.choice((bytes(room), rng.randbytes(room)))
            layers[at] = Layer(layers[at].type, layers[at].payload + more)
    with suppress(InrCodecError, AttributeError, OverflowError, TypeError, ValueError):
        return with_shape(header, layers, shaped(len(header.shape), size, rng))
    return data


def stretched(size: int) -> Iterator[bytes]:
    """Chunks of the layers that are read as a whole, of as many voxels as so many bytes may have, that never end.

    Bytes of ones are read as "no" for ever: no coefficient, no error.
    """
    side = int((0.99 * ((1 << 20) + (1 << 14) * (size - 10))) ** (1 / 3))
    header, layers = unpack_stream(nearly_nothing()["residual"])
    start = layers[0].payload[: 10 + layers[0].payload[9]]
    bound = pack_correction(0.0, Lattice(1.0, 5), b"")
    offsets = pack_correction(1.0, Lattice(1.0, 1, None, -1, True), b"")
    kinds = LayerType.RESIDUAL, LayerType.CORRECTION
    for payloads in ({kinds[0]: start}, {kinds[1]: bound}, {kinds[0]: start, kinds[1]: offsets}):
        room = (size - sum(map(len, payloads.values())) - 28) // len(payloads)
        layers = [Layer(kind, payload + b"\xff" * max(room, 0)) for kind, payload in payloads.items()]
        yield with_shape(header, layers, (side, side, side))


def shaped(axes: int, size: int, rng: random.Random) -> tuple[int, ...]:
    """As many voxels as so many bytes may have, or nearly: a cube, a plane, a line or something between."""
    voxels = int(((1 << 20) + (1 << 14) * size) * rng.choice((0.5, 0.9, 0.999)))
    sides = [rng.choice((1, 2, 16, 64, 128, 512)) for _ in range(axes - 1)] if rng.random() < 0.5 else []
    if not sides:
        sides = [max(1, int(voxels ** (1 / axes)))] * (axes - 1)
    last = max(1, voxels // math.prod(sides))
    shape = [*sides, last]
    rng.shuffle(shape)
    return tuple(shape)


def search(
    size: int, seconds: float, known: list[bytes], take: Callable[[bytes], Found], seed: int
) -> tuple[list[Found], int]:
    """The streams of at most `size` bytes that take the most seconds or the most memory, and how many were tried."""
    rng, end, count, seen = random.Random(seed), time.monotonic() + seconds, 0, 0
    best: dict[bytes, Found] = {}
    first = [data for data in known if len(data) <= size]
    waiting = itertools.chain(first, stretched(size))
    while seen < max(len(first), KEPT) or time.monotonic() < end:
        data, seen = next(waiting, None), seen + 1
        if data is None:
            data = changed(rng.choice(list(best) or known), size, rng)
        if len(data) <= size and data not in best:
            best[data] = take(data)
            count += 1
        slowest = sorted(best.values(), key=lambda found: -found.seconds)[:KEPT]
        largest = sorted(best.values(), key=lambda found: -found.bytes)[:KEPT]
        best = {found.data: found for found in (*slowest, *largest)}
    print(f"{size} bytes: {count} streams", file=sys.stderr)
    for found in best.values():
        print(f"  {found.seconds:.2f} s, {found.bytes / 1e6:.0f} MB, {found.layers}, {found.shape}", file=sys.stderr)
    return sorted(best.values(), key=lambda found: -found.seconds), count


def run_bombs(_: float) -> dict[str, Any]:
    """Bombs of every layer: the most memory that decoding one takes beside its array, on one thread."""
    os.environ |= QUIET
    shape, take = (128, 128, 160), Decoder()
    try:
        found = [take(data) for data in (bombs(*shape) | nearly_nothing()).values()]
    finally:
        take.close()
    large = max(found, key=lambda each: each.bytes)
    return {
        "streams": len(found), "Mvoxel": f"2.1 to {math.prod(shape) / 1e6:.1f}",
        "bytes": max(len(each.data) for each in found),
        "MB beside the array": round(large.bytes / 1e6), "its layers": large.layers,
    }  # fmt: skip


def run(seconds: float, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> dict[str, Any]:
    """A row for each size: the most seconds and the most memory, of which layers."""
    os.environ |= QUIET
    known, rows, decode = list(beginnings()), [], Decoder()
    taken: dict[bytes, Found] = {}

    def take(data: bytes) -> Found:
        if data not in taken:
            taken[data] = decode(data)
        return taken[data]

    try:
        for size in sizes:
            found, tried = search(size, seconds * math.sqrt(size) / sum(map(math.sqrt, sizes)), known, take, seed)
            known = [*(each.data for each in found), *known]
            slow, large = found[0], max(found, key=lambda each: each.bytes)
            rows.append(
                {
                    "bytes": size, "streams": tried, "CPU seconds": round(slow.seconds, 2), "given up": slow.given_up,
                    "Mvoxel": round(slow.voxels / 1e6, 1),
                    "layers": slow.layers, "MB beside the array": round(large.bytes / 1e6),
                    "its Mvoxel": round(large.voxels / 1e6, 1), "its layers": large.layers,
                }
            )  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    finally:
        decode.close()
    return {"rows": rows}


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(run(float(words[0]) if words else 600.0, tuple(map(int, words[1:])) or SIZES)))
