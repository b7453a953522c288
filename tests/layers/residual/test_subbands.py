"""Table of the bands: order, kinds, parents and cousins are those of FORMAT.md, section 6.3, places do not overlap."""

import numpy as np
from brute_subbands import ordered, parent_of, relatives
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_codec.layers.residual import subbands as columns
from inr_codec.layers.residual.packet_tree import unpack_packet_tree
from inr_codec.layers.residual.subbands import PAD, ZEROS, subbands_table

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 23))


@settings(max_examples=60)
@given(SHAPES, st.binary(max_size=40))
def test_rows_say_what_the_format_says(shape: tuple[int, int, int], tree: bytes) -> None:
    """Of the bands of any tree, by a search through all bands before each."""
    bands = subbands_table(shape, unpack_packet_tree(shape, tree)[1])
    assert bands.order == ordered(bands.order)
    for i, row in enumerate(bands.table):
        level, orientation, cousins = relatives(bands.order, i)
        assert (row[columns.LEVEL], row[columns.ORIENTATION]) == (level, orientation)
        assert row[columns.KIND] == 8 * level + orientation
        assert list(range(row[columns.COUSIN], i)) == cousins
        parent, shifts = parent_of(bands.order, i)
        assert row[columns.PARENT] == parent
        if parent >= 0:
            assert tuple(row[columns.SHIFT_Z : columns.SHIFT_X + 1]) == shifts


@settings(max_examples=60)
@given(SHAPES, st.binary(max_size=40))
def test_every_coefficient_has_a_place(shape: tuple[int, int, int], tree: bytes) -> None:
    """Offsets visit the array once; magnitudes lie apart, `PAD` zeros around a row of them, and cells, one around."""
    bands = subbands_table(shape, unpack_packet_tree(shape, tree)[1])
    visited = np.zeros(shape, int).reshape(-1)
    magnitudes, cells, zeros = np.zeros(bands.magnitudes, int), np.zeros(bands.cells, int), set[int]()
    for row in bands.table:
        sides = row[columns.NZ : columns.NX + 1]
        z, y, x = np.indices(sides)
        np.add.at(visited, row[columns.OFFSET] + z * row[columns.STRIDE_Z] + y * row[columns.STRIDE_Y] + x, 1)
        places = row[columns.PLACE] + z * row[columns.ROW_Z] + y * row[columns.ROW_Y] + x
        np.add.at(magnitudes, places, 1)
        ends = np.concatenate([places[..., 0] - d for d in (1, PAD)] + [places[..., -1] + d for d in (1, PAD)])
        zeros |= set(ends.ravel().tolist())
        zeros |= {ZEROS + n for n in range(-PAD, row[columns.NX] + PAD)}
        z, y, x = np.indices((sides + 3) // 4 + 2) - 1
        np.add.at(cells, row[columns.CELLS] + z * row[columns.CELL_Z] + y * row[columns.CELL_Y] + x, 1)
    assert (visited == 1).all() and (magnitudes <= 1).all() and (cells == 1).all()
    assert zeros == set(np.flatnonzero(magnitudes == 0).tolist())
