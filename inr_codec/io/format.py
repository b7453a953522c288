"""What a format of files is to this package, and what its modules share: optional libraries, lazy arrays, spools."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError, InrCodecError
from inr_codec.io.record import Record

IN_MEMORY = 2**30
"""Bytes of an array that is held in memory where a file cannot be mapped; larger ones go to a temporary file."""
PACKAGES = {"nrrd": "pynrrd"}
"""What pip calls a module, where that differs."""


@dataclass(frozen=True, slots=True)
class Volume:
    """An array on disk, indexed like numpy's and read when it is indexed, and what belongs to it.

    others: attributes of a zarr array that say nothing of what the record holds.
    """

    array: Any
    record: Record = field(default_factory=Record)
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[str, ...] | None:
        """The names of the axes, slowest first; None where the file does not name them."""
        return self.record.names

    @property
    def attributes(self) -> dict[str, Any]:
        """The record in short (`Record.flat`) and all other attributes."""
        return self.others | self.record.flat()

    @property
    def stored(self) -> dict[str, Any]:
        """The attributes of an array in a store that says the same."""
        return self.others | self.record.to_attributes()

    @property
    def of_level(self) -> dict[str, Any]:
        """The attributes of an array in a group that says the rest."""
        return self.others | Record(value_scale=self.record.value_scale).to_attributes()


@dataclass(frozen=True)
class Format:
    """A format of files. `write` is None where files of it are read only.

    read: a path, and the part of the file that is asked for (or None), to a volume. write: a path, an array in memory
    or on disk, its record. holds: the FACETS of a record that a file at a path, for an array of a dtype, has a place
    for. modules: what has to be installed.
    """

    name: str
    suffixes: tuple[str, ...]
    modules: tuple[str, ...]
    read: Callable[[Path, str | None], Volume]
    write: Callable[[Path, NDArray[Any], Record], None] | None = None
    holds: Callable[[str, Record, np.dtype[Any]], frozenset[str]] = lambda path, record, dtype: frozenset()


class Lazy:
    """An array that is read when it is indexed, from a function of slices (one for each axis, of step 1)."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Callable[[tuple[slice, ...]], Any]) -> None:
        self.shape, self.dtype, self._read = tuple(map(int, shape)), np.dtype(dtype), read

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return prod(self.shape) * int(self.dtype.itemsize)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = list(key if isinstance(key, tuple) else (key,))
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        keys += [slice(None)] * (self.ndim - len(keys))
        regions: list[slice] = []
        rest: list[slice | int] = []
        for one, side in zip(keys, self.shape):
            if isinstance(one, slice):
                start, stop, step = one.indices(side)
                if step < 1:
                    raise IndexError(f"expected steps above 0, got {one!r}")
                regions.append(slice(start, max(start, stop)))
                rest.append(slice(None, None, step))
            else:
                at = range(side)[one]
                regions.append(slice(at, at + 1))
                rest.append(0)
        return np.asarray(self._read(tuple(regions)), self.dtype)[tuple(rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        values = self[...]
        return values if dtype is None else values.astype(dtype)


def transposed(array: Any, order: tuple[int, ...]) -> Any:
    """A view of an array with its axes in another order; of one on disk, read when it is indexed."""
    if order == tuple(range(len(order))):
        return array
    if isinstance(array, np.ndarray):
        return array.transpose(order)

    def read(region: tuple[slice, ...]) -> NDArray[Any]:
        back = tuple(region[order.index(k)] for k in range(len(order)))
        return np.asarray(array[back]).transpose(order)

    return Lazy(tuple(array.shape[k] for k in order), array.dtype, read)


def in_order(array: Any, names: tuple[str, ...] | None, wanted: tuple[str, ...] | None) -> Any:
    """An array whose axes have names with those in another order; as it is where the names are not the same."""
    if names is None or wanted is None or sorted(names) != sorted(wanted):
        return array
    return transposed(array, tuple(names.index(name) for name in wanted))


def module(name: str) -> Any:
    """An optional module; ConfigError, with how to install it, where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        package = PACKAGES.get(name, name).partition(".")[0]
        raise ConfigError(
            f"expected the module {name!r}, got {error}: install it with: pip install {package}"
        ) from error


@contextmanager
def one_line(expected: str) -> Iterator[None]:
    """Turn what another project's reader or writer raises into a ConfigError of one line; file system errors pass."""
    try:
        yield
    except (InrCodecError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no reason given"
        needed = re.search(r"requires the '([\w-]+)' package", said)
        what = f"install it with: pip install {needed[1]}" if needed else "check the file and its type"
        raise ConfigError(f"{expected}, got {type(error).__name__} ({said}): {what}") from error


def scratch(shape: tuple[int, ...], dtype: Any, folder: Path) -> NDArray[Any]:
    """An array of zeros to be filled: in memory, or if it is large in a file of a folder that has no name."""
    dtype = np.dtype(dtype).newbyteorder("=")
    size = prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)


def spooled(stream: IO[bytes], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """The array that the bytes of a compressed stream make (C order), in memory or in a temporary file."""
    dtype = np.dtype(dtype)
    size, done = prod(shape) * dtype.itemsize, 0
    if size <= IN_MEMORY:
        data = stream.read(size)
        if len(data) < size:
            raise ValueError(f"{size:,} bytes of voxels expected, {len(data):,} found")
        return np.frombuffer(data, dtype).reshape(shape)
    with tempfile.TemporaryFile() as file:
        while done < size and (data := stream.read(min(2**24, size - done))):
            done += file.write(data)
        if done < size:
            raise ValueError(f"{size:,} bytes of voxels expected, {done:,} found")
        file.flush()
        return np.memmap(file, dtype, "r", shape=shape)


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An array in C order, in parts of about 2^24 bytes along its slowest axis."""
    step = max(1, 2**24 // max(1, array.nbytes // max(1, len(array))))
    for first in range(0, len(array), step):
        yield np.ascontiguousarray(array[first : first + step])


def natural(names: list[str]) -> list[str]:
    """Names in the order in which people count: 9 before 10."""
    return sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", os.fspath(name))])
