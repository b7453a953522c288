"""Coordinates of voxels, and what the first layer of a network sees of them."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inr_codec.networks.shape import NetworkShape


def encode_position(positions: NDArray[np.float32], frequencies: int) -> NDArray[np.float32]:
    """What a first layer sees of coordinates along one axis: (inputs, n), the coordinates themselves for 0 octaves."""
    if not frequencies:
        return positions[None]
    turns = positions.astype(np.float64) * 2.0 ** np.arange(frequencies)[:, None]
    phases = np.pi * (turns - 2 * np.rint(turns / 2))
    result: NDArray[np.float32] = np.stack([np.sin(phases), np.cos(phases)], 1).astype(np.float32)
    return result.reshape(2 * frequencies, -1)


def encoded_axes(shape: NetworkShape, axes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What the network sees along the axes of a grid, one below the other, zeros behind: (inputs, longest)."""
    seen = [encode_position(axes[a], shape.frequencies) for a in shape.moving] if axes else []
    table = np.zeros((sum(map(len, seen)), max((part.shape[1] for part in seen), default=0)), np.float32)
    row = 0
    for part in seen:
        table[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return table


def encoded_points(shape: NetworkShape, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the first layer sees of points (axes, n): (inputs, n)."""
    return np.concatenate([encode_position(points[a], shape.frequencies) for a in shape.moving])


@lru_cache(maxsize=1024)
def coordinates(length: int) -> NDArray[np.float32]:
    """Coordinates of `length` voxels along one axis of a block: equally spaced from -1 to 1 (0 for a single one)."""
    result = coordinates_at(np.arange(length), length)
    result.flags.writeable = False
    return result


def coordinates_at(places: NDArray[np.float64] | NDArray[np.intp], length: int) -> NDArray[np.float32]:
    """Coordinates of some places, in voxels, along an axis of `length` voxels."""
    result: NDArray[np.float32] = (places * (2.0 / max(length - 1, 1)) - (length > 1)).astype(np.float32)
    return result
