"""Residual layer: what the other layers leave of a chunk, as quantised wavelet coefficients under a context model.

Payload: step (3 bytes), mean (3), reconstruction points (3), length of the tree (1), tree, then the bytes of the range
coder. `step` and `mean` are the upper 24 bits of a float32, big endian. An empty payload stands for zeros everywhere.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inr_codec import coefficients, wavelet
from inr_codec.bands import Bands, bands_table
from inr_codec.errors import CorruptChunk
from inr_codec.splitting import LEAF, SMALLEST, choose_tree, mallat_tree, pack_tree, unpack_tree
from inr_codec.wavelet import Box, FloatArray, Step

HEADER = 10
LAMBDA = 0.1  # distortion in squared steps that one bit is worth


@dataclass(frozen=True, slots=True)
class EncodedResidual:
    """A payload, the array that `decode_residual` gives for it and its quantiser step."""

    payload: bytes
    decoded: FloatArray
    step: float


def _as_3d(shape: tuple[int, ...]) -> tuple[int, int, int]:
    padded = (1,) * (3 - len(shape)) + tuple(shape)
    return (math.prod(padded[:-2]), padded[-2], padded[-1])


def _pack24(value: float) -> bytes:
    bits = struct.unpack(">I", struct.pack(">f", value))[0]
    return struct.pack(">I", min(bits + 128, 0xFF7FFFFF if value < 0 else 0x7F7FFFFF) & 0xFFFFFF00)[:3]


def _unpack24(data: bytes) -> float:
    value = float(struct.unpack(">f", data + b"\0")[0])
    if not math.isfinite(value):
        raise CorruptChunk(f"the residual layer holds finite numbers, got {value!r}; the chunk is damaged")
    return value


def residual_step(payload: bytes) -> float:
    """Quantiser step of a payload in the units of the residual, 0.0 for an empty payload."""
    if not payload:
        return 0.0
    if len(payload) < HEADER:
        raise CorruptChunk(f"a residual layer has at least {HEADER} bytes, got {len(payload)}; the chunk is cut short")
    step = _unpack24(payload[0:3])
    if not 1e-37 < step < 1e37:
        raise CorruptChunk(f"the step of a residual layer is a positive number, got {step!r}; the chunk is damaged")
    return step


def decode_residual(payload: bytes, shape: tuple[int, ...], box: Box | None = None) -> FloatArray:
    """The float32 array of a payload; with `box` = (start, stop) per axis only that part, with the same values."""
    inside = tuple(slice(a, b) for a, b in box) if box is not None else ()
    if not payload:
        return np.zeros(shape, np.float32)[inside].copy()
    step = residual_step(payload)
    mean, flat, points = _unpack24(payload[3:6]), _as_3d(shape), payload[6:9]
    start = HEADER + payload[9]
    if len(payload) < start:
        raise CorruptChunk(f"the tree of a residual layer ends at byte {start}, got {len(payload)}; the chunk is cut short")
    steps, leaves = unpack_tree(flat, payload[HEADER:start])
    bands = bands_table(flat, leaves)
    q = coefficients.decode(np.frombuffer(payload[start:], np.uint8).copy(), bands, flat)
    return _restore(q, bands, steps, step, mean, points, shape, box)


def _restore(
    q: npt.NDArray[np.int32], bands: Bands, steps: list[Step], step: float, mean: float, points: bytes,
    shape: tuple[int, ...], box: Box | None = None,
) -> FloatArray:
    values = coefficients.dequantise(q, bands, np.float32(step), points)
    part: Box | None = box
    if box is not None and len(shape) < 3:
        part = ((0, 1),) * (3 - len(shape)) + box
    elif box is not None and len(shape) == 4:
        part = ((box[0][0] * shape[1], box[0][1] * shape[1]), *box[2:])
    wavelet.inverse(values, steps, part)
    inside = tuple(slice(a, b) for a, b in box) if box is not None else ()
    return np.add(values.reshape(shape)[inside], np.float32(mean))


@dataclass(frozen=True, slots=True)
class _Transform:
    """One splitting of a residual: coefficients times the norm of what they give, so that one step suits them all."""

    tree: bytes
    steps: list[Step]
    bands: Bands
    values: FloatArray


class ResidualEncoder:
    """Transforms of one residual, prepared once, from which payloads of several sizes are made."""

    def __init__(self, residual: FloatArray, *, effort: int = 1) -> None:
        self.shape = residual.shape
        self._flat = _as_3d(residual.shape)
        values = np.ascontiguousarray(residual, np.float32).reshape(self._flat)
        self._mean = _unpack24(_pack24(float(values.mean(dtype=np.float64))))
        self._centred = values - np.float32(self._mean)
        self._effort = effort
        self._transforms: dict[bytes, _Transform] = {}

    def _transform(self, choices: list[int]) -> _Transform:
        tree = pack_tree(self._flat, choices)
        if tree not in self._transforms:
            steps, leaves = unpack_tree(self._flat, tree)
            bands = bands_table(self._flat, leaves)
            values = self._centred.copy()
            wavelet.forward(values, steps)
            coefficients.weigh(values, bands)
            self._transforms[tree] = _Transform(tree, steps, bands, values)
        return self._transforms[tree]

    def _choose(self, step: float) -> _Transform:
        return self._transform(choose_tree(self._centred, step, LAMBDA))

    def _finish(self, plan: _Transform, data: bytes, q: npt.NDArray[np.int32], step: float) -> EncodedResidual:
        points = coefficients.centroids(plan.values, q, step)
        payload = _pack24(step) + _pack24(self._mean) + points + bytes([len(plan.tree)]) + plan.tree + data
        decoded = _restore(q, plan.bands, plan.steps, step, self._mean, points, self.shape)
        return EncodedResidual(payload, decoded, step)

    def encode_at_step(self, step: float) -> EncodedResidual:
        """Quantise with one step (in the residual's units), with the splitting that suits it."""
        step = _unpack24(_pack24(step))
        plan = self._choose(step)
        q = coefficients.encode(plan.values, plan.bands, step, LAMBDA, None)[1]
        return self._finish(plan, *coefficients.encode(plan.values, plan.bands, step, LAMBDA, q), step)

    def encode(self, n_bytes: int) -> EncodedResidual:
        """The best payload of at most n_bytes."""
        if n_bytes < HEADER:
            return EncodedResidual(b"", np.zeros(self.shape, np.float32), 0.0)
        peak = float(np.abs(self._centred).max(initial=0.0))
        nothing = np.zeros(self._flat, np.int32)
        blank = self._transform([LEAF])
        if n_bytes < HEADER + 8 or peak < 1e-30:
            return self._finish(blank, b"", nothing, _unpack24(_pack24(max(peak, 1e-30))))
        step = self._first_step(n_bytes)
        plan = self._choose(step)
        budget = n_bytes - HEADER - len(plan.tree)
        best, q, known = None, None, list[tuple[float, float]]()
        for _ in range(10):
            step = _unpack24(_pack24(step))
            data, q = coefficients.encode(plan.values, plan.bands, step, LAMBDA, q)
            known.append((math.log2(step), math.log2(len(data) / max(budget, 1))))
            if len(data) <= budget and (best is None or step <= best[2]):
                best = (data, q, step)
                if len(data) >= 0.997 * budget:
                    break
            step = 2.0 ** _next_step(known)
        if best is None:
            return self._finish(blank, b"", nothing, _unpack24(_pack24(max(peak, 1e-30))))
        return self._finish(plan, *best)

    def _first_step(self, n_bytes: int) -> float:
        """About 4.8 bits are spent on a coefficient that is not zero, most of them above 0.8 steps."""
        values = np.abs(self._transform(mallat_tree(self._flat)).values).ravel()
        count = min(max(int(n_bytes * 8 / 4.8), 1), values.size - 1)
        return max(float(np.partition(values, values.size - 1 - count)[values.size - 1 - count]), 1e-30) / 0.75


def _next_step(known: list[tuple[float, float]]) -> float:
    """Logarithm of the next step from pairs (log2 step, log2 of bytes over budget): secant within the bracket."""
    over = [k for k in known if k[1] > 0]
    under = [k for k in known if k[1] <= 0]
    goal = -0.0015
    if not over or not under:
        last = known[-1]
        return last[0] + max(-2.0, min(2.0, 0.8 * (last[1] - goal))) + (0.01 if not under else -0.01)
    a, b = max(over), min(under)
    if b[0] <= a[0]:
        return a[0] + 0.005
    t = (a[1] - goal) / (a[1] - b[1])
    return a[0] + (b[0] - a[0]) * min(max(t, 0.1), 0.9)


def encode_residual(residual: FloatArray, n_bytes: int, *, effort: int = 1) -> bytes:
    """The best payload of at most n_bytes for a finite float32 array of one to four dimensions."""
    return ResidualEncoder(residual, effort=effort).encode(n_bytes).payload
