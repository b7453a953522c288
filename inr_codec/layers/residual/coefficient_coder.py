"""Coder of quantised wavelet coefficients: one kernel writes and reads them, in integers only.

Subband by subband ("band" for short), coarse to fine: first one bit per cell of 4 x 4 x 4 coefficients (is anything in
it not zero?), then, row by row, the coefficients of the cells that hold something: zero or not, the sign, then the
magnitude in unary up to 16 and an exponential Golomb code from there on. Contexts are in `contexts`, the mixing of
their probabilities in `entropy.mixing`.

While writing, a coefficient of magnitude a (in quantiser steps) becomes the m of least (a - m)^2 + lambda x bits among
round(a), round(a) - 1 and 0, the bits taken from the adaptive model as it stands.
"""

import numpy as np
import numpy.typing as npt

from inr_codec.entropy.mixing import ONE_WEIGHT, OVERRUN, code, excess, length, new_tables, predict
from inr_codec.entropy.range_coder import (
    COST_BITS,
    SQUASH,
    STATE_SIZE,
    STRETCH_LIMIT,
    decoder_init,
    encoder_finish,
    encoder_init,
    read_golomb,
    write_golomb,
)
from inr_codec.layers.residual.contexts import (
    CELL,
    CLASSES,
    COEFFICIENT,
    ENTRIES,
    KINDS,
    MAGNITUDE,
    PART,
    SIGN,
    cell_contexts,
    coefficient_contexts,
    learn_magnitude,
    learn_sign,
    sign_contexts,
)
from inr_codec.layers.residual.neighbourhood import (
    FEATURES,
    KNOWN,
    LINES,
    SLOTS,
    know_band,
    know_cells,
    know_four,
    know_row,
    new_work,
)
from inr_codec.layers.residual.quantise import Levels, live_cells
from inr_codec.layers.residual.subbands import (
    CELL_Y,
    CELL_Z,
    CELLS,
    COUSIN,
    KIND,
    LEVEL,
    NX,
    NY,
    NZ,
    OFFSET,
    ORIENTATION,
    PLACE,
    ROW_Y,
    ROW_Z,
    STRIDE_Y,
    STRIDE_Z,
    Subbands,
)
from inr_codec.layers.residual.wavelet import FloatArray
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import stop_if_cancelled

UNARY = 16  # magnitudes from here on are coded by exponential Golomb
GOLOMB_BITS = 20
_CLASS = np.array([0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5], np.int64)  # of the decision "is it more than t?"
NONE = np.zeros(0, np.float32)
_SETS = 16  # of mixing weights per class: by decomposition level, and apart for the lowest band


_INPUTS, _CELL_INPUTS, _SIGN_INPUTS = COEFFICIENT.size - 1, CELL.size - 1, SIGN.size - 1
_MIXERS = 0
_CELL_MIXERS = _MIXERS + CLASSES * _SETS * (_INPUTS + 1)
_SIGN_MIXERS = _CELL_MIXERS + 8 * (_CELL_INPUTS + 1)
_MAGNITUDES = _SIGN_MIXERS + 8 * (_SIGN_INPUTS + 1)
_SIGNS = _MAGNITUDES + KINDS * FEATURES
_WEIGHTS = _SIGNS + KINDS * SLOTS


def _new_weights() -> npt.NDArray[np.int64]:
    """Weights of mixers and predictors that streams start from: int64 (_WEIGHTS,), at _MIXERS, _CELL_MIXERS, ..."""
    weights = np.zeros(_WEIGHTS, np.int64)
    mixers = ((_MIXERS, _CELL_MIXERS, _INPUTS, 3 / 20), (_CELL_MIXERS, _SIGN_MIXERS, _CELL_INPUTS, 2 / 5))
    for start, stop, n, weight in (*mixers, (_MAGNITUDES, _SIGNS, FEATURES - 1, 32 / 25)):
        weights[start:stop].reshape(-1, n + 1)[:, :n] = int(ONE_WEIGHT * weight)
    weights[_SIGN_MIXERS:_MAGNITUDES] = ONE_WEIGHT // 4
    weights[_MAGNITUDES + FEATURES - 1 : _SIGNS : FEATURES] = (1 << 20) // 250
    return weights


@inner()
def _best_level(a, lam, sign_cost, tables, weights, keys, inputs, mixer):
    """The magnitude of least distortion + lam x cost (2^-16 bit) for a coefficient of a quantiser steps, a >= 1/2."""
    high = int(min(a + np.float32(0.5), np.float32(1 << GOLOMB_BITS)))
    best, least, spent, p, last = 0, np.float32(0), 0, 0, -1
    for m in range(min(high, UNARY - 1) + 1):
        c = _CLASS[m]
        if c != last:
            first = _MIXERS + (c * _SETS + mixer) * (_INPUTS + 1)
            p = predict(tables, c * PART, keys, weights[first : first + _INPUTS + 1], inputs, _INPUTS)
            last = c
        if m == 0 or m >= high - 1:
            cost = (a - np.float32(m)) ** 2 + lam * np.float32(spent + COST_BITS[(65535 - p) >> 4])
            if m == 0 or cost < least:
                best, least = m, cost
        spent += COST_BITS[p >> 4] + (sign_cost if m == 0 else 0)
    return best if high < UNARY else high


