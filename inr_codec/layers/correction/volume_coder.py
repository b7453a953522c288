"""The skeleton of the coders of levels and of offsets: voxel by voxel in C order, predict, code the error, learn.

Recursive least squares predict a number from those before it, in sixteenths; the error to the nearest integer is coded
as `error_coder` does, under five contexts. Two of them are the same for both coders: the errors around with the
prediction's fraction, and the signs of the three nearest errors. The rest is a coder's *model*, three `inner` functions
that the skeleton is given:

    begin_row(lines, base, nz, ny, g) -> rows, known     make the rows ready that row g looks at; those of the base
    observe(x, rows, known, k) -> start, clues           the inputs x of voxel k, and what the prediction is added to
    add_contexts(contexts, clues, m, c, turn, rough, top)     contexts 2, 3 and 4

Rows are counted through all planes: row g is row y = g mod ny of plane z = g // ny. `lines` is a ring that holds as
many of the last rows as any row looks back at, row g at g modulo their number, with voxel k at k + PAD; one more line
holds zeros. `rows`: row y, y - 1 and y - 2 of plane z; y - 1, y and y + 1 of plane z - 1; y of plane z - 2. `clues`:
integers that `observe` knows and `add_contexts` needs. m: the prediction in sixteenths; c: the integer next to it;
turn: -1 where m lies below c, else 1; rough: octaves of the errors around, in eighths.

So a volume is read part by part (`Reader`), and beside a part two planes of it are held. A volume that is one row is
read in parts of that row.

All that decides a bit is in integers or in float64 with a fixed order of operations, so that every machine reads the
same numbers (FORMAT.md, section 10.2).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.chunk.boxes import Box, as_3d, runs
from inr_codec.entropy.mixing import OVERRUN, excess, length, new_tables
from inr_codec.entropy.range_coder import STATE_SIZE, decoder_init, encoder_finish, encoder_init
from inr_codec.errors import CorruptChunk
from inr_codec.layers.correction.error_coder import (
    BINS,
    CONTEXTS,
    DECISIONS,
    MOST_ERROR,
    PART,
    PLACES,
    UNARY,
    Levels,
    bins,
    code_error,
    deadzone_sign,
    new_mixers,
)
from inr_codec.layers.correction.least_squares import FARTHEST, Floats, dot, learn, restart
from inr_codec.runtime.kernels import inner

INPUTS = 17
PAD = 2
PART_OF_ROW = 1 << 18
"""Voxels of a volume of one row that are held at a time."""

Coder = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.uint32], npt.NDArray[np.int64]]
"""State of a range coder (STATE_SIZE,), its buffer, counted probabilities (DECISIONS PART,) and mixing weights."""
Memory = tuple[Levels, Levels, Floats, Floats, npt.NDArray[np.int64]]
"""What is known of the rows before: the ring of their numbers and the one of their errors, weights of the predictor and
its inverse matrix, and two numbers: modelled bits, and whether the predictor is at rest (see `code_rows`)."""


def new_coder(buffer: npt.NDArray[np.uint8]) -> Coder:
    """A coder that writes to a buffer, or reads from it."""
    return np.zeros(STATE_SIZE, np.int64), buffer, new_tables(DECISIONS * PART), new_mixers()


def new_memory(shape: tuple[int, int, int], width: int, weights: Floats) -> Memory:
    """That of a volume of which nothing is known. width: voxels of a row that are held. weights: (INPUTS,)."""
    nz, ny, _ = shape
    back = (0, ny + 2, 2 * ny + 1)[min(nz - 1, 2)]
    lines = np.zeros((min(nz * ny, max(back, 3)) + 1, width + 2 * PAD), np.int32)
    errors = np.zeros((min(nz * ny, 2 if nz == 1 else ny + 2), width + 2 * PAD), np.int32)
    return lines, errors, weights, np.eye(INPUTS), np.zeros(2, np.int64)


@inner()
def _are_zeros(x):
    """Whether all numbers are 0."""
    for i in range(x.size):
        if x[i] != 0.0:
            return False
    return True


@inner()
def code_rows(model, values, free, coded, base, ends, shape, first, memory, coder):
    """Write or read rows; returns the bytes written so far, or those missing, at most, for what was read.

    model: begin_row, observe and add_contexts. values: int32 (rows, width), numbers from `ends` = (lowest, highest);
    None to read them (docs/ARCHITECTURE.md, "Kernels"). free: bool of that shape, where any number will do, which is
    then the predicted one; None with `values`. coded: int32 of that shape, becomes what a reader gets. base: what
    `begin_row` knows of it, or None. shape: (nz, ny, nx). first: place of the first voxel in C order. memory: `Memory`.
    coder: a `Coder`.

    Where all inputs are 0 for a second time on end, nothing is predicted or learnt: it would change nothing but the
    sign of zeros.
    """
    begin_row, observe, add_contexts = model
    state, buffer, tables, mixers = coder
    lines, errors, weights, inverse, counted = memory
    nz, ny, nx = shape
    bottom, top = ends
    size, decisions, at_rest = nz * ny * nx, counted[0], counted[1] != 0
    if first == 0:
        if values is None:
            decoder_init(state, buffer, 0, buffer.size)
        else:
            encoder_init(state)
    x, p = np.zeros(INPUTS), np.zeros(INPUTS)
    contexts, inputs = np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS + 1, np.int64)
    zeros, held, last = lines[lines.shape[0] - 1], errors.shape[0], lines.shape[1] - 2 * PAD
    for r in range(coded.shape[0]):
        if values is None and excess(state, buffer.size, decisions, size) > OVERRUN:
            return OVERRUN + 1
        g = first // nx + r
        z, y = g // ny, g % ny
        rows, known = begin_row(lines, base, nz, ny, g)
        row = rows[0]
        ew = errors[g % held]
        en = errors[(g - 1) % held] if y > 0 else zeros
        eb = errors[(g - ny) % held] if z > 0 else zeros
        eb_north = errors[(g - ny - 1) % held] if z > 0 and y > 0 else zeros
        eb_south = errors[(g - ny + 1) % held] if z > 0 and y < ny - 1 else zeros
        if first % nx > 0:  # a row goes on: its part before ends where this one begins
            for i in range(PAD):
                row[i], ew[i] = row[last + i], ew[last + i]
        for k in range(coded.shape[1]):
            i = k + PAD
            start, clues = observe(x, rows, known, k)
            still = _are_zeros(x)
            rise = 0.0
            if not (still and at_rest):
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
            rough, size_of_error = around >> 1, wide // 13 * 27 >> 10
            shift = 0
            while size_of_error >> (shift + 1):
                shift += 1
            contexts[0] = PLACES[0] + around * 9 + abs(fraction)
            signs = deadzone_sign(ew[i - 1] * turn) * 3 + deadzone_sign(en[i] * turn)
            contexts[1] = PLACES[1] + (signs * 3 + deadzone_sign(eb[i] * turn)) * (BINS // 2) + rough
            add_contexts(contexts, clues, m, c, turn, rough, top)
            inputs[CONTEXTS] = 64
            if values is None:
                e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, None)
            else:
                e = 0 if free[r, k] else (values[r, k] - c) * turn
                e = code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, e)
            decisions += 2 + min(abs(e) >> shift, UNARY)
            t = min(max(c + e * turn, bottom), top)
            coded[r, k] = t
            row[i] = t
            ew[i] = min(max(16 * t - m, -MOST_ERROR), MOST_ERROR)
            if not (still and at_rest):
                learn(weights, inverse, x, (t - start) - rise, p)
                at_rest = still
    counted[0], counted[1] = decisions, int(at_rest)
    if values is None:
        return excess(state, buffer.size, decisions, size)
    return length(state, encoder_finish(state, buffer), decisions, size)


Code = Callable[[Levels, Any, int, Memory, Coder], int]
"""Reads into int32 (rows, width), given what is known of the base: bytes missing. See `code_rows`."""


class Reader:
    """The numbers of a stream, part by part in C order."""

    def __init__(self, code: Code, data: bytes, shape: tuple[int, int, int], weights: Floats) -> None:
        nz, ny, nx = shape
        self.bytes, self.shape, self.place = len(data), shape, 0
        self._code, self._width = code, nx if nz * ny > 1 else min(nx, PART_OF_ROW)
        self._memory = new_memory(shape, self._width, weights)
        self._coder = new_coder(np.frombuffer(bytearray(data), np.uint8))

    def read(self, count: int, base: Any = None) -> Levels:
        """The next `count` numbers, int32, whole rows of a volume of several; CorruptChunk where the bytes end before.

        base: what `begin_row` of the coder's model knows of it.
        """
        out = np.empty((max(count // self._width, 1), min(self._width, count)), np.int32)
        if self._code(out, base, self.place, self._memory, self._coder) > OVERRUN:
            raise CorruptChunk(f"expected levels to end with their {self.bytes} bytes, got more: the chunk is damaged")
        self.place += count
        return out.reshape(-1)


def parts(shape: Sequence[int]) -> list[Box]:
    """Boxes of a chunk that a reader is asked for one after the other, each contiguous in C order.

    Whole planes of several, whole rows of one plane, of a size at which what lies between them counts little.
    """
    nz, ny, nx = as_3d(shape)
    return list(runs(shape, max(PART_OF_ROW, ny * nx if nz > 1 else nx if ny > 1 else 0)))
