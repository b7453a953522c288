"""Residual layer: budgets hold, decoding is exact, boxes agree with the whole, damaged bytes raise one error."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.errors import CorruptChunk
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.encode import ResidualEncoder, move_share
from inr_codec.layers.residual.neighbourhood import KNOWN
from inr_codec.layers.residual.packet_tree import choose_packet_tree, mallat_tree, pack_packet_tree, unpack_packet_tree
from inr_codec.layers.residual.payload import decode_residual, residual_step
from inr_codec.layers.residual.quantise import weigh
from inr_codec.layers.residual.subbands import subbands_table
from tests.reference_decoder.residual import decode as plain_decode


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random blobs plus noise."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")
    out = sum(rng.normal() * np.sin(sum(rng.uniform(1, 9) * g for g in grid) + rng.uniform(0, 6)) for _ in range(12))
    return (100 * out + rng.normal(size=shape)).astype(np.float32)


SHAPES = [(24, 40, 33), (40, 50), (300,), (3, 6, 20, 21), (1, 64, 40), (5, 5, 5), (2, 2, 2), (1,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_bytes", [0, 9, 10, 40, 400])
def test_budget_holds_and_decoder_agrees_with_encoder(shape, n_bytes):
    """At most n_bytes come out, and decoding them gives the encoder's array bit for bit."""
    encoded = ResidualEncoder(smooth(shape)).encode(n_bytes)
    assert len(encoded.payload) <= n_bytes
    decoded = decode_residual(encoded.payload, shape)
    assert decoded.dtype == np.float32
    assert decoded.shape == shape
    assert np.array_equal(decoded, encoded.decoded)
    if encoded.payload:
        assert residual_step(encoded.payload) == encoded.step


def test_budget_is_used():
    """Where the data needs the bytes, at least 99 % of them are used."""
    for n_bytes in (300, 1000, 4000):
        assert len(ResidualEncoder(smooth((32, 48, 48))).encode(n_bytes).payload) >= 0.99 * n_bytes


@pytest.mark.parametrize("shape", [(24, 40, 33), (40, 50), (3, 6, 20, 21)])
def test_rounds_below_a_layer_lower_the_error_above_it(shape):
    """Below a layer that smooths, rounds that see its error leave less of it than those that do not, in equal bytes."""
    values, n_bytes = smooth(shape), 1000

    def above(decoded):
        wide = np.pad(decoded, [(0, 0)] * (decoded.ndim - 1) + [(1, 1)], mode="edge")
        return values - (wide[..., :-2] + 6 * decoded + wide[..., 2:]) / 8

    encoder = ResidualEncoder(values)
    seen = []
    below = encoder.encode_below(
        n_bytes, encoder.encode(n_bytes, 0).decoded, lambda decoded: seen.append(decoded) or above, [1.2, 1.1, 1.0, 1.0]
    )
    assert below is not None and len(seen) == 4
    plain = ResidualEncoder(values).encode(n_bytes, 1)
    settled = encoder.settle(n_bytes - 20, above)
    for coded, most in ((below, n_bytes), (settled, n_bytes - 20)):
        assert len(coded.payload) <= most
        assert np.array_equal(decode_residual(coded.payload, shape), coded.decoded)
        assert np.square(above(coded.decoded)).sum() < 0.9 * np.square(above(plain.decoded)).sum()


