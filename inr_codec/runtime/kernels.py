"""Compiling numba kernels, and keeping them on disk so that no upgrade leaves a stale one.

A `kernel` is called from Python: it has a wrapper for that, and is kept on disk. What kernels call is `inner`: it is
compiled into them, for less, and remains a plain function to Python. A kernel that called another kernel would hold a
copy of it, and so would all others that do: LLVM optimises each copy where it is, and the process runs the one that it
compiled or loaded first. Two processes could then round differently.

numba keeps a compiled function as long as the file that defines it is the same, although it contains what it calls from
other files. Here a cached kernel depends on the sources of its module and of all that this imports from the package.
The cache is a convenience. Where nothing can be written, or what is there cannot be read, kernels are compiled for this
process.

Kernels take no named tuples: numba's index of the cache names their class, and cannot be read once that is gone.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])

P = ParamSpec("P")
R = TypeVar("R")
LOG = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]
IMPORT = re.compile(r"^ *from inr_codec((?:\.\w+)*) import (\([^)]*\)|.*)", re.MULTILINE)


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Files of the package that the source at `path` names in its imports."""
    found: set[Path] = set()
    for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        folder = PACKAGE.joinpath(*module.split("."))
        if module:
            found.update((folder.with_suffix(".py"), folder / "__init__.py"))
        found.update(folder / f"{name}.py" for name in re.findall(r"\w+", names))
    return frozenset(found & _sources())


@cache
def _sources() -> frozenset[Path]:
    return frozenset(PACKAGE.rglob("*.py"))


@cache
def digest(path: Path) -> str:
    """Hash of a source file and of all sources of the package that it imports, directly or not."""
    known, new = set(), {path}
    while new:
        known |= new
        new = set().union(*map(_imported, new)) - known
    return hashlib.sha256(b"".join(source.read_bytes() for source in sorted(known))).hexdigest()


def kernel(**flags: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit for this package: without the GIL, without bounds checks unless asked for, cached safely."""

    def compile_lazily(function: Callable[..., Any]) -> Any:
        try:
            compiled = njit(nogil=True, cache=True, **flags)(function)
        except RuntimeError:  # numba found no folder that it can write to
            return njit(nogil=True, **flags)(function)
        cache: Any = getattr(compiled, "_cache", None)
        file = getattr(cache, "_cache_file", None)
        if file is not None:
            file._source_stamp = (file._source_stamp, digest(Path(function.__code__.co_filename)))
            cache.load_overload = _forgiving(cache.load_overload)
            cache.save_overload = _forgiving(cache.save_overload)
        return compiled

    return compile_lazily


def _forgiving(work: Callable[P, R]) -> Callable[P, R | None]:
    """Reading or writing the cache: None where that fails (a full or read-only disk, a damaged file)."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            LOG.info("kernels are compiled for this process alone: %r", error)
            return None

    return call


def inner(**flags: Any) -> Callable[[Function], Function]:
    """For what kernels call: inlined, without wrappers and a cache of its own; division by zero gives what numpy gives.

    numba compiles such a function once for each set of flags that it is called under: best always from other `inner`,
    or always from kernels. Named tuples of arrays as arguments, `int`, and `min` of other types than int64 cost most.
    """
    flags = {"no_cfunc_wrapper": True, "error_model": "numpy", "forceinline": True} | flags
    decorator: Callable[[Function], Function] = register_jitable(**flags)
    return decorator
