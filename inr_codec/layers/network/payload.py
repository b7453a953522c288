"""The network layer: a partition, and for every block the quantised parameters of its network.

Block b adds mean_b + std_b * network_b(x) to its voxels, with x in [-1, 1]^n across the block, or mean_b alone where
its network has size 0. All integers go through one range-coded string (`entropy.integers`); FORMAT.md has the order.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import Box, boxes
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.entropy.integers import IntegerDecoder, IntegerEncoder, most_parameters, padded
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import UnitKind
from inr_codec.layers.network.blocks import Block, pack_block_tree, unpack_block_tree
from inr_codec.layers.network.prior import DIGEST_BYTES, start_from
from inr_codec.networks.position import coordinates_at
from inr_codec.networks.shape import FUNNEL_UNIT, NetworkShape, funnel_shape, still_axes
from inr_codec.networks.start import StartSequence, initial_parameters
from inr_codec.runtime.caches import remembered
from inr_codec.runtime.threads import parallel_map
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType

# Format, frozen (FORMAT.md section 4).
FLAT_UNIT = 1 / 65535  # of the mean of a block without a network
MEAN_UNIT = 0.25  # of the mean of a block with one, in units of its std
TREE, SIZE, FLAT, MEAN, STD, FIRST_STEP = range(6)
W0_UNIT = 16
MAX_DEPTH = 16
SINE, NERF, LEARNT = range(3)
"""Architectures in the stream: above the depth, in the first byte."""
DEPTH_BITS = 5
MAX_FREQUENCIES = 16
MAX_SIZE = 4096
MAX_BLOCKS = 4096
MAX_PARAMETERS = 1 << 22
AT_ONCE = 1 << 17  # voxels of a block that one thread evaluates at a time
SERIAL = 1 << 15
"""Fewer voxels than this are evaluated on the caller's thread: handing them to others would take longer."""
LOG = logging.getLogger(__name__)
"""Tells, at level DEBUG, at how many voxels a block's network is evaluated (`voxels` of a record)."""


@dataclass(frozen=True, slots=True)
class NetworkBlock:
    """One block's network, in integers: parameter i of tensor t is its start + symbols[i] * 2^(-steps[t] / 4).

    Starts are `initial_parameters` of the block's number: biases and the first layer stay close to where a fit began.
    size: see `funnel_shape`, 0 for a flat block; mean: in quarters of std (in 1/65535 for a flat block);
    std = 2^(-std_code / 4).
    """

    size: int
    mean: int
    std_code: int
    steps: tuple[int, ...] = ()
    symbols: NDArray[np.int64] | None = None
    number: int = 0


@dataclass(frozen=True)
class NetworkLayer:
    """All blocks of a chunk and the settings that their networks share.

    frequencies: octaves of NeRF networks, which have no w0; 0 for sine networks. prior: digest of the prior that
    the networks start from; empty for the starts that everybody knows.
    """

    blocks: tuple[Block, ...]
    networks: tuple[NetworkBlock, ...]
    depth: int
    funnel_units: int
    w0_units: int
    frequencies: int = 0
    prior: bytes = b""

    @property
    def w0(self) -> float:
        """Frequency factor of every sine."""
        return self.w0_units / W0_UNIT

    @cached_property
    def corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the blocks start and stop, (blocks, axes) each."""
        starts = np.array([block.offset for block in self.blocks], np.int64)
        return starts, starts + np.array([block.shape for block in self.blocks], np.int64)

    @property
    def architecture(self) -> str:
        """What the networks are called: a funnel that does not narrow is a plain SIREN."""
        if self.frequencies:
            return "nerf"
        return "siren" if self.funnel_units == FUNNEL_UNIT else "funnel"

    def shape_of(self, network: NetworkBlock, dims: int) -> NetworkShape:
        """Widths of a block's network."""
        still = still_axes(self.blocks[0].shape, self.frequencies)
        return funnel_shape(dims, network.size, self.depth, self.funnel_units, self.frequencies, still)

    def start_of(self, network: NetworkBlock, shape: NetworkShape) -> NDArray[np.float32]:
        """What the symbols of a block's network are added to; UnsupportedFormat for a prior that was not met."""
        if self.prior:
            return start_from(self.prior, network.size, shape.parameters)
        return initial_parameters(shape, self.w0, StartSequence(network.number))


def step_size(code: int) -> float:
    """Quantisation step 2^(-code / 4)."""
    return float(2.0 ** (-code / 4))


def std_size(code: int) -> float:
    """Standard deviation 2^(-code / 4), in unit intensities."""
    return float(2.0 ** (-code / 4))


def _slots(depth: int) -> tuple[int, NDArray[np.int64]]:
    """Number of slots, and their groups: side information shares no statistics with parameters."""
    tensors = 2 * depth
    groups = np.zeros(FIRST_STEP + 2 * tensors, np.int64)
    groups[FIRST_STEP + tensors :] = 1
    return len(groups), groups


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


