"""Residual layer: what the other layers leave of a chunk, as quantised wavelet coefficients under a context model.

Payload: splitting (1 byte), step (3), mean (3), reconstruction points (3), then the bytes of the range coder. `step` and
`mean` are the upper 24 bits of a float32, big endian. An empty payload stands for zeros everywhere.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inr_codec import coefficients, wavelet
from inr_codec.errors import CorruptChunk
from inr_codec.wavelet import Box, FloatArray, Step

HEADER = 10
LAMBDA = 0.1  # distortion in squared steps that one bit is worth
LEVELS, SMALLEST = 5, 4
MALLAT, DELAY_1, DELAY_2, AXIS_FIRST = range(4)


@dataclass(frozen=True, slots=True)
class EncodedResidual:
    """A payload, the array that `decode_residual` gives for it and its quantiser step."""

    payload: bytes
    decoded: FloatArray
    step: float


def _as_3d(shape: tuple[int, ...]) -> tuple[int, int, int]:
    padded = (1,) * (3 - len(shape)) + tuple(shape)
    return (math.prod(padded[:-2]), padded[-2], padded[-1])


def split_steps(shape: tuple[int, int, int], splitting: int) -> list[Step]:
    """The lifting steps of a splitting = kind + 4 * axis: see FORMAT.md."""
    kind, special = splitting % 4, splitting // 4
    current, steps = list(shape), list[Step]()
    if kind == AXIS_FIRST:
        for _ in range(LEVELS):
            if current[special] >= SMALLEST:
                steps.append((special, tuple(current)))
                current[special] = (current[special] + 1) // 2
        current = list(shape)
    for level in range(LEVELS):
        waits = kind == AXIS_FIRST or level < kind
        axes = [a for a in range(3) if current[a] >= SMALLEST and not (a == special and waits)]
        steps += [(a, tuple(current)) for a in axes]
        current = [(n + 1) // 2 if a in axes else n for a, n in enumerate(current)]
    ordered: list[Step] = []
    for i, (axis, box) in enumerate(steps):  # within a level an axis halves the box of the next one
        ordered.append((axis, box))
        del i
    return ordered


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
    step = _unpack24(payload[1:4])
    if not 1e-37 < step < 1e37:
        raise CorruptChunk(f"the step of a residual layer is a positive number, got {step!r}; the chunk is damaged")
    return step


def decode_residual(payload: bytes, shape: tuple[int, ...], box: Box | None = None) -> FloatArray:
    """The float32 array of a payload; with `box` = (start, stop) per axis only that part, with the same values."""
    inside = tuple(slice(a, b) for a, b in box) if box is not None else ()
    if not payload:
        return np.zeros(shape, np.float32)[inside].copy()
    step = residual_step(payload)
    mean, flat = _unpack24(payload[4:7]), _as_3d(shape)
    splitting = payload[0]
    if splitting >= 12:
        raise CorruptChunk(f"the splitting of a residual layer is below 12, got {splitting}; the chunk is damaged")
    steps = split_steps(flat, splitting)
    bands = coefficients.bands_of(flat, steps)
    q = coefficients.decode(np.frombuffer(payload, np.uint8)[HEADER:].copy(), bands, flat)
    return _restore(q, bands, steps, step, mean, payload[7:HEADER], shape, box)


def _restore(
    q: npt.NDArray[np.int32], bands: coefficients.Bands, steps: list[Step], step: float, mean: float,
    points: bytes, shape: tuple[int, ...], box: Box | None = None,
) -> FloatArray:
    offsets = np.array([(p - 128) / 256 for p in points], np.float32)
    values = coefficients.dequantise(q, bands, np.float32(step), offsets)
    if box is None:
        wavelet.inverse(values, steps)
        return (values + np.float32(mean)).reshape(shape)
    part: Box = box if len(shape) == 3 else tuple((0, n) for n in values.shape)
    if len(shape) < 3:
        part = ((0, 1),) * (3 - len(shape)) + box
    wavelet.inverse(values, steps, part)
    full = values.reshape(shape)[tuple(slice(a, b) for a, b in box)]
    return full + np.float32(mean)


class ResidualEncoder:
    """Transforms of one residual, prepared once, from which payloads of several sizes are made."""

    def __init__(self, residual: FloatArray, *, effort: int = 1) -> None:
        self.shape = residual.shape
        self._flat = _as_3d(residual.shape)
        values = np.ascontiguousarray(residual, np.float32).reshape(self._flat)
        self._mean = _unpack24(_pack24(float(values.mean(dtype=np.float64))))
        self._centred = values - np.float32(self._mean)
        self._effort = effort
        self._transforms: dict[int, tuple[FloatArray, coefficients.Bands, list[Step]]] = {}

    def _transform(self, splitting: int) -> tuple[FloatArray, coefficients.Bands, list[Step]]:
        if splitting not in self._transforms:
            steps = split_steps(self._flat, splitting)
            values = self._centred.copy()
            wavelet.forward(values, steps)
            self._transforms[splitting] = (values, coefficients.bands_of(self._flat, steps), steps)
        return self._transforms[splitting]

    def _candidates(self) -> list[int]:
        axes = range(3) if self._effort > 1 else range(1)
        able = [a for a in axes if self._flat[a] >= SMALLEST and min(n for n in self._flat if n > 1) < max(self._flat)
                or self._flat[a] >= SMALLEST]
        if sum(n >= SMALLEST for n in self._flat) < 2:
            return [0]
        return [0, *(4 * a + kind for a in able for kind in (DELAY_1, DELAY_2, AXIS_FIRST))]

    def _choose(self, step: float) -> int:
        """The splitting of least distortion + LAMBDA x bits at a step, by one coding pass each."""
        costs = {}
        for splitting in self._candidates():
            values, bands, _ = self._transform(splitting)
            data, q = coefficients.encode(values, bands, step, LAMBDA, None)
            costs[splitting] = coefficients.distortion(values, q, step) + LAMBDA * 8 * len(data)
        return min(costs, key=lambda s: costs[s])

    def _finish(self, splitting: int, data: bytes, q: npt.NDArray[np.int32], step: float) -> EncodedResidual:
        values, bands, steps = self._transform(splitting)
        points = coefficients.centroids(values, q, step)
        payload = bytes([splitting]) + _pack24(step) + _pack24(self._mean) + points + data
        decoded = _restore(q, bands, steps, step, self._mean, points, self.shape)
        return EncodedResidual(payload, decoded, step)

    def encode_at_step(self, step: float) -> EncodedResidual:
        """Quantise with one step (in the residual's units) and splitting chosen for it."""
        step = _unpack24(_pack24(step))
        splitting = self._choose(step)
        values, bands, _ = self._transform(splitting)
        data, q = coefficients.encode(values, bands, step, LAMBDA, None)
        data, q = coefficients.encode(values, bands, step, LAMBDA, q)
        return self._finish(splitting, data, q, step)

    def encode(self, n_bytes: int) -> EncodedResidual:
        """The best payload of at most n_bytes."""
        budget = n_bytes - HEADER
        empty = EncodedResidual(b"", np.zeros(self.shape, np.float32), 0.0)
        peak = float(np.abs(self._centred).max(initial=0.0))
        if budget < 0:
            return empty
        if budget == 0 or peak < 1e-30:
            return self._finish(0, b"", np.zeros(self._flat, np.int32), _unpack24(_pack24(max(peak, 1e-30))))
        step = self._first_step(budget)
        splitting = self._choose(step)
        values, bands, _ = self._transform(splitting)
        best, q, known = None, None, list[tuple[float, float]]()
        for _ in range(10):
            step = _unpack24(_pack24(step))
            data, q = coefficients.encode(values, bands, step, LAMBDA, q)
            known.append((math.log2(step), math.log2(max(len(data), 1) / budget)))
            if len(data) <= budget and (best is None or step <= best[2]):
                best = (data, q, step)
                if len(data) >= 0.997 * budget:
                    break
            step = 2.0 ** _next_step(known)
        return self._finish(splitting, *best) if best else empty

    def _first_step(self, n_bytes: int) -> float:
        """About 4.8 bits are spent on a coefficient that is not zero, most of them above 0.8 steps."""
        values = np.abs(self._transform(0)[0]).ravel()
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
