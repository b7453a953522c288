"""Predictive coder of a volume of integers: recursive least squares from coded neighbours, errors under mixed contexts.

Voxel by voxel in C order: 17 neighbours before it in three planes predict a level, in sixteenths; the error to the
nearest level is coded as `prediction_errors` does, under the errors around, the prediction's fraction, its place in the
range and what simple predictors say. All that decides a bit is in integers or in float64 with a fixed order of
operations, so that every machine reads the same levels.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import new_tables
from inr_codec.entropy.range_coder import STATE_SIZE, decoder_init, encoder_finish, encoder_init
from inr_codec.layers.correction.error_coder import (
    BINS,
    CONTEXTS,
    DECISIONS,
    MOST_ERROR,
    OVERRUN,
    PART,
    PLACES,
    Levels,
    bins,
    code_error,
    new_mixers,
    signed_octave,
    third,
)
from inr_codec.layers.correction.least_squares import FARTHEST, dot, learn, restart
from inr_codec.runtime.kernels import kernel

INPUTS = 17


@kernel()
def _code(values, free, levels, top, state, buffer, tables, mixers):
    """Code all levels, 0 .. top; returns the bytes written, or without `values` those missing, at most, to read."""
    nz, ny, nx = levels.shape
    if values is None:
        decoder_init(state, buffer, 0, buffer.size)
    else:
        encoder_init(state)
    planes = np.zeros((3, ny + 2, nx + 4))
    errors = np.zeros((2, ny + 2, nx + 4), np.int32)
    x, p = np.zeros(INPUTS), np.zeros(INPUTS)
    weights, inverse = np.zeros(INPUTS), np.zeros((INPUTS, INPUTS))
    restart(weights, inverse)
    weights[1], weights[7] = 0.25, 0.5
    contexts, inputs = np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS + 1, np.int64)
    for z in range(nz):
        here, back, far = planes[z % 3], planes[(z + 2) % 3], planes[(z + 1) % 3]
        e_here, e_back = errors[z & 1], errors[1 - (z & 1)]
        if z == 1:
            far[:] = back
        if z > 0:
            here[0] = back[1]
        for y in range(1, ny + 1):
            if values is None and state[2] > buffer.size + OVERRUN:
                return state[2] - buffer.size
            row, up, up2 = here[y], here[y - 1], here[max(y - 2, 0)]
            if z == 0:
                back[y - 1], back[y], back[y + 1], far[y] = up, up, up, up
            north, mid, south, deep = back[y - 1], back[y], back[y + 1], far[y]
            ew, en, eb = e_here[y], e_here[y - 1], e_back[y]
            eb_north, eb_south = e_back[y - 1], e_back[y + 1]
            row[0] = row[1] = up[2]
            for i in range(2, nx + 2):
                w, n, b = row[i - 1], up[i], mid[i]
                x[0], x[1], x[2], x[3], x[4] = row[i - 2] - w, n - w, up2[i] - w, up[i - 1] - w, up[i + 1] - w
                x[5], x[6], x[7], x[8], x[9] = up[i - 2] - w, up2[i + 1] - w, b - w, mid[i - 1] - w, mid[i + 1] - w
                x[10], x[11], x[12], x[13] = north[i] - w, south[i] - w, north[i - 1] - w, north[i + 1] - w
                x[14], x[15], x[16] = south[i - 1] - w, south[i + 1] - w, deep[i] - w
                rise = dot(weights, x)
                if not abs(rise) < FARTHEST:
                    restart(weights, inverse)
                    rise = 0.0
                m = int(np.floor(min(max(w + rise, 0.0), np.float64(top)) * 16.0 + 0.5))
                c = (m + 8) >> 4
                fraction = m - 16 * c
                turn = -1 if fraction < 0 else 1
                plane = 2 * abs(ew[i - 1]) + 2 * abs(en[i]) + abs(en[i - 1]) + abs(en[i + 1]) + abs(ew[i - 2])
                behind = 2 * abs(eb[i]) + abs(eb[i - 1]) + abs(eb[i + 1]) + abs(eb_north[i]) + abs(eb_south[i])
                around = bins(plane + behind)
                rough, size = around >> 1, (plane + behind) // 13 * 27 >> 10
                shift = 0
                while size >> (shift + 1):
                    shift += 1
                iw, jn, kb = int(w), int(n), int(b)
                other = (8 * (iw + jn + 2 * kb - int(mid[i - 1]) - int(north[i])) - m) >> 2
                contexts[0] = PLACES[0] + around * 9 + abs(fraction)
                signs = (third(ew[i - 1] * turn) * 3 + third(en[i] * turn)) * 3 + third(eb[i] * turn)
                contexts[1] = PLACES[1] + signs * (BINS // 2) + rough
                contexts[2] = PLACES[2] + signed_octave(other * turn, 10) * (BINS // 2) + rough
                contexts[3] = PLACES[3] + c * 63 // top * (BINS // 2) + rough
                near = signed_octave((iw - c) * turn, 5) * 11 + signed_octave((jn - c) * turn, 5)
                contexts[4] = PLACES[4] + near * 11 + signed_octave((kb - c) * turn, 5)
                inputs[CONTEXTS] = 64
                if values is None:
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, None)
                else:
                    e = 0 if free[z, y - 1, i - 2] else (values[z, y - 1, i - 2] - c) * turn
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, e)
                t = min(max(c + e * turn, 0), top)
                levels[z, y - 1, i - 2] = t
                row[i] = t
                ew[i] = min(max(16 * t - m, -MOST_ERROR), MOST_ERROR)
                learn(weights, inverse, x, (t - w) - rise, p)
            row[0] = row[1] = row[2]
            row[nx + 2] = row[nx + 3] = row[nx + 1]
        here[0], here[ny + 1] = here[1], here[ny]
    if values is None:
        return state[2] - buffer.size
    used = encoder_finish(state, buffer)
    return max(used, state[2] - OVERRUN // 2, 1)  # a reader may count on most of the trailing zeros


def encode_levels(levels: Levels, top: int, free: npt.NDArray[np.bool_] | None = None) -> tuple[bytes, Levels]:
    """The bytes of levels (three axes) from 0 to top > 0, and the levels that they decode to.

    Those are the same but where `free` is True: there any level will do, and the predicted one costs least.
    """
    coded, free = np.empty_like(levels), np.zeros(levels.shape, np.bool_) if free is None else free
    buffer, state = np.zeros(8 * levels.size + 64, np.uint8), np.zeros(STATE_SIZE, np.int64)
    n = _code(np.ascontiguousarray(levels), free, coded, top, state, buffer, new_tables(DECISIONS * PART), new_mixers())
    return buffer[:n].tobytes(), coded


def decode_levels(data: bytes, shape: tuple[int, int, int], top: int) -> Levels | None:
    """The levels in a stream; None when the bytes end long before the levels do."""
    levels = np.zeros(shape, np.int32)
    given, state = np.frombuffer(bytearray(data), np.uint8), np.zeros(STATE_SIZE, np.int64)
    missing = _code(None, None, levels, top, state, given, new_tables(DECISIONS * PART), new_mixers())
    return None if missing > OVERRUN else levels
