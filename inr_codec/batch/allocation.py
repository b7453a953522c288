"""One budget for a data set, shared out by equal slopes.

`allocate` gives chunks bytes such that all rate-distortion curves (`rate_curves`) have one slope, -dD/dR = lambda,
where their ends allow it: no byte would then lower the total error more in another chunk (Everett 1963; Shoham & Gersho
1988).
"""

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.rate_curves import Curve, Floats
from inr_codec.errors import ConfigError

FLAT = 1e-12
"""Fall of log(error) with a byte where a curve says that nothing is gained."""
SPLITS = 48
"""Bisections of log lambda."""
SLAB = 1 << 20
"""Chunks whose curves are in memory at a time: those of a larger array lie in a temporary file, 400 bytes a chunk."""


def allocate(
    curves: Iterable[Curve], total_bytes: int, *, floor: int = 0, ceiling: int | None = None
) -> NDArray[np.int64]:
    """Bytes of every chunk, at most `total_bytes` in all, of least total error by the curves.

    No chunk gets less than its curve's floor or more than its ceiling; `floor` and `ceiling` are narrower limits for
    all chunks, as far as their curves allow. Curves are read once, a million of them take seconds; of more than `SLAB`
    what is kept in memory are about 30 bytes a chunk. Raises ConfigError where the floors alone exceed the total.
    """
    slabs = list(_slabs(iter(curves), floor, ceiling))
    least = sum(int(slab.least.sum()) for slab in slabs)
    count = sum(len(slab.least) for slab in slabs)
    if least > total_bytes:
        raise ConfigError(
            f"expected a budget of at least {least:,} bytes, what {count:,} chunks cost at least, got "
            f"{total_bytes:,}: lower the ratio or use larger chunks"
        )
    if sum(int(slab.most.sum()) for slab in slabs) <= total_bytes:
        return np.concatenate([slab.most for slab in slabs])
    room = total_bytes - least
    tight = max(float(slab.starts.max(initial=-np.inf)) for slab in slabs)
    loose = min(float((slab.starts - slab.rates * slab.lengths).min(initial=np.inf)) for slab in slabs)
    for _ in range(SPLITS):
        middle = (tight + loose) / 2
        if sum(slab.filled(middle).sum() for slab in slabs) > room:
            loose = middle
        else:
            tight = middle
    under, over = (sum(slab.filled(slope).sum() for slab in slabs) for slope in (tight, loose))
    part = min(max((room - under) / max(over - under, 1e-9), 0.0), 1.0)
    given, wanting = np.empty(count, np.int64), np.empty(count, np.bool_)
    first = 0
    for slab in slabs:
        here = slice(first, first + len(slab.least))
        given[here], wanting[here] = slab.shared(tight, loose, part)
        first = here.stop
    given[np.flatnonzero(wanting)[: total_bytes - int(given.sum())]] += 1
    return given


@dataclass(frozen=True, slots=True)
class _Slab:
    """Some chunks: the least and most bytes of each, and the segments of their curves between these.

    Of all segments: whose, log(-dD/dR) at the start, bytes, and by how much log(D) falls with a byte.
    """

    least: NDArray[np.int64]
    most: NDArray[np.int64]
    owners: NDArray[np.int64]
    starts: Floats
    lengths: Floats
    rates: Floats

    def filled(self, log_slope: float) -> Floats:
        """Bytes of each segment with a greater slope."""
        return np.clip((self.starts - log_slope) / self.rates, 0, self.lengths)

    def shared(self, tight: float, loose: float, part: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Whole bytes of each chunk, so far between two slopes, and whether it would take one more."""
        under, over = self.filled(tight), self.filled(loose)
        wanted = np.bincount(self.owners, under + part * (over - under), len(self.least))
        given = self.least + np.floor(wanted).astype(np.int64)
        return given, (given < self.most) & (wanted % 1 > 0)


def _slabs(curves: Iterator[Curve], floor: int, ceiling: int | None) -> Iterator[_Slab]:
    """All curves, `SLAB` at a time; each slab but the only one in a temporary file."""
    slab = _slab(islice(curves, SLAB), floor, ceiling)
    following = next(curves, None)
    if following is None:
        yield slab
        return
    yield _on_disk(slab)
    while following is not None:
        yield _on_disk(_slab(chain([following], islice(curves, SLAB - 1)), floor, ceiling))
        following = next(curves, None)


def _on_disk(slab: _Slab) -> _Slab:
    """The same slab in a temporary file, which goes away with it."""
    arrays = [getattr(slab, each.name) for each in fields(slab)]
    kept = list[NDArray[Any]]()
    with TemporaryFile() as file:
        for values in arrays:
            there = np.memmap(file, values.dtype, "r+", file.tell(), (max(values.size, 1),))
            there[: values.size] = values
            there.flush()
            kept.append(there[: values.size])
            file.seek(0, os.SEEK_END)
    return _Slab(*kept)


def _slab(curves: Iterable[Curve], floor: int, ceiling: int | None) -> _Slab:
    """The segments of some curves."""
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
    return _Slab(least, most, owners[kept], starts[kept], lengths[kept], rates[kept])
