"""Progress on a terminal, in one line: chunks done, voxels a second, time left."""

import time
from collections.abc import Callable
from typing import TextIO

BAR_CELLS = 24


class Progress:
    """A counter of chunks and voxels, drawn as one line over itself while `shown`.

    `clock` gives seconds; the rate is the mean since the beginning, and the time left is what remains at that rate.
    """

    def __init__(
        self,
        verb: str,
        chunks: int,
        voxels: int,
        *,
        stream: TextIO,
        shown: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verb, self.chunks, self.voxels = verb, chunks, voxels
        self.chunks_done = self.voxels_done = 0
        self.note = ""
        self._stream, self._shown, self._clock = stream, shown, clock
        self._begin, self._width = clock(), 0
        self._draw()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._begin

    @property
    def rate(self) -> float:
        """Voxels a second so far."""
        return self.voxels_done / max(self.seconds, 1e-9)

    def step(self, voxels: int, chunks: int = 1, note: str = "") -> None:
        """One more chunk, or several, of so many voxels are done; the note is drawn at the end of the line."""
        self.chunks_done += chunks
        self.voxels_done += voxels
        self.note = note
        self._draw()

    def say(self, text: str) -> None:
        """A line of text above what is drawn; also where nothing is drawn."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()
        self._draw()

    def close(self) -> None:
        """Clear the line for what is printed next."""
        if self._shown:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()

    def line(self) -> str:
        """What is drawn: bar, chunks, rate and time left (once a chunk is done)."""
        full = BAR_CELLS * self.voxels_done // max(self.voxels, 1)
        text = f"{self.verb} [{'#' * full}{'.' * (BAR_CELLS - full)}] {self.chunks_done}/{self.chunks} chunks"
        if self.voxels_done:
            left = (self.voxels - self.voxels_done) / self.rate
            text += f", {voxels_per_second(self.rate)}, {duration(left)} left"
        return f"{text}, {self.note}" if self.note else text

    def _draw(self) -> None:
        if self._shown:
            text = self.line()
            self._stream.write("\r" + text.ljust(self._width))
            self._stream.flush()
            self._width = len(text)


def duration(seconds: float) -> str:
    """Seconds as text: `0.4 s`, `42 s`, `3:07 min`, `2:05 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def voxels_per_second(rate: float) -> str:
    """A rate with its unit: `830 voxel/s`, `212 kvoxel/s`, `14.2 Mvoxel/s`."""
    if rate < 1e3:
        return f"{rate:.0f} voxel/s"
    return f"{rate / 1e3:.3g} kvoxel/s" if rate < 1e6 else f"{rate / 1e6:.3g} Mvoxel/s"
