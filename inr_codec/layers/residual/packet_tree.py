"""The wavelet packet tree of a residual: a binary tree of boxes, each split along the axis that pays most.

Every box that is still the low part along an axis may be split along it into low and high half, or stay a subband.
The tree of least cost, distortion + lambda x bits of a rough model at a trial quantiser step, is found by dynamic
programming:
the array is split along each axis to every depth once (27 times its size in all), which gives the boxes of all trees.
A classical 3-D wavelet, one that splits z late, a plane-wise one and a separable one are special cases.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inr_codec.entropy.range_coder import (
    STATE_SIZE,
    adapt,
    decode_bit,
    decoder_init,
    encode_bit,
    encoder_finish,
    encoder_init,
)
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.tree_cost import LARGEST, costs_along_last
from inr_codec.layers.residual.wavelet import FloatArray, Split
from inr_codec.runtime.threads import parallel_map

# Format, frozen (FORMAT.md section 6.2).
MAX_DEPTH, SMALLEST = 5, 2
LEAF = 3
TIE = 1e-6
"""Least share of a cost that a split must save: two splits in either order cost the same, but for rounding."""
SPLIT_BITS = 2.0
"""What the rough model of a tree's cost charges for a split (benchmarks/studies/constants)."""

State = tuple[int, int]  # splits along an axis, 1 when the last one went to the high half
Node = tuple[State, State, State]


@dataclass(frozen=True, slots=True)
class Subband:
    """A leaf: a box of the coefficient array, and per axis how often it was split and whether it is the high half."""

    offset: tuple[int, int, int]
    size: tuple[int, int, int]
    depth: tuple[int, int, int]
    high: tuple[int, int, int]


