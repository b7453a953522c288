"""From voxels to bytes: what is masked, what is lossless, and layers within the byte budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.chunk.missing import missing_voxels
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.chunk.view import exponent, padding_extent, scaled, shown
from inr_codec.chunk.voxel_weights import voxel_weights
from inr_codec.config import Config
from inr_codec.content_names import labels_of
from inr_codec.decoding.compose import chunk_values
from inr_codec.efforts import Effort
from inr_codec.encoding.choose_layers import FRAME, choose_layers
from inr_codec.encoding.exact_layers import exact_layer, mask_layer
from inr_codec.encoding.psnr_search import search_psnr
from inr_codec.errors import ConfigError, UnsupportedArray
from inr_codec.layers.correction.encode import encode_correction
from inr_codec.layers.labels.recognise import KINDS as KINDS_OF_LABELS
from inr_codec.layers.labels.recognise import is_labelled
from inr_codec.layers.lossless import KINDS
from inr_codec.layers.mask import find_mask
from inr_codec.layers.table import kind_of, weigh
from inr_codec.runtime.blas import one_blas_thread
from inr_codec.runtime.threads import one_of_few
from inr_codec.stream.frame import (
    EXACT,
    MAX_DIMENSIONS,
    MAX_VOXELS,
    MOST_WHOLE,
    Header,
    Layer,
    LayerType,
    Missed,
    Reached,
    least_bytes,
    pack_stream,
)

if TYPE_CHECKING:
    from inr_codec.layers.network.structure_loss import Regulariser

DISAGREEMENT = 1e-5
"""Of unit intensities between engines, at most (FORMAT.md section 2)."""
PADDED = 8
"""Bytes of padding that a stream may have beyond those that it lacks, at most."""
FIGURES_BYTES = 4
"""Of the figures of what was reached."""
TINY = 512
"""Arrays of fewer voxels are stored losslessly, and so are 1-D arrays of fewer than TINY_LINE (coordinates)."""
TINY_LINE = 65536


class Encoded(NamedTuple):
    """A stream, and why it takes more bytes than were asked for (None where it does not)."""

    stream: bytes
    missed: Missed | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk in native byte order and C order, and what its stream says of it.

    header: without what was reached; its intensity is None where only the lossless layer holds the chunk. values: what
    layers see of it. valid: False where masked (None: nowhere). masks: the layer that gives masked voxels back, if
    there is one. counted: voxels that are no padding: a ratio is one of their bytes. unfit: why only the lossless layer
    holds it.
    """

    chunk: NDArray[Any]
    header: Header
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    masks: tuple[Layer, ...] = ()
    counted: int = 0
    unfit: Missed = Missed.KIND

    @property
    def seen(self) -> NDArray[Any]:
        """The values that are not masked."""
        found: NDArray[Any] = self.values if self.valid is None else self.values[self.valid]
        return found

    @property
    def intensity(self) -> Intensity:
        """The range of the voxels that are not masked, as layers see it."""
        found = self.header.seen().intensity
        assert found is not None
        return found

    @property
    def exponent(self) -> int:
        """The power of two that layers see the values divided by."""
        return self.header.exponent

    def filled(self) -> NDArray[Any]:
        """The values, masked ones replaced by the mean of the others."""
        if self.valid is None:
            return self.values
        return np.where(self.valid, self.values, self.seen.mean(dtype=np.float64).astype(self.values.dtype))

    def packed(
        self,
        layers: Sequence[Layer],
        reached: Reached | None,
        stored: Intensity | None = None,
        missed: tuple[Missed, ...] = (),
    ) -> bytes:
        """The stream of layers and masks; `stored`, as layers see it, in the place of the range."""
        intensity = self.header.intensity if stored is None else scaled(stored, -self.exponent)
        replaced = None if stored is None or not stored.constant or reached == EXACT else self.header.intensity
        header = replace(self.header, intensity=intensity, reached=reached, missed=missed, replaced=replaced)
        return pack_stream(header, [*layers, *self.masks], weigh(header, layers))

    def exactly(self, layer: Layer, missed: tuple[Missed, ...] = ()) -> bytes:
        """The stream of a layer that stands alone."""
        wide = self.chunk.dtype.itemsize > 1
        header = replace(
            self.header, dtype=None, big_endian=self.header.big_endian and wide, intensity=None, reached=None
        )
        return pack_stream(replace(header, missed=missed), [layer])

    def lossless(self) -> Callable[..., bytes]:
        """What packs the smallest exact stream: `exactly` of a layer that is chosen here."""
        layer = exact_layer(self.chunk)
        assert layer is not None
        return partial(self.exactly, layer)

    def lossless_within(self, budget: int) -> bytes | None:
        """An exact stream if one fits the budget (masks, labels, nearly empty chunks)."""
        frame = len(self.exactly(Layer(LayerType.LOSSLESS, b"")))
        layer = exact_layer(self.chunk, budget - frame) if budget > frame else None
        return None if layer is None else self.exactly(layer)

    def reached(self, layers: Sequence[Layer], stored: Intensity) -> Reached:
        """Decode what was encoded and compare it with the voxels that are not masked; peak is their range."""
        shape = self.values.shape
        decoded = chunk_values(layers, shape, all_indices(shape), stored, self.values.dtype)
        error = decoded.astype(np.float64) - self.values
        if self.valid is not None:
            error = error[self.valid]
        span = self.intensity.hi - self.intensity.lo
        mean_square = float(np.mean(error**2))
        psnr = math.inf if mean_square == 0 else 20 * math.log10(span) - 10 * math.log10(mean_square)
        return Reached(psnr, float(np.abs(error).max()) / span)


