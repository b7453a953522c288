"""Coder of offsets from a base: integers that are mostly zero, beside a volume that is known everywhere.

`volume_coder` with a model of its own: eleven offsets before a voxel and the differences to its six neighbours in the
base predict its offset; outside of the volume offsets are 0. Contexts beside the errors: the base's curvature, its
place in the range, and its gradient with the number of offsets around that are not zero (FORMAT.md, section 10.3).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.layers.correction.error_coder import BINS, PLACES, Levels, bins, signed_octave
from inr_codec.layers.correction.volume_coder import (
    INPUTS,
    PAD,
    Coder,
    Memory,
    Reader,
    code_rows,
    new_coder,
    new_memory,
)
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import stop_if_cancelled

MOST_BASE = 1 << 30
"""Largest value of a base, in sixteenths of a quantiser step."""


Base = tuple[Levels, int, int, int, float]
"""Rows of a base, those that are coded and the ones beside them, int32 (rows, width) in sixteenths of a quantiser step;
the number of the first; voxels of a row before the first that is coded; span, at least 1; and snap, 1 or 0."""


@inner()
def _begin_row(lines, base, nz, ny, g):
    """Offsets are 0 outside of the volume. Rows of the base: the voxel's, above and below, before and behind it.

    At the ends of the volume the base's nearest row takes the place of one that is outside.
    """
    values, first, shift, span, snap = base
    n, z, y = lines.shape[0] - 1, g // ny, g % ny
    zeros = lines[n]
    up, up2 = lines[(g - 1) % n] if y > 0 else zeros, lines[(g - 2) % n] if y > 1 else zeros
    north, mid = lines[(g - ny - 1) % n] if z > 0 and y > 0 else zeros, lines[(g - ny) % n] if z > 0 else zeros
    south = lines[(g - ny + 1) % n] if z > 0 and y < ny - 1 else zeros
    deep = lines[(g - 2 * ny) % n] if z > 1 else zeros
    r = g - first
    above, below = values[r - 1 if y > 0 else r], values[r + 1 if y < ny - 1 else r]
    before, behind = values[r - ny if z > 0 else r], values[r + ny if z < nz - 1 else r]
    rows = lines[g % n], up, up2, north, mid, south, deep
    return rows, (values[r], above, below, before, behind, shift, span, snap)


@inner()
def _observe(x, rows, known, k):
    """Offsets around, then differences in the base, in quantiser steps; what they add up to is added to 0.

    Where the base snaps to the nearest multiple, to what it lies above that: there the offset would be no error.
    """
    row, up, up2, north, mid, south, deep = rows
    line, above, below, before, behind, shift, span, snap = known
    i, j = k + PAD, k + shift
    x[0], x[1], x[2], x[3], x[4], x[5] = row[i - 1], up[i], mid[i], up[i - 1], up[i + 1], row[i - 2]
    x[6], x[7], x[8], x[9], x[10] = up2[i], mid[i - 1], mid[i + 1], north[i], south[i]
    busy = 0
    for h in range(11):
        busy += 1 if x[h] != 0 else 0
    for v in (deep[i], north[i - 1], north[i + 1], south[i - 1], south[i + 1]):
        busy += 1 if v != 0 else 0
    value, curve, slope = np.int64(line[j]), 0, 0
    start = snap * ((value - ((value + 8) >> 4 << 4)) * 0.0625)
    others = line[max(j - 1, 0)], line[min(j + 1, line.size - 1)], above[j], below[j], before[j], behind[j]
    for h in range(6):
        d = np.int64(others[h]) - value
        x[11 + h] = d * 0.0625
        curve += d
        slope += abs(d)
    return start, (value * 63 // span, curve, slope, busy)


@inner()
def _add_contexts(contexts, clues, m, c, turn, rough, top):
    """The base's curvature, its place in the range, its gradient and the offsets around."""
    place, curve, slope, busy = clues
    contexts[2] = PLACES[2] + signed_octave(curve * turn, 10) * (BINS // 2) + rough
    contexts[3] = PLACES[3] + place * (BINS // 2) + rough
    contexts[4] = PLACES[4] + (bins(slope) >> 1) * 17 + busy


@kernel()
def _code(values, free, offsets, base, ends, shape, first, memory, coder):
    """`code_rows` of offsets. base: `Base`."""
    model = _begin_row, _observe, _add_contexts
    return code_rows(model, values, free, offsets, base, ends, shape, first, memory, coder)


def encode_offsets(
    offsets: Levels,
    base: Levels,
    span: int,
    bottom: int,
    top: int,
    snap: bool = False,
    free: npt.NDArray[np.bool_] | None = None,
) -> bytes:
    """The bytes of offsets, int32 (nz, ny, nx) from bottom <= 0 to top >= 0, not both 0.

    `base`: int32 of the same shape, in sixteenths of a quantiser step, 0 .. span. snap: whether offsets are from the
    multiple of the step that is nearest to it. Where `free` is True any offset will do.
    """
    stop_if_cancelled()
    shape, nx = offsets.shape, offsets.shape[-1]
    values = np.ascontiguousarray(offsets).reshape(-1, nx)
    free = np.zeros(values.shape, np.bool_) if free is None else free.reshape(-1, nx)
    buffer = np.zeros(8 * offsets.size + 64, np.uint8)
    known = base.reshape(-1, nx), 0, 0, max(span, 1), float(snap)
    memory = new_memory(shape, nx, np.zeros(INPUTS))
    n = _code(values, free, np.empty_like(values), known, (bottom, top), shape, 0, memory, new_coder(buffer))
    return buffer[:n].tobytes()


def offset_reader(data: bytes, shape: tuple[int, int, int], bottom: int, top: int) -> Reader:
    """What reads the offsets in a stream, each part given its `Base`."""

    def code(offsets: Levels, base: Base, first: int, memory: Memory, coder: Coder) -> int:
        return int(_code(None, None, offsets, base, (bottom, top), shape, first, memory, coder))

    return Reader(code, data, shape, np.zeros(INPUTS))