def test_a_second_payload_of_nearly_the_same_size_is_better_than_the_first():
    """An encoder goes on where it ended: as many bytes leave less error, and those of the decoded array are told."""
    values = smooth((32, 48, 48))
    encoder = ResidualEncoder(values)
    errors = []
    for effort in (0, 1):
        coded = encoder.encode(2000, effort)
        assert len(coded.payload) <= 2000
        assert np.array_equal(decode_residual(coded.payload, values.shape), coded.decoded)
        errors.append(float(np.square(values - coded.decoded, dtype=np.float64).sum()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("shape", [(64, 64, 64), (17, 33, 65), (1, 256, 256), (40, 100, 70), (1, 1, 1000), (3, 2, 2)])
def test_rounds_converge(shape):
    """The share that a round moves times the largest eigenvalue of S'S stays below 2, of two trees."""
    for tree in (
        pack_packet_tree(shape, mallat_tree(shape)),
        pack_packet_tree(shape, choose_packet_tree(smooth(shape), 0.5, 0.1)),
    ):
        steps, leaves = unpack_packet_tree(shape, tree)
        bands, vector = subbands_table(shape, leaves), np.random.default_rng(1).standard_normal(shape, np.float32)
        for _ in range(40):
            vector /= np.linalg.norm(vector)
            weigh(vector, bands, back=True)
            wavelet.inverse(vector, steps)
            wavelet.forward(vector, steps, transpose=True)
            weigh(vector, bands, back=True)
        assert move_share(shape, tree) * np.linalg.norm(vector) < 2


def test_box_equals_the_whole():
    """A box of the decoded array has the same values as the whole."""
    for shape in SHAPES[:5]:
        payload = ResidualEncoder(smooth(shape)).encode(500).payload
        box = tuple((n // 3, n // 3 + max(1, n // 4)) for n in shape)
        whole = decode_residual(payload, shape)[tuple(slice(*b) for b in box)]
        assert np.array_equal(decode_residual(payload, shape, box), whole)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_corrupt_chunk(data):
    """Bytes that nobody wrote give an array or CorruptChunk."""
    try:
        out = decode_residual(data, (6, 9, 11))
    except CorruptChunk:
        return
    assert out.shape == (6, 9, 11)


@pytest.mark.parametrize("kind", ["padded", "dense", "smooth", "one voxel"])
def test_generous_budgets_are_not_wasted(kind: str) -> None:
    """From 2 to 16 bits a voxel every step up in bytes is a step up in fidelity, whatever the data looks like."""
    shape = (8, 16, 20)
    values = np.zeros(shape, np.float32)
    if kind == "padded":
        values[:4, :9, :11] = np.random.default_rng(0).random((4, 9, 11), np.float32)
    elif kind == "dense":
        values[:] = np.random.default_rng(0).random(shape, np.float32)
    elif kind == "smooth":
        values[:] = np.sin(np.arange(shape[2]) / 5)
    else:
        values[1, 2, 3] = 1
    errors = []
    for bits in (2, 4, 8, 16):
        result = ResidualEncoder(values).encode(values.size * bits // 8)
        assert len(result.payload) <= values.size * bits // 8
        errors.append(float(np.mean((result.decoded - values) ** 2)))
    assert all(b <= 1.02 * a + 1e-10 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 1e-6


@pytest.mark.parametrize("shape", [*SHAPES, (15, 24, 33), (1, 1, 700)])
def test_a_second_decoder_agrees(shape: tuple[int, ...]) -> None:
    """A decoder in plain Python, written from the format's description, gives the same values bit for bit."""
    values = smooth(shape)
    for n_bytes in (10, 60, 500):
        payload = ResidualEncoder(values).encode(n_bytes).payload
        decoded = decode_residual(payload, shape)
        assert np.array_equal(plain_decode(payload, shape), decoded)


def test_a_second_decoder_agrees_on_long_rows() -> None:
    """The same where a row of a subband is longer than what is summed up at a time, and full at both ends."""
    values, rng = np.zeros((1, 1, 8400), np.float32), np.random.default_rng(0)
    values[..., 30:60], values[..., 8300:8380] = rng.random(30, np.float32), rng.random(80, np.float32)
    assert values.shape[2] // 2 > KNOWN
    payload = ResidualEncoder(values).encode(150).payload
    decoded = decode_residual(payload, values.shape)
    assert np.ptp(decoded[..., :100]) > 0.3 < np.ptp(decoded[..., 8250:])
    assert np.array_equal(plain_decode(payload, values.shape), decoded)
