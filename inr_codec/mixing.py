"""Logistic mixing of adaptive probabilities, in integers: the model behind every bit of the residual layer.

A bit has n contexts. Each points to a counted probability p_i (see `entropy.adapt_counted`), whose logit, weakened
while it has seen few bits, is an input:

    s_i = stretch(p_i) c(n_i) / 256,  c(n) = 256 (n + 1/2) / (n + 2)      P = squash(sum of w_i s_i / 2^16)

and the weights follow the gradient of the code length: w_i += 20 (bit - P) s_i / 2^20 with P in units of 2^-16.
One more input s_n, a bias or a prediction from elsewhere, is set by the caller.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy import SQUASH, STRETCH, STRETCH_LIMIT, adapt_counted
from inr_codec.kernels import inner

IntArray = npt.NDArray[np.int64]

COUNT_LIMIT = 400
RATE, RATE_SHIFT = 20, 20
ONE_WEIGHT = 1 << 16
CONFIDENCE = np.array([(256 * (2 * n + 1) + n + 2) // (2 * n + 4) for n in range(1024)], np.int32)


@inner()
def predict(
    tables: npt.NDArray[np.uint32], base: int, contexts: IntArray, weights: npt.NDArray[np.int32], inputs: IntArray
) -> int:
    """P(bit = 1) in units of 2^-16 from the probabilities tables[base + contexts[i]]; fills inputs[: contexts.size]."""
    n = contexts.size
    total = int(weights[n]) * inputs[n]
    for i in range(n):
        entry = np.int64(tables[base + contexts[i]])
        s = (int(STRETCH[entry >> 20]) * int(CONFIDENCE[entry & 1023])) >> 8
        inputs[i] = s
        total += int(weights[i]) * s
    total = min(max(total >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    return int(SQUASH[total + STRETCH_LIMIT])


@inner()
def learn(
    tables: npt.NDArray[np.uint32],
    base: int,
    contexts: IntArray,
    weights: npt.NDArray[np.int32],
    inputs: IntArray,
    p: int,
    bit: int,
) -> None:
    """Move weights and probabilities towards the bit that was coded with p = predict(...)."""
    n = contexts.size
    error = ((bit << 16) - p) * RATE
    for i in range(n + 1):
        weights[i] += (error * inputs[i] + (1 << (RATE_SHIFT - 1))) >> RATE_SHIFT
    for i in range(n):
        k = base + contexts[i]
        tables[k] = adapt_counted(tables[k], bit, COUNT_LIMIT)
