"""Encoding the residual layer: passes settle on a quantiser step, and take out what coefficients do to each other."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inr_codec.chunk.boxes import as_3d
from inr_codec.layers.residual import wavelet
from inr_codec.layers.residual.coefficient_coder import NONE, encode_coefficients
from inr_codec.layers.residual.first_axis import FirstAxis
from inr_codec.layers.residual.packet_tree import (
    LEAF,
    choose_packet_tree,
    mallat_tree,
    pack_packet_tree,
    unpack_packet_tree,
)
from inr_codec.layers.residual.payload import HEADER, pack24, unpack24
from inr_codec.layers.residual.quantise import Levels, centroids, dequantise, restored, spread_weights, weigh
from inr_codec.layers.residual.subbands import Subbands, subbands_table
from inr_codec.layers.residual.wavelet import FloatArray, Split
from inr_codec.runtime.kernels import kernel

# Measured in benchmarks/studies/residual (LAMBDA, TRIALS, ROUNDS, NEAR, LEAP, MOVE); all others of this block were
# varied one at a time in benchmarks/studies/constants.
LAMBDA = 0.1
"""Distortion in squared quantiser steps that one bit is worth."""
TRIALS = (1.0, 0.75, 1.35)
"""Steps that trees are chosen for, times the first guess: all but the first at effort 2 and up."""
ROUNDS = 2, 12, 18
"""By effort."""
PAIR = 2
"""Rounds between two looks at the layers above (benchmarks/studies/loop)."""
SETTLE = 6
"""Passes after the rounds, in which only the step follows the budget."""
NEAR = 1.4
"""Ratio of two budgets up to which the passes for one go on from where those for the other ended."""
LEAP, NEAR_LEAP = 2.0, 0.125
"""Octaves by which a pass may change the step: of passes from the start, and of those that go on from others."""
ENOUGH = 0.996
"""Share of the budget that ends the passes once the rounds are over."""
WIDEN = 1.1
"""Factor of the step from pass to pass where the passes that were meant to settle are over."""
GOAL = -0.002
"""log2 of bytes over budget that a step aims at: a little less than the budget."""
SLOPE, SLOPES = 0.8, (0.3, 8.0)
"""Octaves of the step for an octave of bytes, before two passes tell, and the range of what two passes may tell."""
INSIDE = 0.1, 0.9
"""Where a secant may end between two known steps, as a share of the way."""
LIVE_BITS, LIVE_STEPS = 4.8, 0.75
"""First guess of a step: so many bits for each coefficient that is at least so many steps large."""
MOVE, MOST_MOVE = 1.5, 0.3
"""How far a round may move: the first over the largest eigenvalue of S'S (2 diverges), at most the second."""
FINEST = 2.0**-17
"""Least step, as a share of the largest value: magnitudes stay within what the coder holds (FORMAT.md section 6.4)."""
COARSEST_START = 2.0**-12
"""Least first guess of a step, as a share of the largest value."""


Above = Callable[[FloatArray], FloatArray]
"""What a residual leaves of the error once the layers above it have acted, both in the residual's shape."""


@dataclass(frozen=True, slots=True)
class EncodedResidual:
    """A payload, the array that it decodes to, and its quantiser step."""

    payload: bytes
    decoded: FloatArray
    step: float


@kernel()
def _move(values, decoded, gradient, share):  # type: ignore[no-untyped-def]
    """decoded + (1 - share) (values - decoded) + share gradient, all float32 with three axes."""
    out = np.empty_like(values)
    a, b, c, d = values.reshape(-1), decoded.reshape(-1), gradient.reshape(-1), out.reshape(-1)
    for i in range(d.size):
        d[i] = b[i] + (1 - share) * (a[i] - b[i]) + share * c[i]
    return out


@dataclass(slots=True, eq=False)
class _Pass:
    """A pass: its bytes, reconstruction points, quantiser step, decoded residual (less the mean), squared error."""

    data: bytes
    points: bytes
    step: float
    decoded: FloatArray
    squares: float = math.inf


