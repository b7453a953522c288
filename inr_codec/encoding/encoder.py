"""From voxels to bytes: what is masked, what is lossless, and layers within the byte budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import DTYPES, Intensity, normalise
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.chunk.voxel_weights import voxel_weights
from inr_codec.config import Config
from inr_codec.content_names import labels_of
from inr_codec.decoding.compose import chunk_values
from inr_codec.efforts import Effort
from inr_codec.encoding.choose_layers import choose_layers
from inr_codec.encoding.psnr_search import search_psnr
from inr_codec.errors import ConfigError, UnsupportedArray
from inr_codec.layers.correction.encode import encode_correction
from inr_codec.layers.lossless import KINDS, pack_lossless
from inr_codec.layers.mask import find_mask, pack_mask
from inr_codec.layers.table import kind_of, weigh
from inr_codec.runtime.threads import one_of_few
from inr_codec.stream.frame import (
    MAX_DIMENSIONS,
    MAX_VOXELS,
    Header,
    Layer,
    LayerType,
    Reached,
    least_bytes,
    pack_stream,
)

if TYPE_CHECKING:
    from inr_codec.layers.network.structure_loss import Regulariser

LOSSLESS_HOPE = 1.5
"""Chunks that deflate's fastest level leaves larger than so many budgets are not tried without loss. The best level is
0.98 to 1.41 times smaller on volumes, but 1.7 to 3.2 times on masks, some of which are missed
(benchmarks/studies/constants, deflate.py)."""
DISAGREEMENT = 1e-5
"""Of unit intensities between engines, at most (FORMAT.md section 2)."""
PADDED = 8
"""Bytes of padding that a stream may have beyond those that it lacks, at most."""
LEAST_SPAN = 1e-290
"""Ranges below this are stored losslessly: 1 / range would overflow."""
TINY = 512
"""Arrays of fewer voxels are stored losslessly, and so are 1-D arrays of fewer than TINY_LINE (coordinates)."""
TINY_LINE = 65536


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk in native byte order and C order, and what its stream says of it.

    header: without what was reached; its intensity is None where only the lossless layer holds the chunk. valid: False
    where masked (None: nowhere). masks: the layer that gives masked voxels back, if there is one.
    """

    values: NDArray[Any]
    header: Header
    valid: NDArray[np.bool_] | None = None
    masks: tuple[Layer, ...] = ()

    @property
    def seen(self) -> NDArray[Any]:
        """The values that are not masked."""
        found: NDArray[Any] = self.values if self.valid is None else self.values[self.valid]
        return found

    @property
    def intensity(self) -> Intensity:
        """The range of the voxels that are not masked."""
        assert self.header.intensity is not None
        return self.header.intensity

    def filled(self) -> NDArray[Any]:
        """The values, masked ones replaced by the mean of the others."""
        if self.valid is None:
            return self.values
        return np.where(self.valid, self.values, self.seen.mean(dtype=np.float64).astype(self.values.dtype))

    def packed(self, layers: Sequence[Layer], reached: Reached | None, stored: Intensity | None = None) -> bytes:
        """The stream of layers and masks; `stored` in the place of the range."""
        header = replace(self.header, intensity=stored or self.header.intensity, reached=reached)
        return pack_stream(header, [*layers, *self.masks], weigh(header, layers))

    def lossless(self) -> bytes:
        """The stream of the lossless layer."""
        wide = self.values.dtype.itemsize > 1
        header = replace(
            self.header, dtype=None, big_endian=self.header.big_endian and wide, intensity=None, reached=None
        )
        return pack_stream(header, [Layer(LayerType.LOSSLESS, pack_lossless(self.values))])

    def lossless_within(self, budget: int) -> bytes | None:
        """A lossless stream if one fits the budget (masks, labels, nearly empty chunks): a quick look first."""
        if len(pack_lossless(self.values, 1)) > LOSSLESS_HOPE * budget:
            return None
        exact = self.lossless()
        return exact if len(exact) <= budget else None

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
) -> bytes:
    """The stream of an array. `weights` is the array that config.weights == "array" stands for.

    labels: 0..K, of the array's shape: what its structural regulariser keeps, in the place of `config.mask`.
    Raises UnsupportedArray for what no layer can hold, ConfigError for weights and labels that are missing or do not
    fit.
    """
    config = config.resolved()
    if config.weights == "array" and weights is None:
        raise ConfigError("expected the array that weights='array' stands for, got none: give INRCodec(weights=array)")
    if labels is not None:
        config = replace(config, mask=labels)
    with one_of_few(np.size(array)), np.errstate(all="ignore"):  # whatever numpy is set to: tiny values underflow
        return _encode(array, config, weights)


