"""What of a record a format cannot keep, in words."""

import warnings
from collections.abc import Sequence

import numpy as np

from inr_codec.errors import MetadataLoss
from inr_codec.io.record import Record

FACETS = {
    "axes": "the names of its axes",
    "scale": "the size of its voxels",
    "unit": "the unit of that size",
    "time": "its time step",
    "origin": "its origin",
    "orientation": "its orientation",
    "channels": "the names of its channels",
    "colours": "the colours of its channels",
    "rgb": "that its channels are red, green and blue",
    "nodata": "which value stands for no data",
    "labels": "that its values are labels",
    "header": "the rest of its {format} header",
}
"""What a record may say, and how that is named. The value scale is not among them: it is kept or applied."""
LISTED = 5
"""Names of attributes that are listed."""
EVERYTHING = frozenset(FACETS) | {"value scale"}


def present(record: Record) -> set[str]:
    """The facets that a record has."""
    step = {axis.kind for axis in record.axes if axis.scale is not None}
    told = {
        "axes": bool(record.axes),
        "scale": "space" in step,
        "unit": record.unit is not None,
        "time": "time" in step,
        "origin": any(axis.origin for axis in record.axes) and record.affine is None,
        "orientation": record.affine is not None,
        "channels": any(channel.name for channel in record.channels) and not record.colours,
        "colours": any(channel.color for channel in record.channels) and not record.colours,
        "rgb": record.colours,
        "nodata": record.nodata is not None,
        "labels": record.labels is True,
        "header": bool(record.header),
        "value scale": record.value_scale is not None,
    }
    return {name for name, there in told.items() if there}


def tell(
    path: str, format_name: str, record: Record, holds: frozenset[str], applied: np.dtype | None, others: Sequence[str]
) -> None:
    """Warn, in one line, of what a file cannot keep, and of a value scale that was applied to its voxels.

    others: names of attributes that only zarr has a place for.
    """
    facets = present(record)
    kept = holds | ({"header"} if record.header.get("format") == format_name else set())
    lost = [text.format(format=record.header.get("format")) for name, text in FACETS.items() if name in facets - kept]
    if others:
        more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
        lost.append(f"its attributes {', '.join(others[:LISTED])}{more}")
    told = []
    if lost:
        told.append(f"{format_name} has no place for {_listed(lost)}")
    if applied is not None and record.value_scale is not None:
        slope, intercept = record.value_scale
        told.append(
            f"its values are {slope:g} times the stored ones{f' {intercept:+g}' if intercept else ''}, {applied}"
        )
    if told:
        warnings.warn(f"{path!r}: {'; '.join(told)}", MetadataLoss, stacklevel=4)


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]
