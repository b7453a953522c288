"""Decoding streams of networks on torch's device, so that voxels never pass through the host's memory.

By Triton's fused kernel where there are CUDA and Triton, by plain torch elsewhere. It has not run on a GPU yet: the
kernel is checked in Triton's interpreter, the rest on a CPU.
"""

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inr_codec.chunk.intensity import Intensity
from inr_codec.chunk.selection import all_indices, plain, split_selection
from inr_codec.engines.torch_engine.evaluate import evaluate_grid_torch
from inr_codec.engines.torch_engine.network import Grid
from inr_codec.layers.kind import UnitKind
from inr_codec.layers.network.payload import NetworkLayer, affine_of, dequantise, unpack_network
from inr_codec.layers.table import kind_of, open_stream
from inr_codec.networks.position import coordinates


def evaluate_network_torch(
    layer: NetworkLayer, indices: Sequence[NDArray[np.intp]], where: torch.device, *, fused: bool | None = None
) -> Tensor:
    """Unit intensities at the outer product of `indices`, as `layers.network.payload.evaluate_network`, on a device.

    fused: whether Triton's kernel does it (None: where it can).
    """
    out = torch.empty([len(index) for index in indices], device=where)
    _evaluate(layer, indices, out, None, fused)
    return out


def decode_torch(
    data: bytes, where: torch.device, *, selection: Any = None, fused: bool | None = None
) -> tuple[Tensor, Any] | None:
    """(voxels, rest): `voxels[rest]` is `decode(data, selection=selection)` in native byte order.

    None for a stream that holds more than networks, which only the CPU decodes.
    """
    header, layers = open_stream(data)
    kinds = [kind_of(layer) for layer in layers]
    here = len(kinds) == 1 and isinstance(kinds[0], UnitKind) and kinds[0].on_gpu
    if not here or header.dtype is None or header.intensity is None:
        return None
    seen = header.seen()
    if seen.dtype != header.dtype or header.exponent:
        return None
    if selection is None:
        indices, rest = all_indices(header.shape), (slice(None),) * len(header.shape)
    else:
        axes, rest = split_selection(selection, header.shape)
        indices = plain(axes)
    sides = [len(index) for index in indices]
    kind = torch.from_numpy(np.empty(0, header.dtype)).dtype
    half = kind == torch.float16
    where_seen = indices if header.version == 1 else plain(header.view.indices(indices))
    shape = [len(index) for index in where_seen]
    out = torch.empty(shape if math.prod(sides) else sides, dtype=torch.float32 if half else kind, device=where)
    if out.numel():
        _evaluate(unpack_network(layers[0].payload, seen.shape), where_seen, out, seen.intensity, fused)
        out = out.reshape(sides)
    return (out.to(kind) if half else out), rest


def current_gpu() -> torch.device:
    """The GPU that cupy works on."""
    import cupy

    return torch.device("cuda", cupy.cuda.Device().id)


def decode_cupy(data: bytes, selection: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """`chunk[selection]` as a cupy array on the current GPU, no copy through the host; None where the CPU must decode.

    None as well for a chunk that does not have that shape and dtype.
    """
    import cupy

    header = open_stream(data)[0]
    if header.shape != shape or header.dtype != dtype:
        return None
    done = decode_torch(data, current_gpu(), selection=selection)
    if done is None:
        return None
    voxels, rest = done
    picked = tuple(cupy.asarray(item) if isinstance(item, np.ndarray) else item for item in rest)
    return cupy.from_dlpack(voxels)[picked]


def restore_torch(unit: Tensor, intensity: Intensity, kind: torch.dtype) -> Tensor:
    """The values of unit intensities, as `chunk.intensity.restore`."""
    values = intensity.lo + (intensity.hi - intensity.lo) * unit.double().nan_to_num(0.0).clamp(0.0, 1.0)
    return (values if kind.is_floating_point else values.round()).to(kind)


def _evaluate(
    layer: NetworkLayer,
    indices: Sequence[NDArray[np.intp]],
    out: Tensor,
    intensity: Intensity | None,
    fused: bool | None,
) -> None:
    """out <- unit intensities, or the values they stand for."""
    if out.numel() == 0:
        return
    if fused is None:
        fused = out.is_cuda and importlib.util.find_spec("triton") is not None
    grids = []
    for block, network in zip(layer.blocks, layer.networks, strict=True):
        ends = [
            np.searchsorted(index, (start, start + side))
            for index, start, side in zip(indices, block.offset, block.shape, strict=True)
        ]
        if any(first == last for first, last in ends):
            continue
        gain, lift = affine_of(network)
        if network.size == 0:
            flat = torch.tensor(np.float32(lift), device=out.device)
            window = tuple(slice(int(first), int(last)) for first, last in ends)
            out[window] = flat if intensity is None else restore_torch(flat, intensity, out.dtype)
            continue
        axes = [
            coordinates(side)[index[first:last] - start]
            for index, start, side, (first, last) in zip(indices, block.offset, block.shape, ends, strict=True)
        ]
        shape = layer.shape_of(network, out.ndim)
        firsts = [int(first) for first, _ in ends]
        grids.append(Grid(dequantise(layer, network, shape), shape, axes, firsts, gain, lift))
    if fused:
        from inr_codec.engines.triton_engine.evaluate import evaluate_grids

        grids = evaluate_grids(grids, layer.w0, out, intensity)
    for grid in grids:
        window = tuple(slice(at, at + len(axis)) for at, axis in zip(grid.corner, grid.axes, strict=True))
        unit = evaluate_grid_torch(grid, layer.w0, out.device)
        out[window] = unit if intensity is None else restore_torch(unit, intensity, out.dtype)
