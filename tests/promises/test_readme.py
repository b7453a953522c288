"""The code of the README and the errors of docs/OPTIONS.md run as they are written."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from inr_codec import INRCodec, decode


@pytest.mark.slow
def test_readme_code_runs(tmp_path: Path) -> None:
    """Its Python blocks, each in a fresh interpreter in one folder, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) > 3
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


ROW = r"^\| `(.+?)` \| `(\w+(?:Error|Array|Chunk|Format))` \| (.+) \|$"
ROWS = re.findall(ROW, (ROOT / "docs" / "OPTIONS.md").read_text(), re.MULTILINE)


def test_the_table_of_errors_is_there() -> None:
    """Each wrong argument that people try first has its line."""
    assert len(ROWS) > 18
    assert {error for _, error, _ in ROWS} >= {"ConfigError", "UnsupportedArray", "CorruptChunk", "UnsupportedFormat"}


@pytest.mark.parametrize(("code", "error", "message"), ROWS, ids=[row[0] for row in ROWS])
def test_the_page_of_options_tells_errors_word_by_word(code: str, error: str, message: str) -> None:
    """Every line of the table of errors, run as it is written."""
    data = INRCodec(ratio=100).encode(np.full((4, 5, 6), 7, "u2"))
    with pytest.raises((ValueError, TypeError)) as caught:
        eval(code, {"np": np, "INRCodec": INRCodec, "decode": decode, "data": data})
    assert (type(caught.value).__name__, str(caught.value)) == (error, message)


def test_a_chunk_of_nan_is_no_error() -> None:
    """It comes back bit by bit, in about 35 bytes."""
    values = np.full((9, 10, 11), np.nan, "f4")
    data = INRCodec(ratio=100).encode(values)
    assert len(data) <= 36
    assert decode(data).tobytes() == values.tobytes()


def test_readme_names_every_command() -> None:
    """`make demo`, `make test` and `make bench` are in the README and in the Makefile."""
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "bench"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/TRUST.md", "tests/README.md"])
def test_tests_that_a_page_names_are_there(page: str) -> None:
    """Each path below tests/, but for placeholders in capitals."""
    named = re.findall(r"\btests/[\w./]+", (ROOT / page).read_text())
    missing = [name for name in named if not re.search(r"[A-Z]{4}", name) and not (ROOT / name.rstrip(".")).exists()]
    assert not missing
