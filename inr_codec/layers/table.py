"""The one list of layers: what composing, inspecting, evaluating on a GPU and checking a stream know of them."""

from collections.abc import Sequence

from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.layers import lossless, mask
from inr_codec.layers.correction import payload as correction
from inr_codec.layers.deblocking import payload as deblocking
from inr_codec.layers.filter import payload as filter_payload
from inr_codec.layers.kind import LayerKind, UnitKind, ValueKind, WholeKind
from inr_codec.layers.network import payload as network
from inr_codec.layers.residual import payload as residual
from inr_codec.stream.frame import Header, Layer, unpack_stream

TABLE: dict[int, LayerKind] = {
    kind.type: kind
    for kind in (
        network.KIND,
        deblocking.KIND,
        residual.KIND,
        filter_payload.KIND,
        correction.KIND,
        mask.KIND,
        lossless.KIND,
    )
}
"""Every kind of layer by its number, in the order in which they act."""


def kind_of(layer: Layer) -> LayerKind:
    """The kind of a layer; UnsupportedFormat for one that this release does not know."""
    if layer.type not in TABLE:
        raise UnsupportedFormat(
            f"expected a layer type of {sorted(TABLE)}, got {layer.type}: install a newer release of inr_codec"
        )
    return TABLE[layer.type]


def open_stream(data: bytes) -> tuple[Header, list[Layer]]:
    """Header and layers of a stream, every layer known and allowed beside the others.

    Raises CorruptChunk or UnsupportedFormat for anything else.
    """
    header, layers = unpack_stream(data)
    kinds = [kind_of(layer) for layer in layers]
    alone = [isinstance(kind, WholeKind) for kind in kinds]
    if (any(alone) or header.dtype is None) and not (alone == [True] and header.dtype is None):
        names = [kind.name for kind in kinds]
        raise CorruptChunk(f"expected a lossless layer alone, or none, got {names}: the chunk is damaged")
    return header, layers


def split_stages(layers: Sequence[Layer]) -> tuple[list[Layer], Layer | None]:
    """The layers of unit intensities, and the one that gives values, if there is one.

    Raises CorruptChunk unless each is there once, in the order in which they act.
    """
    acting = [layer for layer in layers if isinstance(kind_of(layer), (UnitKind, ValueKind))]
    order = [list(TABLE).index(layer.type) for layer in acting]
    if order != sorted(set(order)):
        names = [kind_of(layer).name for layer in acting]
        raise CorruptChunk(f"expected each layer once and in order, got {names}: the chunk is damaged")
    if acting and isinstance(kind_of(acting[-1]), ValueKind):
        return acting[:-1], acting[-1]
    return acting, None
