import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from places import ROOT

from inr_codec import INRCodec

HEAVY = ("torch", "scipy", "threadpoolctl", "ortools", "dask", "distributed", "xarray", "zarr", "matplotlib")


def run(code, *arguments):
    """Run code in a new interpreter; what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def run_without(packages, code, *arguments):
    """Run code in a new interpreter where these packages cannot be imported."""
    return run(f"import sys\nfor name in {packages!r}: sys.modules[name] = None\n{code}", *arguments)


@pytest.mark.slow
def test_import_and_decoding_need_nothing_heavy(tmp_path):
    """A reader needs numpy, numba and numcodecs: import, decode and inspect work where nothing else is installed."""
    z, y, x = np.ogrid[:16, :20, :24]
    volume = (1000 + 300 * np.sin(z / 5 + y / 7) + 9 * x).astype(np.uint16)
    stream = tmp_path / "stream"
    stream.write_bytes(INRCodec(ratio=60, effort="fast").encode(volume))
    code = (
        "import pathlib, inr_codec\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "assert inr_codec.decode(data, selection=3).shape == (20, 24)\n"
        "assert inr_codec.INRCodec(ratio=60).decode(data).nbytes == 2 * 16 * 20 * 24\n"
        "assert inr_codec.inspect(data).shape == (16, 20, 24)\n"
    )
    run_without(HEAVY, code, stream)


def test_import_loads_nothing_at_all():
    """Importing the package costs next to nothing: not even numba is loaded before it is used."""
    run_without((*HEAVY, "numba"), "import inr_codec")


@pytest.mark.slow
def test_encoding_needs_no_torch():
    """The CPU encoder works where torch, ortools, dask and zarr are not installed."""
    code = (
        "import numpy, inr_codec\n"
        "volume = numpy.arange(4096, dtype='u2').reshape(16, 16, 16) ** 2 % 977\n"
        "inr_codec.INRCodec(ratio=60, effort='fast').encode(volume)"
    )
    run_without([name for name in HEAVY if name not in ("scipy", "threadpoolctl")], code)


@pytest.mark.parametrize(
    "code",
    [
        "import numcodecs; numcodecs.get_codec({'id': 'inr_codec', 'ratio': 100})",
        "from zarr.registry import get_codec_class; get_codec_class('inr_codec')",
    ],
)
def test_entry_points_find_the_codec(code):
    """numcodecs and zarr find the codec by its name, with no import of ours."""
    run(code)


@pytest.mark.slow
def test_a_wheel_carries_the_format_and_the_types(tmp_path):
    """The built package holds FORMAT.md, py.typed and every module that the source has."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "inr_codec", source / "inr_codec", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "pyproject.toml", ROOT / "LICENSE", *ROOT.glob("README.md")):
        shutil.copy(path, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "inr_codec").rglob("*.py")}
    assert names >= modules | {"inr_codec/FORMAT.md", "inr_codec/py.typed"}
