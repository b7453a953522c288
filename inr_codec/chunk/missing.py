"""Voxels that hold no measurement but a number that stands for one that is missing: 1e20, -9999, -32768.

They are masked as NaN is: they come back exactly, cost no precision of the others, and no figure counts them. Which
numbers these are is said (`missing=`, an array's own fill value) or seen: a number that lies at an end of the range,
occurs more than once, and is further from all others than they are from one another.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALONE = 1.0
"""A repeated number stands apart when its distance from all others is more than so many times their range."""
KNOWN = 0.05
"""The same for numbers that are widely used for what is missing, and for an array's own fill value unless that is 0:
nobody may have chosen 0, and there it is often a measurement."""
USUAL = (-9999.0, -999.0, -99999.0, 1e20, -1e20, 1e30, -1e30, 1e34, -1e34, 1e35, 1e36, 9.969209968386869e36)
"""Widely used: by hand, by CMIP, by netCDF's default (of floats), by Ferret."""
WHOLE = (-127.0, -32767.0, -2147483647.0)
"""netCDF's defaults of signed integers; the least number of their dtype is as usual."""


def missing_voxels(
    values: NDArray[Any],
    given: Sequence[float] = (),
    fill: float | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """Which voxels of a real array are missing beside those that are not finite; None where none is.

    given: numbers that stand for it wherever they are. fill: the array's own fill value, which stands for it where it
    lies outside of the range of all others. inside: False in the padding of the chunk, which is not looked at.
    """
    found = np.zeros(values.shape, np.bool_)
    for number in given:
        found |= values == _as(number, values.dtype)
    counted = ~found if inside is None else inside & ~found
    if values.dtype.kind == "f":
        counted &= np.isfinite(values)
    for highest in (False, True):
        end = _end(values, counted, highest)
        if end is not None and _is_apart(values, counted, end, highest, fill):
            found |= values == end
            counted &= values != end
    return found if found.any() else None


def _as(number: float, dtype: np.dtype[Any]) -> Any:
    """A number as the dtype has it; one that it cannot hold equals nothing."""
    with np.errstate(all="ignore"):
        if dtype.kind == "f":
            return dtype.type(number)
        ends = np.iinfo(dtype)
        return dtype.type(int(number)) if float(number).is_integer() and ends.min <= number <= ends.max else np.nan


def _end(values: NDArray[Any], counted: NDArray[np.bool_], highest: bool) -> Any:
    if not counted.any():
        return None
    return values[counted].max() if highest else values[counted].min()


def _is_apart(values: NDArray[Any], counted: NDArray[np.bool_], end: Any, highest: bool, fill: float | None) -> bool:
    """Whether the number at an end of the range stands for what is missing."""
    others = counted & (values != end)
    if np.count_nonzero(counted) - np.count_nonzero(others) < 2 or not others.any():
        return False
    rest = values[others]
    low, high = float(rest.min()), float(rest.max())
    gap = float(end) - high if highest else low - float(end)
    if low == high:
        return _is_usual(end, values.dtype, None)
    return gap > (KNOWN if _is_usual(end, values.dtype, fill) else ALONE) * (high - low)


def _is_usual(end: Any, dtype: np.dtype[Any], fill: float | None) -> bool:
    least = [float(np.iinfo(dtype).min)] if dtype.kind == "i" else []
    numbers = USUAL if dtype.kind == "f" else (*USUAL[:3], *WHOLE, *least)
    if fill and np.isfinite(fill):
        numbers = (*numbers, fill)
    return any(end == _as(number, dtype) for number in numbers)
