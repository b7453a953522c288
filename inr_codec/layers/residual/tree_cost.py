"""What a subband would cost: distortion + lambda x bits of a rough model, for every split of an array's last axis.

A coefficient below DEAD quantiser steps becomes zero, any other leaves LIVE_ERROR squared steps and takes LIVE_BITS and
OCTAVE_BITS for each octave of it above the step. Cells of 4 x 4 x 4 coefficients that are not all zero take CELL_BITS
and the entropy of their map of zeros. All of it was measured in benchmarks/studies/constants.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.wavelet import FloatArray, copied, lift, norms, scaled
from inr_codec.runtime.kernels import inner, kernel

DEAD, LIVE_ERROR = np.float32(0.8), np.float32(0.083)
"""Steps below which a coefficient becomes zero, and squared steps that any other leaves: 1 / 12, as even errors do."""
LIVE_BITS, OCTAVE_BITS, CELL_BITS = 1.5, 1.8, 1.0
"""Bits of a coefficient that is not zero, for each octave of it above the step, and of a cell that has one."""
SIDE = 4
"""Of a cell. Their lines, at most 16, lie beside each other: a sample of all of them is a vector."""
_ZERO, _ONE = np.float32(0), np.float32(1)
LARGEST = 2.0**22
"""Steps that the largest value of an array may have: products of four coefficients are finite in float32, and of eight
times as many in float64."""

Floats = npt.NDArray[np.float64]


@inner()
def _subband(lines: FloatArray, o: int, n: int, size: int, along: Any, work: Any, table: Floats, lam: float) -> float:
    """The cost of n samples of `size` lines: sample i of line k, in steps, is lines[o + i * size + k] * along[i].

    along: float32, norms along the lines. work: three float32 (size,) to work in. table: `_map_bits`.
    """
    errors, lives, products = work
    total = bits = 0.0
    for x in range(0, n, SIDE):
        here = min(SIDE, n - x)
        w0, w1 = along[x], along[x + 1] if here > 1 else _ZERO
        w2, w3 = along[x + 2] if here > 2 else _ZERO, along[x + 3] if here > 3 else _ZERO
        o0 = np.uint64(o + x * size)
        o1, o2 = np.uint64(o + min(x + 1, n - 1) * size), np.uint64(o + min(x + 2, n - 1) * size)
        o3 = np.uint64(o + min(x + 3, n - 1) * size)
        for k in range(np.uint64(size)):
            a, b = abs(lines[o0 + k]) * w0, abs(lines[o1 + k]) * w1
            c, d = abs(lines[o2 + k]) * w2, abs(lines[o3 + k]) * w3
            e = a * a if a < DEAD else LIVE_ERROR
            f = b * b if b < DEAD else LIVE_ERROR
            g = c * c if c < DEAD else LIVE_ERROR
            h = d * d if d < DEAD else LIVE_ERROR
            errors[k] = (e + f) + (g + h)
            i, j = _ZERO if a < DEAD else _ONE, _ZERO if b < DEAD else _ONE
            lives[k] = (i + j) + ((_ZERO if c < DEAD else _ONE) + (_ZERO if d < DEAD else _ONE))
            products[k] = (_ONE if a < DEAD else a) * (_ONE if b < DEAD else b)
            products[k] *= (_ONE if c < DEAD else c) * (_ONE if d < DEAD else d)
        error = live = _ZERO
        for k in range(np.uint64(size)):
            error += errors[k]
            live += lives[k]
        total += float(error)
        if live > 0:
            bits += LIVE_BITS * live + table[here * size, int(live)]
            product = 1.0
            for k in range(size):
                product *= products[k]
                if k % 8 == 7:
                    bits += OCTAVE_BITS * math.log2(product)
                    product = 1.0
            bits += OCTAVE_BITS * math.log2(product)
    return total + lam * bits


@kernel()
def _costs(values, wz, wy, along, depth, scale, lam, table):  # type: ignore[no-untyped-def]
    """Costs of an array, and of high and low part after each of `depth` splits of the low one along the last axis.

    values: float32 (nz, ny, nx), coefficients; wz, wy: float32, their norms along these axes; along: float32, the norms
    along the last axis of the array, then of low and high part after each split. scale: 1 / step, float32. table:
    `_map_bits`. Returns float64 (1 + 2 depth,).
    """
    nz, ny, nx = values.shape
    most = SIDE * SIDE
    line, low = np.zeros(nx * most, np.float32), np.zeros((nx // 2 + 2) * most, np.float32)
    high = np.zeros((nx // 2 + 2) * most, np.float32)
    work = np.zeros(most, np.float32), np.zeros(most, np.float32), np.zeros(most, np.float32)
    out = np.zeros(1 + 2 * depth)
    for z0 in range(0, nz, SIDE):
        for y0 in range(0, ny, SIDE):
            my = min(SIDE, ny - y0)
            size = min(SIDE, nz - z0) * my
            for k in range(size):
                z, y = z0 + k // my, y0 + k % my
                weight, row, o = wz[z] * wy[y] * scale, values[z, y], np.uint64(k)
                for x in range(nx):
                    line[o] = row[x] * weight
                    o += np.uint64(size)
            out[0] += _subband(line, 0, nx, size, along, work, table, lam)
            n, w = nx, nx
            for level in range(depth):
                n_low, n_high = (n + 1) // 2, n // 2
                for i in range(n_low):
                    copied(low, i * size, line, 2 * i * size, size)
                for i in range(n_high):
                    copied(high, (i + 1) * size, line, (2 * i + 1) * size, size)
                scale_low, scale_high = lift(low, high, (n_low, n_high, size, 1, size, n_low * size))
                scaled(line, 0, low, 0, scale_low, n_low * size)
                scaled(high, size, high, size, scale_high, n_high * size)
                out[2 * level + 1] += _subband(high, size, n_high, size, along[w + n_low :], work, table, lam)
                out[2 * level + 2] += _subband(line, 0, n_low, size, along[w:], work, table, lam)
                n, w = n_low, w + n
    return out


def costs_along_last(values: FloatArray, wz: FloatArray, wy: FloatArray, step: float, lam: float, depth: int) -> Floats:
    """The cost of float32 (nz, ny, nx), coefficients whose norms along z and y are wz and wy, and of its parts after
    each of `depth` splits of the low one along x: whole, high, low, high, low, ..."""
    n = values.shape[2]
    along = np.concatenate([np.ones(n, np.float32), *(norms(n, level) for level in range(1, depth + 1))])
    out: Floats = _costs(values, wz, wy, along, depth, np.float32(1 / step), lam, _map_bits())
    return out


@cache
def _map_bits() -> Floats:
    """Bits of the map of zeros of a cell of m coefficients, n > 0 of them not zero, at [m, n]."""
    most = SIDE**3
    table = np.zeros((most + 1, most + 1))
    for m in range(1, most + 1):
        for n in range(1, m + 1):
            rest = (m - n) * math.log2(m / (m - n)) if n < m else 0.0
            table[m, n] = CELL_BITS + n * math.log2(m / n) + rest
    return table
