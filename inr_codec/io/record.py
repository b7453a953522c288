"""What belongs to a volume beside its voxels: one record, whatever format it comes from and goes to.

In a store the record is OME metadata where OME has a word for it (axes, scale, units, translation and channels of an
OME-Zarr image), the attributes `scale_factor` and `add_offset` of the CF conventions, and the attribute RECORD for the
rest; docs/FORMATS.md describes that attribute.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inr_codec.io.units import unit_of

RECORD = "inr_codec_volume"
"""The attribute of an array, or of the group of an OME-Zarr image."""
ORDER = "order"
"""In a header: the names of the axes in the source's order, where that is not the one of the array."""
VERSION = 1
KINDS = {"t": "time", "c": "channel", "s": "channel", "x": "space", "y": "space", "z": "space"}
"""What an axis is, by its usual name."""
RGB = ("FF0000", "00FF00", "0000FF")
_LONG = {"time": "t", "channel": "c"}


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: `kind` is space, time, channel or "" (not known); `scale` the step from voxel to voxel in `unit`.

    `origin` is the position of voxel 0 along the axis, in `unit`. `unit` is named as OME-Zarr does.
    """

    name: str
    kind: str = ""
    scale: float | None = None
    unit: str | None = None
    origin: float | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: what it shows, and the colour that it is shown in (RRGGBB)."""

    name: str = ""
    color: str | None = None


@dataclass(frozen=True, slots=True)
class Affine:
    """From voxel indices to positions: `matrix` is 4 x 4, for (x, y, z, 1), where x is the last axis of space.

    `space` says where its axes point: "RAS" (to the right, front and top of a patient), "LPS", or another name that
    NRRD has. Lengths are in the unit of the axes of space.
    """

    matrix: tuple[tuple[float, ...], ...]
    space: str = "RAS"


