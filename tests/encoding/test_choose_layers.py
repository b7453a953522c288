"""The choice of layers: each that is kept leaves less error than the same bytes without it, and loses otherwise."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from samples import field

from inr_codec.chunk.intensity import Intensity
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.decoding.compose import chunk_values
from inr_codec.encoding.choose_layers import (
    FRAME,
    Candidate,
    choose_layers,
    choose_networks,
    with_networks,
    with_residual,
)
from inr_codec.stream.frame import Layer, LayerType

SHAPE = (24, 32, 32)
CONFIG = Config(bpv=1.0, effort="fast", steps=2000).resolved()


def unit_of(values: np.ndarray) -> UnitChunk:
    """A chunk of these values."""
    return UnitChunk(((values - values.min()) / np.ptp(values)).astype(np.float32))


def ball() -> UnitChunk:
    """A ball with a soft edge, brighter towards one side: easy for a network."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return unit_of(np.tanh(12 * (0.6 - np.sqrt(z**2 + y**2 + x**2))) * (1 + 0.2 * z))


def spots() -> UnitChunk:
    """Balls of two values with hard edges, at which wavelets ring: easy for a filter."""
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    centres = np.random.default_rng(0).uniform(0, SHAPE, (12, 3))
    return unit_of((np.linalg.norm(places[..., None, :] - centres, axis=-1) < 5).any(axis=-1).astype(float))


def error_of(layers: Sequence[Layer], chunk: UnitChunk) -> float:
    """Mean squared error of what is decoded."""
    shape = chunk.unit.shape
    decoded = chunk_values(layers, shape, all_indices(shape), Intensity(0.0, 1.0), np.dtype("f4"))
    return float(np.mean((decoded.astype(float) - chunk.unit) ** 2))


def nothing(chunk: UnitChunk) -> Candidate:
    """No layer."""
    return Candidate((), np.zeros_like(chunk.unit), math.inf)


@pytest.mark.parametrize("n_bytes", [250, 400])
def test_networks_are_kept_where_they_win(n_bytes: int) -> None:
    """With their residual they leave less error than a residual layer of all bytes."""
    chunk = ball()
    networks, best = choose_networks(chunk, n_bytes, 0, CONFIG)
    assert [layer.type for layer in best.layers] == [LayerType.NETWORK, LayerType.RESIDUAL]
    assert best.layers[:1] == networks.layers and best.bytes <= n_bytes
    assert error_of(best.layers, chunk) < error_of(with_residual(chunk, nothing(chunk), n_bytes).layers, chunk)


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_networks_are_dropped_where_they_lose(noise: float) -> None:
    """On a noisy field those that are tried leave more error, in as many bytes, and none is kept."""
    chunk, n_bytes = unit_of(field(SHAPE, noise=noise)), 900
    networks, best = choose_networks(chunk, n_bytes, 0, replace(CONFIG, steps=200))
    assert networks.layers == () and [layer.type for layer in best.layers] == [LayerType.RESIDUAL]
    tried = with_residual(chunk, with_networks(chunk, chunk.unit.size // 320, replace(CONFIG, steps=200)), n_bytes)
    assert tried.layers[0].type == LayerType.NETWORK
    assert error_of(best.layers, chunk) <= error_of(tried.layers, chunk)


@pytest.mark.parametrize("n_bytes", [600, 1500])
def test_a_filter_is_kept_where_it_wins(n_bytes: int) -> None:
    """Its bytes, given to the residual layer before it, would leave more error."""
    chunk = spots()
    layers = choose_layers(chunk, n_bytes, CONFIG)
    assert [layer.type for layer in layers][-2:] == [LayerType.RESIDUAL, LayerType.FILTER]
    assert sum(len(layer.payload) + FRAME for layer in layers) <= n_bytes
    base = tuple(layers[:-2])
    decoded = chunk_values(base, SHAPE, all_indices(SHAPE), Intensity(0.0, 1.0), np.dtype("f4")).astype(np.float32)
    without = with_residual(chunk, Candidate(base, decoded, math.inf), n_bytes)
    assert error_of(layers, chunk) < error_of(without.layers, chunk)


def test_a_residual_below_a_filter_is_coded_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers in as many bytes leave more error where the residual's rounds do not see the filter."""
    chunk, n_bytes = spots(), 1500
    below = choose_layers(chunk, n_bytes, CONFIG)
    monkeypatch.setattr("inr_codec.encoding.choose_layers.below_filter", lambda *_: None)
    plain = choose_layers(chunk, n_bytes, CONFIG)
    assert [layer.type for layer in below] == [layer.type for layer in plain]
    for layers in (below, plain):
        assert sum(len(layer.payload) + FRAME for layer in layers) <= n_bytes
    assert error_of(below, chunk) < 0.97 * error_of(plain, chunk)


@pytest.mark.parametrize("gain", [40.0, 1e4])
def test_rounds_that_diverge_are_given_up(gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the error counts far too much, no more of it is left than before the rounds, within the same bytes."""
    chunk, n_bytes = spots(), 1500
    monkeypatch.setattr("inr_codec.encoding.choose_layers.GAINS", (gain, gain))
    layers = choose_layers(chunk, n_bytes, CONFIG)
    assert sum(len(layer.payload) + FRAME for layer in layers) <= n_bytes
    assert error_of(layers, chunk) < choose_networks(chunk, n_bytes, 120, CONFIG)[1].error


def test_deblocking_is_kept_where_it_wins() -> None:
    """Networks of several blocks, and the same without the filter across their faces."""
    chunk = unit_of(field(SHAPE, noise=0.01))
    config = replace(CONFIG, steps=200, partition="equal", max_blocks=8, deblock=True)
    found = with_networks(chunk, 500, config)
    assert [layer.type for layer in found.layers] == [LayerType.NETWORK, LayerType.DEBLOCK]
    assert found.error == pytest.approx(error_of(found.layers, chunk), rel=1e-3)
    assert error_of(found.layers, chunk) < error_of(found.layers[:1], chunk)
