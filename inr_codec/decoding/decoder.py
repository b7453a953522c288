"""From bytes to voxels: the layers of a stream, evaluated only where they are asked for."""

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.chunk.intensity import restore
from inr_codec.chunk.selection import Axes, split_selection, whole
from inr_codec.decoding.compose import fill_values
from inr_codec.errors import ConfigError
from inr_codec.layers.kind import AskedValues, CoverKind, UnitKind, WholeKind
from inr_codec.layers.table import dtype_of, kind_of, open_stream
from inr_codec.runtime.limits import check_limit
from inr_codec.stream.byteio import as_bytes
from inr_codec.stream.frame import Header, Layer


def decode(
    data: bytes | bytearray | memoryview,
    *,
    selection: Any = None,
    step: int | Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
    limit: int | None = None,
) -> NDArray[Any]:
    """The array in a stream, or a part of it, or the whole on another grid.

    selection: any numpy selection without new axes; the result equals `decode(data)[selection]`, but only the voxels
    that it needs are evaluated. step: every step-th voxel along each axis (one number, or one per axis), equal to
    `decode(data)[::step, ...]`. shape: the chunk's extent sampled anew on a grid of that shape, first and last
    voxel kept; only networks are defined between voxels, so the stream must have been written with layers="network".

    limit: bytes of the chunk, at most, whatever part of it is asked for; without it INR_CODEC_LIMIT says so, if it is
    set. A service that decodes what strangers send should give one.

    Raises CorruptChunk or UnsupportedFormat for bytes that cannot be read, LimitExceeded for a chunk that is too large,
    ConfigError for arguments that do not fit.
    """
    if sum(argument is not None for argument in (selection, step, shape)) > 1:
        raise ConfigError("expected at most one of selection=, step= and shape=, got more: call decode once for each")
    with np.errstate(all="ignore"):  # whatever the caller asks of numpy: damaged and tiny values are met here
        header, layers = open_stream(as_bytes(data))
        check_limit(header.size * dtype_of(header, layers).itemsize, limit)
        return _evaluate(header, layers, selection, step, shape)


def _evaluate(
    header: Header,
    layers: list[Layer],
    selection: Any,
    step: int | Sequence[int] | None,
    shape: Sequence[int] | None,
) -> NDArray[Any]:
    if shape is not None:
        return _finish(_resample(header, layers, shape), header)
    if step is not None:
        steps = _whole_numbers(step if isinstance(step, Sequence) else (step,) * len(header.shape), header, "step")
        selection = tuple(slice(None, None, n) for n in steps)
    if header.dtype is None:
        kind = kind_of(layers[0])
        assert isinstance(kind, WholeKind)
        values = kind.array(layers[0].payload, header.shape, "F" if header.fortran else "C")
        if header.big_endian and values.dtype != values.dtype.newbyteorder(">"):
            values = values.byteswap(inplace=True).view(values.dtype.newbyteorder(">"))
        if selection is not None:
            split_selection(selection, header.shape)
            values = values[selection]
        return _finish(values, header)
    if selection is None:
        return _finish(voxels(header, layers, whole(header.shape)), header)
    axes, rest = split_selection(selection, header.shape)
    return _finish(voxels(header, layers, axes)[rest], header)


def _whole_numbers(values: Sequence[int], header: Header, name: str) -> tuple[int, ...]:
    """One number above 0 for each axis."""
    try:
        numbers = tuple(index(value) for value in values)
    except TypeError:
        numbers = ()
    if len(numbers) != len(header.shape) or any(n < 1 for n in numbers):
        axes = f"each of {len(header.shape)} axes"
        raise ConfigError(f"expected {name}= with a whole number above 0 for {axes}, got {values!r}: change it")
    return numbers


def _finish(values: NDArray[Any], header: Header) -> NDArray[Any]:
    """Byte order and memory order of the chunk that was encoded."""
    dtype = values.dtype.newbyteorder(">") if header.big_endian else values.dtype
    return np.asarray(values, dtype, order="F" if header.fortran else "C")


def voxels(header: Header, layers: list[Layer], indices: Axes) -> NDArray[Any]:
    """Values at the outer product of `indices`, in the byte order and memory order of the chunk.

    More than four axes are in C order here: only so are they what layers see without a copy.
    """
    assert header.dtype is not None
    dtype = header.dtype.newbyteorder(">" if header.big_endian else "=")
    fortran = header.fortran and header.view.merged == 1
    values: NDArray[Any] = np.zeros([len(index) for index in indices], dtype, order="F" if fortran else "C")
    if values.size == 0:
        return values
    if header.version == 1:
        _fill(values, header, layers, indices)
        return values
    seen = header.view.of(values)
    _fill(seen, header.seen(), layers, header.view.indices(indices), header.exponent)
    if values.dtype.kind == "c" and header.view.merged > 1:  # parts and axes that are merged with them
        values.real, values.imag = seen.reshape(2, *values.shape)
    if values.dtype.kind == "b":
        np.not_equal(seen, 0, out=header.view.of(values).view(np.bool_))  # forged bytes may mean other numbers
    return values


def _fill(values: NDArray[Any], seen: Header, layers: list[Layer], indices: Axes, exponent: int = 0) -> None:
    """values, which are zeros, <- what layers make of them, times 2^exponent, and what is laid over that."""
    assert seen.intensity is not None
    fill_values(values, layers, seen.shape, indices, seen.intensity)
    if exponent:
        np.ldexp(values, exponent, out=values)
    for layer in layers:
        kind = kind_of(layer)
        if isinstance(kind, CoverKind):
            kind.cover(AskedValues(layer.payload, (), seen.shape, indices), values)


def _resample(header: Header, layers: list[Layer], wanted: Sequence[int]) -> NDArray[Any]:
    shape = _whole_numbers(wanted, header, "shape")
    kinds = [kind_of(layer) for layer in layers]
    sample = kinds[0].sample if len(kinds) == 1 and isinstance(kinds[0], UnitKind) else None
    if sample is None or header.dtype is None or header.intensity is None:
        names = [kind.name for kind in kinds] or ["constant"]
        advice = "use step=, or encode with layers='network' and deblock=False"
        raise ConfigError(f"expected a stream of networks alone, got layers {names}: {advice}")
    seen = header.seen()
    assert seen.dtype is not None and seen.intensity is not None
    long = [(n, m) for n, m in zip(header.shape, shape) if n > 1 or header.version == 1] or [(1, 1)]
    if len(long) != len(seen.shape) or header.exponent or seen.dtype != header.dtype:
        got = f"{header.dtype} {header.shape}"
        raise ConfigError(f"expected real numbers of at most four axes longer than 1, got {got}: use step=")
    positions = [np.linspace(0, n - 1, m) if m > 1 else np.array([(n - 1) / 2]) for n, m in long]
    values = restore(sample(layers[0].payload, seen.shape, positions), seen.intensity, seen.dtype)
    if header.version == 1:
        return values
    kept = [m if n > 1 else 1 for n, m in zip(header.shape, shape)]
    return np.broadcast_to(values.reshape(kept), shape).copy()
