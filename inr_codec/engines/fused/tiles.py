"""Arithmetic on tiles: the few loops that fitting and evaluating a network are made of.

A tile holds `TILE` voxels; activations are stored neuron by neuron, `TILE` float32 values each, so that every loop
below runs over contiguous memory and stays close to the first-level cache. Products of matrices are made in blocks of
sums that stay in registers: a few neurons times a few vectors of voxels, or, for a gradient, a few outputs times a few
inputs with a vector of partial sums each. One core of an AMD EPYC (Zen 4) makes about 110 and 90 GFLOP/s of them.
"""

import numpy as np

from inr_codec.engines.fused.llvm_vectors import Vectors, in_vectors
from inr_codec.runtime.kernels import inner

TILE = 128
WIDEST = 16
"""The most values in a vector, on any machine."""
BLOCKS = 4, 2, 1
"""Rows of matrices that are taken at a time, as long as there are so many left."""

# sin(pi f) / f and cos(pi f), by powers of f^2, |f| <= 1/2; errors below 2e-8 and 5e-8
SINE = (3.14159264, -5.16771009, 2.55007766, -0.59829216, 0.07765941)
COSINE = (0.99999995, -4.93479286, 4.05841191, -1.33188016, 0.2196968)
NEAREST = 12582912.0
"""1.5 * 2^23. A float32 of this size is an integer, and its last bit tells whether it is odd."""


@inner()
def whole_vectors(count):
    """count, or the next multiple of WIDEST."""
    return (count + WIDEST - 1) // WIDEST * WIDEST


