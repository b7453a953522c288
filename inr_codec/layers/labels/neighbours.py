"""Which coded voxels a label is compared with, and the planes that they are read from.

Planes are flat arrays with PAD cells on every side: `cells` (int32) holds labels, `flats` (uint8) for each of them how
many steps to the right its row stays as it is, at most FAR. There are three of them in turn. Of a volume that is a
single plane there are some rows with those above them that are looked at, of one that is a single line a part of it.
Labels go on beyond the ends of the volume as in the correction layer (FORMAT.md, section 10.2).
"""

import numpy as np
import numpy.typing as npt

from inr_codec.runtime.kernels import inner

Offsets = npt.NDArray[np.int64]

# Format, frozen (FORMAT.md section 11.2): steps along z, y, x, the nearest first.
PAD = 3
FAR = 15
NEAREST, FARTHEST = 3, 24  # steps along a ray: the first, and the one after the last
TEMPLATE = np.array(
    [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, 1), (-1, 0, 1), (-1, 1, 0), (0, -1, -1), (-1, -1, 0), (-1, 0, -1)]
    + [(-1, 1, 1), (-2, 0, 0), (-2, 0, 1), (-2, 1, 0), (0, 0, -2), (0, -2, 0), (-1, -1, 1), (-1, 1, -1), (-1, -1, -1)]
    + [(0, -1, 2), (-1, 0, 2), (-1, 2, 0), (0, -1, -2), (0, -2, 1), (0, -2, -1), (-1, 0, -2), (-1, -2, 0), (0, -2, 2)]
    + [(0, -2, -2), (0, -1, 3), (0, 0, -3)]
)  # fmt: skip
TEMPLATE_OF_ONE_PLANE = np.array(
    [(0, 0, -1), (0, -1, 0), (0, -1, 1), (0, -1, -1), (0, 0, -2), (0, -2, 0), (0, -1, 2), (0, -2, 1), (0, -2, -1)]
    + [(0, -1, -2), (0, 0, -3), (0, -2, 2), (0, -2, -2), (0, -3, 0), (0, -1, 3), (0, -3, 1), (0, -3, -1), (0, -2, 3)]
    + [(0, -1, -3), (0, -3, 2)]
)  # fmt: skip
SIZES, SIZES_OF_ONE_PLANE = np.array([6, 13, 21, 30]), np.array([4, 9, 14, 20])
"""Contexts 0 to 3 see so many neighbours of a template."""
LINES, LINES_OF_ONE_PLANE = (
    np.array([(0, -1, 0), (0, -2, 0), (-1, 0, 0), (-1, 1, 0)]),
    np.array([(0, -1, 0), (0, -2, 0), (0, -1, 0), (0, -3, 0)]),
)
"""Places of which contexts 6 (the first two) and 7 (the last two, and the first) see how far their rows stay alike."""
RAYS, RAYS_OF_ONE_PLANE = (
    np.array([(0, -1, 0, 1), (-1, 0, 0, 1), (-1, 0, 1, 0), (-1, 0, 1, 1), (-1, 0, 1, -1), (-1, 0, 0, -1)]),
    np.array([(0, -1, 0, 1), (0, -2, 0, 1), (0, 0, -1, 1), (0, 0, -1, 0), (0, 0, -1, -1), (0, -1, 0, -1)]),
)
"""Where labels are looked for that no neighbour has: step z; start y; then y and x at each step."""


def rows_above(shape: tuple[int, int, int]) -> int:
    """Rows above the first one of a batch that planes have room for."""
    return PAD if shape[0] > 1 else min(max(shape[1] - 1, PAD), FARTHEST - 1)


def planes_of(
    shape: tuple[int, int, int], batch: tuple[int, ...]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Empty `cells` and `flats`, (planes, rows, columns), for batches of at most that shape."""
    below = PAD if shape[0] > 1 else 0
    padded = (3 if shape[0] > 1 else 1, rows_above(shape) + batch[1] + below, batch[2] + 2 * PAD)
    return np.zeros(padded, np.int32), np.full(padded, FAR, np.uint8)


@inner()
def place(offset, z, depth, sy, sz):
    """Cells from a voxel of plane z to its neighbour at an offset (z, y, x); depth: planes in turn."""
    return ((z + offset[0] + 3) % depth - z % depth) * sz + offset[1] * sy + offset[2]


@inner()
def _copy_row(cells, flats, source, target, n):
    """n cells from `source` on, and their steps, are those from `target` on too."""
    for i in range(n):
        cells[target + i] = cells[source + i]
        flats[target + i] = flats[source + i]


@inner()
def end_row(cells, flats, row, nx):
    """Row `row` (its first voxel's cell) goes on beyond its last voxel and before its first; its steps are counted."""
    for i in range(PAD):
        cells[row - 1 - i] = cells[row]
        cells[row + nx + i] = cells[row + nx - 1]
    steps = FAR
    for i in range(row + nx + PAD - 1, row - PAD - 1, -1):
        flats[i] = steps
        if i > row - PAD and cells[i - 1] != cells[i]:
            steps = 0
        elif steps < FAR:
            steps += 1


@inner()
def begin_plane(cells, flats, z, depth, ny, sy, sz):
    """Plane z begins: the one before goes on beyond its ends, and so does this one above its first row."""
    if z == 0:
        return
    before, here, far = (z + 2) % depth * sz, z % depth * sz, (z + 1) % depth * sz
    for y in range(PAD):
        _copy_row(cells, flats, before + PAD * sy, before + y * sy, sy)
        _copy_row(cells, flats, before + (ny + PAD - 1) * sy, before + (ny + PAD + y) * sy, sy)
        _copy_row(cells, flats, before + PAD * sy, here + y * sy, sy)
    if z == 1:
        for i in range(sz):
            cells[far + i] = cells[before + i]
            flats[far + i] = flats[before + i]


@inner()
def end_batch(cells, flats, above, rows, sy):
    """The last rows of a batch of a single plane become those above the next one."""
    for y in range(above):
        _copy_row(cells, flats, (y + rows) * sy, y * sy, sy)


@inner()
def end_part(cells, row, n):
    """The last voxels of a part of a line are those before the next part."""
    for i in range(PAD):
        cells[row - PAD + i] = cells[row - PAD + n + i]


@inner()
def begin_row(cells, flats, z, y, depth, sy, sz, row):
    """Row y begins: before its first voxel there is that of the row above; planes before the first are that row."""
    above = row - sy - PAD
    if z == 0 and depth > 1:
        for plane in range(1, depth):
            for step in range(-2, 3):
                _copy_row(cells, flats, above, plane * sz + (y + PAD + step) * sy, sy)
    for i in range(1, PAD + 1):
        cells[row - i] = cells[row - sy]
