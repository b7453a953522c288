"""What a source has lost before it is encoded: a second lossy compression adds to that, and its record says so.

Looked at are the codecs and the record of zarr arrays, the compression of TIFF pages, the transfer syntax of DICOM
files and the filters of HDF5 data sets. What was decoded into a format that tells nothing of it (npy, say) is not seen.
"""

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from glob import glob
from itertools import islice
from typing import Any

from inr_codec.config import CODEC_ID
from inr_codec.errors import GenerationLoss
from inr_codec.stores.attributes import PREFIX, without_record

GENERATIONS, SOURCE = PREFIX + "generations", PREFIX + "source"
LOSSY = (
    "jpeg", "jpeg2k", "jpegxl", "jpegxr", "jpegxs", "heif", "avif", "webp", "mozjpeg", "ultrahdr", "h264", "h265",
    "x264", "x265", "hevc", "av1", "vp9", "ffmpeg", "b3d", "zfp", "zfpy", "sz", "sz3", "sperr", "mgard", "lerc",
    "tthresh", "quantize", "bitround", "fixedscaleoffset", "linear_quantize", "wavpack", "ebcc",
)  # fmt: skip
"""Codecs that lose something, or may; after any prefix (`numcodecs.`, `imagecodecs_`)."""
TIFF = {
    6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 33007: "JPEG", 34712: "JPEG 2000",
    34887: "LERC", 34892: "JPEG", 34934: "JPEG XR", 22610: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
    60001: "AVIF",
}  # fmt: skip
"""Values of the TIFF tag Compression that lose something, or may."""
DICOM = {
    "1.2.840.10008.1.2.4.50": "JPEG", "1.2.840.10008.1.2.4.51": "JPEG", "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.91": "JPEG 2000", "1.2.840.10008.1.2.4.93": "JPEG 2000", "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.203": "JPEG 2000",
    **{f"1.2.840.10008.1.2.4.{n}": "MPEG" for n in (100, 101, 102, 103, 104, 105, 106, 107, 108)},
}  # fmt: skip
"""Transfer syntaxes that lose something, or may."""
HDF5 = {32013: "ZFP", 32016: "B3D", 32017: "SZ", 32024: "SZ3", 32028: "SPERR", 32030: "FFMPEG", 32033: "FFMPEG"}
"""Registered filters of HDF5 that lose something, or may."""
EITHER = ("JPEG 2000", "JPEG XL", "JPEG XR", "JPEG-LS", "WebP", "LERC", "AVIF", "FFMPEG", "ZFP", "SZ3")
"""Of these there is a lossless kind too, which the tables above do not tell apart."""
SOME = 8
"""Files of a folder that are looked at."""


def of_source(path: str, array: Any, attributes: dict[str, Any], *, lossless: bool = False) -> dict[str, Any]:
    """The attributes that the encoded copy of a source begins with: its own, and what it had lost before.

    The record of an earlier compression goes: it is not that of the copy. In its place stand the number of lossy
    compressions, this one included, and what the one before was. Warns of GenerationLoss unless the copy is lossless.
    """
    kept = without_record(attributes)
    before = dict(getattr(array, "attrs", None) or attributes)
    loss = next(_losses(path, array, before), None)
    if loss is None:
        return kept
    if not lossless:
        warnings.warn(
            f"{path!r} is lossy already ({loss}): encoding it adds generation loss; encode the original if it is there",
            GenerationLoss,
            stacklevel=3,
        )
    count = int(before.get(GENERATIONS, 1)) + (not lossless)
    return kept | {GENERATIONS: count, SOURCE: loss}


def _losses(path: str, array: Any, attributes: dict[str, Any]) -> Iterator[str]:
    """What is known to have been lost, in words."""
    exact = attributes.get(PREFIX + "max_error") == 0
    if attributes.get(SOURCE):
        yield str(attributes[SOURCE])
    elif attributes.get(PREFIX + "algorithm") and not exact:
        yield f"{attributes.get(PREFIX + 'implementation', CODEC_ID)}, {attributes.get(PREFIX + 'recipe', 'no recipe')}"
    if (metadata := getattr(array, "metadata", None)) is not None and not exact:
        yield from _codecs(metadata)
    if os.path.exists(path):
        yield from _tiff(path)
        yield from _dicom([path] if os.path.isfile(path) else sorted(islice(glob(f"{path}/*"), SOME)))
    yield from _hdf5(array)


def _codecs(metadata: Any) -> Iterator[str]:
    """The lossy ones among the codecs of a zarr array, in shards too."""
    for codec in _flat(metadata.to_dict()):
        name = str(codec.get("name", codec.get("id"))).lower()
        options = codec.get("configuration", codec)
        if name == CODEC_ID:
            if not options.get("lossless"):
                told = {key: value for key, value in options.items() if key not in ("id", "prior")}
                yield f"{CODEC_ID}, {json.dumps(told, sort_keys=True, default=str)}"
        elif name.removeprefix("numcodecs.").removeprefix("imagecodecs_") in LOSSY:
            if not (options.get("lossless") or options.get("reversible")):
                yield f"the codec {name!r}"


def _flat(node: Any) -> Iterator[dict[str, Any]]:
    """Every codec in metadata of either format, however deep."""
    if isinstance(node, dict):
        if isinstance(node.get("name", node.get("id")), str):
            yield node
        for key in ("codecs", "filters", "compressor", "configuration"):
            yield from _flat(node.get(key))
    elif isinstance(node, (list, tuple)):
        for one in node:
            yield from _flat(one.to_dict() if hasattr(one, "to_dict") else one)


def _tiff(path: str) -> Iterator[str]:
    if path.lower().endswith((".tif", ".tiff", ".svs", ".ndpi")) and os.path.isfile(path):
        import tifffile

        with tifffile.TiffFile(path) as file:
            yield from (_named(TIFF[n], "TIFF") for n in (int(file.pages[0].compression),) if n in TIFF)


def _dicom(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            if file.read(132)[128:] != b"DICM":
                continue
        from pydicom import dcmread

        header = dcmread(path, stop_before_pixels=True)
        syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
        if syntax in DICOM:
            yield _named(DICOM[syntax], "DICOM")
        elif str(header.get("LossyImageCompression", "00")) == "01":
            yield "DICOM's Lossy Image Compression is 01"


def _hdf5(array: Any) -> Iterator[str]:
    """Of a data set of h5py, told by what it can be asked."""
    if not hasattr(array, "id") or not hasattr(array.id, "get_create_plist"):
        return
    settings = array.id.get_create_plist()
    filters = [settings.get_filter(k)[0] for k in range(settings.get_nfilters())]
    yield from (_named(HDF5[n], "HDF5") for n in filters if n in HDF5)
    if 6 in filters and array.dtype.kind == "f":
        yield "the filter scale-offset in HDF5"


def _named(codec: str, file: str) -> str:
    return f"{codec} in {file}{', unless that was told to lose nothing' if codec in EITHER else ''}"
