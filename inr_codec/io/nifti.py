"""NIfTI, and whatever else nibabel opens: ANALYZE, MGH, MINC, AFNI, PAR/REC. Written is NIfTI.

NIfTI stores x fastest and names its axes (x, y, z, t, ...); the same bytes are (..., t, z, y, x) in C order, so arrays
are reversed and nothing moves in memory. Values are the stored numbers, and slope and intercept go into the record,
because stored integers compress better than their floating-point images; formats with a slope for each slice come with
their slopes applied. Colours (RGB24) are an axis of their own, the last one. An affine is known where the file's
sform or qform has a code.
"""

import base64
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.errors import ConfigError
from inr_codec.io.format import Format, Lazy, Volume, module, spooled
from inr_codec.io.record import RGB, Affine, Axis, Channel, Record, as_space, guessed, matrix_of, named
from inr_codec.io.units import SECONDS, factor, unit_of

ORDER = "ctzyx"
LABEL = "label"
"""What nibabel calls the intent NIFTI_INTENT_LABEL."""
_COLOURS = tuple(Channel(name, color) for name, color in zip(("red", "green", "blue"), RGB))
_UNITS = {"micrometer": "micron", "nanometer": "micron", "angstrom": "micron", "meter": "meter"}
_TIMES = {"second": "sec", "millisecond": "msec", "microsecond": "usec"}
_NIFTI = ("Nifti1Image", "Nifti1Pair", "Nifti2Image", "Nifti2Pair")
_LARGEST_SIDE = 32767


def read(path: Path, part: str | None = None) -> Volume:
    """Open a file; what is not compressed is mapped."""
    nibabel = module("nibabel")
    image = nibabel.load(path)
    if not isinstance(image, nibabel.spatialimages.SpatialImage) or isinstance(image, nibabel.Cifti2Image):
        raise ConfigError(
            f"expected an image of voxels at {str(path)!r}, got {type(image).__name__}: surfaces and their data are no "
            "volumes, name a NIfTI or MGH image"
        )
    proxy = image.dataobj
    if not isinstance(image, (nibabel.AnalyzeImage, nibabel.MGHImage)):  # NIfTI is one of the former
        return _scaled(image, isinstance(image, nibabel.minc1.Minc1Image))
    scale = float(proxy.slope), float(proxy.inter)
    if str(path).lower().endswith((".gz", ".bz2", ".zst", ".mgz")):
        with image.file_map["image"].get_prepare_fileobj("rb") as stream:
            stream.seek(proxy.offset)
            array = spooled(stream, proxy.shape[::-1], proxy.dtype)
    else:
        array = proxy.get_unscaled().T
    record = _record(image)
    if array.dtype.names:
        depth = len(array.dtype.names)
        array = array.view(np.uint8).reshape(*array.shape, depth)
        axes = (*record.axes, Axis("c", "channel")) if record.axes else ()
        record = replace(record, axes=axes, channels=(*_COLOURS, Channel("alpha"))[:depth])
    return Volume(array, replace(record, value_scale=None if scale == (1.0, 0.0) else scale))


def _scaled(image: Any, in_order: bool) -> Volume:
    """A file whose slices have slopes of their own: real values, float32 of integers of 16 bits and fewer."""
    proxy, ndim = image.dataobj, len(image.shape)
    stored = np.dtype(image.get_data_dtype())
    dtype = np.dtype(np.float32 if stored.kind in "iu" and stored.itemsize <= 2 else np.float64)
    affine = np.asarray(image.affine, float)
    if in_order:  # MINC: slowest first, as here
        array = Lazy(image.shape, dtype, lambda region: proxy[region])
        affine = affine[:, [2, 1, 0, 3]]
    else:
        array = Lazy(image.shape[::-1], dtype, lambda region: np.asarray(proxy[region[::-1]]).T)
    sides = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    zooms = image.header.get_zooms()
    step = float(zooms[3]) if len(zooms) == ndim == 4 and not in_order else 0.0
    axes = list(named(guessed(ndim)))
    if step:
        axes[0] = replace(axes[0], scale=step, unit="second")
    for k in range(1, min(ndim, 3) + 1):
        axes[-k] = replace(axes[-k], scale=float(sides[-k]), unit="millimeter")
    return Volume(array, Record(axes=tuple(axes), affine=Affine(matrix_of(affine))))


def _record(image: Any) -> Record:
    header, ndim = image.header, len(image.shape)
    zooms = [float(zoom) for zoom in header.get_zooms()]
    units = header.get_xyzt_units() if hasattr(header, "get_xyzt_units") else ("mm", "sec")
    space, time = (unit_of({"micron": "micrometer"}.get(one, one)) for one in units)
    axes = named(("c", *guessed(4))[-ndim:]) if ndim <= 5 else ()
    steps = reversed(zooms + [0.0] * (ndim - len(zooms)))
    told = []
    for axis, step in zip(axes, steps):
        unit = {"space": space, "time": time if time in SECONDS else None}.get(axis.kind)
        told.append(replace(axis, scale=None if axis.kind == "channel" else step, unit=unit))
    header_of = type(image).header_class
    with image.file_map["header" if "header" in image.file_map else "image"].get_prepare_fileobj("rb") as file:
        raw = header_of.from_fileobj(file, check=False)
        end = int(raw["vox_offset"]) if getattr(raw, "is_single", False) else None
        file.seek(0)
        data = file.read(end) if end or "header" in image.file_map else b""
    if end and axes and axes[0].kind == "time" and float(raw["toffset"]):
        told[0] = replace(told[0], origin=float(raw["toffset"]))
    known = image.affine is not None and (
        not hasattr(header, "get_sform") or int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    )
    kept = {"format": "nifti", "class": type(image).__name__, "bytes": base64.b64encode(data).decode()}
    return Record(
        axes=tuple(told),
        affine=Affine(matrix_of(image.affine)) if known and not _analyze(image) else None,
        labels=True if hasattr(header, "get_intent") and header.get_intent()[0] == LABEL else None,
        header=kept if kept["class"] in _NIFTI else {},
    )


