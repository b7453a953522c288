"""Coder of a volume of labels: one kernel writes and reads them, in integers only.

A voxel has the label of a neighbour, nearly always. Those around it are asked one after the other, the nearest first:
is it yours? The contexts of such a question are which neighbours have the label that is asked for, and how far the
rows around go on as they are. Where all neighbours have one label a single probability decides. A label that no
neighbour has is looked for further away; what is left is a new label, or one of those that were there before, all of
them equally probable (FORMAT.md, section 11.2).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.chunk.boxes import Box, extent
from inr_codec.entropy.mixing import ONE_WEIGHT, OVERRUN, excess, learn, length, new_tables, predict
from inr_codec.entropy.range_coder import (
    HALF,
    MAX_COUNT,
    STATE_SIZE,
    adapt_counted,
    decode_bit,
    decoder_init,
    encode_bit,
    encoder_finish,
    encoder_init,
    probability,
)
from inr_codec.errors import CorruptChunk
from inr_codec.layers.labels import neighbours
from inr_codec.layers.labels.neighbours import (
    FAR,
    FARTHEST,
    NEAREST,
    PAD,
    begin_plane,
    begin_row,
    end_batch,
    end_part,
    end_row,
    place,
    planes_of,
    rows_above,
)
from inr_codec.runtime.kernels import inner, kernel
from inr_codec.runtime.threads import stop_if_cancelled

Labels = npt.NDArray[np.int32]

# Format, frozen (FORMAT.md section 11.2).
CONTEXTS = 8
ASKED = 4  # labels of neighbours that are asked for, at most
FOUND = 8  # labels of voxels further away, at most
SEARCH = 16  # decisions that a search counts as
SETS = 64  # of mixing weights for the first, second and later questions
STALE = 12  # a share of 2^-12 of the predictors' errors is forgotten with each bit
SMALLEST, LARGEST = 12, 16  # of the tables: binary logarithm of the entries for one context

FLAT, FEW, FRESH, NEXT, AWAY, LENGTHS, LEADING = 0, 4096, 4144, 4149, 4150, 4158, 4286
"""Single probabilities: a voxel among equals, by its label; questions, by the three nearest; new label, by the labels
asked for; the next one; labels found further away; numbers of the palette: their bit lengths, and their leading bits"""
SINGLES = LEADING + 65 * 4


@inner()
def single(state, buffer, singles, k, bit):
    """Write a bit under one counted probability, or read one where it is None."""
    entry = np.int64(singles[k])
    p = probability(entry)
    if bit is None:
        coded = decode_bit(state, buffer, p)
    else:
        encode_bit(state, buffer, p, bit)
        coded = bit
    singles[k] = adapt_counted(entry, coded, MAX_COUNT)
    return coded


@inner()
def hashed(a, b, shift):
    """The upper 64 - shift bits of a hash of two numbers below 2^63."""
    h = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(b) * np.uint64(0xD6E8FEB86659FD93)
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(h >> np.uint64(shift))


@inner()
def ask(state, buffer, tables, weights, scores, contexts, inputs, singles, few, bit):
    """Write or read the answer to one question.

    Two predictions compete, the mixed one and that of singles[few]: the one whose squared errors were less is taken.
    scores: int64 (2,), those errors. Where neighbours say nothing, as in noise, the mixed one is worse by its learning.
    """
    mixed = predict(tables, 0, contexts, weights, inputs, CONTEXTS)
    entry = np.int64(singles[few])
    plain = probability(entry)
    p = plain if scores[1] < scores[0] else mixed
    if bit is None:
        coded = decode_bit(state, buffer, p)
    else:
        encode_bit(state, buffer, p, bit)
        coded = bit
    learn(tables, 0, contexts, weights, inputs, CONTEXTS, mixed, coded)
    singles[few] = adapt_counted(entry, coded, MAX_COUNT)
    one = coded << 16
    scores[0] += (one - mixed) * (one - mixed) - (scores[0] >> STALE)
    scores[1] += (one - plain) * (one - plain) - (scores[1] >> STALE)
    return coded


@inner()
def code_number(state, buffer, singles, number):
    """Write or read a number of 64 bits: its bit length as a tree of 7 bits, the two bits below the leading one, the
    others as they are."""
    size, node = 0, 1
    if number is not None:
        while size < 64 and number >> np.uint64(size):
            size += 1
    for i in range(6, -1, -1):
        if number is None:
            bit = single(state, buffer, singles, LENGTHS + node, None)
        else:
            bit = single(state, buffer, singles, LENGTHS + node, (size >> i) & 1)
        node = 2 * node + bit
    size = min(node - 128, 64)
    value, node = np.uint64(min(size, 1)), 1
    for i in range(size - 2, -1, -1):
        modelled = node < 4
        if number is None:
            bit = single(state, buffer, singles, LEADING + 4 * size + node, None) if modelled else 0
            if not modelled:
                bit = decode_bit(state, buffer, HALF)
        else:
            bit = np.int64((number >> np.uint64(i)) & np.uint64(1))
            if modelled:
                single(state, buffer, singles, LEADING + 4 * size + node, bit)
            else:
                encode_bit(state, buffer, HALF, bit)
        value = np.uint64(2) * value + np.uint64(bit)
        node = 2 * node + bit if modelled else node
    return value


@inner()
def code_member(state, buffer, fresh, unseen, count, bits, label):
    """Write or read a label, all that are new (fresh), or all that are not, being equally probable.

    unseen: int32 (2^(bits + 1),), new labels below each node of a binary tree whose leaves are the labels.
    """
    node, low = 1, 0
    for i in range(bits - 1, -1, -1):
        half = 1 << i
        left, right = np.int64(unseen[2 * node]), np.int64(unseen[2 * node + 1])
        if not fresh:
            left = min(max(count - low, 0), half) - left
            right = min(max(count - low - half, 0), half) - right
        bit = int(left == 0)
        if left and right:
            p = min(max((right << 16) // (left + right), 1), 65535)
            if label is None:
                bit = decode_bit(state, buffer, p)
            else:
                bit = (label >> i) & 1
                encode_bit(state, buffer, p, bit)
        node = 2 * node + bit
        low += half * bit
    return low


@inner()
def mark_seen(unseen, bits, label):
    """A label is no longer new."""
    node = (1 << bits) + label
    while node:
        unseen[node] -= 1
        node >>= 1


@inner()
def _pattern(cells, i, offsets, label):
    """Which neighbours of cell i have a label, the first one in bit 0."""
    pattern = 0
    for k in range(offsets.size):
        pattern |= int(cells[i + offsets[k]] == label) << k
    return pattern


@inner()
def _is_new(labels, n, label):
    """Whether a label is not among labels[:n]."""
    for k in range(n):
        if labels[k] == label:
            return False
    return True


@inner()
def _left_over(labels, n):
    """The one label of n + 1 that is not among labels[:n]."""
    label = 0
    while not _is_new(labels, n, label):
        label += 1
    return label


@inner()
def _set_contexts(contexts, pattern, first, sizes, n, label, first_label, count, ways, shift):
    """Contexts of the question whether a voxel has `label`, the n-th that is asked for.

    pattern, first: which neighbours have this label, and the one that was asked for first. ways: how far rows go on.
    """
    kind = min(n, 2)
    for k in range(4):
        seen = pattern & ((1 << sizes[k]) - 1)
        if n == 0:
            what = label + 2 if count == 2 else 1
        else:
            seen |= (first & 255) << 32
            what = 16 + kind
        contexts[k] = hashed(seen, what, shift)
    contexts[4] = hashed(pattern & 63 | (first & 63) << 8, label * 4 + kind, shift)
    contexts[5] = hashed(label, first_label * 4 + kind, shift)
    near = (pattern & 63) << 12
    contexts[6] = hashed(ways[0] | ways[1] << 4 | ways[2] << 8 | near, kind, shift)
    contexts[7] = hashed(ways[3] | ways[1] << 4 | ways[4] << 8 | near, kind + 4, shift)
    for k in range(CONTEXTS):
        contexts[k] += k << (64 - shift)


@inner()
def _look_further(state, buffer, singles, cells, i, where, volume, rays, asked, n, known, memory, v):
    """Write or read the label of cell i, which no neighbour has: a new one, one along the rays, or any other.

    asked: the n labels that it is not, with room for more. known, memory: as for `_code`.
    """
    z, y, x = where
    ny, nx, depth, sy, sz = volume
    unseen, bits, count = memory
    fresh = 0
    if known[2] < count:
        if v is None:
            fresh = single(state, buffer, singles, FRESH + n, None)
        else:
            fresh = single(state, buffer, singles, FRESH + n, int(unseen[(1 << bits) + v] > 0))
    if fresh:
        label, bit = known[1] + 1, 0
        if label < count and unseen[(1 << bits) + label]:
            if v is None:
                bit = single(state, buffer, singles, NEXT, None)
            else:
                bit = single(state, buffer, singles, NEXT, int(v == label))
        if not bit:
            label = code_member(state, buffer, True, unseen, count, bits, v)
        mark_seen(unseen, bits, label)
        known[1] = label
        known[2] += 1
        return label
    m = 0
    for step in range(NEAREST, FARTHEST):
        for r in range(rays.shape[0]):
            down, right = rays[r, 1] + step * rays[r, 2], step * rays[r, 3]
            if (rays[r, 0] and z == 0) or not (0 <= y + down < ny and 0 <= x + right < nx):
                continue
            label = np.int64(cells[i + ((z + rays[r, 0] + 3) % depth - z % depth) * sz + down * sy + right])
            if m < FOUND and _is_new(asked, n + m, label):
                if v is None:
                    bit = single(state, buffer, singles, AWAY + m, None)
                else:
                    bit = single(state, buffer, singles, AWAY + m, int(v == label))
                if bit:
                    return label
                asked[n + m] = label
                m += 1
    return code_member(state, buffer, False, unseen, count, bits, v)


@kernel()
def _code(values, coded, start, known, shape, planes, geometry, coder, memory, ids):
    """Write or read a batch of labels; returns the bytes written, or those missing, at most, for what was read.

    values: int32 (nz, ny, nx), the batch: planes from number `start` on, of a single plane rows, of a single line a
    part; None to read it into `coded`. known: int64 (4,): decisions, the last new label, labels that were seen, the
    last run. shape: of the volume. cells, flats: flat planes with `above` rows before the first and rows of sy cells.
    geometry: template, sizes, lines, rays. coder: state, buffer, tables, weights, scores, singles. memory: unseen,
    bits of a label, count. ids: uint64 (count,), ascending, coded before the first plane; or empty.
    """
    state, buffer, tables, weights, scores, singles, shift = coder
    template, sizes, lines, rays = geometry
    unseen, bits, count = memory
    cells, flats, above, sy = planes
    nz, ny, nx = shape
    depth = 3 if nz > 1 else 1
    sz = cells.size // depth
    z0 = start if nz > 1 else 0
    y0 = start if nz == 1 and ny > 1 else 0
    x0 = start if nz == 1 and ny == 1 else 0
    if start == 0:
        if values is None:
            decoder_init(state, buffer, 0, buffer.size)
        else:
            encoder_init(state)
        last = np.uint64(0)
        for k in range(ids.size):
            if values is None:
                if k % 256 == 0 and excess(state, buffer.size, 8 * k, nz * ny * nx) > OVERRUN:
                    return OVERRUN + 1
                gap = code_number(state, buffer, singles, None)
                ids[k] = last + gap
            else:
                gap = code_number(state, buffer, singles, ids[k] - last)
            last = ids[k] + np.uint64(1)
        known[0] += 8 * ids.size
        known[2] = 1
        mark_seen(unseen, bits, 0)
    offsets, at_lines = np.zeros(template.shape[0], np.int64), np.zeros(4, np.int64)
    contexts, inputs = np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS + 1, np.int64)
    inputs[CONTEXTS] = 64
    asked, ways = np.zeros(ASKED + FOUND, np.int64), np.zeros(5, np.int64)
    full = (1 << offsets.size) - 1
    for z in range(z0, z0 + coded.shape[0]):
        for k in range(offsets.size):
            offsets[k] = place(template[k], z, depth, sy, sz)
        for k in range(4):
            at_lines[k] = place(lines[k], z, depth, sy, sz)
        begin_plane(cells, flats, z, depth, ny, sy, sz)
        for y in range(y0, y0 + coded.shape[1]):
            if values is None and excess(state, buffer.size, known[0], nz * ny * nx) > OVERRUN:
                return OVERRUN + 1
            row = z % depth * sz + (y - y0 + above) * sy + PAD
            if x0 == 0:
                begin_row(cells, flats, z, y, depth, sy, sz, row)
            run = known[3] if x0 else 0
            for x in range(x0, x0 + coded.shape[2]):
                i = row + x - x0
                v = 0
                if values is not None:
                    v = np.int64(values[z - z0, y - y0, x - x0])
                run = min(run + 1, FAR) if x > 1 and cells[i - 1] == cells[i - 2] else min(x, 1)
                label = np.int64(cells[i - 1])
                first_label = label
                first = pattern = _pattern(cells, i, offsets, label)
                asked[0] = label
                n, found = 0, False
                if pattern == full:
                    known[0] += 1
                    if values is None:
                        bit = single(state, buffer, singles, FLAT + (label & 4095), None)
                    else:
                        bit = single(state, buffer, singles, FLAT + (label & 4095), int(v != label))
                    n, found = 1, bit == 0
                else:
                    ways[0] = run
                    for k in range(4):
                        ways[k + 1] = flats[i + at_lines[k]]
                    k = 0
                    while n < ASKED:
                        if n:
                            while k < offsets.size and not _is_new(asked, n, np.int64(cells[i + offsets[k]])):
                                k += 1
                            if k == offsets.size:
                                break
                            label = np.int64(cells[i + offsets[k]])
                            asked[n] = label
                            pattern = _pattern(cells, i, offsets, label)
                        if n == count - 1:
                            found = True
                            break
                        kind = min(n, 2)
                        _set_contexts(contexts, pattern, first, sizes, n, label, first_label, count, ways, shift)
                        few = FEW + (8 * kind + (pattern & 7)) * 2 + (label & 1 if count == 2 else 0)
                        w, s = weights[SETS * kind + (pattern & 63)], scores[kind]
                        known[0] += 1
                        if values is None:
                            bit = ask(state, buffer, tables, w, s, contexts, inputs, singles, few, None)
                        else:
                            bit = ask(state, buffer, tables, w, s, contexts, inputs, singles, few, int(v == label))
                        n += 1
                        if bit:
                            found = True
                            break
                if not found:
                    if n == count - 1:
                        label = _left_over(asked, n)
                    else:
                        known[0] += SEARCH
                        where, volume = (z, y, x), (ny, nx, depth, sy, sz)
                        if values is None:
                            label = _look_further(
                                state, buffer, singles, cells, i, where, volume, rays, asked, n, known, memory, None
                            )  # fmt: skip
                        else:
                            label = _look_further(
                                state, buffer, singles, cells, i, where, volume, rays, asked, n, known, memory, v
                            )  # fmt: skip
                cells[i] = label
                coded[z - z0, y - y0, x - x0] = label
            known[3] = run
            if ny > 1:
                end_row(cells, flats, row, nx)
            else:
                end_part(cells, row, coded.shape[2])
    if nz == 1 and ny > 1:
        end_batch(cells, flats, above, coded.shape[1], sy)
    if values is None:
        return excess(state, buffer.size, known[0], nz * ny * nx)
    if z0 + coded.shape[0] < nz or y0 + coded.shape[1] < ny or x0 + coded.shape[2] < nx:
        return state[2]
    return length(state, encoder_finish(state, buffer), known[0], nz * ny * nx)


AT_ONCE = 1 << 18  # voxels that the kernel is given, or gives, at a time
NO_IDS = np.zeros(0, np.uint64)


def _coder(shape: tuple[int, int, int], count: int, buffer: npt.NDArray[np.uint8]) -> tuple[Any, ...]:
    """Everything that the kernel takes beside labels and palette, as every stream starts."""
    size = min(max(math.prod(shape).bit_length(), SMALLEST), LARGEST)
    weights = np.full((3 * SETS, CONTEXTS + 1), ONE_WEIGHT // 5)
    weights[:, CONTEXTS] = 0
    tables, singles = new_tables(CONTEXTS << size), new_tables(SINGLES)
    coder = np.zeros(STATE_SIZE, np.int64), buffer, tables, weights, np.zeros((3, 2), np.int64), singles, 64 - size
    bits = max(count - 1, 1).bit_length()
    unseen = np.zeros(2 << bits, np.int32)
    below = (np.arange(1 << bits) < count).astype(np.int32)
    while below.size:
        unseen[below.size : 2 * below.size] = below
        below = below.reshape(-1, 2).sum(axis=1, dtype=np.int32) if below.size > 1 else below[:0]
    if shape[0] > 1:
        geometry = neighbours.TEMPLATE, neighbours.SIZES, neighbours.LINES, neighbours.RAYS
    else:
        geometry = (
            neighbours.TEMPLATE_OF_ONE_PLANE, neighbours.SIZES_OF_ONE_PLANE, neighbours.LINES_OF_ONE_PLANE,
            neighbours.RAYS_OF_ONE_PLANE,
        )  # fmt: skip
    cells, flats = planes_of(shape, extent(_batches(shape)[0]))
    planes = cells.reshape(-1), flats.reshape(-1), rows_above(shape), cells.shape[2]
    return np.zeros(4, np.int64), shape, planes, geometry, coder, (unseen, bits, count)


def _batches(shape: tuple[int, int, int]) -> list[Box]:
    """What is coded at a time: planes, rows of a single plane, parts of a single line."""
    axis = 0 if shape[0] > 1 else 1 if shape[1] > 1 else 2
    together = max(1, AT_ONCE // math.prod(shape[axis + 1 :]))
    whole = tuple(slice(0, n) for n in shape)
    starts = range(0, shape[axis], together)
    return [(*whole[:axis], slice(start, min(start + together, shape[axis])), *whole[axis + 1 :]) for start in starts]


def _start(batch: Box) -> int:
    return max(int(side.start) for side in batch)


def encode_labels(
    part: Callable[[Box], Labels],
    shape: tuple[int, int, int],
    count: int,
    most: int,
    ids: npt.NDArray[np.uint64] = NO_IDS,
) -> bytes | None:
    """The bytes of a volume of labels from 0 to count - 1 (2 or more), and of their ids; None for more than `most`.

    part: gives a box of the volume, int32, C-contiguous. ids: ascending, (count,), or none.
    """
    buffer = np.zeros(most + OVERRUN, np.uint8)
    given = _coder(shape, count, buffer)
    written = 0
    for batch in _batches(shape):
        stop_if_cancelled()
        values = part(batch)
        written = _code(values, values, _start(batch), *given, ids)
        if written > most:
            return None
    return buffer[:written].tobytes()


def decode_labels(
    data: bytes, shape: tuple[int, int, int], count: int, ids: npt.NDArray[np.uint64] = NO_IDS
) -> Iterator[tuple[Box, Labels]]:
    """Boxes that tile the volume and their labels, and before the first of them the ids, which are put into `ids`.

    CorruptChunk when the bytes end long before the labels do.
    """
    given = _coder(shape, count, np.frombuffer(data or bytes(1), np.uint8))
    for batch in _batches(shape):
        labels = np.zeros(extent(batch), np.int32)
        if _code(None, labels, _start(batch), *given, ids) > OVERRUN:
            raise CorruptChunk(f"expected labels to end with their {len(data)} bytes, got more: the chunk is damaged")
        yield batch, labels
