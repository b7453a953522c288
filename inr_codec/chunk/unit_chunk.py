"""A chunk as the encoder sees it: intensities in [0, 1], what is masked, where errors count more."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Structure(Protocol):
    """What a segmentation network finds in a chunk (`layers.network.structure_loss.Regulariser`)."""

    def loses(self, changed: NDArray[np.float32], unit: NDArray[np.float32]) -> bool:
        """Whether less of it is found in the unit intensities `changed` than in `unit`."""


@dataclass(frozen=True, slots=True)
class UnitChunk:
    """What layers are fitted to.

    unit: float32 intensities in [0, 1], C order, finite. valid: False where masked (None: nowhere). origin: the unit
    intensity's distance from a stored value of 0, lo / (hi - lo). weights: float32, what a squared error counts at each
    voxel, 1 on average, 0 where masked (None: the same everywhere). structure: what a segmentation network must find.
    """

    unit: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None
    origin: float = 0.0
    weights: NDArray[np.float32] | None = None
    structure: Structure | None = None

    def squared_error(self, decoded: NDArray[np.float32]) -> float:
        """Mean squared error of decoded unit intensities, clipped to [0, 1], weighted; masked voxels do not count."""
        square = np.square(np.clip(decoded, 0.0, 1.0) - self.unit, dtype=np.float64)
        if self.weights is not None:
            square *= self.weights
        if self.valid is not None:
            square = square[self.valid]
        return float(np.mean(square)) if square.size else 0.0