@dataclass(slots=True, eq=False)
class _Transform:
    """One packet tree of a residual: coefficients times the norm of what they give, so that one step suits them all.

    What rounds left behind, for others to go on from: moved: the coefficients to quantise; before: the levels of the
    last round; step: the quantiser's in the best pass; budget: what it was to fit.
    """

    tree: bytes
    splits: list[Split]
    bands: Subbands
    values: FloatArray
    importance: FloatArray
    moved: FloatArray | None = None
    before: Levels | None = None
    step: float = 0.0
    budget: float = 1.0


class ResidualEncoder:
    """Payloads of one residual. One goes on from where another of nearly the same size ended, which saves rounds.

    Efforts 0, 1, 2 are `ROUNDS` against the transform's lack of orthogonality, with several trees from 2 on.
    levels: of the wavelet along the first of four axes, 0 for none. weights: what the squared error of each value
    counts (None: 1); a uniform step, but a higher price of bits where weights are low.
    """

    def __init__(self, residual: FloatArray, *, weights: FloatArray | None = None, levels: int = 0) -> None:
        self.shape = residual.shape
        self.levels = levels
        self._along = FirstAxis(residual.shape, levels) if levels else None
        self._header = HEADER + bool(levels)
        self._flat = as_3d(residual.shape)
        values = np.ascontiguousarray(residual, np.float32).reshape(self._flat)
        self._mean = unpack24(pack24(float(values.mean(dtype=np.float64))))
        self._centred = values - np.float32(self._mean)
        self._peak = float(np.abs(self._centred).max(initial=0.0))
        self._weights = None if weights is None else np.ascontiguousarray(weights).reshape(self._flat)
        self._split = self._centred
        if self._along:
            self._split = self._centred.copy()
            self._along.forward(self._split)
        self._size, self._first = 0, 0.0
        self._last: _Transform | None = None

    def _transform_by(self, choices: list[int]) -> _Transform:
        tree = pack_packet_tree(self._flat, choices)
        splits, leaves = unpack_packet_tree(self._flat, tree)
        bands = subbands_table(self._flat, leaves)
        values = self._split.copy()
        wavelet.forward(values, splits)
        weigh(values, bands)
        importance = NONE
        if self._weights is not None:
            importance = spread_weights(self._along.spread(self._weights) if self._along else self._weights, splits)
        return _Transform(tree, splits, bands, values, importance)

    def _choose(self, step: float) -> _Transform:
        return self._transform_by(choose_packet_tree(self._split, step, LAMBDA))

    def _passes(
        self, transform: _Transform, step: float, budget: float, rounds: int, settle: int, above: Above | None = None
    ) -> _Pass | None:
        """Code again and again: the step follows the budget, the values to quantise follow the error of the result.

        The transform S of coefficients to values is not orthogonal. A round moves the values by a share of S'e, the
        part of the decoded residual's error e within their reach: it takes out of the coefficients what they do to each
        other. Then only the step settles. With an infinite budget it stays. The best pass within the budget counts:
        by the error that is left `above`, if there are layers above.
        """
        best: _Pass | None = None
        values, before, leap = transform.values, None, LEAP
        if transform.moved is not None and _near(budget, transform.budget):
            values, before, step, leap = transform.moved, transform.before, transform.step, NEAR_LEAP
        known = list[tuple[float, float]]()
        for i in range(rounds + 3 * settle):
            if i >= rounds + settle and best is not None:
                break
            coded, levels = self._code(transform, values, step, before)
            data, step, error = coded.data, coded.step, self._error(coded, above)
            coded.squares = self._squares(error)
            if len(data) <= budget and (best is None or coded.squares < best.squares):
                best = coded
            if len(data) <= budget and (
                (i >= rounds and len(data) >= ENOUGH * budget) or step < self._peak * 2 * FINEST
            ):
                break
            if i < rounds:
                values, before = self._moved(transform, values, coded, levels, error), levels
            if math.isfinite(budget):
                known.append((math.log2(step), math.log2(max(len(data), 1) / budget)))
                step = 2.0 ** _next_step(known[-2:] if i < rounds else known[rounds:], leap)
            if i >= rounds + settle - 1:
                step *= WIDEN
        if best is not None and math.isfinite(budget):
            transform.moved, transform.before, transform.step, transform.budget = values, before, best.step, budget
        return best

    def _code(
        self, transform: _Transform, values: FloatArray, step: float, before: Levels | None
    ) -> tuple[_Pass, Levels]:
        """A pass over the values with (nearly) this step, and its levels."""
        step = unpack24(pack24(max(step, self._peak * FINEST)))
        data, levels = encode_coefficients(values, transform.bands, step, LAMBDA, before, transform.importance)
        points = centroids(values, levels, step)
        decoded = np.zeros(levels.shape, np.float32)
        restored(levels, transform.bands, step, points, decoded)
        wavelet.inverse(decoded, transform.splits)
        if self._along:
            self._along.inverse(decoded)
        return _Pass(data, points, step, decoded), levels

    def _moved(
        self, transform: _Transform, values: FloatArray, coded: _Pass, levels: Levels, error: FloatArray
    ) -> FloatArray:
        """The values to quantise in the next round: moved by a share of S'e. The memory of the error e is used up."""
        if self._along:
            self._along.transposed(error)
        wavelet.forward(error, transform.splits, transpose=True)
        weigh(error, transform.bands, back=True)
        share = move_share(self._flat, transform.tree, self._along.largest if self._along else 1.0)
        moved: FloatArray = _move(values, dequantise(levels, coded.step, coded.points), error, share)
        return moved

    def encode_below(
        self, n_bytes: int, decoded: FloatArray, learn: Callable[[FloatArray], Above], gains: Sequence[float]
    ) -> EncodedResidual | None:
        """Rounds that follow the error which layers above leave, then a payload of at most `n_bytes`, or None.

        They go on from the last payload, which had nearly as many bytes. Before each `PAIR` of them `learn` gets what
        the residual decodes to (`decoded` at first), and returns what tells that error. The rounds take the derivative
        of the layers above for 1, and count their error `gains` times: one for each pair.
        """
        transform = self._last
        if transform is None or transform.moved is None:
            return None
        values, before, step = transform.moved, transform.before, transform.step
        budget = max(n_bytes - self._header - len(transform.tree), 1)
        known = list[tuple[float, float]]()
        for gain in gains:
            above = learn(decoded)
            for _ in range(PAIR):
                coded, levels = self._code(transform, values, step, before)
                decoded = self._values(coded)
                error = np.float32(gain) * self._error(coded, above)
                values, before = self._moved(transform, values, coded, levels, error), levels
                known.append((math.log2(coded.step), math.log2(max(len(coded.data), 1) / budget)))
                step = 2.0 ** _next_step(known[-2:], NEAR_LEAP)
        transform.moved, transform.before, transform.step, transform.budget = values, before, step, budget
        return self.settle(n_bytes, above)

    def forget(self) -> None:
        """Begin anew with the next payload."""
        self._size, self._last = 0, None

    def settle(self, n_bytes: int, above: Above) -> EncodedResidual | None:
        """The last payload with another step, in at most `n_bytes`, nearly as many; None if there is none."""
        transform = self._last
        if transform is None:
            return None
        budget = max(n_bytes - self._header - len(transform.tree), 1)
        result = self._passes(transform, transform.step, budget, 0, SETTLE, above)
        return None if result is None else self._finish(transform, result)

    def _values(self, coded: _Pass) -> FloatArray:
        return coded.decoded.reshape(self.shape) + np.float32(self._mean)

    def _error(self, coded: _Pass, above: Above | None) -> FloatArray:
        """What is left of the residual, and by the layers above it."""
        if above is None:
            return self._centred - coded.decoded
        return np.ascontiguousarray(above(self._values(coded))).reshape(self._flat)

    def _squares(self, error: FloatArray) -> float:
        square = np.square(error)
        return float((square if self._weights is None else square * self._weights).sum(dtype=np.float64))

    def _finish(self, transform: _Transform, result: _Pass) -> EncodedResidual:
        head = pack24(result.step) + pack24(self._mean) + result.points
        front = bytes([self.levels]) if self.levels else b""
        payload = b"".join((front, head, bytes([len(transform.tree)]), transform.tree, result.data))
        return EncodedResidual(payload, self._values(result), result.step)

    def encode_at_step(self, step: float, effort: int = 1) -> EncodedResidual:
        """Quantise with one step (in the residual's units), with the packet tree that suits it."""
        transform = self._choose(step)
        result = self._passes(transform, step, math.inf, 2 + 2 * effort, 0)
        assert result is not None
        return self._finish(transform, result)

    def encode(self, n_bytes: int, effort: int = 1) -> EncodedResidual:
        """The best payload of at most n_bytes; takes up the rounds of the last one if that had nearly as many."""
        if n_bytes < self._header:
            return EncodedResidual(b"", np.zeros(self.shape, np.float32), 0.0)
        transform: _Transform | None = None
        result: _Pass | None = None
        if n_bytes >= self._header + 8 and self._peak > 1e-30:
            if not _near(n_bytes, self._size):
                self._size, self._first, self._last = n_bytes, self._first_step(n_bytes), None
            trees = set[bytes]()
            for tried in self._candidates(effort):
                budget = max(n_bytes - self._header - len(tried.tree), 1)
                known = tried.tree in trees
                coded = None if known else self._passes(tried, self._first, budget, ROUNDS[effort], SETTLE)
                trees.add(tried.tree)
                if coded is not None and (result is None or coded.squares < result.squares):
                    transform, result = tried, coded
        if transform is None or result is None:  # the mean alone
            nothing = np.zeros(self._flat, np.float32)
            mean = _Pass(b"", bytes([128] * 3), unpack24(pack24(max(self._peak, 1e-30))), nothing, 0.0)
            return self._finish(self._transform_by([LEAF]), mean)
        self._last = transform
        return self._finish(transform, result)

    def _candidates(self, effort: int) -> Iterator[_Transform]:
        """The transform of the last payload, and such as suit other steps; one at a time, as they take memory."""
        if self._last is not None:
            yield self._last
        for factor in TRIALS[0 if self._last is None else 1 : len(TRIALS) if effort > 1 else 1]:
            yield self._choose(self._first * factor)

    def _first_step(self, n_bytes: int) -> float:
        """About LIVE_BITS bits are spent on a coefficient that is not zero, most of them above LIVE_STEPS steps."""
        values = np.abs(self._transform_by(mallat_tree(self._flat)).values).ravel()
        count = min(max(int(n_bytes * 8 / LIVE_BITS), 1), values.size - 1)
        least_live = float(np.partition(values, values.size - 1 - count)[values.size - 1 - count])
        return max(least_live / LIVE_STEPS, self._peak * COARSEST_START)


