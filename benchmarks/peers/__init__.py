"""Codecs that inr_codec is compared with: one file each, all through `Peer`.

A conventional peer codes a chunk at a level of its own (quality, error bound, rate) and `support.search.Search` finds
the level that meets a ratio. A network peer is told how many bytes it may take and how many seconds it may fit. What a
peer's `encode` gives is everything that decoding needs, except the shape and the dtype, which an array's metadata hold.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

MODULES = (
    "jpeg", "jpeg2000", "jpegxl", "h264", "hevc", "svt_av1", "sz3", "zfp", "sperr", "siren", "coin", "nerf", "nerv",
    "compressai",
)  # fmt: skip

EXTRA = dict.fromkeys(("av", "imagecodecs", "torch"), "'.[bench]'")
"""What to install for a module, where that is not the module itself."""


@dataclass(frozen=True)
class Peer:
    """A codec with a level.

    needs: the module that must be installed. levels: from the largest stream to the smallest. encode(chunk, level)
    gives bytes; decode(bytes, shape, dtype) gives float values in the chunk's units. guess: the level where a search
    starts.
    """

    name: str
    family: str
    needs: str
    settings: str
    levels: Sequence[Any]
    encode: Callable[[NDArray, Any], bytes]
    decode: Callable[[bytes, tuple[int, ...], Any], NDArray]
    guess: int
    describe: Callable[[Any], tuple[float, str]] = field(default=lambda level: (float(level), ""))
    """Of a level: its number, and what it adds to the settings."""
    long: str = ""
    """Why it is run only where everything is asked for; empty of most."""
    prepare: Callable[[], None] = field(default=lambda: None)
    """Called once before it is run."""

    def missing(self) -> str:
        """Why it cannot be run here; empty where it can."""
        return missing(self.needs)


@dataclass(frozen=True)
class NetworkPeer:
    """A codec that is told its bytes: fit(chunk, bytes, seed, effort) gives at most so many.

    effort: "default", or "tiny" for a run that only shows that it works.
    """

    name: str
    needs: str
    settings: str
    fit: Callable[[NDArray, int, int, str], bytes]
    decode: Callable[[bytes, tuple[int, ...], Any], NDArray]
    family: str = "network"

    def missing(self) -> str:
        """Why it cannot be run here; empty where it can."""
        return missing(self.needs)


def missing(module: str) -> str:
    """Why a module cannot be imported; empty where it can."""
    found = importlib.util.find_spec(module)
    return "" if found else f"{module} is not installed: pip install {EXTRA.get(module, module)}"


def all_peers() -> list[Peer | NetworkPeer]:
    """Every peer, installed or not, in the order of MODULES."""
    return [peer for name in MODULES for peer in importlib.import_module(f"benchmarks.peers.{name}").PEERS]
