"""What is known of a row of coefficients before any of it is coded: sums over neighbours, one line for each feature.

Magnitudes are looked at through min(m, 20) + isqrt(max(m - 20, 0)), signs as -4..4 (sign x min(m, 4)). Neighbours
outside a subband ("band" for short) are zero, its parent is the next coarser band of its kind, its cousins are the
others of its size. In all functions `table` is that of `Subbands`, b a row of it, and what else they take is in `Work`.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.subbands import (
    COUSIN,
    NX,
    NY,
    NZ,
    ORIENTATION,
    PARENT,
    PLACE,
    ROW_Y,
    ROW_Z,
    SHIFT_X,
    SHIFT_Y,
    SHIFT_Z,
    ZEROS,
    Subbands,
)
from inr_codec.runtime.kernels import inner

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int8]
Sums = npt.NDArray[np.int16]

FEATURES = 16  # of the magnitude predictor
SLOTS = 16 + 7 * 8  # weights of the sign predictor
SAME, AROUND = FEATURES, FEATURES + 1
LINES = FEATURES + 2
"""Of sums of magnitudes: one for each feature, those in the same places of the cousins, and those beside these."""
KNOWN = 1 << 12
"""Coefficients of a row, a multiple of 4, whose sums are made at a time."""
NEAR = np.array(
    [(1, 0, -1, 0), (2, -1, 0, 0), (3, 0, -1, -1), (3, 0, -1, 1), (4, -1, 0, -1), (4, -1, 0, 1), (5, -1, -1, 0)]
    + [(5, -1, 1, 0), (6, -1, -1, -1), (6, -1, -1, 1), (6, -1, 1, -1), (6, -1, 1, 1), (8, 0, -2, 0), (9, -2, 0, 0)]
    + [(SAME, 0, 0, 0), (AROUND, 0, 0, -1), (AROUND, 0, 0, 1), (AROUND, 0, -1, 0), (AROUND, 0, 1, 0)]
    + [(AROUND, -1, 0, 0), (AROUND, 1, 0, 0)]
)
"""Line and (z, y, x) from a coefficient of what is summed there: 14 in earlier rows of the band, 7 in each cousin."""
OWN = 14
NEAR_SIGNS = np.array(
    [(0, 0, -1), (0, 0, -2), (0, -1, 0), (0, -2, 0), (-1, 0, 0), (-2, 0, 0), (0, -1, -1), (0, -1, 1), (-1, 0, -1)]
    + [(-1, 0, 1), (-1, -1, 0), (-1, 1, 0)]
    + [(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]
)
"""(z, y, x) of the signs that count: 12 in the band, 7 in each cousin."""
OWN_SIGNS = 12
SHARES = np.array([0] + [8 * ((1 << 20) // n + 1) for n in range(1, 9)])
"""v SHARES[n] >> 20 is 8 v // n for sums v of magnitudes of n cousins."""


Work = tuple[Small, Small, Small, Sums, Sums, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints]
"""What the coder remembers of the coefficients coded so far, and scratch:

     #  name         dtype  size               meaning
     0  magnitudes   int8   magnitudes         of all subbands, see `Subbands`
     1  signed       int8   magnitudes         sign x min(magnitude, 4), in the same places
     2  known_cells  int8   cells              0: zeros only; else 1 + 2 min(coefficients that are not zero, 3)
     3  lines        int16  LINES (KNOWN + 3)  sums around coefficients of a row, a line for each feature; less
                                               for short rows, at least two rows of a parent
     4  features     int16  4 LINES            those of four coefficients along x, one coefficient after the other
     5  signs        int64  SLOTS              signs around a coefficient
     6  slots        int64  SLOTS              the weight of each of them in the sign's predictor
     7  places       int64  SLOTS + 1          where they lie in `signed`, seen from the start of a row; then rows of
                                               the parent: the coefficient's, and y + 1, y - 1, z + 1, z - 1 of it
     8  keys         int64  9                  contexts of a cell or a magnitude
     9  inputs       int64  10                 of their mixer, the last one a bias
    10  sign_keys    int64  4                  contexts of a sign
    11  sign_inputs  int64  5                  of its mixer, the last one the predicted logit
    12  started      int64  72                 1 for the kinds of subbands that have been met
"""


def new_work(bands: Subbands) -> Work:
    """Empty memory."""
    longest = int(bands.table[:, NX].max())
    lines = max(LINES * (min(longest, KNOWN) + 3), 2 * longest)
    sizes = (SLOTS, SLOTS, SLOTS + 1, 9, 10, 4, 5, 72)
    small = (np.zeros(n, np.int8) for n in (bands.magnitudes, bands.magnitudes, bands.cells))
    sums = (np.zeros(n, np.int16) for n in (lines, 4 * LINES))
    return (*small, *sums, *(np.zeros(n, np.int64) for n in sizes))  # type: ignore[return-value]


@inner()
def at(i, shift):
    """The index in a band coarser by `shift` levels that covers index i; finer: its first."""
    return i >> shift if shift >= 0 else i << -shift


