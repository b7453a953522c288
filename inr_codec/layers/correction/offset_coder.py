"""Coder of the corrections of a base: integers that are mostly zero, beside a volume that is known everywhere.

Voxel by voxel in C order: eleven corrections before it and the differences to the six neighbours in the base predict a
correction, in sixteenths; the error is coded as `prediction_errors` does, under the errors around, the base's
curvature, place in the range and gradient, and the number of corrections around that are not zero. All that decides a
bit is in integers or in float64 with a fixed order of operations, so that every machine reads the same corrections.
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
MOST_BASE = 1 << 30
"""Largest value of a base, in sixteenths of a step."""


@kernel()
def _code(values, free, corrections, base, span, bottom, top, state, buffer, tables, mixers):
    """Code all corrections, bottom .. top; returns the bytes written, or without `values` those missing to read."""
    nz, ny, nx = corrections.shape
    if values is None:
        decoder_init(state, buffer, 0, buffer.size)
    else:
        encoder_init(state)
    planes = np.zeros((3, ny + 4, nx + 4))
    errors = np.zeros((2, ny + 2, nx + 4), np.int32)
    x, p = np.zeros(INPUTS), np.zeros(INPUTS)
    weights, inverse = np.zeros(INPUTS), np.zeros((INPUTS, INPUTS))
    restart(weights, inverse)
    contexts, inputs = np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS + 1, np.int64)
    for z in range(nz):
        here, back, far = planes[z % 3], planes[(z + 2) % 3], planes[(z + 1) % 3]
        e_here, e_back = errors[z & 1], errors[1 - (z & 1)]
        for y in range(ny):
            if values is None and state[2] > buffer.size + OVERRUN:
                return state[2] - buffer.size
            row, up, up2 = here[y + 2], here[y + 1], here[y]
            north, mid, south, deep = back[y + 1], back[y + 2], back[y + 3], far[y + 2]
            ew, en, eb = e_here[y + 1], e_here[y], e_back[y + 1]
            eb_north, eb_south = e_back[y], e_back[y + 2]
            line = base[z, y]
            above, below = base[z, max(y - 1, 0)], base[z, min(y + 1, ny - 1)]
            before, behind = base[max(z - 1, 0), y], base[min(z + 1, nz - 1), y]
            for k in range(nx):
                i = k + 2
                x[0], x[1], x[2], x[3], x[4], x[5] = row[i - 1], up[i], mid[i], up[i - 1], up[i + 1], row[i - 2]
                x[6], x[7], x[8], x[9], x[10] = up2[i], mid[i - 1], mid[i + 1], north[i], south[i]
                busy = 0
                for j in range(11):
                    busy += 1 if x[j] != 0 else 0
                for v in (deep[i], north[i - 1], north[i + 1], south[i - 1], south[i + 1]):
                    busy += 1 if v != 0 else 0
                value, curve, slope = np.int64(line[k]), 0, 0
                others = (line[max(k - 1, 0)], line[min(k + 1, nx - 1)], above[k], below[k], before[k], behind[k])
                for j in range(6):
                    d = np.int64(others[j]) - value
                    x[11 + j] = d * 0.0625
                    curve += d
                    slope += abs(d)
                rise = dot(weights, x)
                if not abs(rise) < FARTHEST:
                    restart(weights, inverse)
                    rise = 0.0
                m = int(np.floor(min(max(rise, np.float64(bottom)), np.float64(top)) * 16.0 + 0.5))
                c = (m + 8) >> 4
                fraction = m - 16 * c
                turn = -1 if fraction < 0 else 1
                wide = 2 * abs(ew[i - 1]) + 2 * abs(en[i]) + abs(en[i - 1]) + abs(en[i + 1]) + abs(ew[i - 2])
                wide += 2 * abs(eb[i]) + abs(eb[i - 1]) + abs(eb[i + 1]) + abs(eb_north[i]) + abs(eb_south[i])
                around = bins(wide)
                rough, size = around >> 1, wide // 13 * 27 >> 10
                shift = 0
                while size >> (shift + 1):
                    shift += 1
                contexts[0] = PLACES[0] + around * 9 + abs(fraction)
                signs = (third(ew[i - 1] * turn) * 3 + third(en[i] * turn)) * 3 + third(eb[i] * turn)
                contexts[1] = PLACES[1] + signs * (BINS // 2) + rough
                contexts[2] = PLACES[2] + signed_octave(curve * turn, 10) * (BINS // 2) + rough
                contexts[3] = PLACES[3] + value * 63 // span * (BINS // 2) + rough
                contexts[4] = PLACES[4] + (bins(slope) >> 1) * 17 + busy
                inputs[CONTEXTS] = 64
                if values is None:
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, None)
                else:
                    e = 0 if free[z, y, k] else (values[z, y, k] - c) * turn
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, e)
                t = min(max(c + e * turn, bottom), top)
                corrections[z, y, k] = t
                row[i] = t
                ew[i] = min(max(16 * t - m, -MOST_ERROR), MOST_ERROR)
                learn(weights, inverse, x, t - rise, p)
    if values is None:
        return state[2] - buffer.size
    used = encoder_finish(state, buffer)
    return max(used, state[2] - OVERRUN // 2, 1)  # a reader may count on most of the trailing zeros


def encode_corrections(
    corrections: Levels, base: Levels, span: int, bottom: int, top: int, free: npt.NDArray[np.bool_] | None = None
) -> bytes:
    """The bytes of corrections (three axes) from bottom <= 0 to top >= 0, not both 0.

    `base`: in sixteenths of a step, 0 .. span. Where `free` is True any correction will do.
    """
    buffer = np.zeros(8 * corrections.size + 64, np.uint8)
    free = np.zeros(corrections.shape, np.bool_) if free is None else free
    coded = np.empty_like(corrections)
    state, tables = np.zeros(STATE_SIZE, np.int64), new_tables(DECISIONS * PART)
    n = _code(corrections, free, coded, base, max(span, 1), bottom, top, state, buffer, tables, new_mixers())
    return buffer[:n].tobytes()


def decode_corrections(data: bytes, base: Levels, span: int, bottom: int, top: int) -> Levels | None:
    """The corrections in a stream; None when the bytes end long before they do."""
    corrections = np.zeros(base.shape, np.int32)
    buffer, state = np.frombuffer(bytearray(data), np.uint8), np.zeros(STATE_SIZE, np.int64)
    tables = new_tables(DECISIONS * PART)
    missing = _code(None, None, corrections, base, max(span, 1), bottom, top, state, buffer, tables, new_mixers())
    return None if missing > OVERRUN else corrections