def pack_network(layer: NetworkLayer, chunk_shape: Sequence[int]) -> bytes:
    """The payload of a network layer."""
    out = ByteWriter()
    kind = NERF if layer.frequencies else LEARNT if layer.prior else SINE
    out.uint(layer.depth | kind << DEPTH_BITS, 1)
    out.uint(layer.funnel_units, 1)
    if layer.frequencies:
        out.uint(layer.frequencies, 1)
    else:
        out.uint(layer.w0_units, 2)
    out.raw(layer.prior)
    slots, groups = _slots(layer.depth)
    tensors = 2 * layer.depth
    code = IntegerEncoder(slots, groups)
    code.put(TREE, np.array(pack_block_tree(layer.blocks, chunk_shape), np.int64))
    size, std, steps = 0, 16, [24] * tensors
    for network in layer.networks:
        code.put(SIZE, _one(network.size - size))
        size = network.size
        if size == 0:
            code.put(FLAT, _one(network.mean))
            continue
        code.put(MEAN, _one(network.mean))
        code.put(STD, _one(network.std_code - std))
        std = network.std_code
        assert network.symbols is not None
        shape = layer.shape_of(network, len(chunk_shape))
        for t, tensor in enumerate(shape.tensors()):
            code.put(FIRST_STEP + t, _one(network.steps[t] - steps[t]))
            code.put(FIRST_STEP + tensors + t, network.symbols[tensor])
        steps = list(network.steps)
    packed = code.finish()
    total = sum(layer.shape_of(network, len(chunk_shape)).parameters for network in layer.networks if network.size)
    out.raw(padded(packed, total))
    return out.getvalue()


def _bits(code: IntegerDecoder):  # type: ignore[no-untyped-def]
    while True:
        yield int(code.get(TREE, 1)[0]) != 0


