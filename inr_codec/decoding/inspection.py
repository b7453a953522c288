"""What a stream says of itself: read from its header and layers, no voxel evaluated."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from inr_codec.chunk.intensity import Intensity
from inr_codec.layers.kind import ValueKind
from inr_codec.layers.network.blocks import Block
from inr_codec.layers.table import dtype_of, kind_of, open_stream
from inr_codec.stream.byteio import as_bytes
from inr_codec.stream.frame import Header, Layer


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of an encoded chunk without decoding it. Figures that a stream does not have are None.

    dtype: in its own byte order. order: "C" or "F". lo, hi: range of the voxels that are not masked. layers: names in
    the order of the stream. blocks, widths: of the network layer, one entry per block (widths are empty for a block
    that is stored as its mean); blocks have offset, shape and level, along the axes that layers see (FORMAT.md section
    1.1: those longer than 1, at most four). parameters: of all its networks. architecture
    (of the networks: "funnel", "siren" with a funnel ratio of 1, "nerf"), depth, w0 (of sines): settings that they
    share. bytes: of the stream; bytes_by_section: "header" (with the framing of all layers) and every layer's payload,
    adding up to bytes. ratio: bytes of the chunk / bytes. psnr (dB, peak = hi - lo) and
    max_error (in the chunk's units): measured at encoding, over the voxels that are not masked, rounded to the worse.
    missed: why the stream takes more bytes than were asked for, in words; empty where it does not.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    lo: float | None
    hi: float | None
    layers: tuple[str, ...]
    blocks: tuple[Block, ...]
    widths: tuple[tuple[int, ...], ...]
    parameters: int
    architecture: str | None
    depth: int | None
    w0: float | None
    bytes: int
    bytes_by_section: dict[str, int]
    ratio: float
    psnr: float | None
    max_error: float | None
    missed: tuple[str, ...] = ()

    @property
    def bpv(self) -> float:
        """Bits per voxel."""
        return 8 * self.bytes / max(math.prod(self.shape), 1)

    def __str__(self) -> str:
        big = ", big-endian" if self.dtype.byteorder == ">" else ""
        sides = " x ".join(map(str, self.shape)) or "a single value"
        rows = {
            "chunk": f"{sides}, {self.dtype.name}{big}, order {self.order}",
            "size": f"{self.bytes:,} bytes, ratio {self.ratio:.1f}, {self.bpv:.4f} bits per voxel",
            "sections": ", ".join(f"{name} {size:,}" for name, size in self.bytes_by_section.items()),
        }
        if self.lo is not None:
            rows["range"] = f"{self.lo:g} to {self.hi:g}"
        if self.psnr is not None:
            worst = "not known" if self.max_error is None else f"{self.max_error:.4g}"
            rows["reached"] = f"PSNR {self.psnr:.2f} dB, largest error {worst}"
        if self.missed:
            rows["target missed"] = "; ".join(self.missed)
        if self.depth is not None:
            rows["networks"] = f"{self.architecture}, {self.parameters:,} parameters, {self.depth} layers"
            rows["networks"] += "" if self.w0 is None else f", w0 = {self.w0:g}"
            rows["blocks"] = f"{len(self.blocks)}"
            for block, widths in zip(self.blocks, self.widths, strict=True):
                spans = zip(block.offset, block.shape, strict=True)
                place = ", ".join(f"{start}:{start + side}" for start, side in spans)
                rows[f"  [{place}]"] = "-".join(map(str, widths)) if widths else "its mean"
        left = max(map(len, rows))
        return "\n".join(f"{name:<{left}}  {text}" for name, text in rows.items())


NO_NETWORKS: dict[str, Any] = {
    "blocks": (), "widths": (), "parameters": 0, "architecture": None, "depth": None, "w0": None
}  # fmt: skip
"""Fields that a layer of networks tells, in a stream without one."""


def inspect(data: bytes | bytearray | memoryview) -> Inspection:
    """What a stream holds. Raises CorruptChunk or UnsupportedFormat for bytes that are none."""
    stream = as_bytes(data)
    size = len(stream)
    header, layers = open_stream(stream)
    dtype = dtype_of(header, layers)
    told, seen = dict(NO_NETWORKS), header.seen()
    for layer in layers:
        told |= kind_of(layer).describe(layer.payload, seen.shape)
    lo, hi = (None, None) if header.range is None else (header.range.lo, header.range.hi)
    psnr, max_error = reached_of(header, layers)
    return Inspection(
        shape=header.shape,
        dtype=dtype,
        order="F" if header.fortran else "C",
        lo=lo,
        hi=hi,
        layers=tuple(kind_of(layer).name for layer in layers),
        bytes=size,
        bytes_by_section=_sections(layers, size),
        ratio=math.prod(header.shape) * dtype.itemsize / size,
        psnr=psnr,
        max_error=max_error,
        missed=tuple(reason.text for reason in header.missed),
        **told,
    )


def reached_of(header: Header, layers: list[Layer]) -> tuple[float | None, float | None]:
    """PSNR (dB) and largest error (in the chunk's units) that a stream tells of itself, None where not measured."""
    if header.dtype is None:
        return math.inf, 0.0
    if header.reached is None or header.intensity is None:
        return None, None
    for layer in layers:
        kind = kind_of(layer)
        if isinstance(kind, ValueKind):
            return header.reached.psnr, math.ldexp(kind.bound(layer.payload), header.exponent)
    assert header.range is not None
    if header.range.constant and header.reached.max_error > 0:  # as its mean, in version 1: the range is not known
        return header.reached.psnr, None
    return header.reached.psnr, _spans(header.reached.max_error, header.range)


def _spans(share: float, intensity: Intensity) -> float:
    """A share of hi - lo, which may be beyond what floats hold."""
    return 2 * (share * (intensity.hi / 2 - intensity.lo / 2))


def _sections(layers: list[Layer], size: int) -> dict[str, int]:
    sections = {"header": size - sum(len(layer.payload) for layer in layers)}
    for layer in layers:
        name = kind_of(layer).name
        sections[name] = sections.get(name, 0) + len(layer.payload)
    return sections