@inner()
def _start_predictors(weights, kind, started):
    """The predictors of a kind go on from those of the next coarser decomposition level."""
    if started[kind] == 0 and started[kind + 8]:
        for first, n in ((_MAGNITUDES, FEATURES), (_SIGNS, SLOTS)):
            for i in range(first + kind * n, first + (kind + 1) * n):
                weights[i] = weights[i + 8 * n]
    started[kind] = 1


@inner()
def _code_cells(table, b, live, state, buffer, tables, mixer, magnitudes, known_cells, lines, keys, inputs):
    """Write or read, without `live`, which cells of a band hold something. mixer: int64, its mixing weights."""
    band = table[b]
    inputs[_CELL_INPUTS] = 64
    for z in range((band[NZ] + 3) >> 2):
        for y in range((band[NY] + 3) >> 2):
            know_cells(table, b, magnitudes, lines, z, y)
            for x in range((band[NX] + 3) >> 2):
                c = cell_contexts(table, b, known_cells, lines, keys, z, y, x)
                if live is None:
                    bit = code(state, buffer, tables, 0, keys, mixer, inputs, _CELL_INPUTS, None)
                else:
                    bit = np.int64(live[c])
                    bit = code(state, buffer, tables, 0, keys, mixer, inputs, _CELL_INPUTS, bit)
                known_cells[c] = bit


@kernel()
def _code(table, values, scale, lam, importance, live, levels, state, buffer, tables, weights, work):
    """Write or read all bands; returns the bytes written, or those missing, at most, for what was read.

    table: that of `Subbands`. values: float32, flat, coefficients; None to read them (docs/ARCHITECTURE.md, "Kernels"),
    and then scale, lam, importance and live are None as well. scale: 1 / quantiser step. lam: lambda in squared steps a
    2^-16 bit. importance: what the squared error of each coefficient counts, float32, flat; empty where all count 1.
    live: uint8, 1 for the cells to be coded. levels: int32, flat, zeros, which become those that are coded. state,
    buffer: of the range coder. tables: uint32 (ENTRIES,), counted probabilities. weights: int64, as `_new_weights`
    gives them. work: see `Work`.
    """
    if values is None:
        decoder_init(state, buffer, 0, buffer.size)
    else:
        encoder_init(state)
    (
        magnitudes, signed, known_cells, lines, features, signs, slots, places,
        keys, inputs, sign_keys, sign_inputs, started,
    ) = work  # fmt: skip
    decisions = 0
    for b in range(table.shape[0]):
        band = table[b]
        kind, level, nx = band[KIND], band[LEVEL], band[NX]
        _start_predictors(weights, kind, started)
        n_signs = know_band(table, b, slots)
        first = _CELL_MIXERS + level * (_CELL_INPUTS + 1)
        mixer = weights[first : first + _CELL_INPUTS + 1]
        _code_cells(table, b, live, state, buffer, tables, mixer, magnitudes, known_cells, lines, keys, inputs)
        inputs[_INPUTS] = 64
        first = _MAGNITUDES + kind * FEATURES
        predictor = weights[first : first + FEATURES]
        first = _SIGNS + kind * SLOTS
        sign_predictor = weights[first : first + SLOTS]
        first = _SIGN_MIXERS + level * (_SIGN_INPUTS + 1)
        sign_mixer = weights[first : first + _SIGN_INPUTS + 1]
        own = 2 * level + (1 if band[ORIENTATION] else 0)
        for z in range(band[NZ]):
            for y in range(band[NY]):
                cells = band[CELLS] + (z >> 2) * band[CELL_Z] + (y >> 2) * band[CELL_Y]
                row = band[OFFSET] + z * band[STRIDE_Z] + y * band[STRIDE_Y]
                place = band[PLACE] + z * band[ROW_Z] + y * band[ROW_Y]
                if values is None and excess(state, buffer.size, decisions, levels.size) > OVERRUN:
                    return OVERRUN + 1
                first, last = nx, -1
                for c in range((nx + 3) >> 2):
                    if known_cells[cells + c]:
                        first, last = min(first, c), c
                if last < 0:
                    continue
                end = min(4 * last + 4, nx)
                known = start = 4 * first
                for x in range(start, end):
                    cell = np.int64(known_cells[cells + (x >> 2)])
                    if cell == 0:
                        continue
                    if x & 3 == 0:
                        if x >= known:
                            start, known = x, x + KNOWN
                            know_row(table, b, magnitudes, lines, places, z, y, start, min(KNOWN, end - start))
                        know_four(lines, features, x - start)
                    f = features[(x & 3) * LINES : (x & 3) * LINES + LINES]
                    before, second = np.int64(magnitudes[place + x - 1]), np.int64(magnitudes[place + x - 2])
                    corner = (cell >> 1) * 16 + (z & 3) * 4 + (y & 3)
                    mean = coefficient_contexts(f, before, second, predictor, keys, kind, b - band[COUSIN], corner)
                    m = sign = 0
                    if values is not None:
                        a = abs(values[row + x] * scale)
                        sign = int(values[row + x] < 0)
                        if a >= np.float32(0.5):
                            price = lam / importance[row + x] if importance.size else lam
                            sign_inputs[_SIGN_INPUTS] = sign_contexts(
                                table, b, signed, signs, slots, places, sign_predictor, sign_keys, x, n_signs
                            )
                            p = predict(tables, 0, sign_keys, sign_mixer, sign_inputs, _SIGN_INPUTS)
                            cost = COST_BITS[(p if sign else 65535 - p) >> 4]
                            m = _best_level(a, price, cost, tables, weights, keys, inputs, own)
                    t = 0
                    while t < UNARY:
                        c = _CLASS[t]
                        first_weight = (c * _SETS + own) * (_INPUTS + 1)
                        mixer = weights[first_weight : first_weight + _INPUTS + 1]
                        if values is None:
                            more = code(state, buffer, tables, c * PART, keys, mixer, inputs, _INPUTS, None)
                        else:
                            more = code(state, buffer, tables, c * PART, keys, mixer, inputs, _INPUTS, int(m > t))
                        if not more:
                            break
                        if t == 0:
                            logit = sign_contexts(
                                table, b, signed, signs, slots, places, sign_predictor, sign_keys, x, n_signs
                            )
                            sign_inputs[_SIGN_INPUTS] = logit
                            n = _SIGN_INPUTS
                            if values is None:
                                sign = code(state, buffer, tables, 0, sign_keys, sign_mixer, sign_inputs, n, None)
                            else:
                                sign = code(state, buffer, tables, 0, sign_keys, sign_mixer, sign_inputs, n, sign)
                            error = (sign << 16) - SQUASH[logit + STRETCH_LIMIT]
                            learn_sign(signs, slots, sign_predictor, n_signs, error)
                        t += 1
                    if t == UNARY:
                        if values is None:
                            t += read_golomb(state, buffer, GOLOMB_BITS) - 1
                        else:
                            write_golomb(state, buffer, m - UNARY + 1, GOLOMB_BITS)
                            t = m
                    decisions += 1 + min(t, UNARY)
                    if t:
                        magnitudes[place + x] = MAGNITUDE[min(t, 599)]
                        signed[place + x] = -min(t, 4) if sign else min(t, 4)
                        known_cells[cells + (x >> 2)] = min(cell + 2, 7)
                        levels[row + x] = -t if sign else t
                    learn_magnitude(f, before, second, predictor, mean, t)
    if values is None:
        return excess(state, buffer.size, decisions, levels.size)
    return length(state, encoder_finish(state, buffer), decisions, levels.size)


