"""OME-Zarr groups (0.4 in zarr format 2, 0.5 in format 3): their further levels, and their metadata in the target.

Every level of the source is encoded as an array of its own, at the same ratio: an overview of the target is then read
as cheaply as one of the source. What that costs, and what evaluating the finest level on a coarser grid gives instead,
is in benchmarks/PYRAMID.md. Sides of all levels stay, so that their coordinate transformations stay true.
"""

from copy import deepcopy
from typing import Any

from inr_codec.batch.plan import Plan, check_inner
from inr_codec.errors import ConfigError

KEPT = ("omero", "bioformats2raw.layout")
"""Attributes that go along with the multiscales."""
VERSIONS = {2: "0.4", 3: "0.5"}


def levels(plan: Plan) -> list[tuple[str, str]]:
    """(source, target) of every level but the finest, paths or URLs of arrays; none where the source is no group."""
    if plan.source_group is None:
        return []
    datasets = _multiscales(_attributes(plan.source_group), plan.source_group)["datasets"]
    paths = [str(dataset["path"]) for dataset in datasets]
    for path in paths:
        check_inner(path)
    ends = [root.rstrip("/") for root in (plan.source_group, plan.target)]
    return [(f"{ends[0]}/{path}", f"{ends[1]}/{path}") for path in paths if path != plan.array]


def write(plan: Plan) -> None:
    """Write the multiscales of the source to the target, as its zarr format spells them; nothing else is touched.

    Attributes that others have written to the target's group stay. Labels and further multiscales of the source are
    left behind: they are arrays of their own.
    """
    import zarr

    if plan.source_group is None:
        return
    source = _attributes(plan.source_group)
    scales = deepcopy(_multiscales(source, plan.source_group))
    version = VERSIONS[plan.zarr_format]
    told = {name: source[name] for name in KEPT if name in source}
    if plan.zarr_format == 2:
        scales["version"] = version
        ours = {"multiscales": [scales], **told}
    else:
        scales.pop("version", None)
        ours = {"ome": {"version": version, "multiscales": [scales], **told}}
    group = zarr.open_group(plan.target, mode="r+", zarr_format=plan.zarr_format)
    group.update_attributes(ours)


def _attributes(path: str) -> dict[str, Any]:
    """The OME attributes of a group, wherever its version keeps them."""
    import zarr

    attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    found: dict[str, Any] = attributes.get("ome", attributes)
    return found


def _multiscales(attributes: dict[str, Any], path: str) -> dict[str, Any]:
    """The first multiscales of a group's attributes; ConfigError where there are none."""
    scales = (attributes.get("multiscales") or [{}])[0]
    if not scales.get("datasets"):
        raise ConfigError(
            f"expected multiscales with datasets in {path!r}, got {sorted(attributes)!r}: name an array of it"
        )
    return dict(scales)
