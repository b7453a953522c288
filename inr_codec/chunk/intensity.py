"""Intensities: dtypes of the format, and the map between stored values and the unit range that layers work in.

Layers add up to u in [0, 1]; a value is lo + (hi - lo) * clip(u, 0, 1), in float64, rounded to nearest (ties to even)
for integers. lo and hi are the least and the largest value of the voxels that are not masked, exactly.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inr_codec.runtime.kernels import kernel

if TYPE_CHECKING:
    pass

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
"""Kinds and sizes that networks hold, in the order of their codes in the format."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """The range of a chunk's values. `constant` when lo equals hi."""

    lo: float
    hi: float

    @property
    def constant(self) -> bool:
        """Whether every voxel has the value lo."""
        return self.lo == self.hi


def normalise(values: NDArray[np.generic], intensity: Intensity) -> NDArray[np.float32]:
    """u = (value - lo) / (hi - lo) as float32, C order; masked voxels must have been filled with finite values."""
    unit = np.subtract(values, intensity.lo, dtype=np.float64, order="C", casting="unsafe")
    unit *= 1.0 / (intensity.hi - intensity.lo)
    result: NDArray[np.float32] = unit.astype(np.float32)
    return result


@kernel()
def _to_integers(unit, lo, hi, out):  # type: ignore[no-untyped-def]
    """out (integers, flat) <- lo + (hi - lo) unit in float64, to the nearest; unit: float32, flat, kept in 0 .. 1."""
    span = hi - lo
    for k in range(len(unit)):
        u = np.float64(unit[k])
        out[k] = np.rint(lo + span * (min(u, 1.0) if u > 0.0 else 0.0))  # forged bytes may mean NaN: no voxel is


@kernel()
def _to_floats(unit, lo, hi, out):  # type: ignore[no-untyped-def]
    """The same for floats, rounded once, to the dtype of `out`."""
    span = hi - lo
    for k in range(len(unit)):
        u = np.float64(unit[k])
        out[k] = lo + span * (min(u, 1.0) if u > 0.0 else 0.0)


def restore(unit: NDArray[np.float32], intensity: Intensity, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The values of unit intensities in native `dtype`, C order."""
    native = dtype.newbyteorder("=")
    flat = np.ascontiguousarray(unit).reshape(-1)
    if dtype.kind == "f":
        out = np.empty(flat.shape, np.float32 if dtype.itemsize == 2 else native)
        _to_floats(flat, intensity.lo, intensity.hi, out)
        return out.astype(native, copy=False).reshape(unit.shape)
    out = np.empty(flat.shape, native)
    _to_integers(flat, intensity.lo, intensity.hi, out)
    return out.reshape(unit.shape)
