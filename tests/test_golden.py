"""Streams written once are decoded for ever: golden files, which no test ever writes."""

from pathlib import Path

import numpy as np
import pytest

from inr_codec import decode, inspect

FOLDER = Path(__file__).parent / "golden" / "v1"
NAMES = sorted(path.stem for path in FOLDER.glob("*.inr"))


def test_there_are_golden_streams() -> None:
    """The files came along with the checkout."""
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_golden_stream(name: str) -> None:
    """Decodes to what it decoded to when it was written: bits where they are promised, elsewhere 2e-5 of the range."""
    data = (FOLDER / f"{name}.inr").read_bytes()
    expected = np.load(FOLDER / f"{name}.npz")["arr_0"]
    values = decode(data)
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    assert values.flags.f_contiguous == expected.flags.f_contiguous
    if name.startswith(("constant", "lossless", "bounded")):
        assert values.tobytes() == expected.tobytes()
        return
    finite = np.isfinite(expected) if expected.dtype.kind == "f" else np.ones(expected.shape, bool)
    assert (np.isfinite(values) == finite).all() if expected.dtype.kind == "f" else True
    assert values[~finite].tobytes() == expected[~finite].tobytes()
    a, b = values[finite].astype("f8"), expected[finite].astype("f8")
    allowed = 2e-5 * (b.max() - b.min()) + (expected.dtype.kind != "f") + (expected.dtype.itemsize == 2) * 0.1
    assert np.abs(a - b).max() <= allowed


def test_every_kind_of_layer_is_among_them() -> None:
    """Networks, deblocking, residual, filter, mask and lossless streams are all held."""
    layers = {layer for name in NAMES for layer in inspect((FOLDER / f"{name}.inr").read_bytes()).layers}
    assert layers >= {"network", "deblock", "residual", "filter", "mask", "lossless", "correction"}
