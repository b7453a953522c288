import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inr_codec import INRCodec

HEAVY = ("torch", "scipy", "ortools", "dask", "distributed", "xarray", "zarr", "matplotlib")
ROOT = Path(__file__).parents[1]


def run(code, *arguments):
    """Run code in a new interpreter; what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def loaded_heavy(code, *arguments):
    """Which heavy packages a new interpreter has loaded after running the code."""
    return run(f"import sys\n{code}\nprint([name for name in {HEAVY!r} if name in sys.modules])", *arguments).strip()


def test_import_loads_nothing_heavy():
    """Importing the package brings in no torch, scipy, ortools, dask or zarr."""
    assert loaded_heavy("import inr_codec; inr_codec.INRCodec, inr_codec.decode, inr_codec.inspect") == "[]"


def test_decoding_loads_nothing_heavy(tmp_path):
    """A reader needs numpy, numba and numcodecs: decoding and inspecting a stream load nothing else."""
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
    assert loaded_heavy(code, stream) == "[]"


def test_encoding_loads_no_torch(tmp_path):
    """The CPU encoder fits without torch."""
    code = (
        "import numpy, inr_codec\n"
        "volume = numpy.arange(4096, dtype='u2').reshape(16, 16, 16) ** 2 % 977\n"
        "inr_codec.INRCodec(ratio=60, effort='fast').encode(volume)"
    )
    assert "torch" not in loaded_heavy(code)


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


def test_a_wheel_carries_the_format_and_the_types(tmp_path):
    """The built package holds FORMAT.md, py.typed and every module that the source has."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "inr_codec", source / "inr_codec", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "inr_codec").rglob("*.py")}
    assert names >= modules | {"inr_codec/FORMAT.md", "inr_codec/py.typed"}
