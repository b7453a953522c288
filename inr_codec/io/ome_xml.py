"""OME-XML, the metadata of OME-TIFF: to a record, from a record, and the source's own for another file."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from inr_codec.io.record import Axis, Channel, Record
from inr_codec.io.units import symbol, unit_of

_PIXELS = {
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "i1": "int8", "i2": "int16", "i4": "int32", "f4": "float",
    "f8": "double", "c8": "complex", "c16": "double-complex", "b1": "bit",
}  # fmt: skip
"""How OME calls types of voxels."""


def record_of_ome(xml: str, number: int, axes: tuple[Axis, ...], header: dict[str, Any]) -> Record:
    """The record of an image of OME-XML, the axes of which are known."""
    images = _found(ElementTree.fromstring(xml.encode()), "Image")
    if number >= len(images):
        return Record(axes, header=header)
    pixels = _found(images[number], "Pixels")[0]
    told = []
    for axis in axes:
        size = pixels.get("TimeIncrement" if axis.kind == "time" else f"PhysicalSize{axis.name.upper()}")
        standard = "s" if axis.kind == "time" else "µm"
        unit = pixels.get("TimeIncrementUnit" if axis.kind == "time" else f"PhysicalSize{axis.name.upper()}Unit")
        if size is not None and axis.kind in ("space", "time"):
            axis = replace(axis, scale=float(size), unit=unit_of(unit or standard))
        told.append(axis)
    channels = [Channel(one.get("Name", ""), _colour(one.get("Color"))) for one in _found(pixels, "Channel")]
    at_end = bool(axes) and axes[-1].kind == "channel"
    if at_end and len(channels) == 1:  # samples of one channel: a picture in colours
        channels = [Channel("red", "FF0000"), Channel("green", "00FF00"), Channel("blue", "0000FF"), Channel("alpha")]
        channels = channels[: header["shape"][-1]]
    named = any(channel.name or channel.color for channel in channels)
    kept = {**header, "image": number}
    return Record(tuple(told), None, tuple(channels) if named else (), header=kept)


def ome_metadata(record: Record) -> dict[str, Any]:
    """What tifffile makes OME-XML of."""
    letters = ["S" if record.colours and axis is record.axes[-1] else axis.name.upper() for axis in record.axes]
    told: dict[str, Any] = {"axes": "".join(letters)} if record.axes else {}
    for axis in record.axes:
        if axis.kind == "space" and axis.scale is not None:
            told[f"PhysicalSize{axis.name.upper()}"] = axis.scale
            told[f"PhysicalSize{axis.name.upper()}Unit"] = _symbol(axis.unit)
        if axis.kind == "time" and axis.scale is not None:
            told |= {"TimeIncrement": axis.scale, "TimeIncrementUnit": symbol(axis.unit) or "s"}
    if record.channels and not record.colours and any(axis.kind == "channel" for axis in record.axes):
        told["Channel"] = {"Name": [channel.name or f"channel {k}" for k, channel in enumerate(record.channels)]}
        if all(channel.color for channel in record.channels):
            told["Channel"]["Color"] = [_signed(channel.color) for channel in record.channels]
    return told


def renewed(record: Record, array: NDArray[Any]) -> bytes | None:
    """The OME-XML of the source for a file that holds its image alone; None where the array is another one."""
    kept = record.header
    same = list(array.shape) == kept.get("shape") and np.dtype(array.dtype).str[1:] == kept.get("dtype")
    if not same or not isinstance(kept.get("xml"), str):
        return None
    root = ElementTree.fromstring(kept["xml"].encode())
    space = root.tag.partition("}")[0].removeprefix("{")
    ElementTree.register_namespace("", space)
    images = _found(root, "Image")
    for k, image in enumerate(images):
        if k != kept.get("image", 0):
            root.remove(image)
    root.attrib.pop("UUID", None)
    pixels = _found(images[kept.get("image", 0)], "Pixels")[0]
    places = [
        k for k, one in enumerate(pixels) if one.tag.rpartition("}")[2] in ("TiffData", "BinData", "MetadataOnly")
    ]
    for one in [pixels[k] for k in places]:
        pixels.remove(one)
    at = max((k + 1 for k, one in enumerate(pixels) if one.tag.rpartition("}")[2] == "Channel"), default=0)
    planes = array.size // int(np.prod(array.shape[-3 if record.colours else -2 :]))
    pixels.insert(at, ElementTree.Element(f"{{{space}}}TiffData", IFD="0", PlaneCount=str(planes)))
    for name in ("BigEndian", "Interleaved"):
        pixels.attrib.pop(name, None)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _found(element: Any, name: str) -> list[Any]:
    """The children of a name, in any version's namespace."""
    return [one for one in element if one.tag.rpartition("}")[2] == name]


def _colour(text: str | None) -> str | None:
    """RRGGBB of a signed number of 32 bits, RGBA."""
    if text is None or not re.fullmatch(r"-?\d+", text):
        return None
    return f"{(int(text) & 0xFFFFFFFF) >> 8:06X}"


def _signed(color: str | None) -> int:
    number = int(f"{color}FF", 16)
    return number - 2**32 if number >= 2**31 else number


def _symbol(unit: str | None) -> str:
    return {"micrometer": "µm", "angstrom": "Å", "inch": "in", None: "pixel"}.get(unit) or symbol(unit)
