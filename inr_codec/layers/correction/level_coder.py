"""Predictive coder of a volume of levels: recursive least squares from coded neighbours, errors under mixed contexts.

`volume_coder` with a model of its own: 17 neighbours before a voxel in three planes predict its level; outside of the
volume levels go on as they are at its ends. Contexts beside the errors: what a plane through the neighbours says, the
prediction's place in the range, and how far it is from the three nearest neighbours (FORMAT.md, section 10.2).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import OVERRUN
from inr_codec.layers.correction.error_coder import BINS, PLACES, Levels, signed_octave
from inr_codec.layers.correction.volume_coder import INPUTS, PAD, code_volume, new_coder
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import stop_if_cancelled


@inner()
def _copy(source, target):
    """target <- source: a loop is compiled in a fraction of the time that numba takes for `target[:] = source`."""
    for i in range(source.size):
        target[i] = source[i]


@inner()
def _end_row(row):
    """A row goes on beyond its last voxel; before its first one, for the rows that are yet to come."""
    last = row.size - PAD
    row[0] = row[1] = row[PAD]
    row[last] = row[last + 1] = row[last - 1]


@inner()
def _begin_row(here, back, far, base, z, y):
    """Levels go on beyond the ends of the volume, as far as row y of plane z looks at them. There is no base."""
    ny = here.shape[0] - 2 * PAD
    if y > 0:
        _end_row(here[y + 1])
    elif z > 0:
        _end_row(back[ny + 1])
        _copy(back[2], back[1])
        _copy(back[ny + 1], back[ny + 2])
        if z == 1:
            _copy(back.reshape(-1), far.reshape(-1))
        _copy(back[2], here[0])
        _copy(back[2], here[1])
    row, up = here[y + 2], here[y + 1]
    if z == 0:
        for plane, i in ((back, y + 1), (back, y + 2), (back, y + 3), (far, y + 2)):
            _copy(up, plane[i])
    row[0] = row[1] = up[PAD]
    return None


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
    return w, (iw, jn, kb, 8 * (iw + jn + 2 * kb - int(mid[i - 1]) - int(north[i])))


@inner()
def _add_contexts(contexts, clues, m, c, turn, rough, top):
    """The plane through the neighbours, the place in the range, the nearest neighbours."""
    w, n, b, plane = clues
    contexts[2] = PLACES[2] + signed_octave(((plane - m) >> 2) * turn, 10) * (BINS // 2) + rough
    contexts[3] = PLACES[3] + c * 63 // top * (BINS // 2) + rough
    near = signed_octave((w - c) * turn, 5) * 11 + signed_octave((n - c) * turn, 5)
    contexts[4] = PLACES[4] + near * 11 + signed_octave((b - c) * turn, 5)


@kernel()
def _code(values, free, levels, top, coder):
    """`code_volume` of levels from 0 to top."""
    weights = np.zeros(INPUTS)
    weights[1], weights[7] = 0.25, 0.5
    model = _begin_row, _observe, _add_contexts
    return code_volume(model, weights, values, free, levels, None, 0, top, coder)


def encode_levels(levels: Levels, top: int, free: npt.NDArray[np.bool_] | None = None) -> tuple[bytes, Levels]:
    """The bytes of levels, int32 (nz, ny, nx) from 0 to top > 0, and the levels that they decode to.

    Those are the same but where `free` is True: there any level will do, and the predicted one costs least.
    """
    stop_if_cancelled()
    coded, free = np.empty_like(levels), np.zeros(levels.shape, np.bool_) if free is None else free
    buffer = np.zeros(8 * levels.size + 64, np.uint8)
    n = _code(np.ascontiguousarray(levels), free, coded, top, new_coder(buffer))
    return buffer[:n].tobytes(), coded


def decode_levels(data: bytes, shape: tuple[int, int, int], top: int) -> Levels | None:
    """The levels in a stream; None when the bytes end long before the levels do."""
    levels = np.zeros(shape, np.int32)
    missing = _code(None, None, levels, top, new_coder(np.frombuffer(bytearray(data), np.uint8)))
    return None if missing > OVERRUN else levels
