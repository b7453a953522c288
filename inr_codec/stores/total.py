"""The error of many chunks together: one PSNR for an array, whatever the ranges of its chunks are."""

import math
from dataclasses import dataclass


def mean_square(psnr: float | None, lo: float | None, hi: float | None) -> float | None:
    """Mean squared error of a chunk in intensity units from its PSNR in dB (peak = hi - lo); None where it is unknown.

    It is unknown for a stream of one value with a finite PSNR: the range of the original voxels is not stored.
    """
    if psnr is None or math.isinf(psnr):
        return None if psnr is None else 0.0
    return None if lo is None or hi is None or lo == hi else (hi - lo) * (hi - lo) * 10 ** (-psnr / 10)


@dataclass
class Total:
    """Sums over chunks: squared error, voxels, and the least and greatest intensity. Figures that are None add nothing.

    unknown: chunks whose error is not known, which do not count.
    """

    squares: float = 0.0
    voxels: int = 0
    low: float = math.inf
    high: float = -math.inf
    unknown: int = 0

    def add(self, mse: float | None, voxels: int, lo: float | None, hi: float | None) -> None:
        """Count a chunk."""
        self.low, self.high = (
            min(self.low, math.inf if lo is None else lo),
            max(self.high, -math.inf if hi is None else hi),
        )
        if mse is None:
            self.unknown += 1
        else:
            self.squares, self.voxels = self.squares + mse * voxels, self.voxels + voxels

    def merge(self, other: "Total") -> None:
        """Add the sums of another total."""
        self.squares, self.voxels = self.squares + other.squares, self.voxels + other.voxels
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.unknown += other.unknown

    @property
    def peak(self) -> float:
        """Greatest intensity - least."""
        return self.high - self.low

    @property
    def psnr(self) -> float | None:
        """dB, peak = max - min of all chunks; inf without error, None where nothing is known."""
        if not self.voxels:
            return None
        if self.squares == 0 or self.peak <= 0:
            return math.inf if self.squares == 0 else None
        return 20 * math.log10(self.peak) - 10 * math.log10(self.squares / self.voxels)

    def __str__(self) -> str:
        psnr = self.psnr
        text = "not known" if psnr is None else "exact" if math.isinf(psnr) else f"{psnr:.2f} dB"
        return f"{text}, without {self.unknown:,} chunks stored as one value" if self.unknown else text
