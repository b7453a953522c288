"""DICOM, through pydicom: a series (a folder of slices), and files of several frames.

Slices are ordered by their positions along the normal of their planes. Values are the stored ones; rescale slope and
intercept go into the record, or are applied where slices differ in them. Positions are in millimetres, LPS. Who the
patient is, and how the images were taken, is not copied.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError, MetadataLoss
from inr_codec.io.format import Format, Lazy, Volume, module
from inr_codec.io.record import RGB, Affine, Axis, Channel, Record, matrix_of

CACHED = 2**28
"""Bytes of decoded frames that are kept."""
MEANINGS = {
    "MONOCHROME1": ", nor that higher values are darker",
    "PALETTE COLOR": ", nor the palette that its values are places in",
}
UNEVEN = 0.02
"""Part of the distance between slices by which one may differ before that is told."""
TAGS = (
    "SeriesInstanceUID", "SeriesDescription", "Modality", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "InstanceNumber", "FrameTime",
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "GridFrameOffsetVector", "DoseGridScaling",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One plane: its file, its number in that, where it lies, and what its values mean."""

    path: Path
    number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    rescale: tuple[float, float]
    instance: int


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read(path: Path, part: str | None = None) -> Volume:
    """Open a file, or the one series of a folder, or the one that is asked for by its number."""
    dcmread = module("pydicom").dcmread
    paths = sorted(one for one in path.iterdir() if one.is_file() and is_dicom(one)) if path.is_dir() else [path]
    headers = [(one, dcmread(one, stop_before_pixels=True, specific_tags=list(TAGS))) for one in paths]
    headers = [(one, header) for one, header in headers if "Rows" in header]
    series: dict[str, list[Any]] = {}
    for one, header in headers:
        sides = (header.Rows, header.Columns, *np.round(header.get("ImageOrientationPatient", []), 4))
        series.setdefault(f"{header.get('SeriesInstanceUID', '')} {sides}", []).append((one, header))
    listed = "; ".join(
        f"{k}: {len(one)} x {one[0][1].Rows} x {one[0][1].Columns} {one[0][1].get('Modality', '')} "
        f"{one[0][1].get('SeriesDescription', '')}".strip()
        for k, one in enumerate(series.values())
    )
    if not series or (part is None and len(series) > 1) or (part is not None and not _number(part, len(series))):
        raise ConfigError(
            f"expected one series of images in {str(path)!r}, got {len(series)} ({listed or 'none'}): name one, as "
            f"{path}:0"
        )
    chosen = list(series.values())[int(part or 0)]
    meaning = MEANINGS.get(str(chosen[0][1].get("PhotometricInterpretation", "")), "")
    warnings.warn(
        f"{str(path)!r}: what DICOM says of patient and acquisition is not copied{meaning}", MetadataLoss, stacklevel=4
    )
    return _volume(str(path), chosen)


def _number(part: str, count: int) -> bool:
    return part.isdigit() and int(part) < count


def _volume(name: str, files: list[Any]) -> Volume:
    frames = [frame for path, header in files for frame in _frames(path, header)]
    frames, times = _sorted(name, frames)
    header = files[0][1]
    samples = int(header.get("SamplesPerPixel", 1))
    page = (int(header.Rows), int(header.Columns)) + ((samples,) if samples > 1 else ())
    stored = np.dtype(f"{'i' if header.get('PixelRepresentation') else 'u'}{max(8, int(header.BitsAllocated)) // 8}")
    scales = {frame.rescale for frame in frames}
    dtype = stored if len(scales) == 1 else np.dtype(np.float32)
    array = _planes(frames, times, page, dtype, rescaled=len(scales) > 1)
    axes, affine = _geometry(name, frames[:: times or 1], header, len(frames) > 1)
    if times:
        axes = (Axis("t", "time"), *axes)
    colours: tuple[Channel, ...] = ()
    if samples > 1:
        axes = (*axes, Axis("c", "channel"))
        colours = tuple(Channel(one, color) for one, color in zip(("red", "green", "blue"), RGB))
    scale = scales.pop() if len(scales) == 1 else (1.0, 0.0)
    padding = header.get("PixelPaddingValue")
    kept = {"format": "dicom", "modality": str(header.get("Modality", ""))}
    kept["photometric"] = str(header.get("PhotometricInterpretation", ""))
    return Volume(
        array,
        Record(
            axes=axes,
            affine=affine,
            channels=colours,
            value_scale=None if scale == (1.0, 0.0) else scale,
            nodata=float(padding) if isinstance(padding, int) else None,
            header=kept,
        ),
    )


def _frames(path: Path, header: Any) -> list[Frame]:
    """The frames of a file: those of an enhanced one say for themselves where they lie."""
    count = int(header.get("NumberOfFrames", 1) or 1)
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = header.get("PerFrameFunctionalGroupsSequence") or [None] * count
    offsets = header.get("GridFrameOffsetVector")  # of radiotherapy doses
    found = []
    for k in range(count):
        groups = [group for group in (own[k] if k < len(own) else None, shared) if group is not None]
        told = partial(_told, header, groups)
        slope = told("PixelValueTransformationSequence", "RescaleSlope") or header.get("DoseGridScaling")
        intercept = told("PixelValueTransformationSequence", "RescaleIntercept")
        orientation = _floats(told("PlaneOrientationSequence", "ImageOrientationPatient"))
        spacing = told("PixelMeasuresSequence", "PixelSpacing") or header.get("ImagerPixelSpacing")
        found.append(
            Frame(
                path,
                k,
                _shifted(_floats(told("PlanePositionSequence", "ImagePositionPatient")), orientation, offsets, k),
                orientation,
                _floats(spacing),
                (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)),
                int(header.get("InstanceNumber") or 0) * 10**6 + k,
            )
        )
    return found


