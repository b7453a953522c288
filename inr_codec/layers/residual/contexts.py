"""Contexts of a bit: neighbours in the subband, its parent and cousins, and two predictors that learn.

A *cell* is 4 x 4 x 4 coefficients of a subband; one that holds zeros only is not visited. What lies around a
coefficient is in `neighbourhood`, where `Work` tells the arrays. Contexts are int64, places in the table of counted
probabilities; those of magnitudes lie in the part of one decision.
"""

from math import isqrt

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.neighbourhood import AROUND, FEATURES, SAME, SHARES, at
from inr_codec.layers.residual.subbands import (
    CELL_Y,
    CELL_Z,
    CELLS,
    COUSIN,
    KIND,
    NX,
    ORIENTATION,
    PARENT,
    SHIFT_X,
)
from inr_codec.runtime.kernels import inner

MAGNITUDE = np.array([min(m, 20) + isqrt(max(m - 20, 0)) for m in range(600)], np.int8)
KINDS = 64  # 8 levels x 8 orientations
SIGN_LIMIT = 2000


def _log_bins(size: int, parts: int, offset: int) -> npt.NDArray[np.int8]:
    """bin(v) of v = 0..size - 1: octaves of v + offset in `parts` (a power of two) equal parts, from 0 on."""
    bits = parts.bit_length() - 1
    out = []
    for v in range(offset, size + offset):
        octave = v.bit_length() - 1
        out.append(parts * octave + ((v << bits) >> octave) - parts)
    return (np.array(out) - out[0]).astype(np.int8)


FINE = np.minimum(_log_bins(8192, 4, 8), 39)
"""40 bins of a predicted magnitude in units of 2^-8."""
FINE_BINS = 40
COARSE = np.minimum(_log_bins(256, 2, 1), 15)
"""16 bins of a sum of magnitudes, two per octave."""


def _places(sizes: list[int], start: int = 0) -> npt.NDArray[np.int64]:
    return np.cumsum([start, *sizes])


COEFFICIENT = _places(
    [
        KINDS * FINE_BINS,
        8 * 256,
        KINDS * 256,
        8 * 256,
        KINDS * 256,
        8 * 4096,
        FINE_BINS * 256,
        8 * FINE_BINS,
        KINDS * 64,
    ]
)
"""First entry of each context of a coefficient within the part of one decision; the last one is the size of a part."""
CLASSES = 6
PART = int(COEFFICIENT[-1])
CELL = _places([KINDS * 256, KINDS * 64, KINDS * 32], CLASSES * PART)
SIGN = _places([8 * 243, KINDS * 32, 8 * 81, 8 * 81], int(CELL[-1]))
ENTRIES = int(SIGN[-1])


@inner()
def _coarse(v):
    """Bin of a sum of magnitudes, 0 .. 15."""
    return COARSE[min(v, 255) & 255]


@inner()
def cell_contexts(table, b, cells, lines, contexts, z, y, x):
    """Contexts of the bit that tells whether cell (z, y, x) of band b holds anything; returns the place of the cell."""
    band = table[b]
    sz, sy = band[CELL_Z], band[CELL_Y]
    c = band[CELLS] + z * sz + y * sy + x
    before_x, before_y, before_z = cells[c - 1] & 1, cells[c - sy] & 1, cells[c - sz] & 1
    others = (cells[c - sy + 1] & 1) + (cells[c - sy - 1] & 1) + (cells[c - sz + 1] & 1) + (cells[c - sz - 1] & 1)
    others += (cells[c - sz - sy] & 1) + (cells[c - sz + sy] & 1)
    cousins = 0
    for k in range(band[COUSIN], b):
        cousins += cells[table[k, CELLS] + z * table[k, CELL_Z] + y * table[k, CELL_Y] + x] & 1
    above = 0
    if band[PARENT] >= 0:
        nx = table[band[PARENT], NX]
        x0, x1 = at(4 * x, band[SHIFT_X]), min(at(4 * x + 3, band[SHIFT_X]) + 1, nx)
        for k in range(max(x0 - 1, 0), min(x1 + 1, nx)):
            above += lines[nx + k]
        for k in range(x0, x1):
            above += 3 * lines[k]
    kind, near = band[KIND], before_x + before_y + before_z
    up, cousins = _coarse(above), min(cousins, 3)
    contexts[0] = CELL[0] + (((kind * 4 + near) * 2 + (others > 1)) * 16 + up) * 2 + (cousins > 0)
    contexts[1] = CELL[1] + (kind * 16 + up) * 4 + cousins
    contexts[2] = CELL[2] + (((kind * 2 + before_x) * 2 + before_y) * 2 + before_z) * 4 + min(others, 3)
    return c