def _bounded(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise CorruptChunk(f"expected {name} between {low} and {high}, got {value}: the chunk is damaged")
    return value


def _bytes_of(layer: NetworkLayer) -> int:
    """What an unpacked layer takes: its symbols, and some hundred bytes for the objects of each block."""
    return sum(512 + (0 if network.symbols is None else network.symbols.nbytes) for network in layer.networks)


@remembered(_bytes_of)
def unpack_network(payload: bytes, chunk_shape: tuple[int, ...]) -> NetworkLayer:
    """The layer in a payload; CorruptChunk if it holds more than its bytes can."""
    data = ByteReader(payload)
    first = data.uint(1)
    architecture = _bounded(first >> DEPTH_BITS, SINE, LEARNT, "an architecture")
    depth = _bounded(first & (1 << DEPTH_BITS) - 1, 2, MAX_DEPTH, "a depth")
    funnel_units = _bounded(data.uint(1), 1, 255, "a funnel ratio in sixteenths")
    w0_units = frequencies = 0
    if architecture == NERF:
        frequencies = _bounded(data.uint(1), 1, MAX_FREQUENCIES, "a number of frequencies")
    else:
        w0_units = _bounded(data.uint(2), 1, 0xFFFF, "a w0 in sixteenths")
    prior = data.raw(DIGEST_BYTES) if architecture == LEARNT else b""
    still = still_axes(chunk_shape, frequencies)
    if len(still) == len(chunk_shape):
        raise CorruptChunk(f"expected an axis of more than one voxel, got {chunk_shape}: the chunk is damaged")
    rest = data.rest()
    slots, groups = _slots(depth)
    tensors = 2 * depth
    code = IntegerDecoder(rest, slots, groups)
    blocks = unpack_block_tree(_bits(code), chunk_shape, MAX_BLOCKS)
    networks = []
    size, std, steps = 0, 16, [24] * tensors
    total = 0
    for number in range(len(blocks)):
        size = _bounded(size + int(code.get(SIZE, 1)[0]), 0, MAX_SIZE, "a network size")
        if size == 0:
            networks.append(NetworkBlock(0, int(code.get(FLAT, 1)[0]), 0))
            continue
        if size < max(depth - 2, 1):
            raise CorruptChunk(
                f"expected at least {max(depth - 2, 1)} neurons for depth {depth}, got {size}: the chunk is damaged"
            )
        mean = int(code.get(MEAN, 1)[0])
        std = _bounded(std + int(code.get(STD, 1)[0]), 0, 255, "a standard deviation's code")
        shape = funnel_shape(len(chunk_shape), size, depth, funnel_units, frequencies, still)
        total += shape.parameters
        if total > min(MAX_PARAMETERS, most_parameters(len(rest))):
            raise CorruptChunk(
                f"expected at most {MAX_PARAMETERS} parameters in {len(rest)} bytes, got {total}: the chunk is damaged"
            )
        parts = []
        for t, tensor in enumerate(shape.tensors()):
            steps[t] = _bounded(steps[t] + int(code.get(FIRST_STEP + t, 1)[0]), -64, 255, "a step's code")
            parts.append(code.get(FIRST_STEP + tensors + t, tensor.stop - tensor.start))
        networks.append(NetworkBlock(size, mean, std, tuple(steps), np.concatenate(parts), number))
    return NetworkLayer(tuple(blocks), tuple(networks), depth, funnel_units, w0_units, frequencies, prior)


def work_of(layer: NetworkLayer) -> int:
    """Multiplications that evaluating all voxels of a chunk takes: one for each parameter of the voxel's network."""
    dims = len(layer.blocks[0].shape)
    pairs = zip(layer.blocks, layer.networks, strict=True)
    return sum(block.size * layer.shape_of(found, dims).parameters for block, found in pairs if found.size)


def dequantise(layer: NetworkLayer, network: NetworkBlock, shape: NetworkShape) -> NDArray[np.float32]:
    """Parameters of a block's network: start plus symbol times step, in float64, rounded to float32."""
    assert network.symbols is not None
    lengths = [tensor.stop - tensor.start for tensor in shape.tensors()]
    steps = np.repeat(np.array([step_size(code) for code in network.steps]), lengths)
    parameters: NDArray[np.float32] = (layer.start_of(network, shape) + network.symbols * steps).astype(np.float32)
    return parameters


def affine_of(network: NetworkBlock) -> tuple[float, float]:
    """(std, mean) of a block in unit intensities."""
    if network.size == 0:
        return 0.0, network.mean * FLAT_UNIT
    std = std_size(network.std_code)
    return std, network.mean * MEAN_UNIT * std


def evaluate_network(layer: NetworkLayer, indices: Sequence[NDArray[np.intp]]) -> NDArray[np.float32]:
    """Unit intensities at the outer product of `indices` (sorted voxel indices along each axis of the chunk)."""
    positions = [index.astype(np.float64) for index in indices]
    return evaluate_network_at(layer, positions)


def evaluate_network_at(layer: NetworkLayer, positions: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """The same at any positions (sorted, in voxels; each belongs to the block of the nearest voxel)."""
    out = np.empty(tuple(len(p) for p in positions), np.float32)
    jobs: list[Callable[[], None]] = []
    if out.size == 0:
        return out
    starts, stops = layer.corners
    first, last = np.array([[p[0], p[-1]] for p in positions]).T
    for k in np.flatnonzero(((starts - 0.5 <= last) & (stops - 0.5 > first)).all(axis=1)):
        block, network = layer.blocks[k], layer.networks[k]
        window, axes = [], []
        for start, side, position in zip(block.offset, block.shape, positions, strict=True):
            a, b = np.searchsorted(position, (start - 0.5, start + side - 0.5))
            window.append(slice(int(a), int(b)))
            axes.append(coordinates_at(position[a:b] - start, side))
        if all(w.stop > w.start for w in window):
            jobs += _evaluations(layer, network, out[tuple(window)], axes)
    if out.size < SERIAL:
        for job in jobs:
            job()
    else:
        parallel_map(lambda job: job(), jobs)
    return out


def _evaluations(
    layer: NetworkLayer, network: NetworkBlock, out: NDArray[np.float32], axes: Sequence[NDArray[np.float32]]
) -> Iterator[Callable[[], None]]:
    """The work of filling a block's part of the result, in pieces for several threads."""
    std, mean = affine_of(network)
    if network.size == 0:
        out[...] = mean
        return
    shape = layer.shape_of(network, len(axes))
    parameters = cache(lambda: dequantise(layer, network, shape))

    def fill(box: Box) -> None:
        sides = [axis[side] for axis, side in zip(axes, box, strict=True)]
        LOG.debug("evaluating network %d", network.number, extra={"voxels": out[box].size})
        out[box] = evaluate_grid(parameters(), shape, layer.w0, sides, std, mean)

    for box in boxes(out.shape, AT_ONCE):
        yield partial(fill, box)


def funnel_units(ratio: float) -> int:
    """A funnel ratio in the format's unit."""
    return max(1, min(255, round(ratio * FUNNEL_UNIT)))


def std_code(std: float) -> int:
    """Code of the least stored standard deviation that is not below `std`."""
    return max(0, min(255, math.floor(-4 * math.log2(std)))) if std > 0 else 255


def _describe(payload: bytes, shape: tuple[int, ...]) -> dict[str, Any]:
    layer = unpack_network(payload, shape)
    shapes = [layer.shape_of(network, len(shape)) if network.size else None for network in layer.networks]
    return {
        "blocks": layer.blocks,
        "widths": tuple(found.widths if found else () for found in shapes),
        "parameters": sum(found.parameters for found in shapes if found),
        "architecture": layer.architecture,
        "depth": layer.depth,
        "w0": layer.w0 or None,
    }


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    return work_of(unpack_network(payload, header.shape))


KIND = UnitKind(
    type=LayerType.NETWORK,
    name="network",
    exact=False,
    describe=_describe,
    weigh=_weigh,
    apply=lambda asked, values, have: evaluate_network(unpack_network(asked.payload, asked.shape), asked.indices),
    sample=lambda payload, shape, positions: evaluate_network_at(unpack_network(payload, shape), positions),
    on_gpu=True,
)
