"""Label images and masks: real ones of stacks with masks (`.npz`), made ones, and intensities that are near to them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import VARIABLE, chunks

Named = Iterator[tuple[str, NDArray]]


def stacks(where: str | None, key: str) -> Named:
    """Arrays of that key ("masks", "images") of the `.npz` files of a folder."""
    folder = Path(where or os.environ.get(VARIABLE) or ".")
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as held:
            if key in held:
                yield path.stem, held[key]


def voronoi(shape: tuple[int, ...], ids: int, seed: int, axis: int | None = None) -> NDArray:
    """Cells around random centres, numbered as drawn, or along an axis."""
    from scipy.spatial import cKDTree

    centres = np.random.default_rng(seed).random((ids, len(shape))) * shape
    if axis is not None:
        centres = centres[np.argsort(centres[:, axis])]
    places = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, len(shape))
    found: NDArray = cKDTree(centres).query(places)[1].reshape(shape)
    return found.astype(np.min_scalar_type(ids))


def edged(cells: NDArray) -> NDArray:
    """Cells with a boundary of zeros, one voxel wide."""
    thin = np.zeros(cells.shape, bool)
    for axis in range(cells.ndim):
        thin |= np.diff(cells, axis=axis, append=np.take(cells, [-1], axis)) != 0
    return np.where(thin, 0, cells.astype("u4") + 1)


def supervoxels(shape: tuple[int, ...] = (64, 256, 256)) -> NDArray:
    """As an oversegmentation of neural tissue: watersheds of smooth noise, four times coarser in z, ids of 64 bits."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    rng = np.random.default_rng(3)
    walls = ndimage.gaussian_filter(rng.normal(size=shape), (1.2, 4, 4))
    walls += 0.25 * walls.std() * ndimage.gaussian_filter(rng.normal(size=shape), 0.8) / 0.2
    seeds = ndimage.label(ndimage.minimum_filter(walls, (3, 7, 7)) == walls)[0]
    cells = watershed(walls, seeds)
    return rng.integers(1, 2**63, cells.max() + 1, dtype=np.uint64)[cells]


def touching(image: NDArray) -> NDArray:
    """Watersheds of a threshold's distance transform: cells that touch each other."""
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed

    smooth = ndimage.gaussian_filter(image.astype("f4"), 1.5)
    inside = smooth > threshold_otsu(smooth)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1)
    peaks = peak_local_max(depth, min_distance=6, labels=inside.astype(int))
    seeds = np.zeros(image.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found: NDArray = watershed(-depth, seeds, mask=inside).astype("u2")
    return found


def ball() -> NDArray:
    """{0, 200} in 30^3 voxels of 16 bits."""
    return np.where(((np.indices((30,) * 3) - 14.5) ** 2).sum(0) < 100, 200, 0).astype("i2")


def labelled(where: str | None) -> Named:
    """Label images: real ones first."""
    from skimage import data

    yield from stacks(where, "masks")
    for name, chunk in chunks(where, None).items():
        if name == "nuclei":
            yield "nuclei, touching cells", touching(chunk)
    yield "coins, touching", touching(data.coins())
    for ids, shape in ((60, (96, 128, 128)), (2000, (96, 128, 128)), (50_000, (128, 192, 192))):
        yield f"Voronoi, {ids:,} ids", voronoi(shape, ids, ids)
    yield "Voronoi, 2,000 ids, thin boundaries", edged(voronoi((96, 128, 128), 2000, 1))
    yield "Voronoi, a plane, 500 ids", voronoi((1024, 1024), 500, 2)
    yield "supervoxels", supervoxels()
    yield "ball", ball()


def masks() -> Named:
    """Masks of missing voxels: speckle, a coast, a rotated cube, the fan of an ultrasound scan."""
    yield "speckle, 10 %", np.random.default_rng(6).random((64, 64, 64)) < 0.1
    shape = (720, 1440)
    spectrum = np.fft.rfft2(np.random.default_rng(5).normal(size=shape))
    pitch = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    pitch[0, 0] = 1
    height = np.fft.irfft2(spectrum * pitch**-2.0, shape)
    yield "land", height > np.quantile(height, 0.66)
    z, y, x = np.indices((160,) * 3) - 79.5
    x, y = np.cos(0.4) * x - np.sin(0.4) * y, np.sin(0.4) * x + np.cos(0.4) * y
    y, z = np.cos(0.3) * y - np.sin(0.3) * z, np.sin(0.3) * y + np.cos(0.3) * z
    yield "rotated cube", np.maximum(abs(x), np.maximum(abs(y), abs(z))) > 57
    _, y, x = np.indices((60, 240, 320))
    radius, angle = np.hypot(y + 30, x - 159.5), np.arctan2(x - 159.5, y + 30)
    yield "scan fan", (radius < 50) | (radius > 260) | (abs(angle) > 0.65)


def more_labels() -> Named:
    """Labels that look like something else."""
    yield "Voronoi, 4,000 ids of 110 voxels", voronoi((48, 96, 96), 4000, 3)
    for axis in (0, 2):
        yield f"Voronoi, ids along axis {axis}", voronoi((48, 96, 96), 500, 4, axis)
    yield "thin boundaries, a plane", edged(voronoi((512, 512), 1500, 4))
    yield "layers", np.broadcast_to((np.arange(128) // 16).astype("u1")[:, None], (128, 200))
    yield "shells", (np.sqrt(((np.indices((64,) * 3) - 31.5) ** 2).sum(0)) // 6).astype("u1")


def intensities(where: str | None) -> Named:
    """Images that are no labels: volumes as they are and with fewer grey values, photographs, photon counts, noise."""
    from skimage import data

    for name, chunk in chunks(where, None).items():
        yield name, chunk
        small = chunk.astype("f4") / chunk.max() * 255
        yield f"{name}, 8 bits", small.astype("u1")
        yield f"{name}, 4 bits", (small / 16).astype("u1")
        yield f"{name}, saturated", np.clip(chunk, *np.percentile(chunk, (50, 60)).astype(chunk.dtype))
        yield f"{name}, 16 equal parts", np.digitize(chunk, np.quantile(chunk, np.arange(1, 16) / 16)).astype("u1")
    for key in ("images", "flair", "t1c"):
        for name, stack in stacks(where, key):
            yield f"{name}, {key}", stack[:60]
    for name in ("camera", "brick", "cell", "coins", "grass", "gravel", "moon", "page", "text", "clock"):
        yield name, getattr(data, name)()
    rng = np.random.default_rng(0)
    for mean in (0.02, 0.1, 0.3, 1, 3, 10):
        yield f"photon counts, {mean:g} a voxel", rng.poisson(mean, (32, 64, 64)).astype("u2")
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(rng.normal(size=(32, 96, 96)), 4)
    smooth /= smooth.std()
    for noise in (0, 0.1, 0.2, 0.5):
        values = np.rint(smooth * 2 + 8 + rng.normal(size=smooth.shape) * noise)
        yield f"17 grey values, noise of {noise:g}", values.clip(0, 16).astype("u1")
    for noise in (0.2, 0.5):
        yield f"threshold, noise of {noise:g}", smooth + rng.normal(size=smooth.shape) * noise > 0
    yield "sparse fluorescence", np.where(smooth > 1.2, smooth * 100, 0).astype("u2")
