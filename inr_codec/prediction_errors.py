"""Coder of prediction errors: one kernel writes and reads them, five contexts mixed for every bit, in integers only.

An error's expected size follows from the errors around it. Small ones are coded as zero or not, sign, magnitude in
unary; large ones as sign, high part in unary and low bits as they are. What the contexts are is for the caller to say:
`predictive` and `corrective` have their own.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy import COUNTED_HALF, HALF, decode_bit, encode_bit
from inr_codec.kernels import inner
from inr_codec.mixing import ONE_WEIGHT
from inr_codec.mixing import learn as learn_bit
from inr_codec.mixing import predict as predict_bit

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
OVERRUN = 64
"""Bytes past the end that a reader takes for trailing zeros."""


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
def third(v):
    """0, 1, 2 for v near zero, above, below."""
    return 1 if v > 4 else 2 if v < -4 else 0


@inner()
def _bit(encoding, state, buffer, p, bit):
    if encoding:
        encode_bit(state, buffer, p, bit)
        return bit
    return decode_bit(state, buffer, p)


@inner()
def _modelled(encoding, state, buffer, tables, weights, decision, contexts, inputs, bit):
    base = decision * PART
    p = predict_bit(tables, base, contexts, weights, inputs)
    bit = _bit(encoding, state, buffer, p, bit)
    learn_bit(tables, base, contexts, weights, inputs, p, bit)
    return bit


@inner()
def _golomb(encoding, state, buffer, value):
    """Exponential Golomb code of value >= 1."""
    count = 0
    while count < GOLOMB_BITS and _bit(encoding, state, buffer, HALF, 1 if value >> (count + 1) else 0):
        count += 1
    out = 1
    for i in range(count - 1, -1, -1):
        out = 2 * out + _bit(encoding, state, buffer, HALF, (value >> i) & 1)
    return out


@inner()
def code_error(encoding, state, buffer, tables, mixers, around, shift, contexts, inputs, e):
    """Code the error e of a prediction, whose expected size is 2^shift or so."""
    group = min(around >> 2, SETS - 1)
    if shift == 0:
        if not _modelled(encoding, state, buffer, tables, mixers[ZERO, group], ZERO, contexts, inputs, 1 if e else 0):
            return 0
        negative = _modelled(
            encoding, state, buffer, tables, mixers[SIGN, group], SIGN, contexts, inputs, 1 if e < 0 else 0
        )
        a, first = abs(e) - 1, SMALL
    else:
        negative = _modelled(
            encoding, state, buffer, tables, mixers[SIDE, group], SIDE, contexts, inputs, 1 if e < 0 else 0
        )
        a, first = -e - 1 if e < 0 else e, LARGE
    high = a >> shift
    n = 0
    while n < UNARY:
        decision = first + min(n, STEPS - 1)
        if not _modelled(
            encoding,
            state,
            buffer,
            tables,
            mixers[decision, group],
            decision,
            contexts,
            inputs,
            1 if high > n else 0,
        ):
            break
        n += 1
    if n == UNARY:
        n += _golomb(encoding, state, buffer, high - UNARY + 1) - 1
    for i in range(shift - 1, -1, -1):
        n = 2 * n + _bit(encoding, state, buffer, HALF, (a >> i) & 1)
    if shift == 0:
        return -n - 1 if negative else n + 1
    return -n - 1 if negative else n


def new_model() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Probabilities and mixing weights that every stream starts from."""
    mixers = np.full((DECISIONS, SETS, CONTEXTS + 1), ONE_WEIGHT * 3 // 10)
    mixers[..., CONTEXTS] = 0
    return np.full(DECISIONS * PART, COUNTED_HALF, np.uint32), mixers
