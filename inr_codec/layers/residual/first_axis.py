"""Wavelet levels along the first of four axes: what the packet tree, which knows three, leaves aside.

A residual of four axes (t, z, y, x) is split along t first, level after level the low part again, and its coefficients
are weighted by the norms of what they give. The tree goes on with them as with an array of axes (t z, y, x).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.quantise import spread_weights
from inr_codec.layers.residual.wavelet import FloatArray, Intervals, Split

# Format, frozen (FORMAT.md section 13).
MOST_LEVELS = 5


def most_levels(side: int) -> int:
    """How often an axis of so many samples can be split: as long as there are two, `MOST_LEVELS` times at most."""
    levels = 0
    while side > 1 and levels < MOST_LEVELS:
        side, levels = (side + 1) // 2, levels + 1
    return levels


@dataclass(frozen=True)
class FirstAxis:
    """`levels` levels along the first axis of an array of a shape of four axes."""

    shape: tuple[int, ...]
    levels: int

    @property
    def _sides(self) -> tuple[int, int, int]:
        return (self.shape[0], math.prod(self.shape[1:-1]), self.shape[-1])

    @cached_property
    def splits(self) -> list[Split]:
        """Of an array (t, z y, x)."""
        sides = [self.shape[0]]
        for _ in range(self.levels - 1):
            sides.append((sides[-1] + 1) // 2)
        return [(0, (0, 0, 0), (n, *self._sides[1:])) for n in sides]

    @cached_property
    def norms(self) -> FloatArray:
        """Norms of what unit coefficients give, (t, 1, 1)."""
        n, side = self.shape[0], self.shape[0]
        out = np.ones(n, np.float32)
        for level in range(1, self.levels + 1):
            out[:side] = wavelet.norms(n, level)[:side]
            side = (side + 1) // 2
        return out[:, None, None]

    @cached_property
    def largest(self) -> float:
        """The largest eigenvalue of S'S, S from weighted coefficients to values, by power iteration on one line."""
        line = FirstAxis((self.shape[0], 1, 1, 1), self.levels)
        vector = np.random.default_rng(0).standard_normal((self.shape[0], 1, 1), np.float32)
        norm = 1.0
        for _ in range(8):
            vector /= np.linalg.norm(vector)
            line.inverse(vector)
            line.transposed(vector)
            norm = float(np.linalg.norm(vector))
        return norm

    def forward(self, values: FloatArray) -> None:
        """Weighted coefficients of values, in place; values: float32, C-contiguous, of the shape's size."""
        view = values.reshape(self._sides)
        wavelet.forward(view, self.splits)
        view *= self.norms

    def transposed(self, values: FloatArray) -> None:
        """The transpose of `inverse`, in place."""
        view = values.reshape(self._sides)
        wavelet.forward(view, self.splits, transpose=True)
        view *= 1 / self.norms

    def inverse(self, values: FloatArray, box: Sequence[tuple[int, int]] | None = None) -> None:
        """Values of weighted coefficients, in place; with `box`, (start, stop) of each axis, there alone."""
        view = values.reshape(self._sides)
        part: Intervals | None = None if box is None else (box[0], (0, self._sides[1]), box[-1])
        view *= 1 / self.norms
        wavelet.inverse(view, self.splits, part)

    def spread(self, weights: FloatArray) -> FloatArray:
        """What the squared error of each coefficient counts, of weights of values: their means, of the same shape."""
        return spread_weights(weights.reshape(self._sides), self.splits).reshape(weights.shape)