def _told(header: Any, groups: list[Any], sequence: str, name: str) -> Any:
    """What the functional groups of a frame say in one of their sequences, or the header of its file."""
    for group in groups:
        if sequence in group and name in group[sequence].value[0]:
            return group[sequence].value[0].get(name)
    return header.get(name)


def _floats(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _shifted(position: Any, orientation: Any, offsets: Any, k: int) -> tuple[float, ...] | None:
    """The position of frame k of a file that tells the position of the first, and how far the others are from that."""
    if position is None or orientation is None or offsets is None or k >= len(offsets):
        return None if position is None else tuple(position)
    return tuple(np.add(position, _normal(orientation) * (float(offsets[k]) - float(offsets[0]))))


def _sorted(name: str, frames: list[Frame]) -> tuple[list[Frame], int]:
    """Frames by position (by number where they have none), then by number; and how many there are of each position,
    0 where that is one."""
    if any(frame.position is None or frame.orientation is None for frame in frames):
        return sorted(frames, key=lambda frame: frame.instance), 0
    normal = _normal(frames[0].orientation)
    at = {id(frame): round(float(np.dot(normal, frame.position or ())), 3) for frame in frames}
    counts = set(Counter(at.values()).values())
    if len(counts) != 1:
        raise ConfigError(
            f"expected as many slices at every position of {name!r}, got {min(counts)} to {max(counts)}: sort the "
            "files into a folder for each volume"
        )
    times = counts.pop()
    alone = times in (1, len(frames))
    return sorted(frames, key=lambda frame: (at[id(frame)], frame.instance)), 0 if alone else times


def _normal(orientation: Any) -> NDArray[Any]:
    rows = np.array(orientation).reshape(2, 3)
    return np.cross(rows[0], rows[1])


def _planes(frames: list[Frame], times: int, page: tuple[int, ...], dtype: np.dtype[Any], *, rescaled: bool) -> Any:
    """The frames as one array, each decoded when it is asked for; the last ones are kept."""
    pixels = module("pydicom.pixels").pixel_array
    size = int(np.prod(page)) * dtype.itemsize

    @lru_cache(max(1, CACHED // max(1, size)))
    def plane(k: int) -> NDArray[Any]:
        frame = frames[k]
        try:
            values = np.asarray(pixels(frame.path, index=frame.number))
        except Exception:  # a file that pydicom reads as a whole only
            values = np.asarray(module("pydicom").dcmread(frame.path).pixel_array)
            values = values[frame.number] if values.ndim > len(page) else values
        return (values * frame.rescale[0] + frame.rescale[1]).astype(dtype) if rescaled else values.astype(dtype)

    if len(frames) == 1:
        return Lazy(page, dtype, lambda region: plane(0)[region])
    depth = len(frames) // (times or 1)

    def stack(region: tuple[slice, ...], of: Callable[[int], int]) -> NDArray[Any]:
        found = [plane(of(k))[region[1:]] for k in range(region[0].start, region[0].stop)]
        return np.stack(found) if found else np.empty((0, *page), dtype)[(slice(None), *region[1:])]

    if not times:
        return Lazy((depth, *page), dtype, lambda region: stack(region, lambda k: k))

    def of_times(region: tuple[slice, ...]) -> NDArray[Any]:
        steps = range(region[0].start, region[0].stop)
        return np.stack([stack(region[1:], lambda z, t=t: z * times + t) for t in steps])  # type: ignore[misc]

    return Lazy((times, depth, *page), dtype, of_times)


def _geometry(name: str, frames: list[Frame], header: Any, stacked: bool) -> tuple[tuple[Axis, ...], Affine | None]:
    """The axes of space (or of frames), and where voxels lie."""
    first = frames[0]
    rows, columns = first.spacing or (None, None)
    unit = "millimeter" if first.spacing else None
    axes = (Axis("y", "space", rows, unit), Axis("x", "space", columns, unit))
    still = stacked and all(frame.position == first.position for frame in frames)
    if first.position is None or first.orientation is None or still:
        time = header.get("FrameTime")
        return ((Axis("t", "time", *(float(time), "millisecond") if time else ()), *axes) if stacked else axes), None
    step = _normal(first.orientation) * float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0)
    if len(frames) > 1:
        at = np.array([frame.position for frame in frames])
        step = (at[-1] - at[0]) / (len(frames) - 1)
        gaps = np.linalg.norm(np.diff(at, axis=0), axis=1)
        if np.abs(gaps - gaps.mean()).max() > UNEVEN * gaps.mean():
            warnings.warn(
                f"{name!r}: slices lie {gaps.min():g} to {gaps.max():g} mm apart, some may be missing; they are taken "
                f"as {gaps.mean():g} mm apart",
                MetadataLoss,
                stacklevel=6,
            )
    matrix = np.eye(4)
    cosines = np.array(first.orientation).reshape(2, 3)
    matrix[:3, 0], matrix[:3, 1] = cosines[0] * (columns or 1.0), cosines[1] * (rows or 1.0)
    matrix[:3, 2], matrix[:3, 3] = step, first.position
    depth = (Axis("z", "space", float(np.linalg.norm(step)), "millimeter"),) if len(frames) > 1 else ()
    return (*depth, *axes), Affine(matrix_of(matrix), "LPS")


FORMAT = Format("dicom", (".dcm", ".dicom", ".ima"), ("pydicom",), read)
