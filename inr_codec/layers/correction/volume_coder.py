"""The skeleton of the coders of levels and of offsets: voxel by voxel in C order, predict, code the error, learn.

Recursive least squares predict a number from those before it, in sixteenths; the error to the nearest integer is coded
as `error_coder` does, under five contexts. Two of them are the same for both coders: the errors around with the
prediction's fraction, and the signs of the three nearest errors. The rest is a coder's *model*, three `inner` functions
that the skeleton is given:

    begin_row(here, back, far, base, z, y) -> lines      make the rows ready that row y looks at; those of the base
    observe(x, rows, lines, k) -> start, clues           the inputs x of voxel k, and what the prediction is added to
    add_contexts(contexts, clues, m, c, turn, rough, top)     contexts 2, 3 and 4

Numbers are kept as float64: `here`, `back` and `far` are planes z, z - 1 and z - 2, (ny + 2 PAD, nx + 2 PAD) each, with
number (y, k) at [y + PAD, k + PAD] and 0 where nothing was coded yet. `rows`: row y, y - 1 and y - 2 of plane z; y - 1,
y and y + 1 of plane z - 1; y of plane z - 2. `clues`: integers that `observe` knows and `add_contexts` needs. m: the
prediction in sixteenths; c: the integer next to it; turn: -1 where m lies below c, else 1; rough: octaves of the errors
around, in eighths.

All that decides a bit is in integers or in float64 with a fixed order of operations, so that every machine reads the
same numbers (FORMAT.md, section 10.2).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import OVERRUN, excess, length, new_tables
from inr_codec.entropy.range_coder import STATE_SIZE, decoder_init, encoder_finish, encoder_init
from inr_codec.layers.correction.error_coder import (
    BINS,
    CONTEXTS,
    DECISIONS,
    MOST_ERROR,
    PART,
    PLACES,
    UNARY,
    bins,
    code_error,
    deadzone_sign,
    new_mixers,
)
from inr_codec.layers.correction.least_squares import FARTHEST, dot, learn, restart
from inr_codec.runtime.kernels import inner

INPUTS = 17
PAD = 2

Coder = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.uint32], npt.NDArray[np.int64]]
"""State of a range coder (STATE_SIZE,), its buffer, counted probabilities (DECISIONS PART,) and mixing weights."""


def new_coder(buffer: npt.NDArray[np.uint8]) -> Coder:
    """A coder that writes to a buffer, or reads from it."""
    return np.zeros(STATE_SIZE, np.int64), buffer, new_tables(DECISIONS * PART), new_mixers()


@inner()
def code_volume(model, weights, values, free, coded, base, bottom, top, coder):
    """Write or read all numbers; returns the bytes written, or those missing, at most, for what was read.

    model: begin_row, observe and add_contexts. weights: float64 (INPUTS,), where the predictor starts from; it changes.
    values: int32 (nz, ny, nx), numbers from bottom to top; None to read them (docs/ARCHITECTURE.md, "Kernels"). free:
    bool of that shape, where any number will do, which is then the predicted one; None with `values`. coded: int32 of
    that shape, becomes what a reader gets. base: what `begin_row` knows of it, or None. coder: a `Coder`.
    """
    begin_row, observe, add_contexts = model
    state, buffer, tables, mixers = coder
    nz, ny, nx = coded.shape
    if values is None:
        decoder_init(state, buffer, 0, buffer.size)
    else:
        encoder_init(state)
    planes = np.zeros((3, ny + 2 * PAD, nx + 2 * PAD))
    errors = np.zeros((2, ny + 2, nx + 2 * PAD), np.int32)
    x, p, inverse = np.zeros(INPUTS), np.zeros(INPUTS), np.zeros((INPUTS, INPUTS))
    for i in range(INPUTS):
        inverse[i, i] = 1.0
    contexts, inputs = np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS + 1, np.int64)
    decisions = 0
    for z in range(nz):
        here, back, far = planes[z % 3], planes[(z + 2) % 3], planes[(z + 1) % 3]
        e_here, e_back = errors[z & 1], errors[1 - (z & 1)]
        for y in range(ny):
            if values is None and excess(state, buffer.size, decisions, coded.size) > OVERRUN:
                return OVERRUN + 1
            lines = begin_row(here, back, far, base, z, y)
            row = here[y + 2]
            rows = row, here[y + 1], here[y], back[y + 1], back[y + 2], back[y + 3], far[y + 2]
            ew, en, eb = e_here[y + 1], e_here[y], e_back[y + 1]
            eb_north, eb_south = e_back[y], e_back[y + 2]
            for k in range(nx):
                i = k + PAD
                start, clues = observe(x, rows, lines, k)
                rise = dot(weights, x)
                if not abs(rise) < FARTHEST:
                    restart(weights, inverse)
                    rise = 0.0
                m = int(np.floor(min(max(start + rise, np.float64(bottom)), np.float64(top)) * 16.0 + 0.5))
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
                signs = deadzone_sign(ew[i - 1] * turn) * 3 + deadzone_sign(en[i] * turn)
                contexts[1] = PLACES[1] + (signs * 3 + deadzone_sign(eb[i] * turn)) * (BINS // 2) + rough
                add_contexts(contexts, clues, m, c, turn, rough, top)
                inputs[CONTEXTS] = 64
                if values is None:
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, None)
                else:
                    e = 0 if free[z, y, k] else (values[z, y, k] - c) * turn
                    e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, e)
                decisions += 2 + min(abs(e) >> shift, UNARY)
                t = min(max(c + e * turn, bottom), top)
                coded[z, y, k] = t
                row[i] = t
                ew[i] = min(max(16 * t - m, -MOST_ERROR), MOST_ERROR)
                learn(weights, inverse, x, (t - start) - rise, p)
    if values is None:
        return excess(state, buffer.size, decisions, coded.size)
    return length(state, encoder_finish(state, buffer), decisions, coded.size)
