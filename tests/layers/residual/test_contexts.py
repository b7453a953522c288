"""Contexts of cells, magnitudes and signs, and the neighbourhoods that they are made of, as FORMAT.md, section 6.4, has
them: looked up coefficient by coefficient."""

import numpy as np
from brute_subbands import FACES, Coded, coarse, fine
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.layers.residual import neighbourhood
from inr_codec.layers.residual import subbands as columns
from inr_codec.layers.residual.contexts import cell_contexts, coefficient_contexts, sign_contexts
from inr_codec.layers.residual.neighbourhood import LINES, SLOTS, know_band, know_cells, know_four, know_row
from inr_codec.layers.residual.packet_tree import mallat_tree, subbands_of_tree, unpack_packet_tree
from inr_codec.layers.residual.subbands import Subbands, subbands_table
from inr_codec.runtime.kernels import kernel

PART = [0, *np.cumsum([64 * 40, 8 * 256, 64 * 256, 8 * 256, 64 * 256, 8 * 4096, 40 * 256, 8 * 40, 64 * 64]).tolist()]
"""First context of each list of a coefficient's, and the size of a part."""
CELL = [6 * PART[-1] + n for n in (0, 64 * 256, 64 * 256 + 64 * 64)]
SIGN = [CELL[-1] + 64 * 32 + n for n in (0, 8 * 243, 8 * 243 + 64 * 32, 8 * 243 + 64 * 32 + 8 * 81)]

SIGNS_BEFORE = [(0, 0, -1), (0, 0, -2), (0, -1, 0), (0, -2, 0), (-1, 0, 0), (-2, 0, 0), (0, -1, -1), (0, -1, 1)]
SIGNS_BEFORE += [(-1, 0, -1), (-1, 0, 1), (-1, -1, 0), (-1, 1, 0)]
"""(z, y, x) of the features 0 .. 11 of a sign."""


@kernel()
def of_cell(table, b, magnitudes, cells, lines, z, y, x):  # type: ignore[no-untyped-def]
    """Contexts of the bit of a cell."""
    contexts = np.zeros(3, np.int64)
    know_cells(table, b, magnitudes, lines, z, y)
    cell_contexts(table, b, cells, lines, contexts, z, y, x)
    return contexts


@kernel()
def of_coefficient(table, b, magnitudes, signs, lines, z, y, x, weights, sign_weights, corner):  # type: ignore[no-untyped-def]
    """Contexts of the magnitude of a coefficient and of its sign, the two predictions."""
    contexts, sign_contexts_ = np.zeros(9, np.int64), np.zeros(4, np.int64)
    features, scratch = np.zeros(4 * LINES, np.int16), np.zeros(SLOTS, np.int64)
    slots, places = np.zeros(SLOTS, np.int64), np.zeros(SLOTS + 1, np.int64)
    n = know_band(table, b, slots)
    row = table[b]
    first = x & ~3
    know_row(table, b, magnitudes, lines, places, z, y, first, min(4, row[columns.NX] - first))
    know_four(lines, features, 0)
    f = features[(x & 3) * LINES : (x & 3) * LINES + LINES]
    place = row[columns.PLACE] + z * row[columns.ROW_Z] + y * row[columns.ROW_Y] + x
    before, second = np.int64(magnitudes[place - 1]), np.int64(magnitudes[place - 2])
    cousins = b - row[columns.COUSIN]
    mean = coefficient_contexts(f, before, second, weights, contexts, row[columns.KIND], cousins, corner)
    logit = sign_contexts(table, b, signs, scratch, slots, places, sign_weights, sign_contexts_, x, n)
    return contexts, mean, sign_contexts_, logit


def random_levels(bands: Subbands, seed: int) -> list[np.ndarray]:
    """Of each band: mostly zeros, some small, few beyond what contexts tell apart."""
    rng = np.random.default_rng(seed)
    found = []
    for band in bands.order:
        sizes = np.where(rng.random(band.size) < 0.05, rng.integers(0, 900, band.size), rng.geometric(0.4, band.size))
        found.append(sizes * rng.choice([-1, 0, 1], band.size))
    return found


