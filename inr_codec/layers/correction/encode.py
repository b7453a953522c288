"""Writing the correction layer: the widest step that keeps every voxel within a bound, on a base where it pays."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.chunk.boxes import as_3d
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.efforts import EFFORTS, Effort
from inr_codec.layers.correction.error_coder import Levels
from inr_codec.layers.correction.lattice import widest
from inr_codec.layers.correction.level_coder import encode_levels
from inr_codec.layers.correction.offset_coder import MOST_BASE, encode_offsets
from inr_codec.layers.correction.payload import (
    MOST_LEVELS,
    Lattice,
    base_levels,
    base_values,
    ends_of,
    pack_correction,
)
from inr_codec.layers.residual.encode import ResidualEncoder
from inr_codec.stream.frame import Layer, LayerType

FIRST, RATIO = 3.0, 1.5
"""Quantiser step of a residual layer over the bound: the first that is tried, and the next ones over the one before
(benchmarks/studies/constants)."""
HOPELESS = 1.25
"""A base that is so much worse than none ends the search (benchmarks/studies/constants)."""
SHORT, RICH = 200, 5 / 16
"""Streams of fewer bytes, or of more bytes per voxel, are not improved upon by any base (benchmarks/studies/bounds)."""
SPARSE = 2
"""A table of values pays where the lattice has so many times more of them (benchmarks/studies/constants)."""


Found = tuple[Lattice, Levels]


def encode_correction(
    chunk: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_] | None,
    intensity: Intensity,
    bound: float,
    effort: Effort = "default",
) -> list[Layer] | None:
    """Layers for a native chunk (finite everywhere) with errors of at most `bound` where valid; 0: equal bit by bit.

    A lattice for the values themselves, or one for their distances from a residual layer, whatever takes fewer bytes.
    None where no lattice of 2^31 values reaches the bound, as floats of a huge range or noise in their last bits.
    """
    best = _layers(chunk, valid, intensity, bound, None, _floats if chunk.dtype.kind == "f" else _integers)
    if bound == 0 or best is None or not SHORT < len(best[0].payload) < RICH * chunk.size:
        return best
    unit = normalise(chunk, intensity)
    residuals = ResidualEncoder(unit)
    span = intensity.hi - intensity.lo
    tried: dict[float, int] = {}
    for factor in _factors(tried, EFFORTS[effort].correction_bases):
        residual = residuals.encode_at_step(min(factor * bound / span, 1.0)).payload
        found = _layers(chunk, valid, intensity, bound, residual, _offsets)
        if found is None:
            return best
        tried[factor] = sum(len(layer.payload) for layer in found)
        if tried[factor] < sum(len(layer.payload) for layer in best):
            best = found
        elif tried[factor] > HOPELESS * sum(len(layer.payload) for layer in best):
            return best
    return best


def _factors(tried: dict[float, int], most: int) -> Iterator[float]:
    """Quantiser steps over the bound to be tried: from FIRST on in the direction in which `tried` becomes less."""
    yield FIRST
    for ratio in (RATIO, 1 / RATIO):
        factor = FIRST
        while len(tried) < most:
            yield factor * ratio
            if tried[factor * ratio] >= tried[factor]:
                break
            factor *= ratio
        if factor != FIRST:
            return


def _layers(
    chunk: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_] | None,
    intensity: Intensity,
    bound: float,
    residual: bytes | None,
    find: Callable[..., Found | None],
) -> list[Layer] | None:
    """The correction layer, after a residual layer if there is one; None where the bound is not met."""
    shape = as_3d(chunk.shape)
    base = None if residual is None else base_values(residual, chunk.shape, intensity, chunk.dtype)
    found = find(chunk, valid, intensity, bound) if base is None else find(chunk, base, valid, intensity, bound)
    if found is None:
        return None
    lattice, numbers = found
    worst = _worst(chunk, valid, lattice.values(numbers, intensity, chunk.dtype, base), exact=bound == 0)
    if not worst <= bound:
        return None
    free = None if valid is None else ~valid.reshape(shape)
    data = b""
    if lattice.top > lattice.bottom and base is None:
        data = encode_levels(numbers.reshape(shape), lattice.top, free)[0]
    elif lattice.top > lattice.bottom and base is not None:
        sixteenths, span = base_levels(base, intensity, lattice)
        snap = lattice.fixed is not None
        data = encode_offsets(numbers.reshape(shape), sixteenths, span, lattice.bottom, lattice.top, snap, free)
    layer = Layer(LayerType.CORRECTION, pack_correction(worst, lattice, data))
    return [layer] if residual is None else [Layer(LayerType.RESIDUAL, residual), layer]


def _worst(
    chunk: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, values: npt.NDArray[Any], exact: bool
) -> float:
    """The largest error, infinite where bits differ that must not."""
    a, b = (chunk, values) if valid is None else (chunk[valid], values[valid])
    if exact:
        return 0.0 if a.tobytes() == b.tobytes() else math.inf
    return float(np.abs(a.astype(np.float64) - b).max(initial=0.0))


def _integers(
    chunk: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, intensity: Intensity, bound: float
) -> Found | None:
    """The values themselves where their common step is wider than the bound, else multiples of the bound's step.

    A table of either where few of them occur. Nothing else: what is exact, or on that lattice, stays as it is when it
    is encoded again.
    """
    lo, span = int(intensity.lo), int(intensity.hi) - int(intensity.lo)
    fixed, first = None, 0
    numbers = np.where(True if valid is None else valid, chunk.astype(np.int64) - lo, 0)
    present = np.unique(numbers)
    step = int(np.gcd.reduce(present))
    if step <= bound:
        fixed = widest(bound, chunk.dtype)
        ends = ends_of(fixed, intensity)
        if ends is None:
            return None
        first, span, step = ends[0], ends[1] - ends[0], 1
        indices = fixed.nearest(chunk).astype(np.int64) - first
        numbers = indices if valid is None else np.where(valid, indices, 0)
        present = np.unique(numbers)
    top = span // step
    size = 1.0 if fixed is None else fixed.step
    if present.size < top and SPARSE * present.size <= top:
        levels = np.searchsorted(present, numbers)
        return Lattice(size, present.size - 1, present, fixed=fixed, first=first), levels.astype(np.int32)
    if top >= MOST_LEVELS:
        return None
    return Lattice(step * size, top, fixed=fixed, first=first), (numbers // step).astype(np.int32)


def _floats(
    chunk: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, intensity: Intensity, bound: float
) -> Found | None:
    """Multiples of the bound's step; for an exact one the lattice of the values themselves, if they have one."""
    if bound > 0:
        fixed = widest(bound, chunk.dtype)
        ends = ends_of(fixed, intensity) if fixed.step > 0 else None
        if ends is None:
            return None
        levels = np.clip(fixed.nearest(chunk) - ends[0], 0, ends[1] - ends[0])
        return Lattice(fixed.step, ends[1] - ends[0], fixed=fixed, first=ends[0]), levels.astype(np.int32)
    span = intensity.hi - intensity.lo
    present = np.unique(chunk if valid is None else chunk[valid])
    if present.size < 2:
        return None
    least = float(np.diff(present.astype(np.float64)).min())
    step = span / max(round(span / least), 1) if span / least < MOST_LEVELS else 0.0
    if not step > 0 or span / step >= MOST_LEVELS - 1:
        return None
    levels = np.rint((chunk.astype(np.float64) - intensity.lo) / step)
    return Lattice(step, int(np.rint(span / step))), levels.astype(np.int32)


def _offsets(
    chunk: npt.NDArray[Any],
    base: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_] | None,
    intensity: Intensity,
    bound: float,
) -> Found | None:
    """How many multiples of the bound's step voxels are from those that are nearest to a base."""
    fixed = widest(bound, chunk.dtype)
    ends = ends_of(fixed, intensity) if fixed.step > 0 else None
    if ends is None or ends[1] - ends[0] >= MOST_BASE // 16 - 1:
        return None
    difference = fixed.nearest(chunk) - fixed.nearest(base)
    offsets = (difference if valid is None else np.where(valid, difference, 0.0)).astype(np.int32)
    ends_of_offsets = min(int(offsets.min()), 0), max(int(offsets.max()), 0)
    return Lattice(fixed.step, ends_of_offsets[1], None, ends_of_offsets[0], True, fixed, ends[0]), offsets
