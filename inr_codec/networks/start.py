"""Where the fit of a network starts: the parameters, and numbers that are the same on every machine."""

import math

import numpy as np
from numpy.typing import NDArray

from inr_codec.networks.shape import NetworkShape


class StartSequence:
    """Uniform numbers that are the same on every machine for ever, a sequence for each number of a block.

    Number i >= 1 of block b is the splitmix64 hash (Steele et al. 2014) of (2^32 b + i) 0x9E3779B97F4A7C15 mod 2^64,
    its upper 53 bits times 2^-53.
    """

    def __init__(self, block: int) -> None:
        self._next = (block << 32) + 1

    def uniform(self, low: float, high: float, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """The next numbers, as many as an array of that size has, in C order: low + (high - low) u, in float64."""
        count = math.prod(size) if isinstance(size, tuple) else size
        z = (np.uint64(self._next) + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        self._next += count
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        u = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * u).reshape(size)


def initial_parameters(shape: NetworkShape, w0: float, rng: np.random.Generator | StartSequence) -> NDArray[np.float32]:
    """Where a fit starts.

    Sine networks (Sitzmann et al. 2020, sec. 3.2), biases and last layer included: W_1 ~ U(-1/n, 1/n),
    W_k ~ U(-sqrt(6/n)/w0, sqrt(6/n)/w0), b_k ~ U(-1/sqrt(n), 1/sqrt(n)). NeRF networks (He et al. 2015):
    W_k ~ U(-sqrt(6/n), sqrt(6/n)), b_k = 0, but weights of octave l of the coordinate in proportion to 2^(-l/2), with
    the same sum of squares (benchmarks/studies/networks). The last bias is 0: targets are standardised, so the fit
    starts at their mean.
    """
    parts: list[NDArray[np.float64]] = []
    for k, (n, m) in enumerate(shape.layers):
        if shape.frequencies:
            limit, spread = math.sqrt(6 / n), 0.0
        else:
            limit, spread = 1 / n if k == 0 else math.sqrt(6 / n) / w0, 1 / math.sqrt(n)
        matrix = rng.uniform(-limit, limit, (m, n))
        if shape.frequencies and (k == 0 or n > shape.widths[k]):
            fall = 2.0 ** (-0.5 * np.arange(shape.frequencies))
            fall *= math.sqrt(shape.frequencies / np.sum(fall**2))
            matrix[:, n - shape.encoded :] *= np.tile(np.repeat(fall, 2), len(shape.moving))
        parts.append(matrix.reshape(-1))
        parts.append(rng.uniform(-1, 1, m) * spread)
    parts[-1][:] = 0
    return np.concatenate(parts).astype(np.float32)