def encode(
    array: NDArray[Any],
    config: Config,
    weights: NDArray[Any] | None = None,
    labels: NDArray[Any] | None = None,
    budget: int | None = None,
    fill: Any = None,
) -> Encoded:
    """The stream of an array. `weights` is the array that config.weights == "array" stands for.

    labels: 0..K, of the array's shape: what its structural regulariser keeps, in the place of `config.mask`. budget:
    bytes, in the place of `config`'s target. fill: the fill value of the array that this is a chunk of. Raises
    UnsupportedArray for what no layer can hold, ConfigError for weights and labels that are missing or do not fit.
    """
    config = config.resolved()
    if config.weights == "array" and weights is None:
        raise ConfigError("expected the array that weights='array' stands for, got none: give INRCodec(weights=array)")
    if labels is not None:
        config = replace(config, mask=labels)
    missing = None if config.lossless else config.missing_numbers
    # whatever numpy is set to: tiny values underflow
    with one_of_few(np.size(array)), one_blas_thread(), np.errstate(all="ignore"):
        return _encode(prepare(np.asarray(array), missing, fill), config, weights, budget)


def encode_exactly(array: NDArray[Any], config: Config) -> Encoded:
    """A lossless stream of what may be bytes of another codec, whatever the target."""
    chunk = _plain(array)
    return _told(chunk, chunk.lossless(), Missed.BYTES, _budget(chunk, config))


def _budget(chunk: Prepared, config: Config) -> int | None:
    return config.budget(chunk.counted * chunk.chunk.dtype.itemsize, chunk.counted)


def _encode(chunk: Prepared, config: Config, weights: NDArray[Any] | None, given: int | None) -> Encoded:
    bound = 0.0 if config.lossless else config.max_error
    budget = _budget(chunk, config) if given is None else given
    if chunk.header.intensity is None:
        return _told(chunk, chunk.lossless(), chunk.unfit, budget)
    if chunk.intensity.constant and not (config.lossless and _zeros_of_both_signs(chunk.seen)):
        return _told(chunk, partial(chunk.packed, [], EXACT), Missed.SMALL, budget)
    if bound is not None:
        return Encoded(_encode_bounded(chunk, bound, config.effort))
    if _kept_as_labels(chunk.chunk, config):
        return _told(chunk, chunk.lossless(), Missed.LABELS, budget)
    return _encode_towards(chunk, config, weights, budget)


def _kept_as_labels(chunk: NDArray[Any], config: Config) -> bool:
    """Whether a chunk is stored exactly, whatever the target, as `Config.labels` says."""
    if config.labels == "auto":
        return config.layers != "network" and is_labelled(chunk)
    return config.labels == "always" and chunk.dtype.kind in KINDS_OF_LABELS