def _halves(values: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    work = values.copy()
    wavelet.forward(work, [(axis, (0, 0, 0), values.shape)])
    low, high = np.split(work, [(values.shape[axis] + 1) // 2], axis=axis)
    return np.ascontiguousarray(low), np.ascontiguousarray(high)


def _depth(n: int) -> int:
    """How often the low part of n samples can be split."""
    depth = 0
    while n >= SMALLEST and depth < MAX_DEPTH:
        n, depth = (n + 1) // 2, depth + 1
    return depth


def _states(values: FloatArray, axis: int, n: int) -> list[tuple[State, FloatArray, FloatArray]]:
    """All states of an axis: the array split to every depth, with the norms of its coefficients along the axis."""
    out = [((0, 0), values, np.ones(n, np.float32))]
    for level in range(1, _depth(n) + 1):
        low, high = _halves(out[-1][1], axis)
        norms, k = wavelet.norms(n, level).copy(), low.shape[axis]  # of one type, so that the kernel is compiled once
        out.append(((level, 1), high, norms[k : k + high.shape[axis]]))
        out.append(((level, 0), low, norms[:k]))
    return out


def _children(node: Node, axis: int) -> tuple[Node, Node]:
    level = node[axis][0] + 1
    return tuple((*node[:axis], (level, high), *node[axis + 1 :]) for high in (0, 1))  # type: ignore[return-value]


def choose_packet_tree(values: FloatArray, step: float, lam: float) -> list[int]:
    """The tree of least cost at a quantiser step for float32 (nz, ny, nx): axis or LEAF per node, low half first."""
    step = max(step, float(np.abs(values).max(initial=0.0)) / LARGEST)
    depth = _depth(values.shape[2])
    along_x: list[State] = [(0, 0), *((level, high) for level in range(1, depth + 1) for high in (1, 0))]

    def costs(state: tuple[State, FloatArray, FloatArray]) -> dict[Node, float]:
        sz, az, wz = state
        return {
            (sz, sy, sx): float(cost)
            for sy, ay, wy in _states(az, 1, values.shape[1])
            for sx, cost in zip(along_x, costs_along_last(ay, wz, wy, step, lam, depth))
        }

    cost: dict[Node, float] = {}
    for part in parallel_map(costs, _states(values, 0, values.shape[0])):
        cost |= part
    best: dict[Node, tuple[float, int]] = {}
    for node in sorted(cost, key=lambda n: -sum(s[0] for s in n)):
        best[node] = (cost[node], LEAF)
        for axis in range(3):
            low, high = _children(node, axis)
            if not node[axis][1] and low in best and high in best:
                together = best[low][0] + best[high][0] + lam * SPLIT_BITS
                if together < best[node][0] * (1 - TIE):
                    best[node] = (together, axis)
    choices, todo = [], [((0, 0), (0, 0), (0, 0))]
    while todo:
        node = todo.pop()
        axis = best[node][1]
        choices.append(axis)
        if axis != LEAF:
            todo += reversed(_children(node, axis))
    return choices


def mallat_tree(shape: tuple[int, int, int]) -> list[int]:
    """The classical tree: every axis once per decomposition level, then on with what is low along all of them."""
    choices: list[int] = []

    def visit(size: tuple[int, ...], axis: int, low: bool, level: int) -> None:
        while axis < 3 and size[axis] < SMALLEST:
            axis += 1
        if axis < 3:
            choices.append(axis)
            half = (size[axis] + 1) // 2
            visit((*size[:axis], half, *size[axis + 1 :]), axis + 1, low, level)
            visit((*size[:axis], size[axis] - half, *size[axis + 1 :]), axis + 1, False, level)
        elif low and level < MAX_DEPTH and max(size) >= SMALLEST:
            visit(size, 0, True, level + 1)
        else:
            choices.append(LEAF)

    visit(shape, 0, max(shape) >= SMALLEST, 1)
    return choices


def subbands_of_tree(shape: tuple[int, int, int], choices: list[int]) -> tuple[list[Split], list[Subband]]:
    """The splits and the subbands of a tree on an array of a shape."""
    remaining = iter(choices)
    return _walk(shape, lambda band, axes, last: next(remaining))


def _walk(
    shape: tuple[int, int, int], choose: Callable[[Subband, list[int], int], int]
) -> tuple[list[Split], list[Subband]]:
    """The splits and subbands that `choose` leads to: given a box, the axes it may be split along and the last one."""
    splits: list[Split] = []
    bands: list[Subband] = []
    todo = [(Subband((0, 0, 0), shape, (0, 0, 0), (0, 0, 0)), 3)]
    while todo:
        band, last = todo.pop()
        axes = [a for a in range(3) if not band.high[a] and band.size[a] >= SMALLEST and band.depth[a] < MAX_DEPTH]
        axis = choose(band, axes, last)
        if axis == LEAF:
            bands.append(band)
            continue
        splits.append((axis, band.offset, band.size))
        half = (band.size[axis] + 1) // 2
        depth = _put(band.depth, axis, band.depth[axis] + 1)
        high = Subband(
            _put(band.offset, axis, band.offset[axis] + half),
            _put(band.size, axis, band.size[axis] - half),
            depth,
            _put(band.high, axis, 1),
        )
        todo += [(high, axis), (Subband(band.offset, _put(band.size, axis, half), depth, band.high), axis)]
    return splits, bands


def _put(triple: tuple[int, int, int], axis: int, value: int) -> tuple[int, int, int]:
    return (*triple[:axis], value, *triple[axis + 1 :])  # type: ignore[return-value]


def pack_packet_tree(shape: tuple[int, int, int], choices: list[int]) -> bytes:
    """A tree as bytes: per node that can be split one bit for a leaf, then the axis among those that can be split."""
    state, buffer, model = [0] * STATE_SIZE, bytearray(4096), _model()
    remaining = iter(choices)
    encoder_init(state)

    def choose(band: Subband, axes: list[int], last: int) -> int:
        choice = next(remaining)

        def code(context: int, bit: bool) -> None:
            encode_bit(state, buffer, model[context], int(bit))
            model[context] = adapt(model[context], int(bit), 4)

        if axes:
            code(4 * sum(band.high) + last, choice == LEAF)
            for axis in axes[:-1] if choice != LEAF else []:
                code(16 + 4 * axis + last, choice == axis)
                if choice == axis:
                    break
        return choice

    _walk(shape, choose)
    return bytes(buffer[: encoder_finish(state, buffer)])


def unpack_packet_tree(shape: tuple[int, int, int], data: bytes) -> tuple[list[Split], list[Subband]]:
    """The splits and the subbands of packed bytes; any bytes give some tree of at most 216 subbands."""
    state, model = [0] * STATE_SIZE, _model()
    decoder_init(state, data, 0, len(data))

    def code(context: int) -> int:
        bit = decode_bit(state, data, model[context])
        model[context] = adapt(model[context], bit, 4)
        return bit

    def choose(band: Subband, axes: list[int], last: int) -> int:
        if not axes or code(4 * sum(band.high) + last):
            return LEAF
        for axis in axes[:-1]:
            if code(16 + 4 * axis + last):
                return axis
        return axes[-1]

    return _walk(shape, choose)


def _model() -> list[int]:
    """Starting probabilities of the tree's bits: leaf given (high axes, last split axis), axis given (axis, last).

    Format, frozen (FORMAT.md section 6.2).
    """
    return [20000] * 4 + [26000] * 4 + [36000] * 4 + [50000] * 4 + [32768] * 16
