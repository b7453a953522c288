"""Logistic mixing of adaptive probabilities, in integers: the model behind every bit of the residual layer.

A bit has n contexts. Each points to a counted probability p_i (see `range_coder.adapt_counted`), whose logit, weakened
while it has seen few bits, is an input:

    s_i = stretch(p_i) c(n_i) / 256,  c(n) = 256 (n + 1/2) / (n + 2)      P = squash(sum of w_i s_i / 2^16)

and the weights follow the gradient of the code length: w_i += 20 (bit - P) s_i / 2^20 with P in units of 2^-16.
One more input s_n, a bias or a prediction from elsewhere, is set by the caller.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.range_coder import (
    COUNTED_HALF,
    SQUASH,
    STRETCH,
    STRETCH_LIMIT,
    adapt_counted,
    decode_bit,
    encode_bit,
)
from inr_codec.runtime.kernels import inner

# Format, frozen (FORMAT.md section 6.4).
COUNT_LIMIT = 400
INDEX = (1 << 32) - 1
"""Anding a place of a table with it spares the kernel the test for a negative one."""
RATE, RATE_SHIFT = 20, 20
ONE_WEIGHT = 1 << 16
CONFIDENCE = np.array([(256 * (2 * n + 1) + n + 2) // (2 * n + 4) for n in range(1024)], np.int16)

FREE_DECISIONS, DECISIONS_PER_VOXEL, DECISIONS_PER_BYTE = 1 << 23, 2, 1 << 15
"""Bits that a layer models at most: so many, so many more for each voxel, so many more for each byte of the layer."""
OVERRUN = 64
"""Bytes past the end that a reader takes for trailing zeros."""


def new_tables(entries: int) -> npt.NDArray[np.uint32]:
    """Counted probabilities of one half."""
    return np.full(entries, COUNTED_HALF, np.uint32)


@inner()
def excess(state, given, decisions, voxels):
    """Bytes that a layer of `given` bytes lacks for what was read: those past its end; more than `OVERRUN` where it has
    modelled too many bits.

    state: of the range coder. decisions: modelled bits; voxels: of the chunk.
    """
    if decisions > FREE_DECISIONS + DECISIONS_PER_VOXEL * voxels + DECISIONS_PER_BYTE * given:
        return max(state[2] - given, OVERRUN + 1)
    return state[2] - given


@inner()
def length(state, used, decisions, voxels):
    """Bytes of a layer that a reader takes, from those that `encoder_finish` says.

    It may count on most of the trailing zeros. Where it models more bits than so few bytes may, zeros are added.
    """
    least = (decisions - FREE_DECISIONS - DECISIONS_PER_VOXEL * voxels + DECISIONS_PER_BYTE - 1) // DECISIONS_PER_BYTE
    return max(max(used, state[2] - OVERRUN // 2), max(least, 1))


@inner()
def predict(tables, base, contexts, weights, inputs, n):
    """P(bit = 1) in units of 2^-16 from the probabilities tables[base + contexts[i]], i < n; fills inputs[:n].

    tables: uint32, counted probabilities. contexts: int64 (n,). weights: int64 (n + 1,), in units of 2^-16. inputs:
    int64 (n + 1,), logits in units of 2^-8; the last one is given.
    """
    total = weights[n] * inputs[n]
    for i in range(n):
        entry = np.int64(tables[(base + contexts[i]) & INDEX])
        s = (STRETCH[entry >> 20] * CONFIDENCE[entry & 1023]) >> 8
        inputs[i] = s
        total += weights[i] * s
    total = min(max(total >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    return np.int64(SQUASH[total + STRETCH_LIMIT])


@inner()
def learn(tables, base, contexts, weights, inputs, n, p, bit):
    """What follows a bit that `predict` gave p: weights and probabilities learn it."""
    error = ((bit << 16) - p) * RATE
    for i in range(n + 1):
        weights[i] += (error * inputs[i] + (1 << (RATE_SHIFT - 1))) >> RATE_SHIFT
    for i in range(n):
        k = (base + contexts[i]) & INDEX
        tables[k] = adapt_counted(np.int64(tables[k]), bit, COUNT_LIMIT)


@inner()
def code(state, buffer, tables, base, contexts, weights, inputs, n, bit):
    """Write a bit, or read one where it is None, under n contexts; weights and probabilities learn it.

    state, buffer: of the range coder; the rest as for `predict`. See docs/ARCHITECTURE.md, "Kernels", for the None.
    """
    p = predict(tables, base, contexts, weights, inputs, n)
    if bit is None:
        coded = decode_bit(state, buffer, p)
    else:
        encode_bit(state, buffer, p, bit)
        coded = bit
    learn(tables, base, contexts, weights, inputs, n, p, coded)
    return coded
