"""A decoder written from FORMAT.md alone reads what this package writes: the document says all there is to say."""

from typing import Any

import numpy as np
import pytest
from places import GOLDEN, ROOT, VERSIONS

from tests.reference_decoder.decoder import decode

EXACT = ("constant", "lossless", "bounded", "labels")
LINES = 400


def streams() -> list[Any]:
    """Golden streams; those of many coefficients keep plain Python busy for seconds."""
    long = ("v1/1d", "v1/residual", "v1/bounded-floats", "v1/bounded-base", "v1/filter", "v2/bounded-base")
    names = sorted(f"{folder.name}/{path.stem}" for folder in VERSIONS for path in folder.glob("*.inr"))
    return [pytest.param(name, marks=pytest.mark.slow) if name in long else name for name in names]


@pytest.mark.parametrize("name", streams())
def test_a_second_decoder_agrees(name: str) -> None:
    """Every golden stream: bits where they are promised, elsewhere 2e-5 of the range and neighbouring values."""
    prior = GOLDEN.parent / f"{name}.prior"
    values = decode((GOLDEN.parent / f"{name}.inr").read_bytes(), prior.read_text() if prior.exists() else None)
    expected = np.load(GOLDEN.parent / f"{name}.npz")["arr_0"]
    assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
    assert values.flags.f_contiguous == expected.flags.f_contiguous
    if name[3:].startswith(EXACT):
        assert values.tobytes() == expected.tobytes()
        return
    if expected.dtype.kind == "c":
        expected, values = (np.stack([one.real, one.imag]) for one in (expected, values))
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(values), finite)
    assert values[~finite].tobytes() == expected[~finite].tobytes()
    a, b = values[finite].astype("f8"), expected[finite].astype("f8")
    spacing = np.abs(np.spacing(expected[finite])).astype("f8") if expected.dtype.kind == "f" else 1
    assert (np.abs(a - b) <= 2e-5 * (b.max() - b.min()) + spacing).all()


def test_it_is_plain_and_another_one() -> None:
    """It imports numpy and the standard library only, and each of its files is short."""
    for name in ("bits.py", "frame.py", "decoder.py", "residual.py", "correction.py"):
        text = (ROOT / "tests" / "reference_decoder" / name).read_text()
        assert "inr_codec" not in text and "numba" not in text
        assert text.count("\n") < LINES