@dataclass(frozen=True, slots=True)
class Record:
    """What belongs to a volume.

    axes: one for each axis of the array, slowest first; () where the file does not name them. value_scale: (slope,
    intercept) from stored to real values. nodata: the stored value of voxels that were not measured. labels: whether
    values are labels (True), intensities (False), or it is not known. header: what else the source's file says, in the
    words of its format, for the way back; plain JSON.
    """

    axes: tuple[Axis, ...] = ()
    affine: Affine | None = None
    channels: tuple[Channel, ...] = ()
    value_scale: tuple[float, float] | None = None
    nodata: float | None = None
    labels: bool | None = None
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the axes, None where they are not known."""
        return tuple(axis.name for axis in self.axes) or None

    @property
    def space(self) -> tuple[Axis, ...]:
        """The axes of space, slowest first."""
        return tuple(axis for axis in self.axes if axis.kind == "space")

    @property
    def unit(self) -> str | None:
        """The unit of the axes of space, where they have one and the same."""
        units = {axis.unit for axis in self.space}
        return units.pop() if len(units) == 1 else None

    @property
    def colours(self) -> bool:
        """Whether the channels are red, green and blue (and opacity) of a picture, at the end of each voxel."""
        found = tuple(channel.color for channel in self.channels)
        at_end = bool(self.axes) and self.axes[-1].kind == "channel"
        return at_end and found[:3] == RGB and len(found) in (3, 4)

    def transposed(self, order: Sequence[int]) -> "Record":
        """The record of the array `array.transpose(order)`; axes of space must keep their order."""
        return replace(self, axes=tuple(self.axes[k] for k in order) if self.axes else ())

    def to_attributes(self) -> dict[str, Any]:
        """Attributes of an array that says all of this."""
        told: dict[str, Any] = {}
        if self.axes and self.axes != named(self.names or ()):
            told["axes"] = [_without_none(axis, {"kind": "type"}) for axis in self.axes]
        if self.affine is not None:
            told["affine"] = {"matrix": [list(row) for row in self.affine.matrix], "space": self.affine.space}
        if self.channels:
            told["channels"] = [_without_none(channel, {"name": "label"}) for channel in self.channels]
        for name in ("nodata", "labels"):
            if (value := getattr(self, name)) is not None:
                told[name] = value
        if self.header:
            told["header"] = self.header
        scaled = dict(zip(("scale_factor", "add_offset"), self.value_scale or ()))
        return (scaled | {RECORD: {"version": VERSION} | told}) if told else scaled

    def flat(self) -> dict[str, Any]:
        """The same in short: `spacing` (for each axis), `unit`, `affine` (RAS), `scale_factor`, `add_offset`."""
        told: dict[str, Any] = {}
        if any(axis.scale is not None for axis in self.axes):
            told["spacing"] = [1.0 if axis.scale is None else axis.scale for axis in self.axes]
        if self.unit is not None:
            told["unit"] = self.unit
        if (ras := as_space(self.affine, "RAS")) is not None:
            told["affine"] = [list(row) for row in ras.matrix]
        return told | dict(zip(("scale_factor", "add_offset"), self.value_scale or ()))


SHORT = ("spacing", "unit", "affine", "scale_factor", "add_offset")
"""The names of `Record.flat`."""


def from_attributes(names: Sequence[str | None] | None, attributes: dict[str, Any], ndim: int) -> Record:
    """The record that the attributes of an array and the names of its axes tell; what is damaged counts as absent.

    Of attributes in short (`Record.flat`) too, which users give.
    """
    told = attributes.get(RECORD)
    told = told if isinstance(told, dict) and told.get("version") == VERSION else {}
    axes = _axes(told.get("axes"))
    if len(axes) != ndim:
        axes = named(names) if names is not None and len(names) == ndim and all(names) else ()
    spacing = attributes.get("spacing")
    if isinstance(spacing, (list, tuple)) and len(spacing) == ndim and "axes" not in told:
        unit = unit_of(attributes.get("unit"))
        axes = axes or named(guessed(ndim))
        axes = tuple(
            replace(axis, scale=float(step), unit=unit if axis.kind == "space" else None)
            for axis, step in zip(axes, spacing)
        )
    affine = _affine(told.get("affine", attributes.get("affine")))
    scaled = attributes.get("scale_factor"), attributes.get("add_offset")
    value_scale = (float(scaled[0] or 1.0), float(scaled[1] or 0.0)) if all(map(_number_or_none, scaled)) else None
    return Record(
        axes=axes,
        affine=affine,
        channels=_channels(told.get("channels")),
        value_scale=None if scaled == (None, None) else value_scale,
        nodata=told["nodata"] if isinstance(told.get("nodata"), (int, float)) else None,
        labels=told["labels"] if isinstance(told.get("labels"), bool) else None,
        header=told["header"] if isinstance(told.get("header"), dict) else {},
    )


def named(names: Iterable[Any]) -> tuple[Axis, ...]:
    """Axes of these names, with the kinds that those have; () where two are alike."""
    found = tuple(
        Axis(_LONG.get(str(name), str(name)), KINDS.get(_LONG.get(str(name), str(name)), "")) for name in names
    )
    return found if len({axis.name for axis in found}) == len(found) else ()


def guessed(ndim: int) -> tuple[str, ...]:
    """Names for axes without any: y, x; z, y, x; t before them."""
    return ("t", "z", "y", "x")[-ndim:] if ndim <= 4 else tuple(f"axis{k}" for k in range(ndim))


def as_space(affine: Affine | None, space: str) -> Affine | None:
    """An affine in another patient space; None where the way there is not known."""
    if affine is None or affine.space == space:
        return affine
    if any(set(name) - set("RLAPSI") or len(name) != 3 for name in (affine.space, space)):
        return None
    signs = [1.0 if a == b else -1.0 for a, b in zip(affine.space, space)]
    if any({a, b} not in ({"R", "L"}, {"A", "P"}, {"S", "I"}, {a}) for a, b in zip(affine.space, space)):
        return None
    rows = [tuple(sign * value + 0.0 for value in row) for sign, row in zip(signs, affine.matrix)]
    return Affine((*rows, affine.matrix[3]), space)


def matrix_of(rows: Any) -> tuple[tuple[float, ...], ...]:
    """A 4 x 4 matrix as plain numbers."""
    return tuple(tuple(float(value) + 0.0 for value in row) for row in rows)


def _without_none(part: Any, renamed: dict[str, str]) -> dict[str, Any]:
    told = {name: getattr(part, name) for name in part.__dataclass_fields__}
    return {renamed.get(name, name): value for name, value in told.items() if value not in (None, "")}


def _axes(told: Any) -> tuple[Axis, ...]:
    try:
        return tuple(
            Axis(str(a["name"]), str(a.get("type", "")), a.get("scale"), a.get("unit"), a.get("origin")) for a in told
        )
    except (TypeError, KeyError, AttributeError):
        return ()


def _channels(told: Any) -> tuple[Channel, ...]:
    try:
        return tuple(Channel(str(one.get("label", "")), one.get("color")) for one in told)
    except (TypeError, AttributeError):
        return ()


def _affine(told: Any) -> Affine | None:
    try:
        rows, space = (told["matrix"], str(told["space"])) if isinstance(told, dict) else (told, "RAS")
        matrix = matrix_of(rows)
    except (TypeError, KeyError, ValueError):
        return None
    return Affine(matrix, space) if [len(row) for row in matrix] == [4] * 4 else None


def _number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
