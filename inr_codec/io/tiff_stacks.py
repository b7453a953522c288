"""Folders of TIFF files as one stack: what the numbers in their names say, and files that are read one by one."""

import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io.format import Lazy, module, natural

LETTERS = {"t": "t", "time": "t", "z": "z", "slice": "z", "c": "c", "ch": "c", "channel": "c", "w": "c"}
"""What stands before a number in the name of a file, and the axis that it counts along."""


def files_of(path: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The names of the files of a folder in the order in which people count; ConfigError for any other file."""
    names = natural([one.name for one in path.iterdir() if one.name.lower().endswith(suffixes)])
    others = sorted(one.name for one in path.iterdir() if one.name not in names and not one.name.startswith("."))
    if others:
        raise ConfigError(
            f"expected a folder of TIFF files alone, got {others[0]!r} beside them in {str(path)!r}: move it away"
        )
    return names


def axes_of(names: list[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The axes along which names count, and how far: (("t", "z"), (10, 30)) of img_t0_z00.tif to img_t9_z29.tif.

    ((), (files,)) for one axis, whatever its name. ConfigError where several numbers differ and no full grid is there.
    """
    numbers = [re.findall(r"\d+", name) for name in names]
    counts = {len(one) for one in numbers}
    columns = list(zip(*numbers)) if len(counts) == 1 else []
    differ = [k for k, column in enumerate(columns) if len(set(column)) > 1]
    if len(differ) < 2 or any(len(set(columns[k])) == len(names) for k in differ):
        return (), (len(names),)
    words = re.split(r"\d+", names[0].lower())
    found = [re.search(r"([a-z]*)[^a-z]*$", words[k]) for k in differ]
    letters = tuple(LETTERS.get(word[1], "") if word else "" for word in found)
    shape = tuple(len(set(columns[k])) for k in differ)
    ordered = sorted(zip(*[map(int, columns[k]) for k in differ])) == list(zip(*[map(int, columns[k]) for k in differ]))
    if prod(shape) != len(names) or "" in letters or len(set(letters)) < len(letters) or not ordered:
        raise ConfigError(
            f"expected names that count along one axis, or along t, z and c in full, got {names[0]!r} to "
            f"{names[-1]!r}: rename the files as NAME_t000_z000.tif, or make a folder for each volume"
        )
    return letters, shape


def stacked(path: Path, names: list[str], shape: tuple[int, ...], first: Any) -> Lazy:
    """The files of a folder on a grid of a shape, each like the first array, read when they are asked for."""
    read: Callable[..., NDArray[Any]] = module("tifffile").imread
    page, dtype = tuple(first.shape), first.dtype

    def plane(index: tuple[int, ...]) -> NDArray[Any]:
        name = names[int(np.ravel_multi_index(index, shape))]
        values = read(path / name, series=0)
        if values.shape != page or values.dtype != dtype:
            raise ConfigError(
                f"expected {page!r} {dtype} as in {names[0]!r}, got {values.shape!r} {values.dtype} in {name!r}: a "
                "stack has files of one shape"
            )
        return values

    def planes(region: tuple[slice, ...]) -> NDArray[Any]:
        outer, inner = region[: len(shape)], region[len(shape) :]
        out = np.empty([part.stop - part.start for part in region], dtype)
        for at in np.ndindex(*out.shape[: len(shape)]):
            out[at] = plane(tuple(part.start + k for part, k in zip(outer, at)))[inner]
        return out

    return Lazy((*shape, *page), dtype, planes)
