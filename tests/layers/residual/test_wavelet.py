"""Wavelet: inverse undoes forward, agrees with slow lifting and with its own transpose, boxes equal the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.packet_tree import choose_packet_tree, mallat_tree, subbands_of_tree

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 23))


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """White noise."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def slow_split(line: np.ndarray) -> np.ndarray:
    """CDF 9/7 of one line in double precision, sample by sample, with mirrored ends."""
    x = line.astype(np.float64).copy()
    n = x.size
    if n == 1:
        return x

    def mirrored(i: int) -> int:
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    factors = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
    for parity, k in zip((1, 0, 1, 0), factors):
        for i in range(parity, n, 2):
            x[i] += k * (x[mirrored(i - 1)] + x[mirrored(i + 1)])
    root, scale = np.sqrt(2), 1.230174104914001
    return np.concatenate([x[0::2] * root / scale, x[1::2] * -scale / root])


def tree_steps(shape: tuple[int, int, int], values: np.ndarray) -> list[wavelet.Split]:
    """The steps of a tree chosen for the values, which splits axes unevenly."""
    return subbands_of_tree(shape, choose_packet_tree(values, 0.5, 0.1))[0]


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.booleans())
def test_perfect_reconstruction(shape, classical):
    """Inverse after forward gives the values back to float32 precision, for classical and for uneven trees."""
    values = noise(shape)
    steps = subbands_of_tree(shape, mallat_tree(shape))[0] if classical else tree_steps(shape, values)
    work = values.copy()
    wavelet.forward(work, steps)
    wavelet.inverse(work, steps)
    assert np.abs(work - values).max() < 2e-5


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 17, 64, 100])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_split_equals_slow_lifting(n, axis):
    """A split along any axis is the textbook lifting of every line."""
    shape = tuple(n if a == axis else 3 for a in range(3))
    values = noise(shape)
    expected = np.apply_along_axis(slow_split, axis, values)
    wavelet.forward(values, [(axis, (0, 0, 0), shape)])
    assert np.allclose(values, expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(SHAPES)
def test_transpose_is_the_transpose(shape):
    """<inverse(y), x> = <y, transpose(x)>."""
    x, y = noise(shape, 1), noise(shape, 2)
    steps = tree_steps(shape, x)
    back, turned = y.copy(), x.copy()
    wavelet.inverse(back, steps)
    wavelet.forward(turned, steps, transpose=True)
    assert np.vdot(back, x) == pytest.approx(np.vdot(y, turned), abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.data())
def test_box_equals_the_whole(shape, data):
    """A box of the inverse is bit for bit that of the whole inverse."""
    values = noise(shape)
    steps = tree_steps(shape, values)
    box = []
    for n in shape:
        start = data.draw(st.integers(0, n - 1))
        box.append((start, data.draw(st.integers(start + 1, n))))
    whole, part = values.copy(), values.copy()
    wavelet.inverse(whole, steps)
    wavelet.inverse(part, steps, tuple(box))
    inside = tuple(slice(*b) for b in box)
    assert np.array_equal(whole[inside], part[inside])


@pytest.mark.parametrize("n", [2, 3, 15, 64, 300, 301, 1000, 4097])
def test_norms_of_long_lines_come_from_short_ones(n):
    """The norms are those of the synthesised unit coefficients, also where the middle of a long line is copied."""
    for levels in (1, 2, 3):
        if n >> levels == 0:
            continue
        sizes = [n]
        for _ in range(levels):
            sizes.append((sizes[-1] + 1) // 2)
        norms = wavelet.norms(n, levels)
        assert norms.shape == (sizes[-2],)
        for i in {0, 1, sizes[-1] // 2, sizes[-1] - 1, sizes[-2] - 1, (sizes[-1] + sizes[-2]) // 2}:
            unit = np.zeros((n, 1), np.float32)
            unit[i] = 1
            wavelet.inverse(unit, [(0, (0, 0), (k, 1)) for k in sizes[:-1]])
            assert norms[i] == pytest.approx(np.linalg.norm(unit), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 200000), (1, 200000, 1), (3, 1, 70000)], ids=str)
def test_few_long_lines_take_any_number_of_threads(shape, monkeypatch):
    """Fewer lines than threads: the same coefficients as on one thread, and back."""
    values, splits = noise(shape), [(1 if shape[1] > 1 else 2, (0, 0, 0), shape)]
    alone = values.copy()
    wavelet.forward(alone, splits)
    monkeypatch.setattr(wavelet, "threads", lambda: 7)
    shared = values.copy()
    wavelet.forward(shared, splits)
    assert np.array_equal(alone, shared)
    wavelet.inverse(shared, splits)
    np.testing.assert_allclose(shared, values, atol=1e-5)
