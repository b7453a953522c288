"""What part of a chunk is asked for: numpy selections as sorted indices along each axis, and the rest of the selection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError

Indices = list[NDArray[np.intp]]


def all_indices(shape: Sequence[int]) -> Indices:
    """Every voxel."""
    return [np.arange(n) for n in shape]


def _expand(selection: Any, ndim: int) -> list[Any]:
    """One item per axis: Ellipsis and missing items become full slices, boolean arrays their indices."""
    items = list(selection) if isinstance(selection, tuple) else [selection]
    flat: list[Any] = []
    for item in items:
        array = np.asarray(item) if isinstance(item, (list, np.ndarray)) else None
        if array is not None and array.dtype == bool:
            flat.extend(array.nonzero())
        else:
            flat.append(item if array is None else array)
    dots = [k for k, item in enumerate(flat) if item is Ellipsis]
    if len(dots) > 1 or len(flat) - len(dots) > ndim or any(item is None for item in flat):
        raise ConfigError(f"expected a selection of at most {ndim} axes without new axes, got {selection!r}: index the decoded array instead")
    at = dots[0] if dots else len(flat)
    return flat[:at] + [slice(None)] * (ndim - len(flat) + len(dots)) + flat[at + len(dots) :]


def split_selection(selection: Any, shape: Sequence[int]) -> tuple[Indices, tuple[Any, ...]]:
    """Sorted distinct indices needed along each axis, and the selection that picks the result from their outer product.

    `chunk[selection]` equals `chunk[np.ix_(*indices)][rest]`. Raises ConfigError for an index out of bounds.
    """
    indices: Indices = []
    rest: list[Any] = []
    for item, n in zip(_expand(selection, len(shape)), shape, strict=True):
        if isinstance(item, slice):
            wanted = np.arange(n)[item]
            indices.append(np.sort(wanted))
            rest.append(slice(None) if item.step is None or item.step > 0 else slice(None, None, -1))
            continue
        try:
            wanted = np.arange(n)[item]
        except IndexError as error:
            raise ConfigError(f"expected indices inside {tuple(shape)}, got {item!r}: {error}") from None
        distinct = np.unique(wanted)
        indices.append(distinct)
        place = np.searchsorted(distinct, wanted)
        rest.append(place if isinstance(item, np.ndarray) else int(place))
    return indices, tuple(rest)
