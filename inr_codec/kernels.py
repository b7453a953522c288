"""Compiling numba kernels, with a cache that no upgrade can leave stale.

numba keeps a compiled function as long as the file that defines it is the same, although it contains what it calls from
other files. Here every cached kernel depends on the sources of the whole package: a change anywhere compiles anew.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def _digest() -> str:
    """Hash of the package's sources."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


DIGEST = _digest()


def kernel(**flags: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit for this package: without the GIL, without bounds checks unless asked for, cached safely."""

    def compile_lazily(function: Callable[..., Any]) -> Any:
        compiled = njit(nogil=True, cache=True, **flags)(function)
        file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if file is not None:
            file._source_stamp = (file._source_stamp, DIGEST)
        return compiled

    return compile_lazily