@lru_cache(maxsize=256)
def move_share(shape: tuple[int, int, int], tree: bytes, more: float = 1.0) -> np.float32:
    """How far a round may move: MOVE over the largest eigenvalue of S'S, found by power iteration.

    It is that of a small array whose sides are the same modulo 2^5, as splits are local. more: the eigenvalue of what
    comes before the tree.
    """
    small = (min(shape[0], 32 + shape[0] % 32), min(shape[1], 32 + shape[1] % 32), min(shape[2], 32 + shape[2] % 32))
    splits, leaves = unpack_packet_tree(small, tree)
    bands = subbands_table(small, leaves)
    vector = np.random.default_rng(0).standard_normal(small, np.float32)
    norm = 1.0
    for _ in range(8):
        vector /= np.linalg.norm(vector)
        weigh(vector, bands, back=True)
        wavelet.inverse(vector, splits)
        wavelet.forward(vector, splits, transpose=True)
        weigh(vector, bands, back=True)
        norm = float(np.linalg.norm(vector))
    return np.float32(min(MOST_MOVE, MOVE / (norm * more)))


def _near(one: float, other: float) -> bool:
    return max(one, other) < NEAR * min(one, other)


def _next_step(known: list[tuple[float, float]], leap: float) -> float:
    """Logarithm of the next step from pairs (log2 step, log2 of bytes over budget): by the secant, in the bracket.

    Without a bracket it differs from the last one by at most `leap`.
    """
    over, under = [k for k in known if k[1] > 0], [k for k in known if k[1] <= 0]
    if over and under and max(over)[0] < min(under)[0]:
        (a, more), (b, less) = max(over), min(under)
        return a + (b - a) * min(max((more - GOAL) / (more - less), INSIDE[0]), INSIDE[1])
    step, excess = known[-1]
    slope = SLOPE
    if len(known) > 1 and abs(known[-2][1] - excess) > 1e-4:
        slope = min(max((known[-2][0] - step) / (excess - known[-2][1]), SLOPES[0]), SLOPES[1])
    return step + max(-leap, min(leap, slope * (excess - GOAL)))
