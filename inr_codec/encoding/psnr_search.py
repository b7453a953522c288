"""Finding the rate that reaches a PSNR."""

import math
from collections.abc import Callable

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.stream.frame import Reached

ENOUGH = 0.25
"""dB above the target at which the search ends (benchmarks/studies/constants)."""
AIM = 0.1
"""dB above the target that each guess aims at (benchmarks/studies/constants)."""
TRIES = 8
"""Encodings of one search, at most (benchmarks/studies/constants)."""
DECIBELS_PER_OCTAVE = 2.5
"""What a stream of twice the bytes gains, in dB, as long as no two are known (benchmarks/studies/filter)."""
FIRST_STEP = 2.5
"""Step of the first residual layer, in units of the error that is wanted (benchmarks/studies/constants)."""


def first_guess(chunk: UnitChunk, wanted: float) -> int:
    """Bytes with which the residual layer alone reaches about that PSNR: its error is a fixed share of its step."""
    encoder = ResidualEncoder(chunk.unit)
    step = FIRST_STEP * 10 ** (-wanted / 20)
    size = 0
    for _ in range(3):
        coded = encoder.encode_at_step(step)
        size = len(coded.payload)
        step *= 10 ** (-wanted / 20) / math.sqrt(max(chunk.squared_error(coded.decoded), 1e-15))
    return size


def search_psnr(
    within: Callable[[int], tuple[bytes, Reached]], chunk: UnitChunk, wanted: float, smallest: int, largest: int
) -> bytes | None:
    """Shortest stream found that reaches `wanted` dB; None if none of at most `largest` bytes does.

    `within(budget)` encodes; `smallest` is the size of a stream without layers. PSNR against the logarithm of the
    bytes is nearly a line, which is followed by secants inside the bracket.
    """
    low, high = float(smallest + 8), float(largest)
    budget = min(max(float(first_guess(chunk, wanted) + smallest), low), high)
    best: bytes | None = None
    seen: list[tuple[float, float]] = []
    for _ in range(TRIES):
        data, reached = within(int(budget))
        here = (math.log2(budget), min(reached.psnr, 200.0))
        if reached.psnr >= wanted:
            best = data if best is None or len(data) < len(best) else best
            high = min(high, budget)
            if reached.psnr < wanted + ENOUGH:
                break
        elif budget >= largest:
            return None
        else:
            low = max(low, budget)
        if high / low < 1.01:
            break
        slope = DECIBELS_PER_OCTAVE
        if seen and seen[-1][0] != here[0]:
            slope = max((here[1] - seen[-1][1]) / (here[0] - seen[-1][0]), 1.0)
        seen.append(here)
        guess = 2.0 ** (here[0] + (wanted + AIM - here[1]) / slope)
        budget = guess if low < guess < high else (math.sqrt(low * high) if best or guess < high else high)
    return best
