"""The command that tries rates on typical parts of a volume: `try`."""

from pathlib import Path
from typing import Any

from inr_codec.batch.store import check_voxels, open_volume
from inr_codec.errors import ConfigError
from inr_codec.stores.chunk_shape import chunk_shape
from inr_codec.targets import check_file_target, local_path
from inr_codec.trials.trial import RATIOS, try_ratios


def run(
    source: str,
    *,
    ratios: tuple[float, ...] | None,
    seconds: float,
    chunks: tuple[int, ...] | None,
    png: str | None,
    progress: bool,
) -> None:
    """Encode typical parts of a volume at several rates, print a table and what is recommended, draw a picture."""
    source = local_path(source)
    name = Path(source.rstrip("/")).name
    picture = png or f"{name.split('.')[0]}-try.png"
    check_file_target(picture, (source,), overwrite=True, kind="picture")
    volume = open_volume(source)
    check_voxels(volume.array, source, "iuf")
    chosen = chunk_shape(volume.array.shape, volume.axes)
    trials = try_ratios(
        volume.array,
        axes=volume.axes,
        chunks=chunks or chosen.sides,
        ratios=ratios or RATIOS,
        seconds=seconds,
        progress=progress or None,
    )
    if chunks is None:
        print(chosen)
    print(trials)
    best, _ = trials.recommended
    effort = "" if best.effort == "default" else f" --effort {best.effort}"
    print(f"  inr-codec encode {source} TARGET.zarr --ratio {best.ratio:g}{effort}")
    _draw(picture, trials, name, volume.attributes, asked=png is not None)


def _draw(picture: str, trials: Any, name: str, attributes: dict[str, Any], *, asked: bool) -> None:
    """The picture; without matplotlib an error where it was asked for, else a line."""
    from inr_codec.io import finished

    try:
        with finished(picture, overwrite=True) as part:
            spacing, unit = attributes.get("spacing"), attributes.get("unit")
            trials.save_picture(part, title=name, spacing=spacing, unit=unit)
    except ConfigError as error:
        if asked:
            raise
        print(f"no picture: {error}")
    else:
        print(f"picture: {picture}")
