"""Fuzzes decode: python tests/support/fuzz.py SECONDS [FOLDER]

Streams are damaged layer by layer, from the golden streams on, and get a checksum that fits, so that what is behind
the checksum meets the damage. With atheris (pip install '.[fuzz]') coverage of the Python code that parses guides the
damage; without it (or with INR_CODEC_FUZZ=plain) damage is blind. Whatever is neither an array nor one of the two
errors ends the run; the stream lies in FOLDER (default: the folder it is started in) as crash-*.
"""

import hashlib
import importlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

from forging import reads_or_refuses, sealed
from places import GOLDEN, STREAMS
from versions import repacked

try:
    import atheris
except ImportError:
    atheris = None

PARSERS = ("chunk.selection", "decoding.compose", "decoding.decoder", "decoding.inspection", "layers.lossless")
PARSERS += ("layers.mask", "layers.correction.payload", "layers.network.blocks", "layers.network.partition")
PARSERS += ("layers.network.payload", "layers.network.prior", "layers.residual.payload", "networks.shape")
PARSERS += ("stream.byteio", "stream.frame", "layers.labels.payload", "layers.missing", "layers.correction.lattice")
PARSERS += ("chunk.view",)
LARGEST = 1 << 16
"""Voxels of what is decoded; shapes above are refused or skipped."""


def mutated(data: bytes, seed: int, change) -> bytes:
    """A stream with one to three layers, or its header, damaged; `change(payload, rng)` damages bytes."""
    from inr_codec.errors import InrCodecError
    from inr_codec.stream.frame import Layer, LayerType, unpack_stream

    rng = random.Random(seed)
    try:
        header, layers = unpack_stream(sealed(data))
    except InrCodecError:
        return sealed(change(data, rng))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(layers)) if layers else 0
        match rng.randrange(8):
            case 0:
                rng.shuffle(layers)
            case 1:
                layers[at:at] = rng.choice(corpus())
            case 2 if layers:
                del layers[at]
            case 3:
                head, whole = repacked(header, []), repacked(header, layers)
                return sealed(whole[:8] + change(head[8:], rng) + whole[len(head) :])
            case 4 if layers:
                layers[at] = Layer(rng.choice(list(LayerType)), layers[at].payload)
            case _ if layers:
                layers[at] = Layer(layers[at].type, change(layers[at].payload, rng))
    return repacked(header, layers)


_corpus: list[list] = []


def corpus() -> list[list]:
    """Layers of the golden streams."""
    if not _corpus:
        from inr_codec.layers.network.prior import read_prior
        from inr_codec.stream.frame import unpack_stream

        for path in GOLDEN.glob("*.prior"):
            read_prior(path.read_text())
        _corpus.extend(unpack_stream(path.read_bytes())[1] for path in STREAMS)
    return _corpus


def blind(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, replaced, removed or repeated."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        a = rng.randrange(len(out) + 1)
        b = min(a + rng.randint(1, 8), len(out))
        match rng.randrange(5):
            case 0 if a < len(out):
                out[a] ^= 1 << rng.randrange(8)
            case 1:
                out[a:b] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * (b - a)
            case 2:
                out[a:b] = rng.randbytes(b - a)
            case 3:
                del out[a:b]
            case _:
                out[a:a] = out[a:b]
    return bytes(out)


def one(data: bytes) -> None:
    """Decode, inspect, and decode a part: arrays of the header's shape or one of two errors."""
    reads_or_refuses(bytes(data), LARGEST)


def parsers() -> Iterator[FunctionType]:
    """The Python functions of the modules that parse."""
    for name in PARSERS:
        module = importlib.import_module(f"inr_codec.{name}")
        for thing in vars(module).values():
            for found in vars(thing).values() if isinstance(thing, type) else [thing]:
                found = getattr(found, "__wrapped__", found)  # from behind a cache
                if isinstance(found, FunctionType) and found.__module__ == module.__name__:
                    yield found


def guided(seconds: int, folder: Path) -> None:
    """atheris, guided by coverage of the parsers; their kernels are not instrumented."""
    for function in parsers():
        atheris.instrument_func(function)
    layers = sum(map(len, corpus()))
    print(f"{len(_corpus)} streams of {layers} layers")

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        return mutated(data, seed, lambda payload, rng: atheris.Mutate(payload, len(payload) + 16) or b"\0")[:most]

    with tempfile.TemporaryDirectory() as where:
        for path in STREAMS:
            one(path.read_bytes())  # kernels are compiled here, not while atheris counts the seconds of a stream
            if len(path.read_bytes()) < 2048:
                (Path(where) / f"{path.parent.name}-{path.stem}").write_bytes(path.read_bytes())
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096", "-timeout=20"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", where], one, custom_mutator=mutator)
        atheris.Fuzz()


def unguided(seconds: int, folder: Path) -> None:
    """Blind damage of golden streams, and of what was damaged before."""
    corpus()
    rng = random.Random()
    known = [path.read_bytes() for path in STREAMS]
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(rng.choice(known), rng.getrandbits(32), blind)
        try:
            one(data)
        except BaseException:
            (folder / f"crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
            raise
        count += 1
    print(f"{count} damaged streams, no finding")


if __name__ == "__main__":
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 1200
    target = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    if atheris is None or os.environ.get("INR_CODEC_FUZZ") == "plain":
        unguided(limit, target)
    else:
        guided(limit, target)