def _analyze(image: Any) -> bool:
    """Whether a file has no affine of its own: ANALYZE, unless SPM has written one beside it."""
    nibabel = module("nibabel")
    if isinstance(image, nibabel.Nifti1Pair) or not isinstance(image, nibabel.AnalyzeImage):
        return False
    mat = image.file_map.get("mat")
    return mat is None or not Path(mat.filename or "").is_file()


def holds(path: str, record: Record, dtype: np.dtype[Any]) -> frozenset[str]:
    """What NIfTI has a place for."""
    kept = {"axes", "scale", "time", "labels", "value scale"}
    kept |= {"unit"} if factor(record.unit, "millimeter") is not None else set()
    kept |= {"orientation"} if as_space(record.affine, "RAS") is not None else set()
    return frozenset(kept | ({"rgb"} if dtype == np.uint8 else set()))


def write(path: Path, array: NDArray[Any], record: Record) -> None:
    """Write one file; the header is that of the source where this was NIfTI, with all of its fields and extensions."""
    nibabel = module("nibabel")
    if record.colours and array.dtype == np.uint8:
        names = "RGBA"[: array.shape[-1]]
        array = np.ascontiguousarray(array).view([(name, "u1") for name in names])[..., 0]
        record = replace(record, axes=record.axes[:-1], channels=())
    array, record = _arranged(array, record)
    header = _restored(record.header)
    large = max(array.shape) > _LARGEST_SIDE
    klass = nibabel.Nifti2Image if large or ("2" in record.header.get("class", "") and header) else nibabel.Nifti1Image
    if header is None or len(header.get_data_shape()) != array.ndim or large:
        header = _made(klass.header_class(), array, record)
    else:
        header = klass.header_class.from_header(header, check=False)
        header.set_data_dtype(array.dtype.newbyteorder(header.endianness))
        if header.get_data_shape() != array.shape[::-1]:
            header.set_data_shape(array.shape[::-1])
    scale = record.value_scale or (1.0, 0.0)
    if tuple(1.0 - k if value is None else value for k, value in enumerate(header.get_slope_inter())) != scale:
        header.set_slope_inter(*scale)
    image = klass(array.T, None, header)
    for name in ("pixdim", "scl_slope", "scl_inter"):  # nibabel has changed or put aside what these were
        image.header[name] = np.where(np.isnan(header[name]), 0.0, header[name])
    nibabel.save(image, path)


def _restored(kept: dict[str, Any]) -> Any:
    """The header of the file that a volume was read from; None where that was none of NIfTI."""
    nibabel = module("nibabel")
    if kept.get("format") != "nifti" or kept.get("class") not in _NIFTI:
        return None
    try:
        data = BytesIO(base64.b64decode(kept["bytes"]))
        return getattr(nibabel, kept["class"]).header_class.from_fileobj(data, check=False)
    except Exception:  # a damaged attribute: the header is made anew
        return None


def _made(header: Any, array: NDArray[Any], record: Record) -> Any:
    """A new header that says what the record does."""
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    units, scales = ["unknown", "unknown"], []
    per_unit = factor(record.unit, "millimeter")
    if per_unit is not None:
        name = _UNITS.get(str(record.unit), "mm")
        per_unit = factor(record.unit, {"micron": "micrometer", "mm": "millimeter"}.get(name, name)) or 1.0
        units[0] = name
    for axis in record.axes or [Axis("")] * array.ndim:
        step = 1.0 if axis.scale is None else axis.scale
        if axis.kind == "time":
            name = str(axis.unit) if axis.unit in _TIMES else "second"
            known = factor(axis.unit, name)
            units[1] = "unknown" if known is None else _TIMES[name]
            step, header["toffset"] = step * (known or 1.0), (axis.origin or 0.0) * (known or 1.0)
        scales.append(step * (per_unit or 1.0) if axis.kind == "space" else step)
    header.set_zooms(scales[::-1])
    header.set_xyzt_units(*units)
    affine = as_space(record.affine, "RAS")
    if affine is not None:
        matrix = np.array(affine.matrix)
        matrix[:3] *= per_unit or 1.0
        header.set_qform(matrix, "scanner", strip_shears=True)
        header.set_sform(matrix, "scanner")
    if record.labels:
        header.set_intent(LABEL)
    return header


def _arranged(array: NDArray[Any], record: Record) -> tuple[NDArray[Any], Record]:
    """Axes in NIfTI's order, with sides of 1 for those that lie between; as they are where they have other names."""
    names = record.names
    if names is None or not set(names) <= set(ORDER) or not {"y", "x"} <= set(names):
        return array, record
    first = min(ORDER.index(name) for name in names)
    order = [names.index(name) for name in ORDER if name in names]
    array, axes = array.transpose(order), [record.axes[k] for k in order]
    for k, name in enumerate(ORDER[first:]):
        if name not in names:
            array = np.expand_dims(array, k)
            axes.insert(k, replace(named(name)[0], scale=1.0))
    return array, replace(record, axes=tuple(axes))


FORMAT = Format("nifti", (".nii", ".nii.gz"), ("nibabel",), read, write, holds)
OTHERS = Format(
    "nibabel",
    (".img", ".hdr", ".img.gz", ".mgh", ".mgz", ".mnc", ".head", ".brik", ".brik.gz", ".par", ".rec", ".gii"),
    ("nibabel",),
    read,
)
