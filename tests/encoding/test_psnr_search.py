"""The search for a PSNR, on made-up encoders: what it finds reaches the target in nearly as few bytes as can be."""

import bisect
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from samples import field

from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.encoding.psnr_search import ENOUGH, TRIES, search_psnr
from inr_codec.stream.frame import Reached

CHUNK = UnitChunk(field((8, 12, 12)) / 100 + 0.2)
SMALLEST, LARGEST = 20, 200_000


@settings(max_examples=30)
@given(st.floats(-10, 60), st.floats(1.2, 8), st.floats(0, 0.07), st.floats(15, 90))
def test_the_target_is_reached_with_few_bytes(base: float, slope: float, bend: float, wanted: float) -> None:
    """An encoder whose PSNR rises ever more slowly with the logarithm of its bytes: the stream reaches the target, is
    within 0.25 dB of it or 1 % of the fewest bytes, after few encodings; without one no budget reaches it."""
    calls: list[int] = []

    def reached(budget: int) -> float:
        octaves = math.log2(budget / SMALLEST)
        return base + slope * (octaves - bend * octaves**2 / 2)

    def within(budget: int) -> tuple[bytes, Reached]:
        calls.append(budget)
        return bytes(budget), Reached(reached(budget), 0.0)

    found = search_psnr(within, CHUNK, wanted, SMALLEST, LARGEST)
    assert len(calls) <= TRIES
    assert all(SMALLEST <= budget <= LARGEST for budget in calls)
    fewest = bisect.bisect_left(range(LARGEST + 1), wanted, lo=SMALLEST + 8, key=reached)
    assert (found is None) == (fewest > LARGEST)
    if found is not None:
        assert reached(len(found)) >= wanted
        assert reached(len(found)) < wanted + ENOUGH or len(found) <= 1.01 * fewest
