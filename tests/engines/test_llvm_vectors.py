"""Vector code for processors that are not this one: LLVM makes it run here all the same."""

from collections.abc import Iterator

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from inr_codec.engines.fused import llvm_vectors as vectors
from inr_codec.engines.fused import tiles
from inr_codec.engines.fused.llvm_vectors import Vectors, in_vectors, registers


@pytest.mark.parametrize(
    ("triple", "features", "expected"),
    [
        ("x86_64-unknown-linux-gnu", "+64bit,+avx,+avx2,+avx512f", (16, 16)),
        ("x86_64-unknown-linux-gnu", "+64bit,+avx,+avx2,-avx512f", (8, 8)),
        ("x86_64-unknown-linux-gnu", "", (4, 8)),
        ("aarch64-unknown-linux-gnu", "+neon", (4, 16)),
        ("arm64-apple-darwin", "+neon", (4, 16)),
    ],
)
def test_vectors_fill_the_registers(triple: str, features: str, expected: tuple[int, int]) -> None:
    """512, 256 or 128 bits, in half of 32 or 16 registers."""
    assert registers(triple, features.split(",")) == expected


@pytest.fixture(params=[(16, 16), (8, 8), (4, 16), (4, 8)], ids=str)
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """One of the processors that there are."""
    monkeypatch.setattr(vectors, "registers", lambda triple, features: request.param)
    return request.param


def test_every_processor_has_its_tiles(processor: tuple[int, int]) -> None:
    """Products and gradients with every size of block and every remainder are those of numpy."""
    affine, transposed, outer_sum = map(njit, (tiles.affine, tiles.transposed, tiles.outer_sum))
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (2, 3), (3, 2), (4, 4), (7, 5), (5, 7), (11, 15)]:
        parameters = rng.standard_normal(n * m + m).astype(np.float32)
        matrix, bias = parameters[: n * m].reshape(m, n), parameters[n * m :, None]
        x, y = (rng.standard_normal((k, tiles.TILE)).astype(np.float32) for k in (n, m))
        out, back, gradient = np.empty_like(y), x.copy(), parameters.copy()
        affine(parameters, 0, x.reshape(-1), 0, out.reshape(-1), 0, n, m)
        transposed(parameters, 0, y.reshape(-1), 0, back.reshape(-1), 0, m, n, n)
        outer_sum(y.reshape(-1), 0, x.reshape(-1), 0, gradient, 0, n, m)
        np.testing.assert_allclose(out, matrix @ x + bias, atol=1e-4)
        np.testing.assert_allclose(back, x * (matrix.T @ y), atol=1e-4)
        np.testing.assert_allclose(gradient[: n * m].reshape(m, n), matrix + y @ x.T, atol=1e-4)
        np.testing.assert_allclose(gradient[n * m :], bias[:, 0] + y.sum(1), atol=1e-4)


def test_totals_are_sums_over_lanes(processor: tuple[int, int]) -> None:
    """As many vectors as there are lanes, or any smaller power of two: their sums come in their order."""
    lanes, _ = processor
    for count in (1 << k for k in range(lanes.bit_length())):

        @in_vectors
        def write(v: Vectors, rows: object, out: object, count: int = count) -> None:
            v.store(v.totals([v.load(v.at(rows, k * v.lanes)) for k in range(count)]), out)

        rows, out = np.arange(count * lanes, dtype=np.float32) ** 2, np.empty(lanes, np.float32)
        njit(lambda rows, out, write=write: write(rows, out))(rows, out)
        np.testing.assert_array_equal(out[:count], rows.reshape(count, lanes).sum(1))


@pytest.mark.parametrize("wrong", [np.zeros(64), np.zeros((8, 8), np.float32), np.zeros(64, np.float32)[::2], 1.5])
def test_what_is_no_float32_is_refused(wrong: object) -> None:
    """Arrays of other types and layouts, whose memory would be misread, are an error of compilation."""
    with pytest.raises(TypingError, match="flat array of float32"):
        njit(tiles.outer_sum)(wrong, 0, np.zeros(64, np.float32), 0, np.zeros(64, np.float32), 0, 1, 1)
