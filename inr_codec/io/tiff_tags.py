"""The tags of TIFF files that say nothing of how voxels are stored, for the way back."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.io.format import module

STORAGE = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292,
     293, 297, 317, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520,
     521, 529, 530, 531, 532, 34665, 34853, 40965, 33628, 33629, 33630, 33631, 34412, 50838, 50839, 51123, 65420)
)  # fmt: skip
"""Tags of the way in which voxels are stored, of other places in the file, and those that are kept otherwise."""
DESCRIPTION, RESOLUTIONS = 270, (282, 283, 296)


def header(file: Any, series: Any) -> dict[str, Any]:
    """What a file says of a series, as plain JSON."""
    page = series.keyframe
    kept: dict[str, Any] = {"format": "tiff", "kind": series.kind, "axes": series.axes, "shape": list(series.shape)}
    kept["dtype"], kept["byteorder"] = np.dtype(series.dtype).str[1:], file.byteorder
    if series.kind == "ome":
        return kept | {"xml": file.ome_metadata}
    if page.tags.valueof(282) is not None and page.tags.valueof(283) is not None:
        kept["resolution"] = [list(page.tags.valueof(code)) for code in (282, 283)]
        kept["resolutionunit"] = int(page.tags.valueof(296, default=2))
    if page.colormap is not None:
        kept["colormap"] = np.asarray(page.colormap).tolist()
    if series.kind == "imagej":
        return kept | {"metadata": _plain(dict(file.imagej_metadata or {}))}
    kept["photometric"], kept["extrasamples"] = int(page.photometric), [int(one) for one in page.extrasamples]
    pages = [one for one in series.pages if one is not None]
    told = [_tags(file, one) for one in (pages if _described(pages) else pages[:1])]
    return kept | {"tags": told[:1] if all(one == told[0] for one in told) else told}


def _described(pages: list[Any]) -> bool:
    """Whether pages after the first one may have tags of their own."""
    return len(pages) > 1 and hasattr(pages[1].aspage(), "tags")


def _tags(file: Any, page: Any) -> list[list[Any]]:
    """[code, type, count, bytes in base64] of the tags of a page that are kept."""
    found = []
    for tag in page.aspage().tags:
        if tag.code in STORAGE or tag.code in RESOLUTIONS:
            continue
        file.filehandle.seek(tag.valueoffset)
        data = file.filehandle.read(tag.valuebytecount)
        found.append([int(tag.code), int(tag.dtype), int(tag.count), base64.b64encode(data).decode()])
    return found


def write(path: Path, array: NDArray[Any], kept: dict[str, Any], options: dict[str, Any]) -> None:
    """A file with the tags of the one that a volume was read from: of all pages, or page by page."""
    tifffile, pages = module("tifffile"), kept.get("tags") or [[]]
    options = options | _look(kept, array) | resolution(kept) | {"software": False}
    depth = 3 if "S" in str(kept.get("axes")) else 2
    planes = array.reshape(-1, *array.shape[-depth:])
    byteorder, large = kept.get("byteorder", "<"), array.nbytes > 2**32 - 2**25
    if len(pages) == 1 and (described := _shaped(pages[0])):
        extra = _extra(pages[0], {DESCRIPTION})
        tifffile.imwrite(path, array, byteorder=byteorder, extratags=extra, metadata=described, **options)
        return
    pages = pages if len(pages) == len(planes) else pages[:1] * len(planes)
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=large, shaped=False) as out:
        for plane, tags in zip(planes, pages):
            out.write(plane, metadata=None, extratags=_extra(tags), contiguous=False, **options)


def _look(kept: dict[str, Any], array: NDArray[Any]) -> dict[str, Any]:
    """Options of tifffile that give values the meaning that they had: colours and their order, a colour map."""
    letters, photometric = str(kept.get("axes")), kept.get("photometric", 1)
    colours = kept.get("colormap")
    if colours and array.dtype.itemsize <= 2 and len(colours[0]) == 2 ** (8 * array.dtype.itemsize):
        return {"photometric": "palette", "colormap": np.array(colours, np.uint16)}
    found: dict[str, Any] = {
        "photometric": {0: "miniswhite", 2: "rgb", 5: "separated", 6: "rgb"}.get(photometric, "minisblack")
    }
    if "S" in letters:
        found["planarconfig"] = "contig" if letters.endswith("S") else "separate"
        found |= {"extrasamples": kept["extrasamples"]} if kept.get("extrasamples") else {}
    return found


def resolution(kept: dict[str, Any]) -> dict[str, Any]:
    """Options of tifffile that give a file the resolution of the one that a volume was read from."""
    told = kept.get("resolution")
    if told is None:
        return {}
    return {"resolution": [tuple(one) for one in told], "resolutionunit": kept.get("resolutionunit", 1)}


def _extra(tags: list[list[Any]], left: set[int] | None = None) -> list[tuple[int, int, int, bytes, bool]]:
    return [
        (code, kind, count, base64.b64decode(value), False)
        for code, kind, count, value in tags
        if code not in (left or ())
    ]


def _shaped(tags: list[list[Any]]) -> dict[str, Any] | None:
    """What tifffile has written into the description, but for the shape; None where it is another description."""
    for code, _, _, value in tags:
        if code == DESCRIPTION:
            try:
                told = json.loads(base64.b64decode(value).rstrip(b"\0"))
                return {k: v for k, v in told.items() if k not in ("shape", "truncated")} if "shape" in told else None
            except (ValueError, AttributeError, TypeError):
                return None
    return None


def imagej_metadata(kept: dict[str, Any]) -> dict[str, Any]:
    """ImageJ's metadata of the file that a volume was read from; {} where that was none of ImageJ."""
    if kept.get("kind") != "imagej" or not isinstance(kept.get("metadata"), dict):
        return {}
    left = ("images", "channels", "slices", "frames")
    return {name: _value(value) for name, value in kept["metadata"].items() if name not in left}


def _plain(value: Any) -> Any:
    """JSON of what tifffile tells: arrays and bytes as base64."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"base64": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value.item() if isinstance(value, np.generic) else value


def _value(told: Any) -> Any:
    """What `_plain` made JSON of."""
    if isinstance(told, list):
        return [_value(one) for one in told]
    if isinstance(told, dict) and "base64" in told:
        data = base64.b64decode(told["base64"])
        return np.frombuffer(data, told["dtype"]).reshape(told["shape"]) if "dtype" in told else data
    if isinstance(told, dict):
        return {key: _value(one) for key, one in told.items()}
    return told