def _told(chunk: Prepared, pack: Callable[..., bytes], reason: Missed, budget: int | None) -> Encoded:
    """A stream that nothing makes smaller: with a note of the reason where it takes more than the budget.

    The reason is the mask where a constant would have room without it. Of an array without voxels nothing is asked.
    """
    stream = pack()
    if budget is None or chunk.counted == 0 or len(stream) <= budget:
        return Encoded(stream)
    if (
        reason is Missed.SMALL
        and chunk.masks
        and len(stream) - sum(len(layer.payload) for layer in chunk.masks) <= budget
    ):
        reason = Missed.MASK
    return Encoded(pack(missed=(reason,)), reason)


def prepare(array: NDArray[Any], missing: Sequence[float] | None = (), fill: Any = None) -> Prepared:
    """An array as the encoder takes it; UnsupportedArray for what no layer can hold.

    missing: numbers that stand for what is; None where that is not looked for. fill: see `encode`.
    """
    plain = _plain(array)
    return _prepared(plain, missing, fill) if fits_networks(plain.chunk) else plain


def _plain(array: NDArray[Any]) -> Prepared:
    """An array for the lossless layer; UnsupportedArray for what it cannot hold."""
    if array.dtype.kind not in KINDS or array.dtype.hasobject:
        raise UnsupportedArray(
            f"expected numbers, booleans, times or fixed-length strings, got dtype {array.dtype!r}: convert the "
            "array first"
        )
    if array.size > MAX_VOXELS or array.ndim > MAX_DIMENSIONS:
        raise UnsupportedArray(
            f"expected at most {MAX_VOXELS} voxels in {MAX_DIMENSIONS} dimensions, got shape {array.shape}: use "
            "smaller chunks"
        )
    fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    big_endian = array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and not np.little_endian)
    values = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    header = Header(values.shape, values.dtype, big_endian, fortran, None, None)
    unfit = Missed.FEW if shown(values.dtype) else Missed.KIND
    return Prepared(values, header, values, counted=values.size, unfit=unfit)


def _prepared(plain: Prepared, numbers: Sequence[float] | None, fill: Any) -> Prepared:
    """A chunk of a kind that layers hold, with what is masked; `plain` itself where its values are beyond them."""
    header, view = plain.header, plain.header.view
    values = np.ascontiguousarray(view.of(plain.chunk))
    inside = padding_extent(plain.chunk)
    if values.size - math.prod(inside) <= 1:
        inside = plain.chunk.shape
    missing = None
    if numbers is not None and 0 not in inside:
        number = float(fill) if isinstance(fill, (int, float, np.integer, np.floating)) else None
        inner = None if inside == plain.chunk.shape else view.inside(inside)
        missing = missing_voxels(values, numbers, number, inner)
    if view.merged > 1 and inside != plain.chunk.shape and 0 not in inside:
        padding = ~view.inside(inside)
        missing = padding if missing is None else missing | padding
    try:
        mask = find_mask(values, missing)
    except OverflowError:
        return replace(plain, unfit=Missed.KIND)
    valid = None if mask is None else mask.valid(values.shape)
    masks = () if mask is None else (mask_layer(mask, values.shape),)
    seen = values if valid is None else values[valid]
    intensity = Intensity(float(seen.min()), float(seen.max())) if seen.size else Intensity(0.0, 0.0)
    if values.dtype.str[1:] in ("i8", "u8") and max(-intensity.lo, intensity.hi) > MOST_WHOLE:
        return replace(plain, unfit=Missed.KIND)
    power = exponent(intensity, values.dtype)
    if power:
        values = np.ldexp(values, -power)
    counted = math.prod(inside) or values.size // view.parts
    return Prepared(plain.chunk, replace(header, intensity=intensity), values, valid, masks, counted)


def _zeros_of_both_signs(seen: NDArray[Any]) -> bool:
    """Whether some values have the sign bit and some do not, which a constant cannot tell apart."""
    negative = np.signbit(seen)
    return bool(negative.any() and not negative.all())


def _encode_bounded(chunk: Prepared, bound: float, effort: Effort) -> bytes:
    """The smallest stream that keeps every voxel within the bound."""
    filled = chunk.filled()
    layers = None
    if bound or not chunk.exponent:  # scaled values may lose bits
        seen_bound = math.ldexp(bound, -chunk.exponent)
        layers = encode_correction(filled, chunk.valid, chunk.intensity, seen_bound, effort)
    if layers is None:
        return chunk.lossless()()
    stream = chunk.packed(layers, replace(chunk, values=filled).reached(layers, chunk.intensity))
    return chunk.lossless_within(len(stream)) or stream


