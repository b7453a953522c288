"""Numpy selections of a chunk: the sorted indices needed along each axis, and the selection that picks from them."""

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError

Indices = list[NDArray[np.intp]]
Axes = Sequence[NDArray[np.intp] | range]
"""Indices along each axis of what may be a whole chunk: a range where they are one, which takes no memory."""


def all_indices(shape: Sequence[int]) -> Indices:
    """The indices of every voxel, one array for each axis."""
    return [np.arange(n) for n in shape]


def whole(shape: Sequence[int]) -> list[range]:
    """The same as ranges."""
    return [range(n) for n in shape]


def plain(axes: Axes) -> Indices:
    """Ranges as arrays."""
    return [np.arange(axis.start, axis.stop, axis.step) if isinstance(axis, range) else axis for axis in axes]


def outer(axes: Axes, start: Sequence[int]) -> tuple[Any, ...]:
    """What picks the outer product of `axes` from an array whose first voxel is at `start`: slices where it can."""
    if all(isinstance(axis, range) for axis in axes):
        parts = zip(axes, start, strict=True)
        return tuple(slice(axis.start - a, axis.stop - a, axis.step) for axis, a in parts)  # type: ignore[union-attr]
    return np.ix_(*[axis - a for axis, a in zip(plain(axes), start, strict=True)])


def _parsed(item: Any) -> Any:
    """An Ellipsis, a slice, an int, or an array of integers or booleans with at least one axis."""
    if item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, (list, tuple, range)):
        item = np.asarray(item, None if np.size(item) else np.intp)
    if isinstance(item, np.ndarray) and item.ndim:
        if item.dtype.kind not in "biu":
            raise TypeError("arrays used as indices must be of integers or booleans")
        return item
    if isinstance(item, (bool, np.bool_)):
        raise TypeError("a boolean is no index")
    return index(item)


def _expand(selection: Any, shape: Sequence[int]) -> list[Any]:
    """One item per axis: Ellipsis and missing items become full slices, boolean arrays the indices of what is True."""
    items = [_parsed(item) for item in (selection if isinstance(selection, tuple) else (selection,))]
    dots = [k for k, item in enumerate(items) if item is Ellipsis]
    axes = [item.ndim if isinstance(item, np.ndarray) and item.dtype == bool else 1 for item in items]
    missing = len(shape) - sum(axes) + len(dots)
    if len(dots) > 1 or missing < 0:
        raise TypeError("too many indices")
    if not dots:
        items.append(Ellipsis)
        axes.append(1)
    out: list[Any] = []
    for item, count in zip(items, axes, strict=True):
        if item is Ellipsis:
            out.extend([slice(None)] * missing)
        elif isinstance(item, np.ndarray) and item.dtype == bool:
            if item.shape != tuple(shape[len(out) : len(out) + count]):
                raise IndexError(f"a boolean array of shape {item.shape} does not fit")
            out.extend(item.nonzero())
        else:
            out.append(item)
    np.broadcast_shapes(*[item.shape for item in out if isinstance(item, np.ndarray)])
    return out


def split_selection(selection: Any, shape: Sequence[int]) -> tuple[Axes, tuple[Any, ...]]:
    """Sorted distinct indices needed along each axis, and the selection that picks the result from their outer product.

    `chunk[selection]` equals `chunk[np.ix_(*indices)][rest]`. Slices give ranges. Raises ConfigError for anything that
    numpy would not take either (indices out of bounds, too many of them, shapes that do not broadcast), and for new
    axes.
    """
    indices: list[NDArray[np.intp] | range] = []
    rest: list[Any] = []
    try:
        for item, n in zip(_expand(selection, shape), shape, strict=True):
            if isinstance(item, slice):
                run = range(*item.indices(n))
                indices.append(run if run.step > 0 else run[::-1])
                rest.append(slice(None) if item.step is None or item.step > 0 else slice(None, None, -1))
            else:
                wanted = np.asarray(item, np.intp)
                if wanted.size and not -n <= wanted.min() <= wanted.max() < n:
                    raise IndexError(f"index {item} is out of bounds for an axis of {n}")
                distinct, place = np.unique(np.where(wanted < 0, wanted + n, wanted), return_inverse=True)
                indices.append(distinct)
                rest.append(place.reshape(wanted.shape) if isinstance(item, np.ndarray) else 0)
    except (IndexError, TypeError, ValueError) as error:
        wanted_text = f"a selection of a chunk of shape {tuple(shape)}"
        raise ConfigError(f"expected {wanted_text}, got {selection!r:.200}: {error}; change it") from None
    return indices, tuple(rest)


def at(values: NDArray[np.float32], places: Sequence[NDArray[np.intp]]) -> NDArray[np.float32]:
    """Values at the outer product of ascending indices; a view where those are ranges."""
    if all(place[-1] - place[0] == len(place) - 1 for place in places):
        return values[tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)]
    return values[np.ix_(*places)]


def take(values: NDArray[np.float32], have: Indices, want: Indices) -> NDArray[np.float32]:
    """The part of `values` (at the outer product of `have`) at the outer product of `want`."""
    if all(len(h) == len(w) for h, w in zip(have, want, strict=True)):
        return values
    return np.ascontiguousarray(at(values, [np.searchsorted(h, w) for h, w in zip(have, want, strict=True)]))
