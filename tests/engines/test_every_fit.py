"""INR_CODEC_ENGINE names the engine of every fit: of blocks, of short fits, of learned starts and of the filter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import FAST, field

from inr_codec import INRCodec
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.encoding.learn_prior import learn_prior
from inr_codec.errors import ConfigError
from inr_codec.layers.filter.encode import encode_filter
from inr_codec.layers.filter.payload import apply_filter

NETWORK: dict[str, Any] = {"ratio": 12, "layers": "network"} | FAST


def blurred() -> tuple[UnitChunk, np.ndarray]:
    """A chunk, and what is left of it after a blur along each axis."""
    values = np.clip(field((12, 24, 24), noise=0.0) / 100 + 0.2, 0, 1).astype(np.float32)
    values[:, 8:16, 8:16] += 0.2
    near = values
    for axis in range(3):
        near = (np.roll(near, 1, axis) + near + np.roll(near, -1, axis)) / 3
    return UnitChunk(values, None), near.astype(np.float32)


def filter_alone(effort: str = "fast") -> tuple[bytes, float]:
    """Payload of a filter on a blurred chunk and the squared error after it: the filter's fit and no other."""
    chunk, near = blurred()
    found = encode_filter(chunk, near, 3 * chunk.squared_error(near) ** 0.5, 400, 1e-4, effort=effort)
    assert found is not None
    return found


FITS: dict[str, Callable[[], Any]] = {
    "networks": lambda: INRCodec(partition="none", **NETWORK).encode(field()),
    "measured allocation": lambda: INRCodec(partition="equal", max_blocks=8, **NETWORK).encode(field()),
    "measured partition": lambda: INRCodec(partition="measured", levels=1, **NETWORK).encode(field()),
    "all layers": lambda: INRCodec(ratio=12, **FAST).encode(field()),
    "prior": lambda: learn_prior([field()], Config(**NETWORK), rounds=1, steps=10),
    "filter": filter_alone,
}


@pytest.mark.parametrize("fit", FITS)
def test_an_engine_that_does_not_exist_stops_every_fit(fit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError, also from a chunk for which nothing but a filter is fitted."""
    monkeypatch.setenv("INR_CODEC_ENGINE", "abacus")
    with pytest.raises(ConfigError, match=r"^expected engine 'fused', 'torch' or 'triton', got 'abacus': "):
        FITS[fit]()


@pytest.mark.slow
def test_torch_fits_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU it takes off about as much of the error as the fused kernels do, with a payload of its own."""
    chunk, near = blurred()
    fused, with_fused = filter_alone()
    monkeypatch.setenv("INR_CODEC_ENGINE", "torch")
    monkeypatch.setenv("INR_CODEC_DEVICE", "cpu")
    torch, with_torch = filter_alone()
    assert torch != fused
    assert with_torch < 0.5 * chunk.squared_error(near)
    assert 0.8 < with_torch / with_fused < 1.25
    assert chunk.squared_error(apply_filter(near, torch)) == pytest.approx(with_torch, rel=1e-6)
