"""inr_codec: neural compression of scientific volumes, for numcodecs, zarr, dask and xarray.

    INRCodec(ratio=100)         a numcodecs codec: `compressor=` of zarr format 2
    INRSerializer(ratio=100)    the same for zarr format 3: `serializer=`, with `compressors=None`
    decode(data)                the array in a stream, a part of it, or the whole on a coarser grid
    inspect(data)               what a stream holds, without evaluating it
    chunk_shape(shape, axes)    the sides of chunks that suit an array
    describe(array)             write into a zarr array how it was compressed and what was reached
    learn_prior(chunks, config) network starts learnt from chunks of one data set
    try_ratios(array)           what several ratios would do to an array, and which is recommended
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
    from inr_codec.stores.chunk_shape import ChunkShape, chunk_shape
    from inr_codec.stores.description import describe
    from inr_codec.trials.trial import Trials, try_ratios

    __version__: str

__all__ = [
    "ChunkShape",
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
    "Trials",
    "UnsupportedArray",
    "UnsupportedFormat",
    "__version__",
    "chunk_shape",
    "clear_caches",
    "decode",
    "describe",
    "inspect",
    "learn_prior",
    "metrics",
    "try_ratios",
]

_HOMES = {
    "ChunkShape": "stores.chunk_shape",
    "INRCodec": "codec",
    "INRSerializer": "serializer",
    "Inspection": "decoding.inspection",
    "Trials": "trials.trial",
    "decode": "decoding.decoder",
    "chunk_shape": "stores.chunk_shape",
    "clear_caches": "runtime.caches",
    "describe": "stores.description",
    "inspect": "decoding.inspection",
    "learn_prior": "encoding.learn_prior",
    "try_ratios": "trials.trial",
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
