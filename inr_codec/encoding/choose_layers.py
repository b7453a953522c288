"""Which layers a chunk gets, and how many bytes each: whatever leaves the least squared error at the same total."""

import math
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.efforts import EFFORTS
from inr_codec.encoding.psnr_search import DECIBELS_PER_OCTAVE
from inr_codec.layers.deblocking.filter import STRENGTHS, choose_faces, faces
from inr_codec.layers.deblocking.payload import deblock_strength, pack_deblock
from inr_codec.layers.filter.encode import encode_filter, first_follower, next_follower
from inr_codec.layers.filter.payload import apply_filter
from inr_codec.layers.network.encode import FittedNetworks, encode_network, fit_networks
from inr_codec.layers.network.payload import evaluate_network, unpack_network
from inr_codec.layers.network.plan import plan_network
from inr_codec.layers.residual.encode import LAMBDA, Above, EncodedResidual, ResidualEncoder
from inr_codec.layers.residual.first_axis import most_levels
from inr_codec.stream.frame import Layer, LayerType

STRONGEST = 4 * round(math.log2(STRENGTHS[-1]))
"""Least code of the rms error: the strength of `STRENGTHS[-1]` times that error must still have a code, 0 or more."""
FRAME = 4
"""Bytes that the frame of one layer takes at most: its type and its length."""

