"""Evaluating networks of like widths on their grids by one Triton kernel, from coordinates to the array's own dtype.

A program takes one network and one tile of its grid, and writes into the array of the whole chunk. Products are split
TF32 (three for one), about as exact as float32, so that the engines agree. Checked in Triton's interpreter; it has not
run on a GPU yet.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from inr_codec.chunk.intensity import Intensity
from inr_codec.engines.torch_engine.network import Grid, pad
from inr_codec.engines.triton_engine.tiles import fits, precision, sine_cosine, triton_shape, warps
from inr_codec.networks.shape import NetworkShape

TILE = 64
UNIT, FLOATS, WHOLE = 0, 1, 2
"""What is written: unit intensities; values lo + span * unit; the same rounded to whole numbers."""


@triton.jit
def _onward(h, parameters, w0, AT: tl.constexpr, K: tl.constexpr, WIDTHS: tl.constexpr, PRECISION: tl.constexpr):
    """The output of a network given the activations h (TILE, n) that layer K sees; its parameters begin at AT."""
    n: tl.constexpr = WIDTHS[K]
    m: tl.constexpr = WIDTHS[K + 1]
    i = tl.arange(0, n)
    if K == len(WIDTHS) - 2:
        return tl.sum(h * tl.load(parameters + AT + i)[None, :], 1) + tl.load(parameters + AT + n)
    else:
        o = tl.arange(0, m)
        transposed = tl.load(parameters + AT + o[None, :] * n + i[:, None])
        z = tl.dot(h, transposed, input_precision=PRECISION) + tl.load(parameters + AT + n * m + o)[None, :]
        return _onward(sine_cosine(z, w0)[0], parameters, w0, AT + n * m + m, K + 1, WIDTHS, PRECISION)


@triton.jit
def grid_kernel(
    axes, begins, sides, corners, strides, parameters, gains, lifts, ends, out, w0,
    WIDTHS: tl.constexpr, SIZE: tl.constexpr, TILE: tl.constexpr, FORM: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out[corners + grid] <- gain * network(grid) + lift, in the form asked for.

    For each network and axis: its coordinates are axes[begins ...], sides of them; for each network: corners, the
    place of its first voxel in `out`. strides: those of `out`. ends: lo and hi - lo, in float64.
    """
    network = tl.program_id(1).to(tl.int64)
    dims: tl.constexpr = WIDTHS[0]
    total = tl.load(sides + network * dims)
    for a in tl.static_range(1, dims):
        total *= tl.load(sides + network * dims + a)
    begin = tl.program_id(0).to(tl.int64) * TILE
    if begin >= total:
        return
    place = begin + tl.arange(0, TILE)
    inside = place < total
    own = parameters + network * SIZE
    m: tl.constexpr = WIDTHS[1]
    o = tl.arange(0, m)
    z = tl.zeros((TILE, m), tl.float32) + tl.load(own + dims * m + o)[None, :]
    target = tl.load(corners + network) + place * 0
    rest = place
    for a in tl.static_range(dims - 1, -1, -1):
        side = tl.load(sides + network * dims + a)
        at = rest % side
        rest = rest // side
        target += at * tl.load(strides + a)
        x = tl.load(axes + tl.load(begins + network * dims + a) + at, mask=inside, other=0.0)
        z += x[:, None] * tl.load(own + o * dims + a)[None, :]
    h = sine_cosine(z, w0)[0]
    y = _onward(h, own, w0, dims * m + m, 1, WIDTHS, PRECISION)
    y = tl.load(gains + network) * y + tl.load(lifts + network)
    if FORM > 0:
        y = tl.load(ends) + tl.load(ends + 1) * tl.minimum(tl.maximum(y.to(tl.float64), 0.0), 1.0)
    if FORM == 2:
        y = (y + 6755399441055744.0) - 6755399441055744.0
    tl.store(out + target, y.to(out.dtype.element_ty), mask=inside)


def evaluate_grids(grids: Sequence[Grid], w0: float, out: Tensor, intensity: Intensity | None) -> list[Grid]:
    """Write the networks' outputs into `out` (on the device), or the values that they stand for with an intensity.

    Networks of like widths go by one launch. Returns those that are too wide for the kernel.
    """
    ends = (0.0, 1.0) if intensity is None else (intensity.lo, intensity.hi - intensity.lo)
    form = UNIT if intensity is None else FLOATS if out.dtype.is_floating_point else WHOLE
    groups: dict[NetworkShape, list[Grid]] = defaultdict(list)
    for grid in grids:
        if fits(grid.shape):
            groups[triton_shape(grid.shape)].append(grid)
    with torch.cuda.device_of(out):
        for shape, members in groups.items():
            _launch(shape, members, w0, out, ends, form)
    return [grid for grid in grids if not fits(grid.shape)]


def _launch(
    shape: NetworkShape, grids: Sequence[Grid], w0: float, out: Tensor, ends: tuple[float, float], form: int
) -> None:
    def here(values: object, kind: type) -> Tensor:
        return torch.from_numpy(np.array(values, kind)).to(out.device)

    sides = np.array([[len(axis) for axis in grid.axes] for grid in grids], np.int64)
    begins = np.concatenate([[0], np.cumsum(sides)[:-1]]).reshape(sides.shape)
    corners = np.array([grid.corner for grid in grids], np.int64) @ np.array(out.stride(), np.int64)
    grid_kernel[(triton.cdiv(int(sides.prod(1).max()), TILE), len(grids))](
        here(np.concatenate([axis for grid in grids for axis in grid.axes]), np.float32),
        here(begins, np.int64), here(sides, np.int64), here(corners, np.int64), here(out.stride(), np.int64),
        here(pad([grid.parameters for grid in grids], [grid.shape for grid in grids], shape), np.float32),
        here([grid.gain for grid in grids], np.float32), here([grid.lift for grid in grids], np.float32),
        here(ends, np.float64), out, w0,
        WIDTHS=shape.widths, SIZE=shape.parameters, TILE=TILE, FORM=form, PRECISION=precision(exact=True),
        num_warps=warps(shape),
    )  # fmt: skip
