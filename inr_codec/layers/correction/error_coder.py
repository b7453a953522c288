"""Coder of prediction errors: one kernel writes and reads them, five contexts mixed for every bit, in integers only.

An error's expected size follows from the errors around it. Small ones are coded as zero or not, sign, magnitude in
unary; large ones as sign, high part in unary and low bits as they are. What the contexts are is for the caller to say
(`volume_coder`).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import ONE_WEIGHT, code
from inr_codec.entropy.range_coder import HALF, decode_bit, encode_bit, read_golomb, write_golomb
from inr_codec.runtime.kernels import inner

Levels = npt.NDArray[np.int32]

BINS = 96  # of the errors around: quarter octaves
ZERO, SIGN, SIDE, SMALL, LARGE = 0, 1, 2, 3, 15  # decisions: the first of each kind
STEPS = 12  # of a unary code that have probabilities of their own
DECISIONS = LARGE + STEPS
UNARY = 20  # longest unary code, exponential Golomb from there on
GOLOMB_BITS = 32
SETS = 24  # of mixing weights, by octaves of the errors around
PLACES = np.cumsum([0, BINS * 9, 27 * BINS // 2, 21 * BINS // 2, 64 * BINS // 2, 11**3])
"""First entry of each context in the part of one decision; the last one is the size of a part."""
PART = int(PLACES[-1])
CONTEXTS = PLACES.size - 1
MOST_ERROR = 1 << 24


@inner()
def bins(v):
    """Quarter octaves of v + 1, v >= 0, at most BINS - 1."""
    v += 1
    octave = 0
    while v >> (octave + 1):
        octave += 1
    if octave >= 2:
        return min(4 * octave + ((v >> (octave - 2)) & 3), BINS - 1)
    return 4 + 2 * (v & 1) if octave else 0


@inner()
def signed_octave(v, limit):
    """Octave of |v| with the sign of v, both limited, from 0 on."""
    a = min(bins(abs(v)) >> 2, limit)
    return limit + a if v >= 0 else limit - a


@inner()
def deadzone_sign(v):
    """0, 1, 2 for v near zero, above, below."""
    return 1 if v > 4 else 2 if v < -4 else 0


@inner()
def _wanted(decision, e, high, n):
    """The bit of a decision about the error e."""
    if decision == ZERO:
        return int(e != 0)
    if decision == SIGN or decision == SIDE:
        return int(e < 0)
    return int(high > n)


@inner()
def code_error(state, buffer, tables, mixers, around, shift, contexts, inputs, e):
    """Write the error e of a prediction whose expected size is 2^shift or so; read one where e is None; return it.

    state, buffer: of the range coder. tables: uint32 (DECISIONS PART,), mixers: int64 (DECISIONS, SETS, CONTEXTS + 1).
    around: `bins` of the errors around. contexts: int64 (CONTEXTS,), places in the part of one decision. inputs: int64
    (CONTEXTS + 1,), scratch but for the last one, the bias. See docs/ARCHITECTURE.md, "Kernels".
    """
    group = min(around >> 2, SETS - 1)
    n = a = negative = 0
    if e is not None:
        a = abs(e) - 1 if shift == 0 or e < 0 else e
    decision = SIDE if shift else ZERO
    while n < UNARY:
        mixer = mixers[decision, group]
        if e is None:
            bit = code(state, buffer, tables, decision * PART, contexts, mixer, inputs, CONTEXTS, None)
        else:
            bit = _wanted(decision, e, a >> shift, n)
            bit = code(state, buffer, tables, decision * PART, contexts, mixer, inputs, CONTEXTS, bit)
        if decision == ZERO:
            if bit == 0:
                return 0
            decision = SIGN
        elif decision == SIGN or decision == SIDE:
            negative = bit
            decision = LARGE if shift else SMALL
        elif bit == 0:
            break
        else:
            n += 1
            decision = min(n, STEPS - 1) + (LARGE if shift else SMALL)
    if e is None:
        if n == UNARY:
            n += read_golomb(state, buffer, GOLOMB_BITS) - 1
        for _ in range(shift):
            n = 2 * n + decode_bit(state, buffer, HALF)
    else:
        if n == UNARY:
            write_golomb(state, buffer, (a >> shift) - UNARY + 1, GOLOMB_BITS)
        for i in range(shift - 1, -1, -1):
            encode_bit(state, buffer, HALF, (a >> i) & 1)
        n = a
    if shift == 0:
        n += 1
        return -n if negative else n
    return -n - 1 if negative else n


def new_mixers() -> npt.NDArray[np.int64]:
    """Mixing weights that every stream starts from, (DECISIONS, SETS, CONTEXTS + 1)."""
    mixers = np.full((DECISIONS, SETS, CONTEXTS + 1), ONE_WEIGHT * 3 // 10)
    mixers[..., CONTEXTS] = 0
    return mixers
