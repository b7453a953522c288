"""Deblocking: an adaptive filter across the faces between the blocks of a chunk (after List et al. 2003, H.264).

Across a face lie the samples p1 p0 | q0 q1. With the strength s, in units of the decoded intensity, they are filtered
only where

    |q0 - p0| < 4 s    and    |p1 - p0| < 2 s    and    |q1 - q0| < 2 s,

so that a step much larger than the error stays, and then

    d = clip((3 (q0 - p0) - (q1 - p1)) / 8, -s/2, s/2),    p0 := p0 + d,    q0 := q0 - d,

all in float32. List et al. weight q0 - p0 with 4; 3 leaves a straight line through the four samples as it is, and d is
then a quarter of the jump between the lines that continue both sides, which is what networks fitted to real volumes
need (0.2-0.35 measured; at p1 and q1 there is nothing to gain).

A face belongs to the block whose low side it is, and has one bit: filtered or not. All faces across axis 0 are filtered
before those across axis 1, and so on. Blocks of the tree are at least 8 samples wide where there is a face, so the
faces across one axis do not touch each other's samples and their order does not matter.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import Block
from inr_codec.runtime.kernels import inner, kernel

STRENGTHS = (1.0, 2.0, 4.0, 8.0)
"""What the strength can be, in multiples of the root mean square error of the chunk before the filter
(format, frozen: FORMAT.md section 5)."""

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def faces(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """(index of block, axis) of every internal face, in the order of the face bits: by block, then by axis."""
    return [(index, axis) for index, block in enumerate(blocks) for axis, start in enumerate(block.offset) if start > 0]


def face_positions(blocks: Sequence[Block], face_bits: Sequence[int], axis: int) -> list[int]:
    """Where along `axis` filtered faces lie (index of q0 in the chunk), increasing, without repeats."""
    return sorted(
        {blocks[index].offset[axis] for (index, across), bit in zip(faces(blocks), face_bits) if bit and across == axis}
    )


def halo_indices(axis_indices: npt.ArrayLike, positions: Iterable[int], length: int) -> Indices:
    """The indices along one axis to evaluate so that `axis_indices` come out of the filter as in a full decode.

    `positions` are those of `face_positions`, `length` is that of the chunk. A sample next to a face needs all
    four samples across it; any other needs itself. The result is increasing, without repeats, and holds
    `axis_indices`.
    """
    wanted = np.unique(np.asarray(axis_indices, np.int64))
    faces = np.array(list(positions), np.int64)
    faces = faces[np.isin(faces, wanted) | np.isin(faces - 1, wanted)]
    around = (faces[:, None] + np.arange(-2, 2)).ravel()
    return np.union1d(wanted, around[(around >= 0) & (around < length)])


def apply_deblock(
    values: Floats,
    blocks: Sequence[Block],
    face_bits: Sequence[int],
    strength: float,
    indices: Sequence[npt.ArrayLike] | None = None,
) -> None:
    """Filter `values` in place across every face whose bit is set.

    `values` is the decoded chunk, or the part of it at `np.ix_(*indices)`: one increasing list of indices per axis,
    from `halo_indices`, with which the wanted samples are bit for bit those of the full chunk. In such a part only
    faces are filtered whose four samples are all there. `blocks` is the whole partition, `face_bits` has one entry
    for each of `faces(blocks)`, `strength` is s above. Raises ConfigError when the arguments do not fit each other.
    """
    known = faces(blocks)
    if len(face_bits) != len(known):
        raise ConfigError(f"expected {len(known)} face bits, got {len(face_bits)}: give one for each internal face")
    for axis in range(values.ndim):
        chosen = [index for (index, across), bit in zip(known, face_bits) if bit and across == axis]
        if chosen:
            table = _patches(values, [blocks[index] for index in chosen], axis, indices)
            _filter(values.reshape(-1), table, np.float32(strength))


def choose_faces(
    original: Floats,
    decoded: Floats,
    blocks: Sequence[Block],
    rms: float,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    least_gain: float = 0.001,
) -> tuple[int, list[int], Floats]:
    """Index into `STRENGTHS`, face bits, and the filtered chunk, chosen for the least squared error.

    `original` and `decoded` are the chunk before and after coding, in the same units; `rms` is their root mean
    square difference as the stream will hold it (strength = `STRENGTHS[index] * rms`). `valid` marks the voxels
    that count (default: all). A face is filtered only if that lowers its squared error; when all of them together take
    off less than the fraction `least_gain` of the squared error of the chunk, no bit is set (the share of the stream
    that the bits take is a good value: halving the stream about doubles the squared error).
    """
    counts = np.ones(decoded.size, np.bool_) if valid is None else np.ascontiguousarray(valid).reshape(-1)
    target = np.ascontiguousarray(original, np.float32).reshape(-1)
    known = faces(blocks)
    difference = (decoded.reshape(-1) - target)[counts].astype(np.float64)
    error = float(difference @ difference)
    best: tuple[float, int, list[int], Floats] = (least_gain * error, 0, [0] * len(known), decoded.copy())
    for number, multiple in enumerate(STRENGTHS):
        strength = np.float32(multiple * rms)
        values = np.array(decoded, np.float32, order="C")
        bits = [0] * len(known)
        total = 0.0
        for axis in range(values.ndim):
            across = [(place, index) for place, (index, face_axis) in enumerate(known) if face_axis == axis]
            if not across:
                continue
            table = _patches(values, [blocks[index] for _, index in across], axis, None)
            gains = _gains(values.reshape(-1), target, counts, table, strength)
            _filter(values.reshape(-1), table[gains > 0], strength)
            total += float(gains[gains > 0].sum())
            for (place, _), gain in zip(across, gains):
                bits[place] = int(gain > 0)
        if total > best[0]:
            best = (total, number, bits, values)
    return best[1:]


def _patches(values: Floats, blocks: Sequence[Block], axis: int, indices: Sequence[npt.ArrayLike] | None) -> Indices:
    """A table of the low faces of `blocks` across `axis`, int64 (faces, 8).

    A row: flat index of the face's first q0, the stride from it to q1, and three pairs (count, stride) that run over
    the face. Faces that lack a sample in this part of the chunk have a count of 0.
    """
    if values.dtype != np.float32 or not values.flags.c_contiguous or not 1 <= values.ndim <= 4:
        raise ConfigError(
            f"expected a C-contiguous float32 array with 1 to 4 axes, got {values.dtype} {values.shape} with strides "
            f"{values.strides}: use numpy.ascontiguousarray"
        )
    strides = [stride // values.itemsize for stride in values.strides]
    table = np.zeros((len(blocks), 8), np.int64)
    table[:, 1] = strides[axis]
    table[:, 2::2] = 1
    column = 2
    for k, side in enumerate(values.shape):
        start = np.array([block.offset[k] for block in blocks])
        stop = start + np.array([block.shape[k] for block in blocks])
        grid = np.arange(side) if indices is None else np.asarray(indices[k], np.int64)
        if grid.shape != (side,):
            raise ConfigError(f"expected {side} indices along axis {k}, got {grid.shape}: one for each sample there")
        if k == axis:
            first = np.searchsorted(grid, start - 2)
            last = np.minimum(first + 3, side - 1)
            present = (first + 3 < side) & (grid[last] == start + 1) & (grid[np.minimum(first, side - 1)] == start - 2)
            table[:, 0] += (first + 2) * strides[k]
        else:
            first, end = np.searchsorted(grid, start), np.searchsorted(grid, stop)
            table[:, 0] += first * strides[k]
            table[:, column] = end - first
            table[:, column + 1] = strides[k]
            column += 2
    table[~present, 2] = 0
    return table


@inner()
def _delta(p1: np.float32, p0: np.float32, q0: np.float32, q1: np.float32, strength: np.float32) -> np.float32:
    """d of the module's docstring; 0 where the samples are left alone (also where one is not finite)."""
    two = np.float32(2)
    beta = two * strength
    jump = q0 - p0
    if not (abs(jump) < two * beta and abs(p1 - p0) < beta and abs(q1 - q0) < beta):
        return np.float32(0)
    limit = np.float32(0.5) * strength
    return min(max((np.float32(3) * jump - (q1 - p1)) * np.float32(0.125), -limit), limit)


