"""What is known before a bit: neighbours in the band, its parent and cousin bands, and two predictors that learn.

Magnitudes are looked at through min(m, 20) + isqrt(max(m - 20, 0)), signs as -4..4 (sign x min(m, 4)). Neighbours
outside a band are zero. A *cell* is 4 x 4 x 4 coefficients of a band; one that holds zeros only is not visited.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inr_codec.bands import (
    CELL_Y,
    CELL_Z,
    CELLS,
    COUSIN,
    KIND,
    LEVEL,
    NX,
    NY,
    NZ,
    ORIENTATION,
    PARENT,
    PARENT_PLACE,
    PARENT_Y,
    PARENT_Z,
    PLACE,
    ROW_Y,
    ROW_Z,
    SHIFT_X,
    SHIFT_Y,
    SHIFT_Z,
)
from inr_codec.kernels import inner

Table = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int64]

MAGNITUDE = np.array([min(m, 20) + isqrt(max(m - 20, 0)) for m in range(600)], np.int16)
KINDS = 64  # 8 levels x 8 orientations
FEATURES = 16  # of the magnitude predictor
SLOTS = 16 + 7 * 8  # weights of the sign predictor
SIGN_LIMIT = 2000


def _log_bins(size: int, parts: int, offset: int) -> npt.NDArray[np.int16]:
    """bin(v) of v = 0..size - 1: octaves of v + offset in `parts` (a power of two) equal parts, from 0 on."""
    bits = parts.bit_length() - 1
    out = []
    for v in range(offset, size + offset):
        octave = v.bit_length() - 1
        out.append(parts * octave + ((v << bits) >> octave) - parts)
    return (np.array(out) - out[0]).astype(np.int16)


FINE = np.minimum(_log_bins(8192, 4, 8), 39)
"""40 bins of a predicted magnitude in units of 2^-8."""
FINE_BINS = 40
COARSE = _log_bins(2048, 2, 1)
"""Bins of a sum of magnitudes, two per octave."""


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


class Work(NamedTuple):
    """What the coder remembers of the coefficients coded so far, and scratch."""

    magnitudes: npt.NDArray[np.int16]  # of all bands, each padded by PAD zeros
    signed: npt.NDArray[np.int16]  # in the same places
    cells: npt.NDArray[np.int16]  # 0: zeros only, otherwise 1 + 2 min(coefficients that are not zero, 3)
    features: Ints  # of the magnitude predictor
    signs: Ints  # around a coefficient
    slots: Ints  # and the weight that each belongs to


def new_work(magnitudes: int, cells: int) -> Work:
    """Empty memory for bands of that many padded magnitudes and cells."""
    return Work(
        np.zeros(magnitudes, np.int16),
        np.zeros(magnitudes, np.int16),
        np.zeros(cells, np.int16),
        np.zeros(FEATURES, np.int64),
        np.zeros(SLOTS, np.int64),
        np.zeros(SLOTS, np.int64),
    )


@inner()
def at(i: int, shift: int) -> int:
    """The index in a band coarser by `shift` levels that covers index i; finer: its first."""
    return i >> shift if shift >= 0 else i << -shift


@inner()
def _coarse(v: int, most: int) -> int:
    return min(int(COARSE[min(v, 2047)]), most)


@inner()
def cell_contexts(table: Table, b: int, work: Work, z: int, y: int, x: int, contexts: Ints) -> int:
    """Contexts of the bit that tells whether cell (z, y, x) of band b holds anything; returns the place of the cell."""
    band, cells, magnitudes = table[b], work.cells, work.magnitudes
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
        parent = table[band[PARENT]]
        z0, z1 = at(4 * z, band[SHIFT_Z]), at(4 * z + 3, band[SHIFT_Z])
        y0, y1 = at(4 * y, band[SHIFT_Y]), at(4 * y + 3, band[SHIFT_Y])
        x0, x1 = at(4 * x, band[SHIFT_X]), at(4 * x + 3, band[SHIFT_X])
        for i in range(max(z0 - 1, 0), min(z1 + 2, parent[NZ])):
            for j in range(max(y0 - 1, 0), min(y1 + 2, parent[NY])):
                for k in range(max(x0 - 1, 0), min(x1 + 2, parent[NX])):
                    inside = z0 <= i <= z1 and y0 <= j <= y1 and x0 <= k <= x1
                    above += magnitudes[band[PARENT_PLACE] + i * band[PARENT_Z] + j * band[PARENT_Y] + k] * (
                        4 if inside else 1
                    )
    kind, near = band[KIND], before_x + before_y + before_z
    up, cousins = _coarse(above, 15), min(cousins, 3)
    contexts[0] = CELL[0] + (((kind * 4 + near) * 2 + (others > 1)) * 16 + up) * 2 + (cousins > 0)
    contexts[1] = CELL[1] + (kind * 16 + up) * 4 + cousins
    contexts[2] = CELL[2] + (((kind * 2 + before_x) * 2 + before_y) * 2 + before_z) * 4 + min(others, 3)
    return int(c)


@inner()
def coefficient_contexts(
    table: Table, b: int, work: Work, z: int, y: int, x: int, seen: int, weights: Ints, contexts: Ints
) -> int:
    """Contexts of the magnitude of coefficient (z, y, x) of band b; returns its predicted magnitude in units of 2^-8.

    `seen` is how many coefficients of its cell are known not to be zero, at most 3.
    """
    band, m, f = table[b], work.magnitudes, work.features
    sz, sy, kind, level = band[ROW_Z], band[ROW_Y], band[KIND], band[LEVEL]
    o = band[PLACE] + z * sz + y * sy + x
    f[0], f[1], f[2] = m[o - 1], m[o - sy], m[o - sz]
    f[3] = int(m[o - sy - 1]) + m[o - sy + 1]
    f[4] = int(m[o - sz - 1]) + m[o - sz + 1]
    f[5] = int(m[o - sz - sy]) + m[o - sz + sy]
    f[6] = int(m[o - sz - sy - 1]) + m[o - sz - sy + 1] + m[o - sz + sy - 1] + m[o - sz + sy + 1]
    f[7], f[8], f[9] = m[o - 2], m[o - 2 * sy], m[o - 2 * sz]
    f[10] = f[11] = f[12] = 0
    if band[PARENT] >= 0:
        hz, hy, hx, pz, py = band[SHIFT_Z], band[SHIFT_Y], band[SHIFT_X], band[PARENT_Z], band[PARENT_Y]
        p = band[PARENT_PLACE] + at(z, hz) * pz + at(y, hy) * py + at(x, hx)
        pz = pz if hz <= 0 or (2 * z >> hz) & 1 else -pz  # towards the half of the parent that (z, y, x) is in
        py = py if hy <= 0 or (2 * y >> hy) & 1 else -py
        px = 1 if hx <= 0 or (2 * x >> hx) & 1 else -1
        f[10] = m[p]
        f[11] = int(m[p + pz]) + m[p + py] + m[p + px]
        f[12] = int(m[p - pz]) + m[p - py] + m[p - px] + m[p + pz + py] + m[p + py + px] + m[p + pz + px]
    same = around = 0
    for k in range(band[COUSIN], b):
        kz, ky = table[k, ROW_Z], table[k, ROW_Y]
        p = table[k, PLACE] + z * kz + y * ky + x
        same += int(m[p])
        around += int(m[p + 1]) + m[p - 1] + m[p + ky] + m[p - ky] + m[p + kz] + m[p - kz]
    cousins = b - band[COUSIN]
    if cousins > 1:
        same, around = 8 * same // cousins, 8 * around // cousins
    else:
        same, around = 8 * same, 8 * around
    f[13], f[14], f[15] = same >> 3, around >> 3, 1
    mean = 0
    for i in range(FEATURES):
        mean += weights[i] * f[i]
    mean >>= 12
    fine = int(FINE[min(max(mean, 0), 8191)])
    faces, edges, far = f[0] + f[1] + f[2], f[3] + f[4] + f[5], f[7] + f[8] + f[9]
    own, up = 2 * faces + edges, 2 * f[10] + f[11]
    mixed = 38 * faces + 23 * (edges + far) + 15 * f[6] + 64 * f[10] + 26 * f[11] + 13 * f[12]
    mixed += (102 * same + 13 * around) >> 3
    base = COEFFICIENT
    contexts[0] = base[0] + kind * FINE_BINS + fine
    contexts[1] = base[1] + (((min(f[0], 3) * 4 + min(f[1], 3)) * 4 + min(f[2], 3)) * 4 + min(f[10], 3)) * 8 + level
    contexts[2] = base[2] + (kind * 16 + _coarse(2 * f[10], 15)) * 16 + _coarse(f[11] + (f[12] >> 1), 15)
    contexts[3] = base[3] + (level * 16 + _coarse(own, 15)) * 16 + _coarse(up, 15)
    contexts[4] = base[4] + (kind * 16 + _coarse((own + f[6] + 2 * far) >> 1, 15)) * 16 + _coarse(same >> 2, 15)
    contexts[5] = (
        base[5] + ((level * 16 + _coarse(same >> 1, 15)) * 16 + _coarse(around >> 2, 15)) * 16 + _coarse(faces, 15)
    )
    contexts[6] = base[6] + (fine * 16 + _coarse(2 * f[10] + (f[11] >> 1), 15)) * 16 + _coarse(same >> 2, 15)
    contexts[7] = base[7] + level * FINE_BINS + int(FINE[min(mixed, 8191)])
    contexts[8] = base[8] + (kind * 4 + seen) * 16 + (z & 3) * 4 + (y & 3)
    return mean


@inner()
def learn_magnitude(work: Work, weights: Ints, mean: int, magnitude: int) -> None:
    """Move the weights of the magnitude predictor by normalised least mean squares."""
    f = work.features
    norm = 1
    for i in range(FEATURES):
        norm += f[i] * f[i]
    error = min(max((int(MAGNITUDE[min(magnitude, 599)]) << 8) - mean, -1536), 1536)
    step = error * 200 // (4 * norm + 10)
    for i in range(FEATURES):
        weights[i] += step * f[i]


@inner()
def sign_contexts(
    table: Table, b: int, work: Work, z: int, y: int, x: int, weights: Ints, contexts: Ints
) -> tuple[int, int]:
    """Contexts of the sign of a coefficient; returns its predicted logit (2^-8) and the number of inputs to that."""
    band, s, f, slots = table[b], work.signed, work.signs, work.slots
    sz, sy, orientation = band[ROW_Z], band[ROW_Y], band[ORIENTATION]
    o = band[PLACE] + z * sz + y * sy + x
    f[0], f[1], f[2], f[3], f[4], f[5] = s[o - 1], s[o - 2], s[o - sy], s[o - 2 * sy], s[o - sz], s[o - 2 * sz]
    f[6], f[7], f[8], f[9] = s[o - sy - 1], s[o - sy + 1], s[o - sz - 1], s[o - sz + 1]
    f[10], f[11] = s[o - sz - sy], s[o - sz + sy]
    n = 12
    above = 0
    if band[PARENT] >= 0:
        pz, py = band[PARENT_Z], band[PARENT_Y]
        p = band[PARENT_PLACE] + at(z, band[SHIFT_Z]) * pz + at(y, band[SHIFT_Y]) * py + at(x, band[SHIFT_X])
        above = int(s[p])
        f[12], f[13] = above, int(s[p + 1]) - s[p - 1]
        f[14], f[15] = int(s[p + py]) - s[p - py], int(s[p + pz]) - s[p - pz]
        n = 16
    for i in range(n):
        slots[i] = i
    for k in range(band[COUSIN], b):
        kz, ky, first = table[k, ROW_Z], table[k, ROW_Y], 16 + 7 * table[k, ORIENTATION]
        p = table[k, PLACE] + z * kz + y * ky + x
        f[n], f[n + 1], f[n + 2] = s[p], s[p - 1], s[p + 1]
        f[n + 3], f[n + 4], f[n + 5], f[n + 6] = s[p - ky], s[p + ky], s[p - kz], s[p + kz]
        for i in range(7):
            slots[n + i] = first + i
        n += 7
    logit = 0
    for i in range(n):
        logit += weights[slots[i]] * f[i]
    logit = min(max(logit >> 10, -SIGN_LIMIT), SIGN_LIMIT)
    sx, s_y, s_z = 1 + np.sign(f[0]), 1 + np.sign(f[2]), 1 + np.sign(f[4])
    base = SIGN
    contexts[0] = base[0] + (((orientation * 3 + sx) * 3 + s_y) * 3 + s_z) * 9 + 3 * np.sign(f[1]) + np.sign(f[3]) + 4
    contexts[1] = base[1] + band[KIND] * 32 + min(max((logit + 1024) >> 6, 0), 31)
    contexts[2] = base[2] + (orientation * 9 + 3 * np.sign(f[6]) + np.sign(f[7]) + 4) * 9 + sx * 3 + s_y
    contexts[3] = base[3] + ((orientation * 3 + 1 + np.sign(above)) * 3 + s_z) * 9 + sx * 3 + s_y
    return logit, n


@inner()
def learn_sign(work: Work, weights: Ints, n: int, error: int) -> None:
    """Move the weights of the sign predictor; error = bit - its own probability, in units of 2^-16."""
    for i in range(n):
        weights[work.slots[i]] += (error * work.signs[i] * 30) >> 10
