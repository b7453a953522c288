"""Coder of offsets from a base: integers that are mostly zero, beside a volume that is known everywhere.

`volume_coder` with a model of its own: eleven offsets before a voxel and the differences to its six neighbours in the
base predict its offset; outside of the volume offsets are 0. Contexts beside the errors: the base's curvature, its
place in the range, and its gradient with the number of offsets around that are not zero (FORMAT.md, section 10.3).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import OVERRUN
from inr_codec.layers.correction.error_coder import BINS, PLACES, Levels, bins, signed_octave
from inr_codec.layers.correction.volume_coder import INPUTS, PAD, code_volume, new_coder
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import stop_if_cancelled

MOST_BASE = 1 << 30
"""Largest value of a base, in sixteenths of a quantiser step."""


@inner()
def _begin_row(here, back, far, base, z, y):
    """Rows of the base: the voxel's, above and below, before and behind it (the nearest at its ends); span and snap."""
    values, span, snap = base
    nz, ny = values.shape[0], values.shape[1]
    above, below = values[z, max(y - 1, 0)], values[z, min(y + 1, ny - 1)]
    before, behind = values[max(z - 1, 0), y], values[min(z + 1, nz - 1), y]
    return values[z, y], above, below, before, behind, span, snap


@inner()
def _observe(x, rows, lines, k):
    """Offsets around, then differences in the base, in quantiser steps; what they add up to is added to 0.

    Where the base snaps to the nearest multiple, to what it lies above that: there the offset would be no error.
    """
    row, up, up2, north, mid, south, deep = rows
    line, above, below, before, behind, span, snap = lines
    i = k + PAD
    x[0], x[1], x[2], x[3], x[4], x[5] = row[i - 1], up[i], mid[i], up[i - 1], up[i + 1], row[i - 2]
    x[6], x[7], x[8], x[9], x[10] = up2[i], mid[i - 1], mid[i + 1], north[i], south[i]
    busy = 0
    for j in range(11):
        busy += 1 if x[j] != 0 else 0
    for v in (deep[i], north[i - 1], north[i + 1], south[i - 1], south[i + 1]):
        busy += 1 if v != 0 else 0
    value, curve, slope = np.int64(line[k]), 0, 0
    start = snap * ((value - ((value + 8) >> 4 << 4)) * 0.0625)
    others = line[max(k - 1, 0)], line[min(k + 1, line.size - 1)], above[k], below[k], before[k], behind[k]
    for j in range(6):
        d = np.int64(others[j]) - value
        x[11 + j] = d * 0.0625
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
def _code(values, free, offsets, base, bottom, top, coder):
    """`code_volume` of offsets. base: int32 (nz, ny, nx), sixteenths of a step; its span, at least 1; snap."""
    model = _begin_row, _observe, _add_contexts
    return code_volume(model, np.zeros(INPUTS), values, free, offsets, base, bottom, top, coder)


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
    coded, free = np.empty_like(offsets), np.zeros(offsets.shape, np.bool_) if free is None else free
    buffer = np.zeros(8 * offsets.size + 64, np.uint8)
    n = _code(offsets, free, coded, (base, max(span, 1), float(snap)), bottom, top, new_coder(buffer))
    return buffer[:n].tobytes()


def decode_offsets(data: bytes, base: Levels, span: int, bottom: int, top: int, snap: bool = False) -> Levels | None:
    """The offsets in a stream; None when the bytes end long before they do."""
    offsets = np.zeros(base.shape, np.int32)
    coder = new_coder(np.frombuffer(bytearray(data), np.uint8))
    missing = _code(None, None, offsets, (base, max(span, 1), float(snap)), bottom, top, coder)
    return None if missing > OVERRUN else offsets
