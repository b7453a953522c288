"""The codec as zarr format 3 sees it: from arrays to bytes, with partial decoding, inside shards too."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin

from inr_codec.codec import Recipe
from inr_codec.config import CODEC_ID, Config
from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedArray, UnsupportedFormat

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, BufferPrototype, NDBuffer


@dataclass(frozen=True, init=False, repr=False, eq=False)
class INRSerializer(Recipe, ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """INRCodec for zarr format 3.

        zarr.create_array(store, data=volume, chunks=..., serializer=INRSerializer(ratio=100), compressors=None)

    With `compressors=None` (and without filters) a read decodes only the voxels that it asks for; zarr's default
    compressor after this codec still works, but gains nothing and every read then decodes whole chunks. Give `shards=`
    for shards: the codec then works on the chunks in them. Options: see `__init__`.
    """

    config: Config
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """A codec from array metadata; ConfigError for an option that this release does not know.

        Options that do nothing are refused when a codec is made, and taken here: arrays that were written with them
        stay readable.
        """
        name, options = data.get("name"), data.get("configuration", {})
        if name != CODEC_ID or not isinstance(options, dict):
            raise ConfigError(f"expected the name {CODEC_ID!r} and a configuration, got {data!r}: repair the metadata")
        return cls._of_stored(options)

    def to_dict(self) -> dict[str, Any]:
        """The metadata of this codec: its name and the options that were given."""
        return {"name": CODEC_ID, "configuration": self.config.to_dict()}

    def evolve_from_array_spec(self, array_spec: "ArraySpec") -> Self:
        """Itself; UnsupportedArray for a dtype that cannot be stored (called for the codecs of shards too)."""
        check_dtype(array_spec.dtype)
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raises UnsupportedArray, when the array is created, for a dtype that no chunk could be stored with."""
        check_dtype(dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: "ArraySpec") -> int:
        """Not known before encoding."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: "NDBuffer", chunk_spec: "ArraySpec") -> "Buffer":
        return chunk_spec.prototype.buffer.from_bytes(
            self._stream(chunk_array.as_numpy_array(), fill=chunk_spec.fill_value)
        )

    def _decode_sync(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "NDBuffer":
        return self._part(chunk_bytes, None, chunk_spec)

    def _decode_partial_sync(self, byte_getter: Any, selection: Any, chunk_spec: "ArraySpec") -> "NDBuffer | None":
        """For pipelines without an event loop (zarr 3.2 and newer), whose stores read synchronously."""
        data = byte_getter.get_sync(prototype=chunk_spec.prototype)
        return None if data is None else self._part_of(byte_getter, data, selection, chunk_spec)

    def _part_of(self, source: Any, data: "Buffer", selection: Any, chunk_spec: "ArraySpec") -> "NDBuffer":
        """`_part`, whose errors also name the chunk."""
        try:
            return self._part(data, selection, chunk_spec)
        except (CorruptChunk, UnsupportedFormat) as error:
            inner = getattr(source, "chunk_coords", None)
            key = getattr(source, "path", None) if inner is None else f"{inner} of its shard"
            if key is None:
                raise
            raise type(error)(f"{error} (chunk {key})") from error

    def _part(self, data: "Buffer", selection: Any, chunk_spec: "ArraySpec") -> "NDBuffer":
        if on_gpu(chunk_spec.prototype):
            values = decode_part_on_gpu(data.to_bytes(), selection, chunk_spec)
            if values is not None:
                return chunk_spec.prototype.nd_buffer.from_ndarray_like(values)
        values = decode_part(data.to_bytes(), selection, chunk_spec.shape, chunk_spec.dtype.to_native_dtype())
        return chunk_spec.prototype.nd_buffer.from_numpy_array(values)

    async def _encode_single(self, chunk_array: "NDBuffer", chunk_spec: "ArraySpec") -> "Buffer":
        return await asyncio.to_thread(self._encode_sync, chunk_array, chunk_spec)

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "NDBuffer":
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: "ByteGetter", selection: Any, chunk_spec: "ArraySpec"
    ) -> "NDBuffer | None":
        data = await byte_getter.get(prototype=chunk_spec.prototype)
        return (
            None if data is None else await asyncio.to_thread(self._part_of, byte_getter, data, selection, chunk_spec)
        )


def check_dtype(dtype: Any) -> None:
    """UnsupportedArray for a zarr data type whose arrays no layer can hold."""
    from inr_codec.layers.lossless import KINDS

    native = dtype.to_native_dtype()
    if native.kind not in KINDS or native.hasobject:
        raise UnsupportedArray(
            f"expected numbers, booleans, times or fixed-length strings, got {dtype!r}: "
            "leave serializer= out for this array"
        )


def on_gpu(prototype: "BufferPrototype") -> bool:
    """Whether zarr asks for arrays on the GPU (`zarr.config.enable_gpu()`)."""
    from zarr.buffer import gpu

    return issubclass(prototype.nd_buffer, gpu.NDBuffer)


def decode_part_on_gpu(data: bytes, selection: Any, chunk_spec: "ArraySpec") -> Any:
    """`decode_part` as a cupy array, no copy through the host; None where the CPU must decode (and zarr copies).

    That is the case without torch, and for streams of more than networks. Not run on a GPU yet.
    """
    try:
        from inr_codec.decoding.gpu import decode_cupy
    except ImportError:
        return None
    return decode_cupy(data, selection, chunk_spec.shape, chunk_spec.dtype.to_native_dtype())


def decode_part(data: bytes, selection: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`chunk[selection]` of an encoded chunk, in the array's dtype; CorruptChunk for a chunk of another array."""
    from inr_codec.decoding.decoder import decode
    from inr_codec.layers.table import open_stream

    stored = open_stream(data)[0].shape
    if stored != shape:
        raise CorruptChunk(f"expected a chunk of shape {shape}, got {stored}: the chunk belongs to another array")
    values = decode(data, selection=selection)
    if values.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise CorruptChunk(f"expected a chunk of {dtype}, got {values.dtype}: the chunk belongs to another array")
    return values.astype(dtype, copy=False)
