"""Which chunks are label images: few values, in connected regions that are flat, without an order of grey values.

Four figures decide (benchmarks/studies/labels, recognition): how many voxels have a value that none of the voxels
around them has (noise), how many squares at boundaries hold three values or more (texture), how many steps go to the
next value that there is (gradients), and how many squares lie at boundaries (gradients of few values).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from inr_codec.layers.labels.label_coder import Labels
from inr_codec.layers.labels.payload import Ids, as_bits, distinct, lookup, volume_of
from inr_codec.runtime.kernels import kernel

KINDS = "biu"
LEAST_REGION = 8
"""Voxels for each value, at least."""
ALONE_OF_TWO, ALONE, ALONE_BY_VALUE, FEW_ALONE, SHARE_ALONE = 1 / 2000, 1 / 300, 1 / 20, 4, 1 / 4
"""Voxels that no other around them equals, at most: a share of those that are not background, of two values and of
more, a share of the number of values, or so few if they are no more than the last share of those not background."""
TEXTURE = 0.4
"""Squares of 2 x 2 voxels with three values or more, of those with two or more, at most."""
GRADIENT, GREY_VALUES, NESTED, SHELLS, DENSE = 0.3, 16, 0.7, 4, 0.2
"""Steps to the next value, of all steps along every axis that has some: more of them than the first number are a
gradient where there are more values than the second one. More than the third are one where there are more values than
the fourth and more than a share of the fifth of all squares lie at boundaries."""
MIDDLE, ENOUGH, SHARE_NOISE = 32, 1 << 10, 1 / 20
"""A quick look first, at a box of such sides: so many voxels, a larger share of them alone, are no labels."""

Counts = npt.NDArray[np.int64]
COLOURED, SINGLE, BOUNDARY, JUNCTION, STEPS, NEXT = 0, 1, 2, 3, 4, 7


@kernel()
def _count(labels, background, counts):
    """counts: int64 (10,), of what `is_labelled` looks at. labels: int32 (nz, ny, nx), places among the values."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                v = labels[z, y, x]
                if v != background:
                    counts[COLOURED] += 1
                    equal = False
                    for c in range(max(z - 1, 0), min(z + 2, nz)):
                        for b in range(max(y - 1, 0), min(y + 2, ny)):
                            for a in range(max(x - 1, 0), min(x + 2, nx)):
                                equal |= labels[c, b, a] == v and (a != x or b != y or c != z)
                        if equal:
                            break
                    counts[SINGLE] += not equal
                for axis in range(3):
                    c, b, a = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if c < nz and b < ny and a < nx and labels[c, b, a] != v:
                        counts[STEPS + axis] += 1
                        counts[NEXT + axis] += abs(labels[c, b, a] - v) == 1
                if y + 1 < ny and x + 1 < nx:
                    p, q, r = labels[z, y, x + 1], labels[z, y + 1, x], labels[z, y + 1, x + 1]
                    values = 1 + (p != v) + (q != v and q != p) + (r != v and r != p and r != q)
                    counts[BOUNDARY] += values > 1
                    counts[JUNCTION] += values > 2


def is_labelled(chunk: npt.NDArray[Any]) -> bool:
    """Whether a native C-ordered chunk holds labels (a segmentation, a mask), not intensities."""
    if chunk.dtype.kind not in KINDS or chunk.size < LEAST_REGION:
        return False
    bits = as_bits(chunk).reshape(volume_of(chunk.shape))
    middle = tuple(slice(n // 2 - min(n, MIDDLE) // 2, n // 2 + min(n, MIDDLE) // 2 + 1) for n in bits.shape)
    counts, _ = counted(bits[middle])
    if counts[SINGLE] > SHARE_NOISE * counts[COLOURED] > SHARE_NOISE * ENOUGH:
        return False
    counts, values = counted(bits)
    return values * LEAST_REGION <= chunk.size and _judge(counts, values, chunk.size)


def counted(bits: Ids) -> tuple[Counts, int]:
    """What `_count` counts in a volume, and how many values there are."""
    bits = np.ascontiguousarray(bits)
    ids = distinct(bits)
    labels: Labels = lookup(bits, ids)(tuple(slice(0, n) for n in bits.shape))
    counts = np.zeros(10, np.int64)
    _count(labels, int(np.bincount(labels.reshape(-1)).argmax()), counts)
    return counts, ids.size


def _judge(counts: Counts, values: int, voxels: int) -> bool:
    alone, coloured = counts[SINGLE], counts[COLOURED]
    share = ALONE if values > 2 else ALONE_OF_TWO
    if alone > max(share * coloured, ALONE_BY_VALUE * values, min(FEW_ALONE, SHARE_ALONE * coloured)):
        return False
    if counts[JUNCTION] > TEXTURE * counts[BOUNDARY]:
        return False
    steps, following = counts[STEPS : STEPS + 3], counts[NEXT : NEXT + 3]
    gradient = np.min(following[steps > 0] / steps[steps > 0], initial=1.0)
    dense = counts[BOUNDARY] > DENSE * voxels
    return not ((values > GREY_VALUES and gradient > GRADIENT) or (values > SHELLS and gradient > NESTED and dense))
