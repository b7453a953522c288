"""The one list of layers: what composing, inspecting, evaluating on a GPU and checking a stream know of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.layers import lossless, mask, missing
from inr_codec.layers.correction import payload as correction
from inr_codec.layers.deblocking import payload as deblocking
from inr_codec.layers.filter import payload as filter_payload
from inr_codec.layers.kind import CoverKind, LayerKind, UnitKind, ValueKind, WholeKind
from inr_codec.layers.labels import payload as labels
from inr_codec.layers.network import payload as network
from inr_codec.layers.residual import payload as residual
from inr_codec.runtime.limits import whole_number
from inr_codec.stream.frame import FREE_WORK, WORK_PER_BYTE, Header, Layer, unpack_stream

TABLE: dict[int, LayerKind] = {
    kind.type: kind
    for kind in (
        network.KIND,
        deblocking.KIND,
        residual.KIND,
        residual.OVER_FOUR,
        filter_payload.KIND,
        correction.KIND,
        mask.KIND,
        missing.KIND,
        lossless.KIND,
        labels.KIND,
    )
}
"""Every kind of layer by its number, in the order in which they act."""


WORK = "INR_CODEC_WORK"
"""Environment variable: another number in the place of WORK_PER_BYTE."""


def kind_of(layer: Layer) -> LayerKind:
    """The kind of a layer; UnsupportedFormat for one that this release does not know."""
    if layer.type not in TABLE:
        raise UnsupportedFormat(
            f"expected a layer type of {sorted(TABLE)}, got {layer.type}: install a newer release of inr_codec"
        )
    return TABLE[layer.type]


def open_stream(data: bytes) -> tuple[Header, list[Layer]]:
    """Header and layers of a stream, every layer known and allowed beside the others.

    Whoever reads a stream, to decode or to inspect it, begins here, so that both refuse the same. Raises CorruptChunk
    or UnsupportedFormat for anything else, for payloads that cannot be, and for more work than so few bytes may ask
    for.
    """
    header, layers = unpack_stream(data)
    kinds = [kind_of(layer) for layer in layers]
    names = [kind.name for kind in kinds]
    if newer := [kind.type for kind in kinds if kind.since > header.version]:
        raise UnsupportedFormat(
            f"expected layer types of format version {header.version}, got {newer[0]}: the stream is of no release"
        )
    alone = [isinstance(kind, WholeKind) for kind in kinds]
    if (any(alone) or header.dtype is None) and not (alone == [True] and header.dtype is None):
        raise CorruptChunk(f"expected a lossless layer or labels alone, or none, got {names}: the chunk is damaged")
    order = [list(TABLE).index(layer.type) for layer in layers]
    if order != sorted(set(order)) or sum(isinstance(kind, CoverKind) for kind in kinds) > 1:
        raise CorruptChunk(f"expected each layer once and in order, got {names}: the chunk is damaged")
    if header.intensity is not None and header.intensity.constant and not all(isinstance(k, CoverKind) for k in kinds):
        raise CorruptChunk(f"expected no layers but a mask where all values are one, got {names}: the chunk is damaged")
    weight = weigh(header, layers)
    if weight > most_work(len(data)):
        raise CorruptChunk(
            f"expected at most {most_work(len(data)):,} multiplications in {len(data)} bytes, got {weight:,}: the "
            f"chunk is damaged; if it is known to be good, set {WORK} to {-(-(weight - FREE_WORK) // len(data))}"
        )
    return header, layers


def weigh(header: Header, layers: Sequence[Layer]) -> int:
    """Multiplications that evaluating all voxels takes; CorruptChunk for payloads that cannot be.

    The last layer first: it knows what may lie below it.
    """
    seen = header.seen()
    weights = [kind_of(layer).weigh(layer.payload, layers[:k], seen) for k, layer in reversed([*enumerate(layers)])]
    return sum(weights)


def most_work(n_bytes: int) -> int:
    """Multiplications that a stream of so many bytes may ask for (FORMAT.md, section 1)."""
    return FREE_WORK + whole_number(WORK, WORK_PER_BYTE, "multiplications") * n_bytes


def dtype_of(header: Header, layers: Sequence[Layer]) -> np.dtype[Any]:
    """The dtype of a stream's chunk, in its own byte order."""
    if header.dtype is not None:
        dtype: np.dtype[Any] = header.dtype
    else:
        kind = kind_of(layers[0])
        assert isinstance(kind, WholeKind)
        dtype = kind.dtype(layers[0].payload)
    return dtype.newbyteorder(">") if header.big_endian else dtype


def split_stages(layers: Sequence[Layer]) -> tuple[list[Layer], Layer | None]:
    """The layers of unit intensities, and the one that gives values, if there is one."""
    acting = [layer for layer in layers if isinstance(kind_of(layer), (UnitKind, ValueKind))]
    if acting and isinstance(kind_of(acting[-1]), ValueKind):
        return acting[:-1], acting[-1]
    return acting, None
