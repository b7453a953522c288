"""Predictive coder of a volume of levels: recursive least squares from coded neighbours, errors under mixed contexts.

`volume_coder` with a model of its own: 17 neighbours before a voxel in three planes predict its level; outside of the
volume levels go on as they are at its ends. Contexts beside the errors: what a plane through the neighbours says, the
prediction's place in the range, and how far it is from the three nearest neighbours (FORMAT.md, section 10.2).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.layers.correction.error_coder import BINS, PLACES, Levels, signed_octave
from inr_codec.layers.correction.least_squares import Floats
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


@inner()
def _end_row(row):
    """A row goes on beyond its first and its last voxel."""
    last = row.size - PAD
    row[0] = row[1] = row[PAD]
    row[last] = row[last + 1] = row[last - 1]


@inner()
def _begin_row(lines, base, nz, ny, g):
    """Levels go on beyond the ends of the volume, as far as row g looks at them. There is no base."""
    n = lines.shape[0] - 1
    z, y = g // ny, g % ny
    back = g - ny - y  # the first row of the plane before
    if g > 0:
        _end_row(lines[(g - 1) % n])
    up = lines[(g - 1 if y > 0 else back) % n] if g > 0 else lines[n]
    up2 = lines[(g - 2 if y > 1 else back) % n] if y > 1 or z > 0 else lines[n]
    north = mid = south = deep = up
    if z > 0:
        north, mid = lines[(back + max(y - 1, 0)) % n], lines[(g - ny) % n]
        south = lines[(back + min(y + 1, ny - 1)) % n]
        deep = lines[(g - 2 * ny) % n] if z > 1 else mid
    row = lines[g % n]
    row[0] = row[1] = up[PAD]
    return (row, up, up2, north, mid, south, deep), None


@inner()
def _observe(x, rows, lines, k):
    """Differences of 17 neighbours to the level before, which the prediction is added to."""
    row, up, up2, north, mid, south, deep = rows
    i = k + PAD
    w, n, b = row[i - 1], up[i], mid[i]
    x[0], x[1], x[2], x[3], x[4] = row[i - 2] - w, n - w, up2[i] - w, up[i - 1] - w, up[i + 1] - w
    x[5], x[6], x[7], x[8], x[9] = up[i - 2] - w, up2[i + 1] - w, b - w, mid[i - 1] - w, mid[i + 1] - w
    x[10], x[11], x[12], x[13] = north[i] - w, south[i] - w, north[i - 1] - w, north[i + 1] - w
    x[14], x[15], x[16] = south[i - 1] - w, south[i + 1] - w, deep[i] - w
    iw, jn, kb = int(w), int(n), int(b)
    return np.float64(w), (iw, jn, kb, 8 * (iw + jn + 2 * kb - int(mid[i - 1]) - int(north[i])))


@inner()
def _add_contexts(contexts, clues, m, c, turn, rough, top):
    """The plane through the neighbours, the place in the range, the nearest neighbours."""
    w, n, b, plane = clues
    contexts[2] = PLACES[2] + signed_octave(((plane - m) >> 2) * turn, 10) * (BINS // 2) + rough
    contexts[3] = PLACES[3] + c * 63 // top * (BINS // 2) + rough
    near = signed_octave((w - c) * turn, 5) * 11 + signed_octave((n - c) * turn, 5)
    contexts[4] = PLACES[4] + near * 11 + signed_octave((b - c) * turn, 5)


@kernel()
def _code(values, free, levels, top, shape, first, memory, coder):
    """`code_rows` of levels from 0 to top."""
    model = _begin_row, _observe, _add_contexts
    return code_rows(model, values, free, levels, None, (0, top), shape, first, memory, coder)


def _weights() -> Floats:
    """Where the predictor starts from."""
    weights = np.zeros(INPUTS)
    weights[1], weights[7] = 0.25, 0.5
    return weights


def encode_levels(levels: Levels, top: int, free: npt.NDArray[np.bool_] | None = None) -> tuple[bytes, Levels]:
    """The bytes of levels, int32 (nz, ny, nx) from 0 to top > 0, and the levels that they decode to.

    Those are the same but where `free` is True: there any level will do, and the predicted one costs least.
    """
    stop_if_cancelled()
    shape, nx = levels.shape, levels.shape[-1]
    coded, free = np.empty((levels.size // nx, nx), np.int32), np.zeros(shape, np.bool_) if free is None else free
    buffer = np.zeros(8 * levels.size + 64, np.uint8)
    values, memory = np.ascontiguousarray(levels).reshape(-1, nx), new_memory(shape, nx, _weights())
    n = _code(values, free.reshape(-1, nx), coded, top, shape, 0, memory, new_coder(buffer))
    return buffer[:n].tobytes(), coded.reshape(shape)


def level_reader(data: bytes, shape: tuple[int, int, int], top: int) -> Reader:
    """What reads the levels in a stream."""

    def code(levels: Levels, base: None, first: int, memory: Memory, coder: Coder) -> int:
        return int(_code(None, None, levels, top, shape, first, memory, coder))

    return Reader(code, data, shape, _weights())
