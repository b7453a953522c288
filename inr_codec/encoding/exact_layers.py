"""Layers that give every bit back: which of them is the smallest for a chunk, and for a mask."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.layers.labels.payload import SIZES, as_bits, distinct, pack_labels, volume_of
from inr_codec.layers.labels.recognise import is_labelled
from inr_codec.layers.lossless import pack_lossless
from inr_codec.layers.mask import Mask, pack_mask
from inr_codec.layers.missing import pack_missing
from inr_codec.stream.frame import Layer, LayerType

LOSSLESS_HOPE = 1.5
"""Chunks that deflate's fastest level leaves larger than so many times what is allowed are not tried with its best one.
That is 0.98 to 1.41 times smaller on volumes, but 1.7 to 3.2 times on masks, some of which are missed
(benchmarks/studies/constants, deflate.py)."""
TRIED_ANYWAY = 16
"""The labels layer is tried where it may take one in so many of a chunk's bytes (it gives up early) and could, where
there are no more distinct values, and where a chunk looks like labels."""
NEW_BITS = 4
"""Of a voxel of many values that equals none of the three before it, at least: as good as all of a noisy image are."""
SHORT = 64
"""Chunks that deflate takes to so few bytes are not tried: reading them would load the kernel of labels."""


def exact_layer(chunk: NDArray[Any], most: int | None = None) -> Layer | None:
    """The smallest exact layer of a native C-ordered chunk of any plain dtype; None for more than `most` bytes."""
    best: bytes | None = None
    if most is None or len(pack_lossless(chunk, 1)) <= LOSSLESS_HOPE * most:
        best = pack_lossless(chunk)
    room = chunk.nbytes if best is None else len(best) - 1
    room = room if most is None else min(room, most)
    if (best is None or len(best) > SHORT) and _worth_trying(chunk, room):
        labels = pack_labels(chunk, room)
        if labels is not None:
            return Layer(LayerType.LABELS, labels)
    return None if best is None or (most is not None and len(best) > most) else Layer(LayerType.LOSSLESS, best)


def _worth_trying(chunk: NDArray[Any], room: int) -> bool:
    if chunk.dtype.itemsize not in SIZES or chunk.size == 0:
        return False
    if room * TRIED_ANYWAY <= chunk.nbytes and _new_voxels(chunk) * NEW_BITS <= 8 * room:
        return True
    few = np.unique(as_bits(chunk).reshape(-1)[: TRIED_ANYWAY**2]).size <= TRIED_ANYWAY  # a quick look first
    return (few and distinct(as_bits(chunk)).size <= TRIED_ANYWAY) or is_labelled(as_bits(chunk))


def _new_voxels(chunk: NDArray[Any]) -> int:
    """How many voxels differ from the ones before them along all three axes that labels are coded with."""
    volume = as_bits(chunk).reshape(volume_of(chunk.shape))
    new = np.ones(volume.shape, np.bool_)
    for axis in range(volume.ndim):
        later, before = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(None, -1)))
        new[later] &= volume[later] != volume[before]
    return int(np.count_nonzero(new))


def mask_layer(mask: Mask, shape: tuple[int, ...]) -> Layer:
    """The smaller one of the two layers that hold masks of a chunk of that shape."""
    deflated = pack_mask(mask)
    coded = pack_missing(mask, shape, len(deflated) - 1)
    return Layer(LayerType.MASK, deflated) if coded is None else Layer(LayerType.MISSING, coded)
