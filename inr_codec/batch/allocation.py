"""One budget for a data set, shared out by equal slopes.

`allocate` gives chunks bytes such that all rate-distortion curves (`rate_curves`) have one slope, -dD/dR = lambda,
where their ends allow it: no byte would then lower the total error more in another chunk (Everett 1963; Shoham & Gersho
1988).
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.rate_curves import Curve, Floats
from inr_codec.errors import ConfigError

FLAT = 1e-12
"""Fall of log(error) with a byte where a curve says that nothing is gained."""
SPLITS = 48
"""Bisections of log lambda."""


def allocate(
    curves: Iterable[Curve], total_bytes: int, *, floor: int = 0, ceiling: int | None = None
) -> NDArray[np.int64]:
    """Bytes of every chunk, at most `total_bytes` in all, of least total error by the curves.

    No chunk gets less than its curve's floor or more than its ceiling; `floor` and `ceiling` are narrower limits for
    all chunks, as far as their curves allow. Curves are read once, a million of them take seconds. Raises ConfigError
    where the floors alone exceed the total.
    """
    least, most, segments = _segments(curves, floor, ceiling)
    if int(least.sum()) > total_bytes:
        raise ConfigError(
            f"expected a budget of at least {int(least.sum()):,} bytes, what {len(least):,} chunks cost at least, got "
            f"{total_bytes:,}: lower the ratio or use larger chunks"
        )
    if int(most.sum()) <= total_bytes:
        return most
    room = total_bytes - int(least.sum())
    tight = float(segments.starts.max())
    loose = float((segments.starts - segments.rates * segments.lengths).min())
    for _ in range(SPLITS):
        middle = (tight + loose) / 2
        if segments.filled(middle).sum() > room:
            loose = middle
        else:
            tight = middle
    under, over = segments.filled(tight), segments.filled(loose)
    part = (room - under.sum()) / max(over.sum() - under.sum(), 1e-9)
    wanted = np.bincount(segments.owners, under + min(max(part, 0.0), 1.0) * (over - under), len(least))
    given = least + np.floor(wanted).astype(np.int64)
    wanting = np.flatnonzero((given < most) & (wanted % 1 > 0))
    given[wanting[: total_bytes - int(given.sum())]] += 1
    return given


@dataclass(frozen=True, slots=True)
class _Segments:
    """Of all curves: whose, log(-dD/dR) at the start, bytes, and by how much log(D) falls with a byte."""

    owners: NDArray[np.int64]
    starts: Floats
    lengths: Floats
    rates: Floats

    def filled(self, log_slope: float) -> Floats:
        """Bytes of each segment with a greater slope."""
        return np.clip((self.starts - log_slope) / self.rates, 0, self.lengths)


def _segments(
    curves: Iterable[Curve], floor: int, ceiling: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], _Segments]:
    """Least and most bytes of each chunk, and the segments of the curves between them."""
    counts, sizes, errors = array("q"), array("d"), array("d")
    for curve in curves:
        counts.append(len(curve.bytes))
        sizes.extend(curve.bytes)
        errors.extend(curve.errors)
    points, x = np.frombuffer(counts, np.int64), np.frombuffer(sizes, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(np.frombuffer(errors, np.float64))
        lengths, falls = np.diff(x), -np.diff(y)
    ends = np.cumsum(points)
    low, high = x[ends - points].astype(np.int64), x[ends - 1].astype(np.int64)
    least = np.clip(floor, low, high)
    most = high if ceiling is None else np.clip(ceiling, least, high)
    owners = np.repeat(np.arange(len(points)), points)
    inner = np.flatnonzero((owners[:-1] == owners[1:]) & (lengths > 0))
    owners, rates = owners[inner], np.maximum(falls[inner] / lengths[inner], FLAT)
    begin = np.maximum(x[inner], least[owners])
    lengths = np.minimum(x[inner + 1], most[owners]) - begin
    starts = np.log(rates) + y[inner] - rates * (begin - x[inner])
    kept = lengths > 0
    return least, most, _Segments(owners[kept], starts[kept], lengths[kept], rates[kept])
