"""CZI, ND2, LIF and other formats of microscopes, through bioio and whichever of its readers is installed."""

from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.errors import ConfigError
from inr_codec.io.format import Format, Lazy, Volume, module
from inr_codec.io.record import Axis, Channel, Record
from inr_codec.io.units import rounded

READERS = {".czi": "bioio-czi", ".nd2": "bioio-nd2", ".lif": "bioio-lif", ".dv": "bioio-dv", ".sldy": "bioio-sldy"}


def read(path: Path, part: str | None = None) -> Volume:
    """Open the one scene of a file, or the one that is asked for by its number; sides of 1 are left out."""
    bioio = module("bioio")
    try:
        image = bioio.BioImage(path)
    except Exception as error:
        reader = READERS.get(path.suffix.lower(), "bioio-bioformats")
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"expected a reader of bioio for {str(path)!r}, got {type(error).__name__} ({said}): install it with: pip "
            f"install {reader}"
        ) from error
    listed = "; ".join(f"{k}: {name}" for k, name in enumerate(image.scenes))
    if part is None and len(image.scenes) > 1:
        raise ConfigError(
            f"expected one scene in {str(path)!r}, got {len(image.scenes)} ({listed}): name one, {path}:0"
        )
    if part is not None:
        if not (part.isdigit() and int(part) < len(image.scenes)):
            raise ConfigError(f"expected a scene of {str(path)!r}, got {part!r}: there are {listed}")
        image.set_scene(int(part))
    return _volume(image)


def _volume(image: Any) -> Volume:
    data, letters = image.dask_data, str(image.dims.order).lower()
    kept = [k for k, side in enumerate(data.shape) if side > 1 or letters[k] in "yx"]
    sizes, axes = image.physical_pixel_sizes, []
    for k in kept:
        letter = "c" if letters[k] == "s" and "c" not in [letters[j] for j in kept] else letters[k]
        step = getattr(sizes, letter.upper(), None) if letter in "zyx" else None
        kind = {"t": "time", "c": "channel"}.get(letter, "space" if letter in "zyx" else "")
        axes.append(Axis(letter, kind, rounded(float(step)) if step else None, "micrometer" if step else None))
        if kind == "time" and (interval := getattr(image, "time_interval", None)) is not None:
            seconds = getattr(interval, "total_seconds", lambda value=interval: value)()
            axes[-1] = Axis("t", "time", float(seconds) if seconds else None, "second" if seconds else None)
    names = image.channel_names if any(axis.name == "c" for axis in axes) else []
    fixed = tuple(slice(None) if k in kept else 0 for k in range(data.ndim))
    array = data[fixed]
    return Volume(
        Lazy(array.shape, array.dtype, lambda region: np.asarray(array[region])),
        Record(tuple(axes), channels=tuple(Channel(str(name)) for name in names or [])),
    )


FORMAT = Format(
    "bioio", (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".dv", ".r3d", ".sldy", ".xlif"), ("bioio",), read
)