@inner()
def scratch(count):
    """`count` zeros that begin where a cache line does: vectors that lie across two lines take twice as long."""
    room = np.zeros(count + 16, np.float32)
    skip = -(room.ctypes.data // 4) % 16
    return room[skip : skip + count]


def _product(v, weights, source, target, n_in, n_out, across, backward):
    """Write `affine`, or with `backward` `transposed`: arguments are pointers to where the arrays begin."""
    builder = v.builder
    for rows, o in v.blocks(n_out, *BLOCKS):
        columns = min(v.sums // rows, TILE // v.lanes)
        block = [(r, c) for r in range(rows) for c in range(columns)]
        for _, j in v.blocks(TILE, columns * v.lanes):
            if backward:
                sums = v.variables(*[v.constant(0)] * len(block))
            else:
                bias = [v.spread(builder.load(v.at(weights, (across, n_out), o, r))) for r in range(rows)]
                sums = v.variables(*[bias[r] for r, _ in block])
            for _, i in v.blocks(n_in, 1):
                x = [v.load(v.at(source, (i, TILE), j, c * v.lanes)) for c in range(columns)]
                place = v.at(weights, (i, across), o) if backward else v.at(weights, (o, across), i)
                a = [v.spread(builder.load(v.at(place, r if backward else (r, across)))) for r in range(rows)]
                for total, (r, c) in zip(sums, block):
                    v.add_product(total, a[r], x[c])
            for total, (r, c) in zip(sums, block):
                there = v.at(target, (o, TILE), j, r * TILE + c * v.lanes)
                value = builder.load(total)
                v.store(builder.fmul(v.load(there), value) if backward else value, there)


@in_vectors
def _affine(v, weights, w, source, s, target, t, n_in, n_out):
    _product(v, v.at(weights, w), v.at(source, s), v.at(target, t), n_in, n_out, n_in, backward=False)


@in_vectors
def _transposed(v, weights, w, source, s, target, t, n_in, n_out, across):
    _product(v, v.at(weights, w), v.at(source, s), v.at(target, t), n_in, n_out, across, backward=True)


@inner()
def affine(weights, w, source, s, target, t, n_in, n_out):
    """target <- matrix @ source + bias, for one tile.

    `w`, `s`, `t` are where the matrix (n_out x n_in, the bias behind it), source and target begin in the flat arrays.
    """
    _affine(weights, w, source, s, target, t, n_in, n_out)


@inner()
def transposed(weights, w, source, s, target, t, n_in, n_out, across):
    """target *= matrix.T @ source, for one tile; of the `across` columns of the matrix, the first `n_out`."""
    _transposed(weights, w, source, s, target, t, n_in, n_out, across)


@in_vectors
def _outer_sum(v, delta, d, source, s, gradient, g, n_in, n_out):
    builder = v.builder
    delta, source, matrix = v.at(delta, d), v.at(source, s), v.at(gradient, g)

    def add(sums, columns, corner):
        """Add the totals of a block of sums to rows of the gradient, from `corner` on."""
        held = [builder.load(total) for total in sums]
        for k in range(0, len(held), v.lanes):
            totals = v.totals(held[k : k + v.lanes])
            for first in range(0, min(v.lanes, len(held)), columns):
                there = v.at(corner, ((k + first) // columns, n_in))
                some = v.shuffle(totals, totals, list(range(first, first + columns)))
                v.store(builder.fadd(v.load(there, some.type), some), there)

    for rows, o in v.blocks(n_out, *BLOCKS):
        biases = v.variables(*[v.constant(0)] * rows)
        for _, j in v.blocks(TILE, v.lanes):
            for r in range(rows):
                v.add_product(biases[r], v.constant(1), v.load(v.at(delta, (o, TILE), j, r * TILE)))
        add(biases, rows, v.at(matrix, (n_in, n_out), o))
        for columns, i in v.blocks(n_in, *[size for size in BLOCKS if rows * size <= v.sums]):
            sums = v.variables(*[v.constant(0)] * (rows * columns))
            for _, j in v.blocks(TILE, v.lanes):
                e = [v.load(v.at(delta, (o, TILE), j, r * TILE)) for r in range(rows)]
                x = [v.load(v.at(source, (i, TILE), j, c * TILE)) for c in range(columns)]
                for k, total in enumerate(sums):
                    v.add_product(total, e[k // columns], x[k % columns])
            add(sums, columns, v.at(matrix, (o, n_in), i))


@inner()
def outer_sum(delta, d, source, s, gradient, g, n_in, n_out):
    """gradient[o, i] += sum over the tile of delta[o] * source[i]; behind the matrix, += sum of delta[o]."""
    _outer_sum(delta, d, source, s, gradient, g, n_in, n_out)


@in_vectors
def _sine(v, values, start, count, high, low, slopes=None, w0=None):
    builder = v.builder
    high, low = v.spread(high), v.spread(low)
    for _, k in v.blocks(count, v.lanes):
        place = v.at(values, start, k)
        x = v.load(place)
        nearest = v.fma(x, high, v.constant(NEAREST))
        rest = v.fma(x, low, v.fma(x, high, builder.fsub(v.constant(NEAREST), nearest)))
        square = builder.fmul(rest, rest)
        value = builder.fmul(rest, v.polynomial(square, [v.constant(c) for c in SINE]))
        v.store(v.negated_where_odd(value, nearest), place)
        if slopes is not None:
            scaled = [builder.fmul(v.constant(c), v.spread(w0)) for c in COSINE]
            v.store(v.negated_where_odd(v.polynomial(square, scaled), nearest), v.at(slopes, start, k))


@inner()
def _half_turns(w0):
    """w0 / pi, as the sum of two float32 numbers."""
    turns = np.float64(w0) / np.pi
    high = np.float32(turns)
    return high, np.float32(turns - high)


@inner()
def sine(values, start, count, w0):
    """values <- sin(w0 * values) on `count` entries from `start` (whole vectors), as `sine_cosine` does."""
    high, low = _half_turns(w0)
    _sine(values, start, count, high, low)


@inner()
def sine_cosine(values, slopes, start, count, w0):
    """values <- sin(w0 * values), slopes <- w0 * cos(w0 * values) on `count` entries from `start` (whole vectors).

    w0 x / pi is the nearest integer plus a rest f; an odd integer flips the signs of sin(pi f) and cos(pi f), which are
    polynomials. Where products and sums are fused, within 3e-7 for |w0 x| < 10^6.
    """
    high, low = _half_turns(w0)
    _sine(values, start, count, high, low, slopes, w0)


@in_vectors
def _turn(v, sines, cosines, x, across, phase, quarter, target, t, rows, count):
    for _, o in v.blocks(rows, 1):
        for lanes, j in v.blocks(count, v.lanes, 1):
            u = Vectors(v.context, v.builder, lanes)
            s, c = (u.spread(v.builder.load(v.at(of, o))) for of in (phase, quarter))
            sine, cosine = (u.load(v.at(of, (o, across), x, j)) for of in (sines, cosines))
            u.store(u.fma(s, cosine, v.builder.fmul(c, sine)), v.at(target, (o, TILE), t, j))


@inner()
def turn(sines, cosines, x, across, phase, quarter, target, t, rows, count):
    """target[o, j] <- phase[o] * cosines[o, x + j] + quarter[o] * sines[o, x + j]: sines of sums of angles.

    `count` voxels of a tile from `t` on; sines and cosines have `across` values in a row.
    """
    _turn(sines, cosines, x, across, phase, quarter, target, t, rows, count)