def _encode(array: NDArray[Any], config: Config, weights: NDArray[Any] | None) -> bytes:
    chunk = prepare(np.asarray(array))
    if chunk.header.intensity is None:
        return chunk.lossless()
    if chunk.intensity.constant and not (config.lossless and _zeros_of_both_signs(chunk.seen)):
        return chunk.packed([], Reached(math.inf, 0.0))
    bound = 0.0 if config.lossless else config.max_error
    if bound is not None:
        return _encode_bounded(chunk, bound, config.effort)
    return _encode_towards(chunk, config, weights)


def prepare(array: NDArray[Any]) -> Prepared:
    """An array as the encoder takes it; UnsupportedArray for what no layer can hold."""
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
    plain = Prepared(values, Header(values.shape, values.dtype, big_endian, fortran, None, None))
    if not fits_networks(values):
        return plain
    try:
        mask = find_mask(values)
    except OverflowError:
        return plain
    valid = None if mask is None else mask.valid(values.shape)
    masks = () if mask is None else (Layer(LayerType.MASK, pack_mask(mask)),)
    seen = values if valid is None else values[valid]
    intensity = Intensity(float(seen.min()), float(seen.max())) if seen.size else Intensity(0.0, 0.0)
    span = intensity.hi - intensity.lo
    if not math.isfinite(span * 2) or 0 < span < LEAST_SPAN:
        return plain
    return replace(plain, header=replace(plain.header, intensity=intensity), valid=valid, masks=masks)


def _zeros_of_both_signs(seen: NDArray[Any]) -> bool:
    """Whether some values have the sign bit and some do not, which a constant cannot tell apart."""
    negative = np.signbit(seen)
    return bool(negative.any() and not negative.all())


def _encode_bounded(chunk: Prepared, bound: float, effort: Effort) -> bytes:
    """The smallest stream that keeps every voxel within the bound."""
    filled = chunk.filled()
    layers = encode_correction(filled, chunk.valid, chunk.intensity, bound, effort)
    if layers is None:
        return chunk.lossless()
    stream = chunk.packed(layers, replace(chunk, values=filled).reached(layers, chunk.intensity))
    return chunk.lossless_within(len(stream)) or stream


def _encode_towards(chunk: Prepared, config: Config, weights: NDArray[Any] | None) -> bytes:
    """The stream of least error within the ratio or the bits, or the smallest that reaches the PSNR."""
    intensity, seen = chunk.intensity, chunk.seen
    budget = config.budget(chunk.values.nbytes, chunk.values.size)
    if budget is not None and (exact := chunk.lossless_within(budget)) is not None:
        return exact
    importance = voxel_weights(chunk.values, chunk.valid, weights if weights is not None else config.weights)
    structure = None if config.segmentation is None else _structure(chunk.values, chunk.valid, intensity, config)
    filled = replace(chunk, values=chunk.filled())
    frame = len(chunk.packed([], None, _middle(seen)))
    least = least_bytes(chunk.header)
    origin = intensity.lo / (intensity.hi - intensity.lo)
    unit = UnitChunk(normalise(filled.values, intensity), chunk.valid, origin, importance, structure)

    def within(budget: int) -> tuple[bytes, Reached]:
        layers = choose_layers(unit, budget - frame, config) if budget >= least + PADDED else []
        stored = intensity if layers else _middle(seen)
        reached = filled.reached(layers, stored)
        return chunk.packed(layers, reached, stored), on_any_engine(reached, layers)

    if budget is None:
        found = search_psnr(within, unit, config.psnr or 0.0, frame, chunk.values.nbytes)
        return chunk.lossless() if found is None else found
    return within(budget)[0]


def _structure(
    chunk: NDArray[Any], valid: NDArray[np.bool_] | None, intensity: Intensity, config: Config
) -> "Regulariser":
    """What the chunk's networks are regularised with."""
    try:
        from inr_codec.layers.network.structure_loss import Regulariser
    except ImportError as error:
        raise ConfigError(
            f"expected torch for segmentation=, got {str(error)!r}: pip install 'inr_codec[sinco]'"
        ) from None
    assert config.segmentation is not None and config.dice_weight is not None
    labels = None if config.mask is None else labels_of(config.mask)
    return Regulariser(chunk, valid, intensity, config.segmentation, labels, config.dice_weight)


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
    return chunk.dtype.str[1:] in DTYPES and 1 <= chunk.ndim <= 4 and large


def _middle(seen: NDArray[Any]) -> Intensity:
    """One value for all voxels, their mean: the last resort where no layer fits the budget."""
    mean = seen.mean(dtype=np.float64)
    value = float(seen.dtype.type(mean if seen.dtype.kind == "f" else np.rint(mean)))
    return Intensity(value, value)
