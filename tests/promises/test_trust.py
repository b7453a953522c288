"""The tables of docs/TRUST.md are those of its figures, and what they say of memory holds for small chunks."""

import json
import tracemalloc

import numpy as np
import pytest
from forging import header_of

from inr_codec import decode
from inr_codec.chunk.boxes import as_3d
from inr_codec.layers.correction.level_coder import encode_levels
from inr_codec.layers.correction.payload import Lattice, pack_correction
from inr_codec.stream.frame import Layer, LayerType, pack_stream
from tests.trust.memory import residual
from tests.trust.table import FIGURES, PAGE, filled


def test_the_tables_are_those_of_the_figures() -> None:
    """What `make trust` has written into docs/trust.json is what the page shows."""
    page = PAGE.read_text()
    assert filled(page, json.loads(FIGURES.read_text())) == page


def peak(shape: tuple[int, ...], layer: Layer) -> int:
    """Bytes that decoding a chunk of u1 allocates, at most, its array included."""
    data = pack_stream(header_of(shape, "u1"), [layer])
    tracemalloc.start()
    try:
        assert decode(data).shape == shape
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(2**18,), (512, 512), (2, 2, 2**16), (64, 64, 64)], ids=str)
def test_a_residual_holds_six_bytes_a_voxel_and_little_more(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of noise: coefficients, two bytes for each, the array, and what rows and cells of lines have around them."""
    monkeypatch.setenv("INR_CODEC_THREADS", "1")
    small, rng = tuple(min(n, 8) for n in shape), np.random.default_rng(0)
    fixed, most = (peak(size, Layer(LayerType.RESIDUAL, residual(size, rng))) for size in (small, shape))
    assert most - fixed < (16 if max(shape) > 1000 else 10) * 2**18


@pytest.mark.parametrize("shape", [(2**20,), (64, 128, 128)], ids=str)
def test_a_correction_holds_a_part_of_a_chunk(shape: tuple[int, ...]) -> None:
    """Of twice the voxels it allocates no more than the array has more."""
    rng, peaks = np.random.default_rng(0), []
    for size in ((shape[0] // 2, *shape[1:]), shape):
        levels = (rng.random(as_3d(size)) < 0.01).astype(np.int32)
        payload = pack_correction(0.0, Lattice(1.0, 1), encode_levels(levels, 1)[0])
        peaks.append(peak(size, Layer(LayerType.CORRECTION, payload)))
    assert peaks[1] - peaks[0] < 1.2 * 2**19
