"""Compiled kernels never outlive the sources they were made of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher
from places import ROOT
from samples import field

from inr_codec import INRCodec, decode
from inr_codec.runtime.kernels import inner, kernel

SOURCES = {
    "a": "from inr_codec.part.b import (\n    one,\n    two,\n)\nfrom inr_codec.runtime.kernels import kernel\n"
    "@kernel()\ndef run(x):\n    return one(x) + two(x)\n",
    "part/b": "from inr_codec import c\nfrom inr_codec.runtime.kernels import inner\none = c.one\n"
    "@inner()\ndef two(x):\n    return 2 * x\n",
    "c": "from inr_codec.runtime.kernels import inner\n@inner()\ndef one(x):\n    return x\n",
    "d": "four = 4\n",
}
"""A kernel in a, that calls b, that calls c, and d beside them, named in all three spellings of an import."""


@pytest.mark.slow
def test_a_kernel_is_compiled_anew_when_a_source_that_it_imports_changes(tmp_path: Path) -> None:
    """A later process finds it compiled, after an edit of an unrelated module too; not after an edit of an import's
    import, and what it computes is what that says now."""
    package = tmp_path / "inr_codec"
    shutil.copytree(ROOT / "inr_codec" / "runtime", package / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "part").mkdir()
    for name, text in SOURCES.items():
        (package / f"{name}.py").write_text(text)
    for name in (".", "part"):
        (package / name / "__init__.py").write_text("")
    shutil.copy(ROOT / "inr_codec" / "errors.py", package)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    script = "from inr_codec.a import run; print(run(5), sum(run.stats.cache_hits.values()))"

    def ran() -> list[int]:
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
        return list(map(int, done.stdout.split()))

    assert ran() == [15, 0]
    (package / "d.py").write_text("four = 5\n")
    assert ran() == [15, 1]
    (package / "c.py").write_text(SOURCES["c"].replace("return x", "return 7 * x"))
    assert ran() == [45, 0]


def test_no_kernel_holds_another() -> None:
    """Of the functions that a kernel was compiled to, no other than itself is one of the package: what it calls is
    inlined. The others that hold it would share it, and which one gives it would depend on what was met first."""
    values = field((16, 24, 24), "u2", noise=0.1)
    for options in ({"ratio": 30, "steps": 50}, {"ratio": 30, "layers": "network", "steps": 50}, {"max_error": 50}):
        decode(INRCodec(effort="fast", **options).encode(values))
    modules = [module for name, module in sys.modules.items() if name.startswith("inr_codec.")]
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    compiled = [(kernel.py_func.__name__, each) for kernel in kernels for each in kernel.overloads.values()]
    assert len(compiled) > 15
    for name, result in compiled:
        functions = result.library._get_module_for_linking().functions
        held = [each.name for each in functions if not each.is_declaration and "inr_codec" in each.name]
        assert [other for other in held if f"{len(name)}{name}B" not in other] == []


FITTING = """
import hashlib
import numpy as np
from inr_codec.engines import fit_blocks
from inr_codec.engines.fused.fit import fused_fit
from inr_codec.engines.task import FitTask, Schedule
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters

shape, fitted = NetworkShape((2, 9, 7, 1)), hashlib.sha256()
for seed in range(5):
    rng = np.random.default_rng(seed)
    start, values = initial_parameters(shape, 15.0, rng), rng.standard_normal(32 * 40).astype("f4")
    task = FitTask(values, (32, 40), shape, 15.0, start, Schedule(60, 256, 5e-3, "adamax"), seed)
    fitted.update(fit_blocks([task], "fused")[0].parameters.tobytes())
print(fitted.hexdigest(), sum(fused_fit.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_the_process_that_compiles_fits_as_others_do(tmp_path: Path) -> None:
    """The same bits from the process that compiles the fit and from one that loads it, with sums over two tiles."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", FITTING]
    compiled, loaded = (
        subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()
        for _ in range(2)
    )
    assert (compiled[1], loaded[1]) == ("0", "1")
    assert compiled[0] == loaded[0]


def test_kernels_are_compiled_functions() -> None:
    """The decorator gives what numba.njit gives."""

    @kernel()
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(21) == 42


def test_inner_functions_are_plain_python_outside_of_kernels() -> None:
    """What a kernel calls gives the same from Python, where nothing is compiled."""

    @inner()
    def halves(x):  # type: ignore[no-untyped-def]
        return x // 2

    @kernel()
    def run(x):  # type: ignore[no-untyped-def]
        return halves(x)

    assert run(-7) == halves(-7) == -4
    assert not hasattr(halves, "py_func")


def test_a_full_disk_under_the_cache_does_not_matter(tmp_path: Path) -> None:
    """Files that can be made but not written to (as on a full disk): a kernel is compiled for the process and works."""
    script = """
import resource, signal
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from inr_codec.chunk.intensity import Intensity, restore
print(restore(np.array([0.5], "f4"), Intensity(0.0, 4.0), np.dtype("u1")))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    read, write = os.pipe()  # a pipe is no file: the limit does not count there
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert os.read(read, 100) == b"[2]\n"
    os.close(read)


def test_no_writable_folder_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numba finds none for its cache a kernel is compiled all the same."""
    from numba.core import caching

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    assert kernel()(lambda x: x + 1)(2) == 3