RESIDUAL_LEAST = 40
"""Bytes from which on a residual layer is tried (benchmarks/studies/constants)."""
FILTER_SHARE, FILTER_LEAST, FILTER_MOST = 0.05, 120, 900
"""Bytes kept for the filter while the other layers are chosen: a share of all, at least and at most so many
(benchmarks/studies/filter: 300 bytes at least lost 0.02 dB; benchmarks/studies/constants)."""
CATCH_UP = 0.3, 2.0
"""Decibels by which networks may be behind after a short fit: the first number, and the second times their share of
all bytes. A long fit may still catch up so much (benchmarks/studies/fidelity)."""
PROMISING = -0.1
"""Gain after a short fit, in dB, above which the second amount of networks was always better than the first
(benchmarks/studies/fidelity)."""
SHORT_SHARE = 0.1
"""Steps of the short fit, as a share of the long one's (benchmarks/studies/fidelity)."""
LONG_FIT = 12000
"""Fits of fewer steps are not tried in short first: a tenth of the fast effort's tells too little
(benchmarks/studies/fidelity)."""
STEEPER = 1.1
"""A byte was measured to lower the error so many times as much as the formula of `price_of_byte` says
(benchmarks/studies/filter)."""
GAINS = 1.8, 1.0
"""What the error that a filter leaves counts in the rounds below it, at first and at last (benchmarks/studies/loop)."""
LEAST_TAKEN = 0.007
"""Share of the squared error that a first filter must take off for rounds below it to pay (benchmarks/studies/loop)."""
DEBLOCK_RESERVE = 8
"""Bytes kept back for a deblocking layer, beside one bit per face (benchmarks/studies/constants)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Layers, the unit intensities they decode to, their mean squared error, the step of the residual layer (or 0).

    fitted: their networks, before they were quantised; encoder: that of the residual layer; below: whether that one was
    coded for a filter above it, whose error it is then.
    """

    layers: tuple[Layer, ...]
    decoded: NDArray[np.float32]
    error: float
    step: float = 0.0
    fitted: FittedNetworks | None = None
    encoder: ResidualEncoder | None = None
    below: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the layers with their frames, at most."""
        return sum(len(layer.payload) + FRAME for layer in self.layers)


def choose_layers(chunk: UnitChunk, n_bytes: int, config: Config) -> list[Layer]:
    """Layers of at most `n_bytes` bytes in all, framing included; none if nothing fits.

    A residual layer alone comes first. Unless a short fit shows that networks lose, they are tried next, with more and
    more bytes as long as that lowers the error (from the second amount on where the short fit promises much). The best
    effort finds these bytes with fits of the default effort, and keeps those networks where the long fit diverges.
    Candidates are compared under residual layers of little effort. The residual of the chosen one is coded on from
    there: where a filter pays, in rounds that see what the filter leaves.
    """
    if n_bytes <= FRAME:
        return []
    if config.layers == "network":
        return list(with_networks(chunk, n_bytes, config).layers)
    reserve = min(max(int(FILTER_SHARE * n_bytes), FILTER_LEAST), FILTER_MOST, n_bytes // 4)
    base, best = choose_networks(chunk, n_bytes, reserve, config)
    filtered = below_filter(chunk, base, best, n_bytes, config, reserve)
    if filtered is not None:
        return list(filtered.layers)
    if best.encoder:
        again = residual_on(chunk, base, n_bytes - reserve, best.encoder, EFFORTS[config.effort].residual_effort)
        best = again if again.error < best.error else best
    return list(with_filter(chunk, base, best, n_bytes, config, n_bytes - best.bytes).layers) if best.layers else []


def choose_networks(chunk: UnitChunk, n_bytes: int, reserve: int, config: Config) -> tuple[Candidate, Candidate]:
    """The networks that are chosen, or none, and the same with a residual layer, in all but `reserve` bytes."""
    base = Candidate((), np.zeros_like(chunk.unit), math.inf)
    best = with_residual(chunk, base, n_bytes - reserve)
    budgets = network_budgets(chunk, n_bytes, reserve, config)
    promise = gain_of_networks(chunk, best, budgets[0], config) if best.step else PROMISING
    if promise < -CATCH_UP[0] - CATCH_UP[1] * budgets[0] / n_bytes:
        budgets = []
    elif config.effort == "best":
        quick = replace(config, effort="default")
        found: tuple[Candidate, Candidate, int] | None = None
        for budget in budgets:
            networks = with_networks(chunk, budget, quick)
            candidate = with_residual(chunk, networks, n_bytes - reserve)
            if found is None or candidate.error < found[1].error:
                found = networks, candidate, budget
        assert found is not None
        budgets = [found[2]]
        if found[1].error < best.error:
            base, best = found[:2]
    elif promise > PROMISING:
        budgets = budgets[1:] or budgets
    for budget in budgets:
        networks = with_networks(chunk, budget, config)
        if not networks.layers:
            continue
        candidate = with_residual(chunk, networks, n_bytes - reserve)
        if candidate.error >= best.error:
            break
        base, best = networks, candidate
    return base, best


def network_budgets(chunk: UnitChunk, n_bytes: int, reserve: int, config: Config) -> list[int]:
    """Bytes to try for networks: fixed numbers of bytes per voxel, or half of a short stream, and then all of it."""
    budgets = [int(share * chunk.unit.size) for share in EFFORTS[config.effort].network_bytes_per_voxel]
    useful = [budget for budget in budgets if budget <= n_bytes // 2]
    return useful or [n_bytes // 2, n_bytes - reserve]


def gain_of_networks(chunk: UnitChunk, without: Candidate, budget: int, config: Config) -> float:
    """Decibels that networks of `budget` bytes gain on none after a short fit; PROMISING where all fits are short.

    Both are coded with the quantiser step of `without`: their errors are then nearly the same, and bytes tell. What
    they differ by in bytes counts DECIBELS_PER_OCTAVE for each doubling.
    """
    steps = plan_network(chunk, budget, config).settings.schedule.steps
    if steps < LONG_FIT:
        return PROMISING
    networks = with_networks(chunk, budget, replace(config, steps=int(steps * SHORT_SHARE)))
    if not networks.layers:
        return -math.inf
    levels = without.encoder.levels if without.encoder else 0
    encoder = ResidualEncoder(chunk.unit - networks.decoded, weights=chunk.weights, levels=levels)
    coded = encoder.encode_at_step(without.step, effort=0)
    with_error = chunk.squared_error(networks.decoded + coded.decoded)
    with_size = networks.bytes + FRAME + len(coded.payload)
    less_error = 10 * math.log10(max(without.error, 1e-30) / max(with_error, 1e-30))
    return less_error + DECIBELS_PER_OCTAVE * math.log2(without.bytes / with_size)


def with_residual(chunk: UnitChunk, base: Candidate, n_bytes: int) -> Candidate:
    """`base` and a residual layer of little effort, `n_bytes` in all; `base` where too little is left for one.

    Of four axes the first one is split too, where that leaves less error.
    """
    if n_bytes - base.bytes - FRAME < RESIDUAL_LEAST:
        return base
    residual, weights = chunk.unit - base.decoded, chunk.weights
    levels = {0, most_levels(residual.shape[0])} if residual.ndim == 4 else {0}
    encoders = (ResidualEncoder(residual, weights=weights, levels=each) for each in sorted(levels))
    return min((residual_on(chunk, base, n_bytes, each, 0) for each in encoders), key=lambda found: found.error)


def residual_layer(encoder: ResidualEncoder, coded: EncodedResidual) -> Layer:
    """The layer of what an encoder gave."""
    return Layer(LayerType.RESIDUAL4D if encoder.levels else LayerType.RESIDUAL, coded.payload)


def residual_on(chunk: UnitChunk, base: Candidate, n_bytes: int, encoder: ResidualEncoder, effort: int) -> Candidate:
    """`base` and a residual layer by `encoder`, which goes on from its last one, `n_bytes` in all."""
    coded = encoder.encode(n_bytes - base.bytes - FRAME, effort)
    decoded = base.decoded + coded.decoded
    layers = (*base.layers, residual_layer(encoder, coded))
    return Candidate(layers, decoded, chunk.squared_error(decoded), coded.step, encoder=encoder)


def settled(chunk: UnitChunk, base: Candidate, best: Candidate, n_bytes: int, payload: bytes) -> Candidate | None:
    """`best` with another step of its residual, `n_bytes` in all: the one that is best below a filter of `payload`."""
    assert best.encoder is not None

    def above(residual: NDArray[np.float32]) -> NDArray[np.float32]:
        return chunk.unit - apply_filter(base.decoded + residual, payload)

    coded = best.encoder.settle(n_bytes - base.bytes - FRAME, above)
    if coded is None:
        return None
    layers = (*base.layers, residual_layer(best.encoder, coded))
    return replace(best, layers=layers, decoded=base.decoded + coded.decoded, step=coded.step)


def price_of_byte(chunk: UnitChunk, best: Candidate, n_bytes: int) -> float:
    """Share of the squared error that one more byte takes off the layers of `best`.

    Where the last one is a residual layer, its quantiser tells: it spends bits up to where one takes off `LAMBDA`
    squared steps. Masked voxels have no error.
    """
    if not best.step:
        return math.log(10) / 10 * DECIBELS_PER_OCTAVE / math.log(2) / n_bytes
    counted = chunk.unit.size if chunk.valid is None else max(int(np.count_nonzero(chunk.valid)), 1)
    return STEEPER * 8 * LAMBDA * best.step**2 / (max(best.error, 1e-30) * counted)


def below_filter(
    chunk: UnitChunk, base: Candidate, best: Candidate, n_bytes: int, config: Config, room: int
) -> Candidate | None:
    """`best` with a filter of `room` bytes at most, `n_bytes` in all, its residual coded for that filter.

    Rounds follow the error that a filter leaves which learns as they go on. None where there is no residual layer, no
    filter pays, or less error was left when they began.
    """
    pairs = EFFORTS[config.effort].filter_pairs
    if best.encoder is None:
        return None
    price, seeds = price_of_byte(chunk, best, n_bytes), count(config.seed + 1)
    first = first_follower(chunk, best.decoded, best.step, room - FRAME, price, seed=config.seed)
    if first is None:
        return None
    now, left = first, chunk.squared_error(first.apply(best.decoded))
    if left > (1 - LEAST_TAKEN) * best.error:
        return None

    def learn(residual: NDArray[np.float32]) -> Above:
        nonlocal now
        now = next_follower(chunk, base.decoded + residual, now, seed=next(seeds))
        return lambda residual: chunk.unit - now.apply(base.decoded + residual)

    gains = np.linspace(*GAINS, pairs).tolist()
    size = n_bytes - room // 2 - base.bytes - FRAME
    coded = best.encoder.encode_below(size, best.decoded - base.decoded, learn, gains)
    if coded is None:
        return None
    decoded = base.decoded + coded.decoded
    error = chunk.squared_error(now.apply(decoded))
    layers = (*base.layers, residual_layer(best.encoder, coded))
    below = Candidate(layers, decoded, error, coded.step, encoder=best.encoder, below=True)
    if error < left:
        filtered = with_filter(chunk, base, below, n_bytes, config, room)
        if filtered.layers[-1].type == LayerType.FILTER and filtered.error < left:
            return filtered
    best.encoder.forget()
    return None


def with_filter(
    chunk: UnitChunk, base: Candidate, best: Candidate, n_bytes: int, config: Config, room: int
) -> Candidate:
    """`best` with a filter layer of `room` bytes at most, `n_bytes` in all; what it leaves goes to the layer before."""
    scale = best.step or 3 * math.sqrt(best.error)
    price = price_of_byte(chunk, best, n_bytes)
    found = encode_filter(chunk, best.decoded, scale, room - FRAME, price, effort=config.effort, seed=config.seed)
    taken = 0 if found is None else len(found[0]) + FRAME
    if best.below:
        fitting = None if found is None else settled(chunk, base, best, n_bytes - taken, found[0])
        if fitting is None:
            return best
        best = fitting
    else:
        if best.encoder:
            again = residual_on(chunk, base, n_bytes - taken, best.encoder, 0)
        else:
            again = with_networks(chunk, n_bytes - taken, config, best.fitted)
        best = again if again.error < best.error else best
    if found is None:
        return best
    layer = Layer(LayerType.FILTER, found[0])
    decoded = apply_filter(best.decoded, layer.payload)
    return Candidate((*best.layers, layer), decoded, chunk.squared_error(decoded), best.step)


def with_networks(chunk: UnitChunk, n_bytes: int, config: Config, fitted: FittedNetworks | None = None) -> Candidate:
    """Networks (those that are `fitted`, if there are any) and, where it lowers the error, the deblocking filter.

    Without layers where no network fits.
    """
    unit = chunk.unit
    wanted = config.deblock is not False
    room = n_bytes - FRAME - DEBLOCK_RESERVE * wanted
    fitted = fitted or fit_networks(chunk, room, config)
    payload = encode_network(chunk, room, config, fitted)
    if payload is None:
        return Candidate((), np.zeros_like(unit), math.inf)
    layers: tuple[Layer, ...] = (Layer(LayerType.NETWORK, payload),)
    layer = unpack_network(payload, unit.shape)
    decoded = evaluate_network(layer, all_indices(unit.shape))
    room = n_bytes - 2 * FRAME - len(payload) - 1 - (len(faces(layer.blocks)) + 7) // 8
    plain = Candidate(layers, decoded, chunk.squared_error(decoded), 0.0, fitted)
    if not wanted or len(layer.blocks) == 1 or room < 0:
        return plain
    rms = math.sqrt(max(plain.error, 1e-18))
    code = min(max(round(-4 * math.log2(rms)), STRONGEST), 255)
    which, bits, filtered = choose_faces(unit, decoded, layer.blocks, deblock_strength(code), valid=chunk.valid)
    if not any(bits) or (chunk.structure is not None and chunk.structure.loses(filtered, decoded)):
        return plain
    packed = pack_deblock(code - 4 * round(math.log2(STRENGTHS[which])), bits)
    layers = (*layers, Layer(LayerType.DEBLOCK, packed))
    return Candidate(layers, filtered, chunk.squared_error(filtered), 0.0, fitted)
