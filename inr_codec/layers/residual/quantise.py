"""Coefficients on their way to levels and back: weights by their norms, live cells, reconstruction points."""

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.subbands import CELL_Y, CELL_Z, CELLS, NX, NY, NZ, OFFSET, STRIDE_Y, STRIDE_Z, Subbands
from inr_codec.layers.residual.wavelet import FloatArray, Split, norms
from inr_codec.runtime.kernels import inner, kernel

Levels = npt.NDArray[np.int32]

POINTS = 3  # reconstruction points: of magnitude 1, of 2, of more (FORMAT.md section 6.5)
LEAST_WEIGHT = np.float32(1e-3)
"""Of a coefficient: where nothing counts, bits cost a thousand times as much as where voxels count 1."""
FRESH, REVIVED = 0.8, 1.25
"""Steps from which on a coefficient makes its cell worth coding: in the first pass, and in later ones where the cell
was zero before (benchmarks/studies/constants)."""
MIDDLE = 8
"""Coefficients at each end of a long subband whose norms differ from those between."""
_ZERO_POINT, _POINT_UNIT = 128, 256


def weigh(values: FloatArray, bands: Subbands, *, back: bool = False) -> None:
    """Multiply coefficients in place by the norms of what they give, so that one step suits all; `back`: divide."""
    for band in bands.order:
        box = values[tuple(slice(o, o + n) for o, n in zip(band.offset, band.size))]
        for axis in (a for a in range(3) if band.depth[a]):
            along = norms(values.shape[axis], band.depth[axis])[band.offset[axis] :][: band.size[axis]]
            factor = (1 / along if back else along).reshape([-1 if a == axis else 1 for a in range(3)])
            box *= factor


def restored(levels: Levels, bands: Subbands, step: float, points: bytes, out: FloatArray) -> None:
    """out <- the coefficients of levels: `dequantise` and `weigh` back in one.

    out: float32 of the levels' shape, which holds zeros where levels do, and may be their own memory. step: the
    quantiser's. points: reconstruction points, one byte each.
    """
    along = [
        _factors(n, *axis)
        for band in bands.order
        for n, *axis in zip(levels.shape, band.size, band.depth, band.high, strict=True)
    ]
    starts, flat = np.cumsum([0, *map(len, along)]), levels.reshape(-1)
    factors = np.concatenate(along)
    _restored(flat, bands.table, factors, starts, np.float32(step), _offsets(points), out.reshape(-1))


def _factors(n: int, size: int, depth: int, high: int) -> FloatArray:
    """1 / norms along an axis of n samples of a subband of `size` there; of a long one those of a short one.

    See `norms`: what is between the first MIDDLE and the last ones is the same everywhere.
    """
    if not depth:
        return np.ones(min(size, 2 * MIDDLE + 1), np.float32)
    few = min(n, (2 * MIDDLE << depth) + n % (1 << depth))
    short, low = norms(few, depth), -(-few >> depth)
    factors: FloatArray = np.divide(1, short[low:] if high else short[:low], dtype=np.float32)
    return factors


@inner()
def _place(i: int, size: int, held: int) -> int:
    """Where `_factors` of a subband holds the one of coefficient i of `size`, `held` of them in all."""
    return min(i, max(MIDDLE, i - (size - held)))


@kernel()
def _restored(levels, table, factors, starts, step, offsets, out):  # type: ignore[no-untyped-def]
    """out (flat float32) <- values of levels (flat int32) times the factors of their subband along each axis.

    table: that of `Subbands`. factors: float32, `_factors` of each subband along z, y and x, one after the other, that
    begin at `starts`. offsets: float32 (POINTS,), what reconstruction points add to a magnitude.
    """
    for b in range(table.shape[0]):
        band = table[b]
        along_z, along_y, along_x, end = starts[3 * b], starts[3 * b + 1], starts[3 * b + 2], starts[3 * b + 3]
        for z in range(band[NZ]):
            factor_z = factors[along_z + _place(z, band[NZ], along_y - along_z)]
            for y in range(band[NY]):
                factor_y = factors[along_y + _place(y, band[NY], along_x - along_y)]
                o = band[OFFSET] + z * band[STRIDE_Z] + y * band[STRIDE_Y]
                for x in range(band[NX]):
                    m = levels[o + x]
                    if m != 0:
                        value = _value(m, offsets, step)
                        factor_x = factors[along_x + _place(x, band[NX], end - along_x)]
                        out[o + x] = value * factor_z * factor_y * factor_x