@kernel()
def _filter(values: Floats, table: Indices, strength: np.float32) -> None:
    """Filter the faces of `table` in the flat chunk `values`."""
    for face in range(table.shape[0]):
        first, stride, n0, s0, n1, s1, n2, s2 = table[face]
        for a in range(n0):
            for b in range(n1):
                for c in range(n2):
                    q = first + a * s0 + b * s1 + c * s2
                    d = _delta(values[q - 2 * stride], values[q - stride], values[q], values[q + stride], strength)
                    values[q - stride] += d
                    values[q] -= d


@kernel()
def _gains(
    values: Floats, target: Floats, counts: npt.NDArray[np.bool_], table: Indices, strength: np.float32
) -> npt.NDArray[np.float64]:
    """How much of the squared error to `target` filtering each face of `table` would take off."""
    gains = np.zeros(table.shape[0])
    for face in range(table.shape[0]):
        first, stride, n0, s0, n1, s1, n2, s2 = table[face]
        for a in range(n0):
            for b in range(n1):
                for c in range(n2):
                    q = first + a * s0 + b * s1 + c * s2
                    p = q - stride
                    d = _delta(values[p - stride], values[p], values[q], values[q + stride], strength)
                    if d != 0 and counts[p]:
                        before, after = values[p] - target[p], values[p] + d - target[p]
                        gains[face] += float(before) * before - float(after) * after
                    if d != 0 and counts[q]:
                        before, after = values[q] - target[q], values[q] - d - target[q]
                        gains[face] += float(before) * before - float(after) * after
    return gains
