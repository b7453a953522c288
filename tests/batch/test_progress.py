import io

import pytest

from inr_codec.progress import Progress, duration, voxels_per_second


def ticking(*seconds):
    """A clock that shows these times one after the other, and then the last for ever."""
    times = list(seconds)
    return lambda: times.pop(0) if len(times) > 1 else times[0]


def test_rate_and_time_left_follow_the_voxels():
    """A quarter of the voxels in 30 s means 90 s more, at that rate."""
    progress = Progress("encoding", 2, 4_000_000, stream=io.StringIO(), shown=False, clock=ticking(100, 130))
    progress.step(1_000_000)
    assert progress.line() == "encoding [######..................] 1/2 chunks, 33.3 kvoxel/s, 1:30 min left"


def test_each_line_covers_the_one_before():
    """A shorter line leaves nothing of a longer one, and closing leaves the line empty."""
    stream = io.StringIO()
    progress = Progress("x", 3, 30, stream=stream, shown=True, clock=ticking(0, 1000, 1001))
    for _ in range(3):
        progress.step(10)
    progress.close()
    lines = stream.getvalue().split("\r")[1:]
    assert all(len(after) >= len(before.rstrip()) for before, after in zip(lines[:-1], lines[1:-1]))
    assert lines[-2].strip() == lines[-1] == ""


def test_nothing_is_drawn_unasked():
    """Where no bar is wanted nothing is written."""
    stream = io.StringIO()
    progress = Progress("x", 1, 10, stream=stream, shown=False)
    progress.step(10)
    progress.close()
    assert stream.getvalue() == ""
    assert progress.rate > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.5, "9.5 s"), (59.2, "59 s"), (59.7, "1:00 min"), (187, "3:07 min"), (7500, "2:05 h")],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    """Seconds, then minutes, then hours."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(12, "12 voxel/s"), (212_400, "212 kvoxel/s"), (14_230_000, "14.2 Mvoxel/s")],
)
def test_rates_have_a_unit(rate, text):
    """Three digits and a unit."""
    assert voxels_per_second(rate) == text
