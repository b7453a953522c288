"""Coder of quantised wavelet coefficients: one kernel writes and reads them, in integers only.

Band by band, coarse to fine: first one bit per cell of 4 x 4 x 4 coefficients (is anything in it not zero?), then, row
by row, the coefficients of the cells that hold something: zero or not, the sign, then the magnitude in unary up to 16
and an exponential Golomb code from there on. Contexts are in `contexts`, the mixing of their probabilities in `mixing`.

While writing, a coefficient of magnitude a (in steps) becomes the m of least (a - m)^2 + lambda x bits among
round(a), round(a) - 1 and 0, the bits taken from the adaptive model as it stands.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inr_codec.bands import (
    CELL_Y,
    CELL_Z,
    CELLS,
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
    Bands,
)
from inr_codec.contexts import (
    CELL,
    CLASSES,
    COEFFICIENT,
    ENTRIES,
    FEATURES,
    KINDS,
    MAGNITUDE,
    PART,
    SIGN,
    SLOTS,
    cell_contexts,
    coefficient_contexts,
    learn_magnitude,
    learn_sign,
    new_work,
    sign_contexts,
)
from inr_codec.entropy import (
    COST_BITS,
    COUNTED_HALF,
    HALF,
    SQUASH,
    STATE_SIZE,
    STRETCH_LIMIT,
    decode_bit,
    decoder_init,
    encode_bit,
    encoder_finish,
    encoder_init,
)
from inr_codec.kernels import inner, kernel
from inr_codec.mixing import ONE_WEIGHT, learn, predict
from inr_codec.quantised import Levels, live_cells
from inr_codec.wavelet import FloatArray

UNARY = 16  # magnitudes from here on are coded by exponential Golomb
GOLOMB_BITS = 20
OVERRUN = 64  # bytes past the end after which a stream is surely not one
_CLASS = np.array([0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5], np.int64)  # of the decision "is it more than t?"
NONE = np.zeros(0, np.float32)
_SETS = 16  # of weights per class: by level, and apart for the lowest band


class Model(NamedTuple):
    """Everything that learns: counted probabilities, weights of the mixers and of the two predictors."""

    tables: npt.NDArray[np.uint32]
    mixers: npt.NDArray[np.int64]
    cell_mixers: npt.NDArray[np.int64]
    sign_mixers: npt.NDArray[np.int64]
    magnitude_weights: npt.NDArray[np.int64]
    sign_weights: npt.NDArray[np.int64]


def new_model() -> Model:
    """The model that every stream starts from."""
    n, n_cell, n_sign = COEFFICIENT.size - 1, CELL.size - 1, SIGN.size - 1
    mixers = np.full((CLASSES * _SETS, n + 1), ONE_WEIGHT * 3 // 20)
    cell_mixers = np.full((8, n_cell + 1), ONE_WEIGHT * 2 // 5)
    sign_mixers = np.full((8, n_sign + 1), ONE_WEIGHT // 4)
    mixers[:, n] = cell_mixers[:, n_cell] = 0
    magnitude_weights = np.full((KINDS, FEATURES), (1 << 20) * 2 // 25)
    magnitude_weights[:, -1] = (1 << 20) // 250
    return Model(
        np.full(ENTRIES, COUNTED_HALF, np.uint32),
        mixers,
        cell_mixers,
        sign_mixers,
        magnitude_weights,
        np.zeros((KINDS, SLOTS), np.int64),
    )


@inner()
def _code(encoding, state, buffer, p, bit):
    if encoding:
        encode_bit(state, buffer, p, bit)
        return bit
    return decode_bit(state, buffer, p)


@inner()
def _code_large(encoding, state, buffer, excess):
    """Exponential Golomb code of excess >= 1."""
    bits = 0
    while bits < GOLOMB_BITS and _code(encoding, state, buffer, HALF, 1 if excess >> (bits + 1) else 0):
        bits += 1
    value = 1
    for i in range(bits - 1, -1, -1):
        value = 2 * value + _code(encoding, state, buffer, HALF, (excess >> i) & 1)
    return value


@inner()
def _best_level(a, lam, sign_cost, model, contexts, inputs, set_of_zero):
    """The magnitude of least distortion + lam x cost (2^-16 bit) for a coefficient of a steps, a >= 1/2."""
    high = int(min(a + np.float32(0.5), np.float32(1 << GOLOMB_BITS)))
    p = predict(model.tables, 0, contexts, model.mixers[set_of_zero], inputs)
    spent = sign_cost + COST_BITS[p >> 4]
    best, least = 0, a * a + lam * np.float32(COST_BITS[(65535 - p) >> 4])
    last = 0
    for m in range(1, min(high, UNARY - 1) + 1):
        c = _CLASS[m]
        if c != last:
            p = predict(model.tables, c * PART, contexts, model.mixers[c * _SETS + set_of_zero], inputs)
            last = c
        if m >= high - 1:
            cost = (a - np.float32(m)) ** 2 + lam * np.float32(spent + COST_BITS[(65535 - p) >> 4])
            if cost < least:
                best, least = m, cost
        spent += COST_BITS[p >> 4]
    return best if high < UNARY else high


@inner()
def _code_cells(encoding, table, b, state, buffer, live, model, work, contexts, inputs):
    band = table[b]
    weights = model.cell_mixers[band[LEVEL]]
    inputs[contexts.size] = 64
    for z in range((band[NZ] + 3) >> 2):
        for y in range((band[NY] + 3) >> 2):
            for x in range((band[NX] + 3) >> 2):
                c = cell_contexts(table, b, work, z, y, x, contexts)
                p = predict(model.tables, 0, contexts, weights, inputs)
                bit = _code(encoding, state, buffer, p, int(live[c]) if encoding else 0)
                learn(model.tables, 0, contexts, weights, inputs, p, bit)
                work.cells[c] = bit


@kernel()
def _run(encoding, table, values, scale, lam, importance, live, levels, buffer, model, work):
    """Code all bands; returns the number of bytes written, or of those that were missing, at most, while reading."""
    state = np.zeros(STATE_SIZE, np.int64)
    if encoding:
        encoder_init(state)
    else:
        decoder_init(state, buffer, 0, buffer.size)
    contexts, inputs = np.zeros(COEFFICIENT.size - 1, np.int64), np.zeros(COEFFICIENT.size, np.int64)
    cell_context, cell_input = np.zeros(CELL.size - 1, np.int64), np.zeros(CELL.size, np.int64)
    sign_context, sign_input = np.zeros(SIGN.size - 1, np.int64), np.zeros(SIGN.size, np.int64)
    started = np.zeros(KINDS + 8, np.uint8)
    for b in range(table.shape[0]):
        band = table[b]
        kind, level = band[KIND], band[LEVEL]
        if not started[kind]:  # predictors go on from the next coarser level
            started[kind] = 1
            if started[kind + 8]:
                for i in range(FEATURES):
                    model.magnitude_weights[kind, i] = model.magnitude_weights[kind + 8, i]
                for i in range(SLOTS):
                    model.sign_weights[kind, i] = model.sign_weights[kind + 8, i]
        magnitude_weights, sign_weights = model.magnitude_weights[kind], model.sign_weights[kind]
        sign_mixer = model.sign_mixers[level]
        set_of_zero = 2 * level + (1 if band[ORIENTATION] else 0)
        _code_cells(encoding, table, b, state, buffer, live, model, work, cell_context, cell_input)
        inputs[contexts.size] = 64
        nx = band[NX]
        for z in range(band[NZ]):
            for y in range(band[NY]):
                cell_row = band[CELLS] + (z >> 2) * band[CELL_Z] + (y >> 2) * band[CELL_Y]
                row = band[OFFSET] + z * band[STRIDE_Z] + y * band[STRIDE_Y]
                place = band[PLACE] + z * band[ROW_Z] + y * band[ROW_Y]
                if not encoding and state[2] > buffer.size + OVERRUN:
                    return state[2] - buffer.size
                for x4 in range(0, nx, 4):
                    cell = int(work.cells[cell_row + (x4 >> 2)])
                    if cell == 0:
                        continue
                    for x in range(x4, min(x4 + 4, nx)):
                        mean = coefficient_contexts(table, b, work, z, y, x, cell >> 1, magnitude_weights, contexts)
                        m = 0
                        sign = 0
                        signed = 0
                        p_sign = HALF
                        logit = 0
                        if encoding:
                            a = values[row + x] * scale
                            sign = 1 if a < 0 else 0
                            a = abs(a)
                            if a >= np.float32(0.5):
                                logit, signed = sign_contexts(table, b, work, z, y, x, sign_weights, sign_context)
                                sign_input[sign_context.size] = logit
                                p_sign = predict(model.tables, 0, sign_context, sign_mixer, sign_input)
                                cost = COST_BITS[(p_sign if sign else 65535 - p_sign) >> 4]
                                price = lam / importance[row + x] if importance.size else lam
                                m = _best_level(a, price, cost, model, contexts, inputs, set_of_zero)
                        weights = model.mixers[set_of_zero]
                        p = predict(model.tables, 0, contexts, weights, inputs)
                        bit = _code(encoding, state, buffer, p, 1 if m else 0)
                        learn(model.tables, 0, contexts, weights, inputs, p, bit)
                        if bit:
                            if not encoding:
                                logit, signed = sign_contexts(table, b, work, z, y, x, sign_weights, sign_context)
                                sign_input[sign_context.size] = logit
                                p_sign = predict(model.tables, 0, sign_context, sign_mixer, sign_input)
                            sign = _code(encoding, state, buffer, p_sign, sign)
                            learn(model.tables, 0, sign_context, sign_mixer, sign_input, p_sign, sign)
                            learn_sign(work, sign_weights, signed, (sign << 16) - SQUASH[logit + STRETCH_LIMIT])
                            t = 1
                            while t < UNARY:
                                c = _CLASS[t]
                                weights = model.mixers[c * _SETS + set_of_zero]
                                p = predict(model.tables, c * PART, contexts, weights, inputs)
                                bit = _code(encoding, state, buffer, p, 1 if m > t else 0)
                                learn(model.tables, c * PART, contexts, weights, inputs, p, bit)
                                if not bit:
                                    break
                                t += 1
                            if t == UNARY:
                                t = UNARY - 1 + _code_large(encoding, state, buffer, m - UNARY + 1)
                            m = t
                            work.magnitudes[place + x] = MAGNITUDE[min(m, 599)]
                            work.signed[place + x] = -min(m, 4) if sign else min(m, 4)
                            cell = min(cell + 2, 7)
                            levels[row + x] = -m if sign else m
                        learn_magnitude(work, magnitude_weights, mean, m)
                    work.cells[cell_row + (x4 >> 2)] = cell
    if not encoding:
        return state[2] - buffer.size
    used = encoder_finish(state, buffer)
    return max(used, state[2] - OVERRUN // 2, 1)  # a reader may count on most of the trailing zeros


def encode(
    values: FloatArray, bands: Bands, step: float, lam: float, before: Levels | None = None, weights: FloatArray = NONE
) -> tuple[bytes, Levels]:
    """Quantise and code coefficients (three axes, in the layout of `bands`); returns the bytes and the levels.

    `lam` is the distortion in squared steps that one bit is worth. `before`, the levels of an earlier pass over similar
    values, tells which cells are worth visiting; without it the choice is rougher. `weights` is what the squared
    error of each coefficient counts (empty: 1).
    """
    live = live_cells(values, bands, step, before)
    levels = np.zeros(values.shape, np.int32)
    buffer = np.zeros(6 * values.size + 64, np.uint8)
    n = _run(
        True,
        bands.table,
        values.reshape(-1),
        np.float32(1 / step),
        np.float32(lam / 65536),
        weights.reshape(-1),
        live,
        levels.reshape(-1),
        buffer,
        new_model(),
        new_work(bands.magnitudes, bands.cells),
    )
    return buffer[:n].tobytes(), levels


def decode(data: bytes, bands: Bands, shape: tuple[int, int, int]) -> Levels | None:
    """The levels of a stream, all zero without bytes; None when the bytes end long before the levels do."""
    levels = np.zeros(shape, np.int32)
    if not data:
        return levels
    given, work = np.frombuffer(data, np.uint8).copy(), new_work(bands.magnitudes, bands.cells)
    live, zero = np.zeros(0, np.uint8), np.float32(0)
    missing = _run(False, bands.table, NONE, zero, zero, NONE, live, levels.reshape(-1), given, new_model(), work)
    return None if missing > OVERRUN else levels
