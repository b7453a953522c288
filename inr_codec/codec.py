"""The codec as numcodecs and zarr format 2 see it: options in, bytes out, and back."""

import warnings
from typing import Any, Literal, Never, Self

import numpy as np
from numcodecs.abc import Codec  # type: ignore[import-untyped]
from numcodecs.compat import ensure_bytes, ensure_ndarray_like, ndarray_copy  # type: ignore[import-untyped]
from numpy.typing import NDArray

from inr_codec.config import CODEC_ID, Config, Weights, make_config
from inr_codec.efforts import Effort
from inr_codec.errors import ConfigError, TargetMissed, UnsupportedArray
from inr_codec.layers.network.prior import read_prior
from inr_codec.options import explain


class Recipe:
    """The options that INRCodec and INRSerializer share, checked and kept as a Config."""

    config: Config
    weights: NDArray[Any] | None
    _told: set[int]

    def __init__(
        self,
        *,
        ratio: float | None = None,
        bpv: float | None = None,
        psnr: float | None = None,
        max_error: float | None = None,
        lossless: bool | None = None,
        missing: float | tuple[float, ...] | None = None,
        labels: Literal["auto", "never", "always"] = "auto",
        effort: Effort = "default",
        seed: int = 0,
        preset: Literal["paper"] | None = None,
        layers: Literal["auto", "network"] | None = None,
        architecture: Literal["funnel", "siren", "nerf"] | None = None,
        partition: Literal["spectrum", "measured", "equal", "none"] | None = None,
        max_blocks: int | None = None,
        top_m: int | None = None,
        concentration: Literal["magnitude", "centred"] | None = None,
        levels: int | None = None,
        allocation: Literal["measured", "spectrum", "size", "concentration", "equal"] | None = None,
        depth: int | None = None,
        funnel_ratio: float | None = None,
        w0: float | None = None,
        optimiser: Literal["adam", "adamax"] | None = None,
        learning_rate: float | None = None,
        batch: int | None = None,
        steps: int | None = None,
        bits: float | None = None,
        deblock: bool | None = None,
        weights: Weights | None = None,
        prior: str | None = None,
        segmentation: Any = None,
        dice_weight: float | None = None,
        mask: Any = None,
        **unknown: Never,
    ) -> None:
        """Exactly one target is given; every other option has a default, and None leaves it to the encoder.

        {options}

        Raises ConfigError, which names the option, what was expected and what was got.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "unknown")} | unknown
        options["weights"] = "array" if isinstance(weights, np.ndarray) else weights
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
        self._keep(make_config(plain, type(self).__name__), weights if isinstance(weights, np.ndarray) else None)

    @classmethod
    def _of_stored(cls, options: dict[str, Any]) -> Self:
        """The codec of a stored recipe, which another release may have taken though this one would refuse it."""
        codec = cls.__new__(cls)
        codec._keep(make_config(options, stored=True), None)
        return codec

    def _keep(self, config: Config, weights: NDArray[Any] | None) -> None:
        """Set what a codec consists of; a serializer is a frozen dataclass."""
        self.__setstate__({"config": config, "weights": weights, "_told": set()})

    def _stream(self, array: NDArray[Any], exactly: bool = False, fill: Any = None) -> bytes:
        """The stream of an array; TargetMissed is warned of once for each reason. fill: the array's own fill value."""
        from inr_codec.encoding.encoder import encode, encode_exactly

        encoded = encode_exactly(array, self.config) if exactly else encode(array, self.config, self.weights, fill=fill)
        if encoded.missed is not None and encoded.missed not in self._told:
            self._told.add(encoded.missed)
            target = f"ratio={self.config.ratio:g}" if self.config.ratio else f"bpv={self.config.bpv:g}"
            got = f"{len(encoded.stream)} for {array.nbytes} of {array.dtype} {array.shape}"
            text = f"expected no more bytes than {target} allows, got {got}: {encoded.missed.text}"
            warnings.warn(text, TargetMissed, stacklevel=3)
        return encoded.stream

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickled, as made: the prior of a codec is known to all decoding in the process."""
        self.__dict__.update(state)
        if self.config.prior is not None:
            read_prior(self.config.prior)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.config.to_dict().items())
        return f"{type(self).__name__}({options})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return False
        return self.config == other.config and np.array_equal(self.weights, other.weights)  # type: ignore[arg-type]

    def __hash__(self) -> int:
        return hash((type(self), self.config))


explain(Recipe.__init__, Config)


class INRCodec(Recipe, Codec):  # type: ignore[misc]
    """A numcodecs codec that stores a chunk as small neural networks: `INRCodec(ratio=100)`.

    Use it as `compressor=` of zarr format 2, or on its own: `codec.decode(codec.encode(array))`. Numbers,
    complex ones and booleans too, of up to 32 axes are coded towards the target. Non-finite values, padding and
    constant chunks come back exact, and so does everything else: times, fixed-length strings, arrays of fewer than 512
    voxels, lines of fewer than 65,536, integers of 64 bits beyond 2^53, and here, where filters may come before, bytes
    and integers along one axis. Warns of TargetMissed, once for each reason, where a stream takes more
    bytes than `ratio=` or `bpv=` allow. Options: see `__init__`.
    """

    codec_id = CODEC_ID

    def encode(self, buf: Any) -> bytes:
        """The stream of an array (or of any buffer), which is read and never written to.

        Raises UnsupportedArray for what no layer can hold (object and structured dtypes, more than 2^31 - 1 voxels).
        """
        array = as_array(buf)
        line = array.ndim == 1 and array.dtype.kind in "iu"  # filters flatten what they pack into integers
        return self._stream(array, exactly=line or _raw(buf))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The array in a stream: its own shape, dtype, byte order and memory order; copied into `out` if that is given.

        `out` is an array of the same shape and dtype, or a contiguous buffer of as many bytes. Raises CorruptChunk or
        UnsupportedFormat for bytes that cannot be read, ConfigError for an `out` that does not fit.
        """
        from inr_codec.decoding.decoder import decode

        values = decode(ensure_bytes(buf))
        return values if out is None else _copy(values, out)

    def get_config(self) -> dict[str, Any]:
        """The options that were given, and the codec's id: plain JSON."""
        return {"id": self.codec_id, **self.config.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A codec from `get_config()`; ConfigError for an option that this release does not know.

        Options that do nothing are refused when a codec is made, and taken here: arrays that were written with them
        stay readable.
        """
        return cls._of_stored({name: value for name, value in config.items() if name != "id"})


def as_array(buf: Any) -> NDArray[Any]:
    """A view on anything that numcodecs takes: an array or a buffer. UnsupportedArray for everything else."""
    try:
        return np.asarray(ensure_ndarray_like(buf))
    except (TypeError, ValueError, BufferError) as error:
        raise UnsupportedArray(f"expected an array or a buffer, got {buf!r:.80} ({error}): make it an array") from None


def _raw(buf: Any) -> bool:
    """Whether a buffer holds bytes that mean something else (what another codec made, or text), not voxels."""
    if isinstance(buf, memoryview):
        return buf.ndim == 1 and buf.format in ("B", "b", "c")
    return isinstance(buf, (bytes, bytearray))


def _copy(values: NDArray[Any], out: Any) -> Any:
    """Copy into an array of one shape by value, into a flat buffer in memory order."""
    target = np.asarray(ensure_ndarray_like(out))
    same_dtype = target.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    same_shape = target.shape == values.shape
    flat = target.ndim == 1 and target.flags.contiguous and (target.dtype == values.dtype or target.dtype.itemsize == 1)
    fits = target.nbytes == values.nbytes and ((same_dtype and same_shape) or flat)
    if not (fits and target.flags.writeable):
        got = f"{target.dtype} {target.shape}{'' if target.flags.writeable else ', read-only'}"
        wanted = f"{values.dtype} {values.shape}"
        raise ConfigError(f"expected a writable out= of {wanted}, got {got}: make it fit or leave it out")
    if same_shape:
        np.copyto(target, values)
    else:
        ndarray_copy(values, target)
    return out
