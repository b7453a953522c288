"""numpy's format: voxels and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.io.format import Format, Volume
from inr_codec.io.record import Record


def read(path: Path, part: str | None = None) -> Volume:
    """Map a file."""
    return Volume(np.load(path, mmap_mode="r", allow_pickle=False))


def write(path: Path, array: NDArray[Any], record: Record) -> None:
    """Write a file."""
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)


FORMAT = Format("npy", (".npy",), (), read, write)
