"""Adding up the layers of a stream: what decoder and encoder both do with them.

Layers act in the order of the stream; each needs its input on the voxels asked of it, or on a few more around them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inr_codec.bitstream import Layer, LayerType
from inr_codec.network_layer import evaluate_network, unpack_network
from inr_codec.selection import Indices


def unit_values(layers: Sequence[Layer], shape: tuple[int, ...], indices: Indices) -> NDArray[np.float32]:
    """Unit intensities at the outer product of `indices`."""
    unit = np.zeros([len(index) for index in indices], np.float32)
    for layer in layers:
        if layer.type == LayerType.NETWORK:
            unit = unit + evaluate_network(unpack_network(layer.payload, shape), indices)
    return unit
