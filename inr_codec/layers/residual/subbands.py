"""Where the bands of a splitting lie, and which coded bands tell about each: the table of the coefficient coder."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inr_codec.layers.residual.packet_tree import Band

PAD = 2  # zeros around the magnitudes of a band

# columns of the table
OFFSET, STRIDE_Z, STRIDE_Y = 0, 1, 2  # of the band in the coefficient array; neighbours along x are adjacent
NZ, NY, NX = 3, 4, 5
LEVEL, ORIENTATION, KIND = 6, 7, 8  # KIND = 8 LEVEL + ORIENTATION
PLACE, ROW_Z, ROW_Y = 9, 10, 11  # of coefficient (0, 0, 0) in the padded magnitudes, and the strides there
CELLS, CELL_Z, CELL_Y = 12, 13, 14  # the same of its cells
PARENT, PARENT_PLACE, PARENT_Z, PARENT_Y = 15, 16, 17, 18  # a row or -1, and where its magnitudes are
SHIFT_Z, SHIFT_Y, SHIFT_X = 19, 20, 21  # levels that the parent is coarser by
COUSIN = 22  # bands COUSIN .. b - 1 have the same levels as b
COLUMNS = 23


@dataclass(frozen=True, slots=True)
class Bands:
    """The table, one row per band in coding order, and the sizes of the arrays that it points into."""

    table: npt.NDArray[np.int64]
    order: list[Band]
    magnitudes: int
    cells: int


def bands_table(shape: tuple[int, int, int], bands: list[Band]) -> Bands:
    """Order the bands from coarse to fine and find each one's place, parent and cousins."""
    order = sorted(bands, key=lambda b: (-sum(b.levels), b.levels, sum(b.high), b.high))
    table = np.zeros((len(order), COLUMNS), np.int64)
    stride = (shape[1] * shape[2], shape[2])
    split = [any(b.levels[a] for b in order) for a in range(3)]
    place = cells = 0
    for i, band in enumerate(order):
        row = table[i]
        row[OFFSET] = band.offset[0] * stride[0] + band.offset[1] * stride[1] + band.offset[2]
        row[STRIDE_Z : STRIDE_Y + 1] = stride
        row[NZ : NX + 1] = band.size
        used = sorted(v for v, s in zip(band.levels, split) if s) or [1]
        row[LEVEL] = min(7, max(0, used[len(used) // 2] - 1))
        row[ORIENTATION] = 4 * band.high[0] + 2 * band.high[1] + band.high[2]
        row[KIND] = 8 * row[LEVEL] + row[ORIENTATION]
        nz, ny, nx = (n + 2 * PAD for n in band.size)
        row[PLACE : ROW_Y + 1] = place + (PAD * ny + PAD) * nx + PAD, ny * nx, nx
        place += nz * ny * nx
        nz, ny, nx = (((n + 3) >> 2) + 2 for n in band.size)
        row[CELLS : CELL_Y + 1] = cells + (ny + 1) * nx + 1, ny * nx, nx
        cells += nz * ny * nx
        row[COUSIN] = (
            i
            if not any(band.high)
            else next(j for j in range(i + 1) if order[j].levels == band.levels and any(order[j].high))
        )
        parent = _parent(order, i)
        row[PARENT] = parent
        if parent >= 0:
            row[PARENT_PLACE : PARENT_Y + 1] = table[parent, PLACE : ROW_Y + 1]
            row[SHIFT_Z : SHIFT_X + 1] = np.subtract(order[parent].levels, band.levels)
    return Bands(table, order, place, cells)


def _parent(order: list[Band], i: int) -> int:
    """The nearest earlier band of the same orientation that is at most one level finer along any axis, or -1."""
    band, best, found = order[i], 99, -1
    if any(band.high):
        for j in range(i):
            if order[j].high == band.high:
                steps = [a - b for a, b in zip(order[j].levels, band.levels)]
                distance = sum(abs(s) for s in steps)
                if min(steps) >= -1 and 0 < distance <= best:
                    best, found = distance, j
    return found