def _encode_towards(chunk: Prepared, config: Config, weights: NDArray[Any] | None, budget: int | None) -> Encoded:
    """The stream of least error within the ratio or the bits, or the smallest that reaches the PSNR."""
    intensity, seen, view = chunk.intensity, chunk.seen, chunk.header.view
    if budget is not None and (exact := chunk.lossless_within(budget)) is not None:
        return Encoded(exact)
    importance = voxel_weights(chunk.chunk, weights if weights is not None else config.weights, view, chunk.valid)
    structure = None if config.segmentation is None else _structure(chunk, config)
    filled = replace(chunk, values=chunk.filled())
    frame = len(chunk.packed([], None, _middle(seen))) + chunk.values.dtype.itemsize + FIGURES_BYTES
    least, saved = least_bytes(chunk.header), 0 if chunk.masks else FRAME - 1  # the last layer has no length
    origin = intensity.lo / (intensity.hi - intensity.lo)
    unit = UnitChunk(normalise(filled.values, intensity), chunk.valid, origin, importance, structure)

    def within(budget: int) -> tuple[bytes, Reached]:
        layers = choose_layers(unit, budget - frame + saved, config) if budget >= least + PADDED else []
        stored = intensity if layers else _middle(seen)
        reached = filled.reached(layers, stored)
        return chunk.packed(layers, reached, stored), on_any_engine(reached, layers)

    if budget is None:
        found = search_psnr(within, unit, config.psnr or 0.0, frame, chunk.values.nbytes)
        return Encoded(chunk.lossless()() if found is None else found)
    stream = within(budget)[0]
    if len(stream) <= budget:
        return Encoded(stream)
    middle = _middle(seen)
    reached = filled.reached([], middle)
    short = chunk.packed([], None, middle)  # without its figures
    if len(chunk.packed([], reached, middle)) > budget >= len(short):
        return Encoded(short)
    return _told(chunk, partial(chunk.packed, [], reached, middle), Missed.SMALL, budget)


def _structure(chunk: Prepared, config: Config) -> "Regulariser":
    """What the chunk's networks are regularised with."""
    try:
        from inr_codec.layers.network.structure_loss import Regulariser
    except ImportError as error:
        raise ConfigError(
            f"expected torch for segmentation=, got {str(error)!r}: pip install 'inr_codec[sinco]'"
        ) from None
    assert config.segmentation is not None and config.dice_weight is not None
    labels = None if config.mask is None else labels_of(config.mask)
    shape = chunk.chunk.shape
    if labels is not None and labels.shape != shape:
        raise ConfigError(
            f"expected a mask of the chunk's shape {shape}, got {labels.shape}: cut the mask as the data is"
        )
    seen = None if labels is None else np.ascontiguousarray(chunk.header.view.of_each(labels))
    given = (config.segmentation, seen, config.dice_weight, len(shape))
    return Regulariser(chunk.values, chunk.valid, chunk.intensity, *given)


def on_any_engine(reached: Reached, layers: list[Layer]) -> Reached:
    """What holds whoever decodes: where layers are evaluated in floats, less the engines' disagreement.

    Errors that grow by at most DISAGREEMENT each have a root mean square that grows by at most as much.
    """
    if math.isinf(reached.psnr) or all(kind_of(layer).exact for layer in layers):
        return reached
    rms = 10 ** (-reached.psnr / 20) + DISAGREEMENT
    return Reached(-20 * math.log10(rms), reached.max_error + DISAGREEMENT)


def fits_networks(chunk: NDArray[Any]) -> bool:
    """Whether a chunk is of a kind that networks hold, and large enough to be worth it."""
    large = chunk.size >= (TINY_LINE if chunk.ndim == 1 else TINY)
    return shown(chunk.dtype) and large


def _middle(seen: NDArray[Any]) -> Intensity:
    """One value for all voxels, their mean: the last resort where no layer fits the budget."""
    mean = seen.mean(dtype=np.float64)
    value = float(seen.dtype.type(mean if seen.dtype.kind == "f" else np.rint(mean)))
    return Intensity(value, value)
