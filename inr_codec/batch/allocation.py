"""One budget for a data set: what every chunk's squared error costs in bytes, and bytes shared out by equal slopes.

`measure_chunk` transforms a chunk with the 9/7 wavelet once and estimates, for quantiser steps that halve, the squared
error and the bytes of coding it: the rate-distortion curve of the chunk, in its own intensity units, so that errors of
different chunks add up. `allocate` gives chunks bytes such that all curves have one slope, -dD/dR = lambda, where their
ends allow it: no byte would then lower the total error more in another chunk (Everett 1963; Shoham & Gersho 1988).
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import as_3d
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.config import MAX_RATIO, Config
from inr_codec.encoding.encoder import fits_networks
from inr_codec.errors import ConfigError
from inr_codec.layers.lossless import pack_lossless
from inr_codec.layers.mask import find_mask
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.packet_tree import bands_of_tree, mallat_tree
from inr_codec.runtime.kernels import kernel

HALVINGS = 15
"""Quantiser steps of a curve: from the largest coefficient down to 2^-14 of it (benchmarks/studies/allocation)."""
CONSTANT_BYTES = 32
"""A stream that holds one value, with the extent of its padding: what a chunk costs at least."""
BITS = 3.0
"""Bits of a coefficient that is not zero, with its share of the zeros, beside log2(value / step). With these the error
of the residual layer alone is met within 0.2 dB on average at ratios of 50 and more, within 0.9 dB from chunk to chunk
(benchmarks/studies/allocation)."""
LAYERS_BYTES = 48
"""Header and framing of the layers of any other stream (benchmarks/studies/allocation)."""
LEAST_ERROR = 1e-9
"""Squared error that counts as none, as a share of that of the chunk's mean: the errors of a curve stay above it."""
FLAT = 1e-12
"""Fall of log(error) with a byte where a curve says that nothing is gained."""
SPLITS = 48
"""Bisections of log lambda."""

Floats = NDArray[np.float64]
Place = tuple[tuple[slice, ...], list[wavelet.FloatArray]]
"""The box of a band in the coefficients, and the norms of its coefficients along each axis."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Squared error of a chunk (sum over its voxels, intensity units squared) against the bytes of its stream.

    bytes: ascending, from the floor, what the chunk costs as one constant, to the ceiling, what it costs losslessly.
    errors: descending, of the same length; between two points log(error) is linear in bytes, and over all of them
    convex. A chunk whose size no budget changes has one point.
    """

    bytes: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def floor(self) -> int:
        """Bytes of the chunk at least."""
        return self.bytes[0]

    @property
    def ceiling(self) -> int:
        """Bytes beyond which nothing is gained."""
        return self.bytes[-1]

    def to_json(self) -> list[list[float]]:
        """[bytes, errors], plain JSON."""
        return [list(self.bytes), list(self.errors)]

    @classmethod
    def from_json(cls, data: Sequence[Sequence[float]]) -> "Curve":
        """A curve from `to_json()`."""
        return cls(tuple(map(int, data[0])), tuple(map(float, data[1])))


NOTHING = Curve((0,), (0.0,))
"""The curve of a chunk that is not stored at all: nothing but the fill value."""


def measure_chunk(values: NDArray[np.generic]) -> Curve:
    """The estimated curve of a chunk of any dtype and shape; masked voxels (NaN, padding) have no error.

    Less than 0.1 s per megavoxel. An estimate: the bytes are those of a rough model of the residual layer, networks and
    filter are not tried.
    """
    chunk = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if chunk.size == 0:
        return NOTHING
    networks = fits_networks(chunk)
    if networks and ((chunk == chunk.flat[0]).all() or not np.isfinite(chunk).any()):
        return Curve((CONSTANT_BYTES,), (0.0,))
    ceiling = min(len(pack_lossless(chunk, 1)), chunk.nbytes) + CONSTANT_BYTES
    exact = Curve((ceiling,), (0.0,))
    if not networks:
        return exact
    valid = _valid(chunk)
    seen = chunk if valid is None else chunk[valid]
    lo, hi = float(seen.min()), float(seen.max())
    if not 1e-150 < hi - lo < 1e150:
        return Curve((CONSTANT_BYTES,), (0.0,)) if lo == hi else exact
    unit = normalise(chunk if valid is None else np.where(valid, chunk, seen.mean(dtype=np.float64)), Intensity(lo, hi))
    unit -= unit.mean(dtype=np.float64, where=True if valid is None else valid)
    if valid is not None:
        unit[~valid] = 0
    bits, errors = _estimate(unit.reshape(as_3d(unit.shape)))
    variance = float(np.square(unit, dtype=np.float64).sum())
    sizes = np.concatenate([[CONSTANT_BYTES], LAYERS_BYTES + bits / 8])
    squares = np.concatenate([[variance], np.minimum(errors, variance)])
    return _convex(sizes, np.maximum(squares, LEAST_ERROR * variance) * (hi - lo) ** 2, ceiling)


