"""Where the subbands of a packet tree lie, and which coded ones tell about each: a table for the coefficient coder."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.packet_tree import Subband

PAD = 2
"""Zeros between two rows of magnitudes, and before the first and after the last of a subband."""
ZEROS = PAD
"""Where a row of zeros begins among the magnitudes: it stands for every row outside of a subband."""

# columns of the table
OFFSET, STRIDE_Z, STRIDE_Y = 0, 1, 2  # of the band in the coefficient array; neighbours along x are adjacent
NZ, NY, NX = 3, 4, 5
LEVEL, ORIENTATION, KIND = 6, 7, 8  # decomposition level, at most 7; KIND = 8 LEVEL + ORIENTATION
PLACE, ROW_Z, ROW_Y = 9, 10, 11  # of coefficient (0, 0, 0) among the magnitudes, and the strides there
CELLS, CELL_Z, CELL_Y = 12, 13, 14  # the same of its cells
PARENT = 15  # a row or -1
SHIFT_Z, SHIFT_Y, SHIFT_X = 16, 17, 18  # splits that the parent has more along each axis
COUSIN = 19  # subbands COUSIN .. b - 1 were split as often as b along each axis
COLUMNS = 20


@dataclass(frozen=True, slots=True)
class Subbands:
    """table: int64 (subbands, COLUMNS), in coding order; order: the subbands themselves.

    magnitudes, cells: sizes of the arrays that the table points into: a row of zeros and all coefficients, row by row,
    with PAD zeros before and after each; and all cells, those of a subband padded by one on each side.
    """

    table: npt.NDArray[np.int64]
    order: list[Subband]
    magnitudes: int
    cells: int


def subbands_table(shape: tuple[int, int, int], bands: list[Subband]) -> Subbands:
    """Order the bands from coarse to fine and find each one's place, parent and cousins."""
    order = sorted(bands, key=lambda b: (-sum(b.depth), b.depth, sum(b.high), b.high))
    table = np.zeros((len(order), COLUMNS), np.int64)
    stride = (shape[1] * shape[2], shape[2])
    split = [any(b.depth[a] for b in order) for a in range(3)]
    place, cells = ZEROS + max(b.size[2] for b in order) + PAD, 0
    for i, band in enumerate(order):
        row = table[i]
        row[OFFSET] = band.offset[0] * stride[0] + band.offset[1] * stride[1] + band.offset[2]
        row[STRIDE_Z : STRIDE_Y + 1] = stride
        row[NZ : NX + 1] = band.size
        used = sorted(v for v, s in zip(band.depth, split) if s) or [1]
        row[LEVEL] = min(7, max(0, used[len(used) // 2] - 1))
        row[ORIENTATION] = 4 * band.high[0] + 2 * band.high[1] + band.high[2]
        row[KIND] = 8 * row[LEVEL] + row[ORIENTATION]
        nz, ny, nx = band.size[0], band.size[1], band.size[2] + PAD
        row[PLACE : ROW_Y + 1] = place, ny * nx, nx
        place += nz * ny * nx
        nz, ny, nx = (((n + 3) >> 2) + 2 for n in band.size)
        row[CELLS : CELL_Y + 1] = cells + (ny + 1) * nx + 1, ny * nx, nx
        cells += nz * ny * nx
        row[COUSIN] = (
            i
            if not any(band.high)
            else next(j for j in range(i + 1) if order[j].depth == band.depth and any(order[j].high))
        )
        parent = _parent(order, i)
        row[PARENT] = parent
        if parent >= 0:
            row[SHIFT_Z : SHIFT_X + 1] = np.subtract(order[parent].depth, band.depth)
    return Subbands(table, order, place, cells)


def _parent(order: list[Subband], i: int) -> int:
    """The nearest earlier band of the same orientation that is at most one level finer along any axis, or -1."""
    band, best, found = order[i], 99, -1
    if any(band.high):
        for j in range(i):
            if order[j].high == band.high:
                deeper = [a - b for a, b in zip(order[j].depth, band.depth)]
                distance = sum(abs(d) for d in deeper)
                if min(deeper) >= -1 and 0 < distance <= best:
                    best, found = distance, j
    return found