def memory(bands: Subbands, coded: Coded) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Magnitudes, signs and cells as the coder keeps them, and its lines."""
    work = neighbourhood.new_work(bands)
    for b, row in enumerate(bands.table):
        for place in np.ndindex(coded.levels[b].shape):
            at = row[columns.PLACE] + np.dot(place, (row[columns.ROW_Z], row[columns.ROW_Y], 1))
            work[0][at], work[1][at] = coded.magnitude(b, place), coded.sign(b, place)
        for place in np.ndindex(*(-(-n // 4) for n in coded.levels[b].shape)):
            at = row[columns.CELLS] + np.dot(place, (row[columns.CELL_Z], row[columns.CELL_Y], 1))
            work[2][at] = coded.cell(b, place)
    return work[0], work[1], work[2], work[3]


def cut(levels: list[np.ndarray], b: int, place: tuple[int, ...]) -> list[np.ndarray]:
    """The levels that come before coefficient `place` of band b."""
    kept = [level.copy() if k < b else np.zeros_like(level) for k, level in enumerate(levels)]
    first = np.ravel_multi_index(place, levels[b].shape)
    kept[b].reshape(-1)[:first] = levels[b].reshape(-1)[:first]
    return kept


def tree_of(shape: tuple[int, int, int], tree: bytes) -> Subbands:
    """Subbands of any tree; of the usual one where there is none."""
    _, bands = unpack_packet_tree(shape, tree) if tree else subbands_of_tree(shape, mallat_tree(shape))
    return subbands_table(shape, bands)


CASES = given(
    st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 23)), st.binary(max_size=20), st.integers(0, 99)
)


@settings(max_examples=40)
@CASES
def test_contexts_of_cells(shape: tuple[int, int, int], tree: bytes, seed: int) -> None:
    """Of one cell of a random band: cells before it, cousins, magnitudes of the parent in and around it."""
    rng, bands = np.random.default_rng(seed), tree_of(shape, tree)
    levels, b = random_levels(bands, seed), int(rng.integers(len(bands.order)))
    cells = tuple(-(-n // 4) for n in bands.order[b].size)
    at = tuple(int(rng.integers(n)) for n in cells)
    known = [level if k < b else np.zeros_like(level) for k, level in enumerate(levels)]
    for place in np.ndindex(cells):
        if place < at:
            box = tuple(slice(4 * n, 4 * n + 4) for n in place)
            known[b][box] = levels[b][box]
    coded = Coded(bands.order, known, b)
    magnitudes, _, flags, lines = memory(bands, coded)
    found = of_cell(bands.table, b, magnitudes, flags, lines, *at)

    def bit(*step: int) -> int:
        return coded.cell(b, [n + s for n, s in zip(at, step)])

    q = bit(0, -1, 1) + bit(0, -1, -1) + bit(-1, 0, 1) + bit(-1, 0, -1) + bit(-1, -1, 0) + bit(-1, 1, 0)
    near, u = [bit(0, 0, -1), bit(0, -1, 0), bit(-1, 0, 0)], sum(coded.cell(k, at) for k in coded.cousins)
    g = 0
    if coded.parent >= 0:
        corners = coded.up([4 * n for n in at]), coded.up([4 * n + 3 for n in at])
        for step in np.ndindex(*(stop - start + 3 for start, stop in zip(*corners))):
            place = [start - 1 + s for start, s in zip(corners[0], step)]
            inside = all(start <= n <= stop for start, n, stop in zip(corners[0], place, corners[1]))
            g += coded.magnitude(coded.parent, place) * (4 if inside else 1)
    k, u, g = coded.kind, min(u, 3), coarse(g)
    assert found.tolist() == [
        CELL[0] + (((k * 4 + sum(near)) * 2 + (q > 1)) * 16 + g) * 2 + (u > 0),
        CELL[1] + (k * 16 + g) * 4 + u,
        CELL[2] + (((k * 2 + near[0]) * 2 + near[1]) * 2 + near[2]) * 4 + min(q, 3),
    ]


@settings(max_examples=80)
@CASES
def test_contexts_of_coefficients(shape: tuple[int, int, int], tree: bytes, seed: int) -> None:
    """Of one coefficient of a random band: features, prediction and contexts of its magnitude and of its sign."""
    rng, bands = np.random.default_rng(seed), tree_of(shape, tree)
    levels, b = random_levels(bands, seed), int(rng.integers(len(bands.order)))
    at = tuple(int(rng.integers(n)) for n in bands.order[b].size)
    coded = Coded(bands.order, cut(levels, b, at), b)
    v, t = rng.integers(-20_000, 90_000, 16), rng.integers(-3000, 3000, SLOTS)
    r, (z, y, x) = int(rng.integers(4)), at
    magnitudes, signs, _, lines = memory(bands, coded)
    corner = 16 * r + 4 * (z & 3) + (y & 3)
    found = of_coefficient(bands.table, b, magnitudes, signs, lines, z, y, x, v, t, corner)

    f, a, around = coded.features(at)
    mean, k, level = sum(map(int.__mul__, f, v.tolist())) >> 12, coded.kind, coded.level
    faces, edges, far, up, mid = sum(f[:3]), sum(f[3:6]), sum(f[7:10]), 2 * f[10], f[11]
    mixed = 38 * faces + 23 * (edges + far) + 15 * f[6] + 64 * f[10] + 26 * mid + 13 * f[12]
    mixed += (102 * a + 13 * around) >> 3
    beside = coarse(a >> 2)
    near = ((min(f[0], 3) * 4 + min(f[1], 3)) * 4 + min(f[2], 3)) * 4 + min(f[10], 3)
    contexts = [
        k * 40 + fine(mean), near * 8 + level, (k * 16 + coarse(up)) * 16 + coarse(mid + (f[12] >> 1)),
        (level * 16 + coarse(2 * faces + edges)) * 16 + coarse(up + mid),
        (k * 16 + coarse((2 * faces + edges + f[6] + 2 * far) >> 1)) * 16 + beside,
        ((level * 16 + coarse(a >> 1)) * 16 + coarse(around >> 2)) * 16 + coarse(faces),
        (fine(mean) * 16 + coarse(up + (mid >> 1))) * 16 + beside, level * 40 + fine(mixed),
        (k * 4 + r) * 16 + (z & 3) * 4 + (y & 3),
    ]  # fmt: skip
    assert found[0].tolist() == [first + context for first, context in zip(PART, contexts)]
    assert found[1] == mean

    g = dict(enumerate(coded.sign(b, [n + s for n, s in zip(at, step)]) for step in SIGNS_BEFORE))
    if coded.parent >= 0:
        p = coded.up(at)
        g[12] = coded.sign(coded.parent, p)
        for j, axis in ((13, 2), (14, 1), (15, 0)):
            ends = [[n + d * (other == axis) for other, n in enumerate(p)] for d in (1, -1)]
            g[j] = coded.sign(coded.parent, ends[0]) - coded.sign(coded.parent, ends[1])
    for cousin in coded.cousins:
        h = bands.order[cousin].high
        for j, step in enumerate([(0, 0, 0), *FACES]):
            g[16 + 7 * (4 * h[0] + 2 * h[1] + h[2]) + j] = coded.sign(cousin, [n + s for n, s in zip(at, step)])
    logit = min(max(sum(int(t[j]) * value for j, value in g.items()) >> 10, -2000), 2000)
    sg, o = {j: int(np.sign(value)) + 1 for j, value in g.items()}, coded.orientation
    contexts = [
        (((o * 3 + sg[0]) * 3 + sg[2]) * 3 + sg[4]) * 9 + 3 * sg[1] + sg[3],
        k * 32 + min(max((logit + 1024) >> 6, 0), 31),
        (o * 9 + 3 * sg[6] + sg[7]) * 9 + 3 * sg[0] + sg[2],
        ((o * 3 + sg.get(12, 1)) * 3 + sg[4]) * 9 + 3 * sg[0] + sg[2],
    ]
    assert found[2].tolist() == [first + context for first, context in zip(SIGN, contexts)]
    assert found[3] == logit