def _valid(chunk: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """The voxels that are not masked, None where all of them count."""
    try:
        mask = find_mask(chunk)
    except OverflowError:
        return np.asarray(np.isfinite(chunk))
    if mask is None:
        return None
    valid = np.zeros(chunk.shape, np.bool_)
    valid[mask.slices] = True if mask.classes is None else mask.classes == 0
    return valid


@lru_cache(maxsize=64)
def _mallat(shape: tuple[int, int, int]) -> tuple[list[wavelet.Step], list[Place]]:
    """Lifting steps and bands of the classical tree."""
    steps, bands = bands_of_tree(shape, mallat_tree(shape))
    places: list[Place] = []
    for band in bands:
        norms = []
        for n, o, size, level in zip(shape, band.offset, band.size, band.levels):
            norms.append(wavelet.norms(n, level)[o : o + size] if level else np.ones(size, np.float32))
        places.append((tuple(slice(o, o + n) for o, n in zip(band.offset, band.size)), norms))
    return steps, places


def _estimate(unit: wavelet.FloatArray) -> tuple[Floats, Floats]:
    """Bits and squared error of an array of three axes at HALVINGS steps, each half of the one before.

    What is below 0.8 steps becomes zero and costs nothing, whatever is not costs BITS + log2(value / step) bits.
    """
    steps, bands = _mallat(unit.shape)
    values = unit.copy()
    wavelet.forward(values, steps)
    top = max(_largest(values[box], *norms) for box, norms in bands)
    count, logs, squares = (np.zeros(HALVINGS + 1) for _ in range(3))
    if top > 0:
        for box, norms in bands:
            _add_histogram(values[box], *norms, 1 / top, count, logs, squares)
    step = 1.25 * 0.5 ** np.arange(HALVINGS)
    live = np.cumsum(count)[:-1]
    bits = live * (BITS - np.log2(step)) + np.cumsum(logs)[:-1]
    dropped = np.cumsum(squares[::-1])[-2::-1]
    return bits, (dropped + live * step**2 / 12) * top**2


@kernel()
def _largest(values, wz, wy, wx):  # type: ignore[no-untyped-def]
    top = np.float32(0)
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                top = max(top, abs(values[z, y, x]) * wz[z] * wy[y] * wx[x])
    return top


@kernel()
def _add_histogram(values, wz, wy, wx, scale, count, logs, squares):  # type: ignore[no-untyped-def]
    """Of a band's magnitudes v times scale <= 1: number, log2 and squares, by k with 2^-k <= v < 2^(1 - k)."""
    last = count.size - 1
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            w = wz[z] * wy[y] * scale
            for x in range(values.shape[2]):
                v = np.float64(abs(values[z, y, x]) * w * wx[x])
                k, log = last, 0.0
                if v > 0:
                    log = math.log2(v)
                    k = min(max(math.ceil(-log), 0), last)
                count[k] += 1
                logs[k] += log
                squares[k] += v * v


def _convex(sizes: Floats, errors: Floats, ceiling: int) -> Curve:
    """The lower convex hull of log(error) against bytes, cut off at the ceiling."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(zip(sizes, np.log(errors))):
        if hull and (y >= hull[-1][1] or x < hull[-1][0] + 1):
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-1][0]) >= (y - hull[-1][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    kept = [point for point in hull if point[0] < ceiling]
    if not kept:
        return Curve((ceiling,), (0.0,))
    if len(kept) < len(hull):
        (a, y), (b, z) = hull[len(kept) - 1 : len(kept) + 1]
        kept.append((ceiling, y + (z - y) * (ceiling - a) / (b - a)))
    return Curve(tuple(round(x) for x, _ in kept), tuple(float(f"{math.exp(y):.7g}") for _, y in kept))


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


def config_within(config: Config, nbytes: int, budget: int) -> Config:
    """The same settings with a target of `budget` bytes for a chunk of nbytes bytes."""
    return replace(config, ratio=min(max(nbytes / (budget + 0.5), 1.0), MAX_RATIO), bpv=None, psnr=None)
