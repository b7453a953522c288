"""Images of OME-Zarr (0.4 in zarr format 2, 0.5 in format 3): all their levels and labels, and their metadata.

Every level of the source is encoded as an array of its own, at the same ratio: an overview of the target is then read
as cheaply as one of the source. What that costs, and what evaluating the finest level on a coarser grid gives instead,
is in benchmarks/studies/pyramid. Sides of all levels stay, so that their coordinate transformations stay true. Labels
lose nothing. A source that is no image, with VIEW after its path, is the image that is made of it.
"""

import posixpath
import warnings
from typing import Any

from inr_codec.batch.plan import Plan, check_inner
from inr_codec.batch.store import view_of
from inr_codec.errors import ConfigError, MetadataLoss
from inr_codec.io.ome_zarr import Image, Level, attributes_of, datasets_of, levels_of, metadata_of, with_windows
from inr_codec.targets import split_view

LABELS = "labels"


def image_at(path: str) -> Image:
    """The image at the path or URL of a group, or the one that is made of a source; ConfigError where there is none."""
    source, view = split_view(path)
    if view is not None:
        return view_of(source)
    import zarr

    group: Any = zarr.open_group(path, mode="r")
    ome, others = metadata_of(dict(group.attrs))
    if not datasets_of(ome):
        raise ConfigError(
            f"expected multiscales with datasets in {path!r}, got {sorted(ome | others)!r}: name an array of it"
        )
    levels = _checked("", group, ome, exact="image-label" in ome)
    groups = {"": (_first(ome), others)}
    for name in _labels(group):
        label = group[f"{LABELS}/{name}"]
        told, rest = metadata_of(dict(label.attrs))
        if datasets_of(told):
            levels += _checked(f"{LABELS}/{name}", label, told, exact=True)
            groups[f"{LABELS}/{name}"] = (_first(told), rest)
    if len(groups) > 1:
        names = [name.removeprefix(f"{LABELS}/") for name in groups if name]
        groups[LABELS] = ({LABELS: names}, metadata_of(dict(group[LABELS].attrs))[1])
    known = {level.path.partition("/")[0] for level in levels}
    further = [f"multiscales {k}" for k in range(1, len(ome["multiscales"]))]
    left = [name for name in sorted(dict(group.members())) if name not in known]
    return Image(tuple(levels), groups, tuple(further + left), group.metadata.zarr_format)


def _checked(path: str, group: Any, ome: dict[str, Any], *, exact: bool) -> list[Level]:
    """The levels of an image in a group; ConfigError for paths that lead out of it."""
    for dataset in datasets_of(ome):
        check_inner(str(dataset["path"]))
    return list(levels_of(path, group, ome, exact=exact))


def _first(ome: dict[str, Any]) -> dict[str, Any]:
    """OME metadata with the first multiscales alone."""
    return ome | {"multiscales": ome["multiscales"][:1]}


def _labels(group: Any) -> list[str]:
    """Names of the labels of an image."""
    if LABELS not in group:
        return []
    names = metadata_of(dict(group[LABELS].attrs))[0].get(LABELS) or sorted(name for name, _ in group[LABELS].groups())
    return [str(name) for name in names if str(name) in group[LABELS]]


def tell_left(image: Image, path: str) -> None:
    """Warn, in one line, of what a group holds beside its image."""
    if image.left:
        left = ", ".join(image.left)
        warnings.warn(f"{path!r}: {left} of it is no part of the image and is not copied", MetadataLoss, stacklevel=3)


def levels(plan: Plan) -> list[tuple[str, str, Level]]:
    """(source, target, level) of every level but the finest, and of labels; none where the source is no image."""
    if plan.source_group is None:
        return []
    ends = [root.rstrip("/") for root in (plan.source_group, plan.target)]
    return [
        (f"{ends[0]}/{level.path}", f"{ends[1]}/{level.path}", level)
        for level in image_at(plan.source_group).levels
        if level.path != plan.array
    ]


def write(plan: Plan) -> None:
    """Write the metadata of the source's image to the target, as its zarr format spells them; nothing else is touched.

    Attributes that others have written to the target's groups stay.
    """
    if plan.source_group is not None:
        write_groups(image_at(plan.source_group), plan.target, plan.zarr_format)


def write_groups(image: Image, target: str, zarr_format: Any) -> None:
    """Write the metadata of the groups of an image whose arrays are there."""
    import zarr

    root: Any = zarr.open_group(target, mode="a", zarr_format=zarr_format)
    for path, (ome, others) in image.groups.items():
        group = root.require_group(path) if path else root
        if datasets := datasets_of(ome):
            last = posixpath.join(path, str(datasets[-1]["path"]))
            names = next(level.names for level in image.levels if level.path == last)
            ome = with_windows(ome, root[last], names)
        group.update_attributes(attributes_of(ome, others, zarr_format))