@inner()
def _add_line(lines, line, magnitudes, place, n):
    """lines[line : line + n] += magnitudes[place : place + n]."""
    target, source = lines[line : line + n], magnitudes[place : place + n]
    for x in range(n):
        target[x] += source[x]


@inner()
def know_cells(table, b, magnitudes, lines, z, y):
    """Before cells (z, y, x): sums of the parent's magnitudes over the rows of each cell, and of those around it."""
    band = table[b]
    for i in range(lines.size):
        lines[i] = 0
    if band[PARENT] >= 0:
        parent = table[band[PARENT]]
        z0, z1 = at(4 * z, band[SHIFT_Z]), at(4 * z + 3, band[SHIFT_Z])
        y0, y1 = at(4 * y, band[SHIFT_Y]), at(4 * y + 3, band[SHIFT_Y])
        nx = parent[NX]
        for i in range(max(z0 - 1, 0), min(z1 + 2, parent[NZ])):
            for j in range(max(y0 - 1, 0), min(y1 + 2, parent[NY])):
                place = parent[PLACE] + i * parent[ROW_Z] + j * parent[ROW_Y]
                _add_line(lines, nx, magnitudes, place, nx)
                if z0 <= i <= z1 and y0 <= j <= y1:
                    _add_line(lines, 0, magnitudes, place, nx)


@inner()
def know_band(table, b, slots):
    """Before a band: which weights its signs' neighbours have, and their number."""
    n = 0
    for k in range(b, table[b, COUSIN] - 1, -1):
        start, count = (0, OWN_SIGNS) if k == b else (16 + 7 * table[k, ORIENTATION], 7)
        for i in range(count):
            slots[n] = start + i
            n += 1
    if table[b, PARENT] >= 0:
        for i in range(OWN_SIGNS, 16):
            slots[n] = i
            n += 1
    return n


@inner()
def _row_at(table, k, z, y):
    """Where row y of plane z of band k begins among the magnitudes; the row of zeros where it lies outside."""
    if 0 <= z < table[k, NZ] and 0 <= y < table[k, NY]:
        return table[k, PLACE] + z * table[k, ROW_Z] + y * table[k, ROW_Y]
    return ZEROS


@inner()
def know_row(table, b, magnitudes, lines, places, z, y, first, n):
    """Before coefficients (z, y, first), ..., n of them: what earlier rows, parent and cousins tell about each."""
    band, m = table[b], magnitudes
    width = lines.size // LINES
    for i in range(lines.size):
        lines[i] = 0
    signs = 0
    for k in range(b, band[COUSIN] - 1, -1):
        own = k == b
        for i in range(0 if own else OWN, OWN if own else len(NEAR)):
            row = _row_at(table, k, z + NEAR[i, 1], y + NEAR[i, 2])
            if row != ZEROS:
                _add_line(lines, NEAR[i, 0] * width, magnitudes, row + first + NEAR[i, 3], n)
        for i in range(0 if own else OWN_SIGNS, OWN_SIGNS if own else len(NEAR_SIGNS)):
            places[signs] = _row_at(table, k, z + NEAR_SIGNS[i, 0], y + NEAR_SIGNS[i, 1]) + NEAR_SIGNS[i, 2]
            signs += 1
    k = band[PARENT]
    if k >= 0:
        hz, hy, hx = band[SHIFT_Z], band[SHIFT_Y], band[SHIFT_X]
        pz, py = at(z, hz), at(y, hy)
        places[signs] = _row_at(table, k, pz, py)
        places[signs + 1], places[signs + 2] = _row_at(table, k, pz, py + 1), _row_at(table, k, pz, py - 1)
        places[signs + 3], places[signs + 4] = _row_at(table, k, pz + 1, py), _row_at(table, k, pz - 1, py)
        dz = 1 if hz <= 0 or (2 * z >> hz) & 1 else -1  # towards the half of the parent that (z, y, x) is in
        dy = 1 if hy <= 0 or (2 * y >> hy) & 1 else -1
        here, corner = places[signs], _row_at(table, k, pz + dz, py + dy)
        near_z, near_y = _row_at(table, k, pz + dz, py), _row_at(table, k, pz, py + dy)
        far_z, far_y = _row_at(table, k, pz - dz, py), _row_at(table, k, pz, py - dy)
        for i in range(n):
            p = at(first + i, hx)
            q = p + 1 if hx <= 0 or (2 * (first + i) >> hx) & 1 else p - 1
            lines[10 * width + i] = m[here + p]
            lines[11 * width + i] = m[near_z + p] + m[near_y + p] + m[here + q]
            lines[12 * width + i] = m[far_z + p] + m[far_y + p] + m[here + 2 * p - q]
            lines[12 * width + i] += m[corner + p] + m[near_y + q] + m[near_z + q]


@inner()
def know_four(lines, features, i):
    """Before coefficients i .. i + 3 of a known row: the features of each."""
    width = lines.size // LINES
    for k in range(LINES):
        line = lines[k * width + i : k * width + i + 4]
        for j in range(4):
            features[j * LINES + k] = line[j]
