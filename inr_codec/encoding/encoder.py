"""From voxels to bytes: what is masked, what is lossless, and layers within the byte budget."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import DTYPES, Intensity, UnitChunk, normalise
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.voxel_weights import voxel_weights
from inr_codec.config import Config
from inr_codec.content_names import labels_of
from inr_codec.decoding.compose import chunk_values
from inr_codec.encoding.choose_layers import choose_layers
from inr_codec.encoding.psnr_search import search_psnr
from inr_codec.errors import ConfigError, UnsupportedArray
from inr_codec.layers.correction.encode import encode_correction
from inr_codec.layers.lossless import KINDS, pack_lossless
from inr_codec.layers.mask import Mask, find_mask, pack_mask
from inr_codec.layers.network.prior import remember
from inr_codec.stream.frame import MAX_VOXELS, Header, Layer, LayerType, Reached, least_bytes, pack_stream

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
TINY = 512
"""Arrays of fewer voxels are stored losslessly, and so are 1-D arrays of fewer than TINY_LINE (coordinates)."""
TINY_LINE = 65536


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
    remember(config.prior)
    if config.weights == "array" and weights is None:
        raise ConfigError("expected the array that weights='array' stands for, got none: give INRCodec(weights=array)")
    if labels is not None:
        config = replace(config, mask=labels)
    array = np.asarray(array)
    if array.dtype.kind not in KINDS or array.dtype.hasobject:
        raise UnsupportedArray(
            f"expected numbers, booleans, times or fixed-length strings, got dtype {array.dtype!r}: convert the "
            "array first"
        )
    if array.size > MAX_VOXELS or array.ndim > 32:
        raise UnsupportedArray(
            f"expected at most {MAX_VOXELS} voxels in 32 dimensions, got shape {array.shape}: use smaller chunks"
        )
    fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    big_endian = array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and not np.little_endian)
    chunk = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    if not fits_networks(chunk):
        return _lossless(chunk, big_endian, fortran)
    try:
        mask = find_mask(chunk)
    except OverflowError:
        return _lossless(chunk, big_endian, fortran)
    valid = None if mask is None else _valid(mask, chunk.shape)
    seen = chunk if valid is None else chunk[valid]
    if seen.size == 0:
        intensity = Intensity(0.0, 0.0)
    else:
        intensity = Intensity(float(seen.min()), float(seen.max()))
    if not math.isfinite((intensity.hi - intensity.lo) * 2) or 0 < intensity.hi - intensity.lo < 1e-290:
        return _lossless(chunk, big_endian, fortran)
    tail = [] if mask is None else [Layer(LayerType.MASK, pack_mask(mask))]
    if intensity.constant and not (config.lossless and np.signbit(seen).any() and not np.signbit(seen).all()):
        return pack_stream(
            Header(chunk.shape, chunk.dtype, big_endian, fortran, intensity, Reached(math.inf, 0.0)), tail
        )
    bound = 0.0 if config.lossless else config.max_error
    if bound is not None:
        filled = chunk if valid is None else np.where(valid, chunk, seen.mean(dtype=np.float64).astype(chunk.dtype))
        corrected = encode_correction(filled, valid, intensity, bound, config.effort)
        if corrected is None:
            return _lossless(chunk, big_endian, fortran)
        layers = corrected + tail
        reached = measure(filled, valid, layers, intensity, intensity)
        stream = pack_stream(Header(chunk.shape, chunk.dtype, big_endian, fortran, intensity, reached), layers)
        return _lossless_within(chunk, big_endian, fortran, len(stream)) or stream
    budget = config.budget(chunk.nbytes, chunk.size)
    if budget is not None and (exact := _lossless_within(chunk, big_endian, fortran, budget)) is not None:
        return exact
    importance = voxel_weights(chunk, valid, weights if weights is not None else config.weights)
    structure = None if config.segmentation is None else _structure(chunk, valid, intensity, config)
    if valid is not None:
        chunk = np.where(valid, chunk, seen.mean(dtype=np.float64).astype(chunk.dtype))
    frame = len(pack_stream(Header(chunk.shape, chunk.dtype, big_endian, fortran, _middle(seen), None), tail))
    least = least_bytes(Header(chunk.shape, chunk.dtype, big_endian, fortran, intensity, None))
    origin = intensity.lo / (intensity.hi - intensity.lo)
    unit = UnitChunk(normalise(chunk, intensity), valid, origin, importance, structure)

    def within(budget: int) -> tuple[bytes, Reached]:
        layers = (choose_layers(unit, budget - frame, config) if budget >= least + PADDED else []) + tail
        stored = intensity if len(layers) > len(tail) else _middle(seen)
        reached = measure(chunk, valid, layers, stored, intensity)
        stream = pack_stream(Header(chunk.shape, chunk.dtype, big_endian, fortran, stored, reached), layers)
        return stream, on_any_engine(reached, layers)

    if budget is None:
        found = search_psnr(within, unit, config.psnr or 0.0, frame, chunk.nbytes)
        return _lossless(chunk, big_endian, fortran) if found is None else found
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
    if math.isinf(reached.psnr) or not {layer.type for layer in layers} & {LayerType.NETWORK, LayerType.FILTER}:
        return reached
    rms = 10 ** (-reached.psnr / 20) + DISAGREEMENT
    return Reached(-20 * math.log10(rms), reached.max_error + DISAGREEMENT)


def fits_networks(chunk: NDArray[Any]) -> bool:
    """Whether a chunk is of a kind that networks hold, and large enough to be worth it."""
    large = chunk.size >= (TINY_LINE if chunk.ndim == 1 else TINY)
    return chunk.dtype.str[1:] in DTYPES and 1 <= chunk.ndim <= 4 and large


def _lossless(chunk: NDArray[Any], big_endian: bool, fortran: bool) -> bytes:
    header = Header(chunk.shape, None, big_endian and chunk.dtype.itemsize > 1, fortran, None, None)
    return pack_stream(header, [Layer(LayerType.LOSSLESS, pack_lossless(chunk))])


def _lossless_within(chunk: NDArray[Any], big_endian: bool, fortran: bool, budget: int) -> bytes | None:
    """A lossless stream if one fits the budget (masks, labels, nearly empty chunks): a quick look first."""
    if len(pack_lossless(chunk, 1)) > LOSSLESS_HOPE * budget:
        return None
    exact = _lossless(chunk, big_endian, fortran)
    return exact if len(exact) <= budget else None


def _valid(mask: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    valid = np.zeros(shape, np.bool_)
    valid[mask.slices] = True if mask.classes is None else mask.classes == 0
    return valid


def _middle(seen: NDArray[Any]) -> Intensity:
    """One value for all voxels, their mean: the last resort where no layer fits the budget."""
    mean = seen.mean(dtype=np.float64)
    value = float(seen.dtype.type(mean if seen.dtype.kind == "f" else np.rint(mean)))
    return Intensity(value, value)


def measure(
    chunk: NDArray[Any], valid: NDArray[np.bool_] | None, layers: list[Layer], stored: Intensity, intensity: Intensity
) -> Reached:
    """Decode what was encoded and compare it with the chunk, whose range is `intensity`."""
    decoded = chunk_values(layers, chunk.shape, all_indices(chunk.shape), stored, chunk.dtype)
    error = decoded.astype(np.float64) - chunk
    if valid is not None:
        error = error[valid]
    span = intensity.hi - intensity.lo
    mean_square = float(np.mean(error**2))
    psnr = math.inf if mean_square == 0 else 20 * math.log10(span) - 10 * math.log10(mean_square)
    return Reached(psnr, float(np.abs(error).max()) / span)