def centroids(values: FloatArray, levels: Levels, step: float) -> bytes:
    """Where coefficients of each magnitude lie on average: one byte per point, 128 + 256 (mean - magnitude)."""
    flat, level = values.reshape(-1), levels.reshape(-1)
    live = np.flatnonzero(level)
    magnitude = np.abs(level[live])
    excess = np.abs(flat[live]) / np.float32(step) - magnitude
    out = []
    for m in range(1, POINTS + 1):
        chosen = excess[np.minimum(magnitude, POINTS) == m]
        mean = float(chosen.mean(dtype=np.float64)) if chosen.size else 0.0
        out.append(min(max(round(mean * _POINT_UNIT) + _ZERO_POINT, 0), 255))
    return bytes(out)


@inner()
def _value(m: int, offsets: FloatArray, step: np.float32) -> np.float32:
    """What a level that is not zero stands for."""
    offset = offsets[min(abs(m), POINTS) - 1]
    value: np.float32 = (np.float32(m) + offset if m > 0 else np.float32(m) - offset) * step
    return value


@kernel()
def _dequantise(levels, step, offsets, out):  # type: ignore[no-untyped-def]
    """out (flat float32) <- what levels (flat int32) stand for."""
    for i in range(levels.size):
        m = levels[i]
        out[i] = _value(m, offsets, step) if m != 0 else np.float32(0)


def dequantise(levels: Levels, step: float, points: bytes) -> FloatArray:
    """Weighted coefficients: sign x (magnitude + (point - 128) / 256) x quantiser step, zero for zero."""
    out = np.empty(levels.shape, np.float32)
    _dequantise(levels.reshape(-1), np.float32(step), _offsets(points), out.reshape(-1))
    return out


def _offsets(points: bytes) -> FloatArray:
    return ((np.frombuffer(points, np.uint8).astype(np.float32) - _ZERO_POINT) / _POINT_UNIT).astype(np.float32)


def spread_weights(weights: FloatArray, splits: list[Split]) -> FloatArray:
    """Mean weight of the values around each coefficient, in the layout of the coefficients that `splits` give."""
    out = weights.copy()
    for axis, offset, size in splits:
        box = np.moveaxis(out[tuple(slice(o, o + n) for o, n in zip(offset, size, strict=True))], axis, 0)
        inner = np.pad(box, [(1, 1), (0, 0), (0, 0)], mode="edge")
        smooth = (inner[:-2] + 2 * inner[1:-1] + inner[2:]) / 4
        half = (len(box) + 1) // 2
        box[:half], box[half:] = smooth[::2], smooth[1::2]
    return np.maximum(out, LEAST_WEIGHT)


@kernel()
def _mark(values, table, before, step, live):  # type: ignore[no-untyped-def]
    """live (uint8, of cells) <- 1 where coding pays: what was not zero before, or holds coefficients too large to drop.

    values: flat float32. table: that of `Subbands`. before: flat int32, levels of an earlier pass; empty without one.
    """
    threshold = step * np.float32(REVIVED if before.size else FRESH)
    for b in range(table.shape[0]):
        band = table[b]
        for z in range(band[NZ]):
            for y in range(band[NY]):
                o = band[OFFSET] + z * band[STRIDE_Z] + y * band[STRIDE_Y]
                c = band[CELLS] + (z >> 2) * band[CELL_Z] + (y >> 2) * band[CELL_Y]
                for x in range(band[NX]):
                    if abs(values[o + x]) >= threshold or (before.size and before[o + x] != 0):
                        live[c + (x >> 2)] = 1


def live_cells(values: FloatArray, bands: Subbands, step: float, before: Levels | None) -> npt.NDArray[np.uint8]:
    """1 for the cells worth coding; `before` are the levels of an earlier pass, without it the choice is rougher."""
    live = np.zeros(bands.cells, np.uint8)
    levels = np.zeros(0, np.int32) if before is None else before.reshape(-1)
    _mark(values.reshape(-1), bands.table, levels, np.float32(step), live)
    return live
