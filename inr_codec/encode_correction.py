"""Writing the correction layer: the coarsest lattice that keeps every voxel within a bound."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.correction import MOST_LEVELS, Lattice, as_3d, pack_correction
from inr_codec.intensity import Intensity
from inr_codec.predictive import Levels, encode_levels

MARGIN = 2.0**-20
"""Share of the bound that is kept for roundings of floats."""
SPARSE = 2
"""A table of values pays where the lattice has so many times more of them."""


def encode_correction(
    chunk: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, intensity: Intensity, bound: float
) -> bytes | None:
    """The payload for a native chunk (finite where `valid`) with errors of at most `bound`; 0: equal bit by bit.

    None where no lattice of 2^31 values reaches that, as floats of a huge range or noise in their last bits.
    """
    found = (_floats if chunk.dtype.kind == "f" else _integers)(chunk, valid, intensity, bound)
    if found is None:
        return None
    lattice, levels = found
    worst = _worst(chunk, valid, lattice.values(levels, intensity, chunk.dtype), exact=bound == 0)
    if not worst <= bound:
        return None
    free = None if valid is None else ~valid.reshape(as_3d(chunk.shape))
    data = encode_levels(levels.reshape(as_3d(chunk.shape)), lattice.top, free)[0] if lattice.top else b""
    return pack_correction(worst, lattice, data)


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
) -> tuple[Lattice, Levels] | None:
    """A multiple of the values' common step, or a table where few of the lattice's values occur."""
    lo, span = int(intensity.lo), int(intensity.hi) - int(intensity.lo)
    reach = int(min(bound, 2**32))
    offsets = np.where(True if valid is None else valid, chunk.astype(np.int64) - lo, 0)
    present = np.unique(offsets)
    common = int(np.gcd.reduce(present))
    step = max(2 * reach + 1, common * (2 * (reach // common) + 1))
    top = (span + step // 2) // step
    table = _cover(present, reach) if present.size < top else None
    if table is not None and SPARSE * table.size <= top:
        levels = np.searchsorted(table, offsets - reach)
        return Lattice(1.0, table.size - 1, table), levels.astype(np.int32)
    if top >= MOST_LEVELS:
        return None
    return Lattice(float(step), top), ((offsets + step // 2) // step).astype(np.int32)


def _cover(present: npt.NDArray[np.int64], reach: int) -> npt.NDArray[np.int64]:
    """Fewest values of which one lies within `reach` of every value in `present` (sorted)."""
    if reach == 0:
        return present
    found, k = [], 0
    while k < present.size:
        found.append(min(int(present[k]) + reach, int(present[-1])))
        k = int(np.searchsorted(present, found[-1] + reach, side="right"))
    table = np.array(found, np.int64)
    return table


def _floats(
    chunk: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, intensity: Intensity, bound: float
) -> tuple[Lattice, Levels] | None:
    """A lattice as wide as the bound allows; for an exact one that of the values themselves, if they have one."""
    span = intensity.hi - intensity.lo
    if bound > 0:
        largest = np.asarray(max(abs(intensity.lo), abs(intensity.hi)), chunk.dtype)
        step = 2 * (bound * (1 - MARGIN) - float(np.spacing(largest)))
    else:
        present = np.unique(chunk if valid is None else chunk[valid])
        if present.size < 2:
            return None
        least = float(np.diff(present.astype(np.float64)).min())
        step = span / max(round(span / least), 1) if span / least < MOST_LEVELS else 0.0
    if not step > 0 or span / step >= MOST_LEVELS - 1:
        return None
    levels = np.rint((chunk.astype(np.float64) - intensity.lo) / step)
    return Lattice(step, int(np.rint(span / step))), levels.astype(np.int32)
