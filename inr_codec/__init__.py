"""inr_codec: neural compression of scientific volumes, for numcodecs, zarr, dask and xarray.

    INRCodec(ratio=100)         a numcodecs codec: `compressor=` of zarr format 2
    INRSerializer(ratio=100)    the same for zarr format 3: `serializer=`, with `compressors=None`
    decode(data)                the array in a stream, a part of it, or the whole on a coarser grid
    inspect(data)               what a stream holds, without evaluating it
    describe(array)             write into a zarr array how it was compressed and what was reached
    learn_prior(chunks, config) network starts learnt from chunks of one data set
    clear_caches()              forget what this process remembers of chunks it has read
    metrics                     PSNR, SSIM, bits per voxel and the like

Names are loaded when first used: importing the package costs next to nothing, reading never loads what encoding needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inr_codec.errors import (
    ConfigError,
    CorruptChunk,
    GenerationLoss,
    InrCodecError,
    LimitExceeded,
    MetadataLoss,
    TargetMissed,
    UnsupportedArray,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from inr_codec import metrics
    from inr_codec.codec import INRCodec
    from inr_codec.decoding.decoder import decode
    from inr_codec.decoding.inspection import Inspection, inspect
    from inr_codec.encoding.learn_prior import learn_prior
    from inr_codec.runtime.caches import clear_caches
    from inr_codec.serializer import INRSerializer
    from inr_codec.stores.description import describe

    __version__: str

__all__ = [
    "ConfigError",
    "CorruptChunk",
    "GenerationLoss",
    "INRCodec",
    "INRSerializer",
    "InrCodecError",
    "Inspection",
    "LimitExceeded",
    "MetadataLoss",
    "TargetMissed",
    "UnsupportedArray",
    "UnsupportedFormat",
    "__version__",
    "clear_caches",
    "decode",
    "describe",
    "inspect",
    "learn_prior",
    "metrics",
]

_HOMES = {
    "INRCodec": "codec",
    "INRSerializer": "serializer",
    "Inspection": "decoding.inspection",
    "decode": "decoding.decoder",
    "clear_caches": "runtime.caches",
    "describe": "stores.description",
    "inspect": "decoding.inspection",
    "learn_prior": "encoding.learn_prior",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"inr_codec.{_HOMES[name]}"), name)
    elif name == "metrics":
        value = import_module("inr_codec.metrics")
    elif name == "__version__":
        value = import_module("importlib.metadata").version("inr_codec")
    else:
        raise AttributeError(f"module 'inr_codec' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