@inner()
def coefficient_contexts(f, before, second, weights, contexts, kind, cousins, corner):
    """Contexts of the magnitude of a coefficient from its features; returns the predicted one in units of 2^-8.

    Features 0 and 7, the magnitudes `before` and the one before that, are left out of `f`. `corner`: 16 times how many
    coefficients of the cell are known not to be zero, at most 3, and the place in the cell.
    """
    base = COEFFICIENT
    same, around = f[SAME] * SHARES[cousins] >> 20, f[AROUND] * SHARES[cousins] >> 20
    f[13], f[14], f[15] = same >> 3, around >> 3, 1
    mean = weights[0] * before + weights[7] * second
    for k in range(FEATURES):
        mean += weights[k] * f[k]
    mean >>= 12
    fine, level = FINE[min(max(mean, 0), 8191)], kind >> 3
    above, behind, parent = np.int64(f[1]), np.int64(f[2]), np.int64(f[10])
    faces, edges, far = before + above + behind, f[3] + f[4] + f[5], second + f[8] + f[9]
    own, up, mid = 2 * faces + edges, 2 * parent, np.int64(f[11])
    mixed = 38 * faces + 23 * (edges + far) + 15 * f[6] + 32 * up + 26 * mid + 13 * f[12]
    mixed += (102 * same + 13 * around) >> 3
    beside = _coarse(same >> 2)
    near = ((min(before, 3) * 4 + min(above, 3)) * 4 + min(behind, 3)) * 4 + min(parent, 3)
    contexts[0] = base[0] + kind * FINE_BINS + fine
    contexts[1] = base[1] + near * 8 + level
    contexts[2] = base[2] + (kind * 16 + _coarse(up)) * 16 + _coarse(mid + (f[12] >> 1))
    contexts[3] = base[3] + (level * 16 + _coarse(own)) * 16 + _coarse(up + mid)
    contexts[4] = base[4] + (kind * 16 + _coarse((own + f[6] + 2 * far) >> 1)) * 16 + beside
    contexts[5] = base[5] + ((level * 16 + _coarse(same >> 1)) * 16 + _coarse(around >> 2)) * 16 + _coarse(faces)
    contexts[6] = base[6] + (fine * 16 + _coarse(up + (mid >> 1))) * 16 + beside
    contexts[7] = base[7] + level * FINE_BINS + FINE[min(mixed, 8191) & 8191]
    contexts[8] = base[8] + kind * 64 + corner
    return mean


@inner()
def learn_magnitude(f, before, second, weights, mean, magnitude):
    """Move the weights of the magnitude predictor by normalised least mean squares."""
    norm = 1 + before * before + second * second
    for k in range(FEATURES):
        norm += f[k] * f[k]
    error = min(max((MAGNITUDE[min(magnitude, 599)] << 8) - mean, -1536), 1536)
    step = error * 200 // (4 * norm + 10)
    weights[0] += step * before
    weights[7] += step * second
    for k in range(FEATURES):
        weights[k] += step * f[k]


@inner()
def sign3(v):
    """0, 1, 2 for a number below, at, above zero."""
    return 1 + (v > 0) - (v < 0)


@inner()
def sign_contexts(table, b, s, f, slots, places, weights, contexts, x, n):
    """Contexts of the sign of a coefficient of a known row; returns its predicted logit in units of 2^-8.

    s: signs of the bands; f: scratch for the n around the coefficient, slots: which weight each has. The last four are
    the parent's, whose rows are the last in `places`.
    """
    band, base = table[b], SIGN
    above = 0
    if band[PARENT] >= 0:
        n -= 4
        p = at(x, band[SHIFT_X])
        row = places[n] + p
        above = np.int64(s[row])
        f[n], f[n + 1] = above, s[row + 1] - s[row - 1]
        f[n + 2] = s[places[n + 1] + p] - s[places[n + 2] + p]
        f[n + 3] = s[places[n + 3] + p] - s[places[n + 4] + p]
    for i in range(n):
        f[i] = s[places[i] + x]
    if band[PARENT] >= 0:
        n += 4
    logit = 0
    for i in range(n):
        logit += weights[slots[i]] * f[i]
    logit = min(max(logit >> 10, -SIGN_LIMIT), SIGN_LIMIT)
    t0, t2, t4, o = sign3(f[0]), sign3(f[2]), sign3(f[4]), band[ORIENTATION]
    contexts[0] = base[0] + ((((o * 3 + t0) * 3 + t2) * 3 + t4) * 3 + sign3(f[1])) * 3 + sign3(f[3])
    contexts[1] = base[1] + band[KIND] * 32 + min(max((logit + 1024) >> 6, 0), 31)
    contexts[2] = base[2] + (((o * 3 + sign3(f[6])) * 3 + sign3(f[7])) * 3 + t0) * 3 + t2
    contexts[3] = base[3] + (((o * 3 + sign3(above)) * 3 + t4) * 3 + t0) * 3 + t2
    return logit


@inner()
def learn_sign(f, slots, weights, n, error):
    """Move the weights of the sign predictor; error = bit - its own probability, in units of 2^-16."""
    for i in range(n):
        weights[slots[i]] += (error * f[i] * 30) >> 10