def encode_coefficients(
    values: FloatArray,
    bands: Subbands,
    step: float,
    lam: float,
    before: Levels | None = None,
    weights: FloatArray = NONE,
) -> tuple[bytes, Levels]:
    """Quantise and code coefficients, float32 (nz, ny, nx) in the layout of `bands`; returns the bytes and the levels.

    step: the quantiser's. lam: the distortion in squared steps that one bit is worth. before: the levels of an earlier
    pass over similar values, which tell what cells are worth visiting; without them the choice is rougher. weights:
    what the squared error of each coefficient counts (empty: 1).
    """
    stop_if_cancelled()
    live = live_cells(values, bands, step, before)
    levels = np.zeros(values.shape, np.int32)
    buffer = np.zeros(6 * values.size + 64, np.uint8)
    n = _code(
        bands.table, values.reshape(-1), np.float32(1 / step), np.float32(lam / 65536), weights.reshape(-1), live,
        levels.reshape(-1), np.zeros(STATE_SIZE, np.int64), buffer, new_tables(ENTRIES), _new_weights(),
        new_work(bands),
    )  # fmt: skip
    return buffer[:n].tobytes(), levels


def decode_coefficients(data: bytes, bands: Subbands, shape: tuple[int, int, int]) -> Levels | None:
    """The levels of a stream, all zero without bytes; None when the bytes end long before the levels do."""
    levels = np.zeros(shape, np.int32)
    if not data:
        return levels
    given, state = np.frombuffer(bytearray(data), np.uint8), np.zeros(STATE_SIZE, np.int64)
    flat, tables, weights, work = levels.reshape(-1), new_tables(ENTRIES), _new_weights(), new_work(bands)
    missing = _code(bands.table, None, None, None, None, None, flat, state, given, tables, weights, work)
    return None if missing > OVERRUN else levels
