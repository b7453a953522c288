"""The mask layer: voxels that no network should see, and the exact bits they come back with.

Three kinds of voxel are masked: non-finite floats and numbers that stand for what is missing, wherever they are, and
the padding that zarr puts around edge chunks, found as constant slabs at the high end of an axis.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.boxes import boxes
from inr_codec.chunk.selection import Axes, plain
from inr_codec.chunk.view import padding_extent
from inr_codec.errors import CorruptChunk
from inr_codec.layers.kind import AskedValues, CoverKind
from inr_codec.stream.byteio import ByteReader, ByteWriter
from inr_codec.stream.frame import Header, Layer, LayerType

# Format, frozen (FORMAT.md section 8).
MAX_PATTERNS = 255
AT_ONCE = 1 << 21  # voxels that are covered at a time


@dataclass(frozen=True, slots=True)
class Mask:
    """`extent`: the chunk without its padding; `fill`: bits of the padding; `patterns`, `classes`: other masked voxels.

    classes is uint8 of shape `extent`, 0 where the voxel is coded and k where it has the bits patterns[k - 1].
    """

    extent: tuple[int, ...]
    fill: bytes
    patterns: tuple[bytes, ...]
    classes: NDArray[np.uint8] | None

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the part that is not padding."""
        return tuple(slice(0, n) for n in self.extent)

    def valid(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which voxels of a chunk of that shape are coded, not masked."""
        valid = np.zeros(shape, np.bool_)
        valid[self.slices] = True if self.classes is None else self.classes == 0
        return valid


def _bits(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return values.view(f"u{values.dtype.itemsize}")


def find_mask(chunk: NDArray[np.generic], missing: NDArray[np.bool_] | None = None) -> Mask | None:
    """The mask of a native-endian C-ordered chunk; None if nothing is masked.

    missing: further voxels to be masked, of any value. Raises OverflowError when the masked voxels have more than 255
    distinct bit patterns.
    """
    bits = _bits(chunk)
    corner = bits[tuple(n - 1 for n in chunk.shape)]
    extent = padding_extent(chunk)
    if 0 in extent:  # nothing but padding, or a constant chunk, which needs no mask
        finite = chunk.dtype.kind != "f" or np.isfinite(chunk.flat[0])
        return None if finite else Mask((0,) * chunk.ndim, corner.tobytes(), (), None)
    if chunk.size - math.prod(extent) == 1 and np.isfinite(chunk.flat[-1]):
        extent = chunk.shape  # one voxel equals itself: that is no padding
    box = tuple(slice(0, n) for n in extent)
    inner = chunk[box]
    classes = None
    patterns: tuple[bytes, ...] = ()
    odd = np.zeros(inner.shape, np.bool_) if missing is None else missing[box]
    if chunk.dtype.kind == "f":
        odd = odd | ~np.isfinite(inner)
    if odd.any():
        found, which = np.unique(_bits(inner)[odd], return_inverse=True)
        if len(found) > MAX_PATTERNS:
            raise OverflowError(f"more than {MAX_PATTERNS} distinct masked values")
        classes = np.zeros(inner.shape, np.uint8)
        classes[odd] = which.reshape(-1) + 1
        patterns = tuple(p.tobytes() for p in found)
    if classes is None and extent == chunk.shape:
        return None
    return Mask(extent, corner.tobytes(), patterns, classes)


def pack_mask(mask: Mask) -> bytes:
    """The payload of the mask layer."""
    out = ByteWriter()
    for n in mask.extent:
        out.varint(n)
    out.raw(mask.fill)
    out.varint(len(mask.patterns))
    for pattern in mask.patterns:
        out.raw(pattern)
    if mask.classes is not None:
        out.raw(zlib.compress(mask.classes.tobytes(), 9))
    return out.getvalue()


def unpack_mask(payload: bytes, shape: tuple[int, ...], itemsize: int) -> Mask:
    """The mask in a payload; CorruptChunk if it does not fit a chunk of that shape and itemsize."""
    data = ByteReader(payload)
    extent, fill, patterns = _mask_head(data, shape, itemsize)
    classes = None
    if patterns:
        size = math.prod(extent)
        classes = np.frombuffer(data.deflated(size), np.uint8).reshape(extent)
        if classes.max(initial=0) > len(patterns):
            got = f"{len(patterns)}, got {int(classes.max())}"
            raise CorruptChunk(f"expected masked values up to {got}: the chunk is damaged")
    return Mask(extent, fill, patterns, classes)


def _mask_head(
    data: ByteReader, shape: tuple[int, ...], itemsize: int
) -> tuple[tuple[int, ...], bytes, tuple[bytes, ...]]:
    """Extent, bits of the padding, patterns; the deflated classes follow."""
    extent = tuple(data.varint() for _ in shape)
    if any(e > n for e, n in zip(extent, shape, strict=True)):
        raise CorruptChunk(f"expected a mask inside {shape}, got {extent}: the chunk is damaged")
    fill = data.raw(itemsize)
    count = data.varint()
    if count > MAX_PATTERNS:
        raise CorruptChunk(f"expected at most {MAX_PATTERNS} masked values, got {count}: the chunk is damaged")
    patterns = tuple(data.raw(itemsize) for _ in range(count))
    if patterns:
        data.expect_deflated(math.prod(extent))
    return extent, fill, patterns


def _weigh(payload: bytes, below: Sequence[Layer], header: Header) -> int:
    assert header.dtype is not None
    _mask_head(ByteReader(payload), header.shape, header.dtype.itemsize)
    return 0


def apply_mask(values: NDArray[np.generic], mask: Mask, indices: list[NDArray[np.intp]]) -> None:
    """Put the masked bits into `values`, which holds the voxels at the outer product of `indices` of the chunk."""
    bits = _bits(values)
    inside = [int(np.searchsorted(index, n)) for index, n in zip(indices, mask.extent, strict=True)]
    if mask.classes is not None:
        part = bits[tuple(slice(0, n) for n in inside)]
        classes = mask.classes[np.ix_(*[index[:n] for index, n in zip(indices, inside, strict=True)])]
        table = np.array([0] + [int.from_bytes(p, "little") for p in mask.patterns], bits.dtype)
        masked = classes > 0
        part[masked] = table[classes[masked]]
    fill = np.frombuffer(mask.fill, bits.dtype.newbyteorder("<"))[0]
    for axis, n in enumerate(inside):
        bits[(slice(None),) * axis + (slice(n, None),)] = fill


def lay_over(values: NDArray[np.generic], mask: Mask, indices: Axes) -> None:
    """`apply_mask` for values in any byte order and order of memory, box by box."""
    for box in boxes(values.shape, AT_ONCE):
        part = np.array(values[box], values.dtype.newbyteorder("="), order="C")
        apply_mask(part, mask, plain([index[side] for index, side in zip(indices, box, strict=True)]))
        values[box] = part


def _cover(asked: AskedValues, values: NDArray[np.generic]) -> None:
    lay_over(values, unpack_mask(asked.payload, asked.shape, values.dtype.itemsize), asked.indices)


KIND = CoverKind(type=LayerType.MASK, name="mask", exact=True, cover=_cover, weigh=_weigh)
