"""The commands that work on volumes: functions that take paths, write volumes and print a summary."""

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inr_codec import inspect as inspect_stream
from inr_codec import io, metrics
from inr_codec.batch.clearing import drop_group, forget, plan_at
from inr_codec.batch.plan import Plan
from inr_codec.batch.pyramid import image_at, tell_left, write_groups
from inr_codec.batch.store import as_image, check_voxels, finest_level, new_array, open_volume, state_of
from inr_codec.config import Config
from inr_codec.errors import ConfigError, MetadataLoss
from inr_codec.io.ome_zarr import Image, Level
from inr_codec.io.record import RECORD, from_attributes
from inr_codec.progress import Progress, duration, voxels_per_second
from inr_codec.runtime.compiling import drawn
from inr_codec.runtime.threads import threads
from inr_codec.stores.chunk_shape import chunk_shape
from inr_codec.stores.description import record
from inr_codec.stores.encoded_chunks import stored_streams
from inr_codec.stores.folders import is_url
from inr_codec.stores.losses import of_source
from inr_codec.stores.nodata import with_missing
from inr_codec.targets import KINDS, check_array_name, check_array_target, check_file_target, local_path, split_part

LISTED_CHUNKS = 10
PLAIN_KINDS = "biufcmMSUV"
"""Kinds of dtype that zarr and the codec store, losslessly where they are no numbers."""


def encode(
    source: str,
    target: str,
    *,
    settings: dict[str, Any],
    chunks: tuple[int, ...] | None,
    zarr_format: Literal[2, 3] | None,
    workers: int | None,
    overwrite: bool,
    progress: bool,
    ome: bool = False,
) -> None:
    """Write a volume as a zarr array of INRCodec(**settings) chunks, with what belongs to it; or an OME-Zarr image, all
    of its levels at these settings and its labels exactly."""
    source, target = local_path(source), _local(target)
    sources = [source, *(value for name in ("segmentation", "mask") if isinstance(value := settings.get(name), str))]
    check_array_name(target)
    check_array_target(target, sources, overwrite=overwrite)
    if plan_at(target) is not None and not overwrite:
        raise FileExistsError(
            f"expected a new path, found the plan of an array that was begun with --scheduler in {state_of(target)!r}: "
            "choose another, go on with --scheduler, or --overwrite it"
        )
    image = opened_image(as_image(source, target, ome))
    form = zarr_format or image.zarr_format
    reached, nbytes = [], 0
    work: list[str] = []
    with _group(Path(target).parent, form), io.finished(target, overwrite=overwrite) as part:
        for level in image.levels:
            plan = _plan(source, target, level, settings, chunks, form, grouped=bool(image.groups))
            encoded = new_array(plan, str(part / level.path))
            if chunks is None and not work:
                print(chunk_shape(plan.shape, plan.axes), flush=True)
            work.append(_copy("encoding", level.array, encoded, plan.chunks, workers, progress))
            reached.append(record(encoded))
            nbytes += plan.nbytes
        if image.groups:
            write_groups(image, str(part), form)
    forget(target)
    stored = sum(one.bytes for one in reached)
    ratio = f"{metrics.compression_ratio(nbytes, stored):.1f} times smaller" if stored else "nothing but the fill value"
    score = f"PSNR {reached[0].total} (peak = max - min of the array)"
    arrays = "" if len(work) == 1 else f", the first of {len(work)} arrays"
    print(f"{target}: {nbytes:,} bytes in {stored:,}, {ratio}, {score}, {work[0]}{arrays}")
    for reason, count in sum((one.missed for one in reached), Counter[str]()).items():
        print(f"  {count:,} chunks take more bytes than were asked for: {reason}")


def opened_image(source: str) -> Image:
    """The image that a source is; one of a single array, without groups, where it is none."""
    if finest_level(source) is not None:
        image = image_at(source)
        tell_left(image, source)
        return image
    volume = open_volume(source)
    return Image((Level("", volume.array, volume.axes, volume.stored, nodata=volume.record.nodata),), {})


def _plan(
    source: str,
    target: str,
    level: Level,
    settings: dict[str, Any],
    chunks: tuple[int, ...] | None,
    zarr_format: Literal[2, 3],
    *,
    grouped: bool,
) -> Plan:
    """How one array is to be encoded; ConfigError for what cannot be."""
    array, exact = level.array, level.exact or bool(settings.get("lossless"))
    check_voxels(array, source, PLAIN_KINDS)
    shape = tuple(array.shape)
    sides = chunks if chunks is None or not level.exact else chunks[-len(shape) :]
    return Plan(
        source=source,
        target=target,
        array=level.path,
        shape=shape,
        dtype=np.dtype(array.dtype).str,
        chunks=_chunks(shape, sides, level.names),
        shards=None,
        zarr_format=zarr_format,
        settings={"lossless": True} if level.exact else with_missing(settings, level.nodata),
        separator="/" if grouped else ".",
        axes=level.names,
        attributes=of_source(split_part(source)[0], array, level.attributes, lossless=exact),
    )


def prior(
    source: str,
    target: str,
    *,
    ratio: float,
    layers: Literal["auto", "network"] | None,
    chunks: tuple[int, ...] | None,
    samples: int,
    rounds: int,
    progress: bool,
) -> None:
    """Learn a prior from chunks spread over a volume, and write its text."""
    from inr_codec.encoding.learn_prior import learn_prior

    check_file_target(target, (source,), overwrite=True, kind="prior")
    volume = open_volume(source)
    array = volume.array
    check_voxels(array, source)
    config = Config(ratio=ratio, layers=layers)
    if chunks is None:
        print(chunk_shape(array.shape, volume.axes), flush=True)
    chunks = _chunks(tuple(array.shape), chunks, volume.axes)
    corners = list(product(*[range(0, max(side - chunk, 0) + 1, chunk) for side, chunk in zip(array.shape, chunks)]))
    chosen = [corners[i] for i in np.unique(np.linspace(0, len(corners) - 1, samples).astype(int))]
    taken = [np.asarray(array[tuple(slice(a, a + n) for a, n in zip(corner, chunks))]) for corner in chosen]
    bar: list[Progress] = []

    def on_size(done: int, of: int) -> None:
        if not bar:
            shown = progress or sys.stderr.isatty()
            bar.append(Progress("learning", of, of, stream=sys.stderr, shown=shown))
        bar[0].step(1)

    learnt = learn_prior(taken, config, rounds=rounds, on_size=on_size)
    bar[0].close()
    with io.finished(target, overwrite=True) as part:
        part.write_text(learnt.text, encoding="ascii")
    size = f"{len(learnt.text):,} characters"
    print(f"{target}: starts of {len(learnt.starts)} network sizes, {size}, {learnt.digest.hex()}")


def read_text(path: str) -> str:
    """The text of a file; ConfigError where there is none."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a file that inr-codec prior wrote, got {path!r} ({error}): learn one") from None


def decode(source: str, target: str, *, workers: int | None, overwrite: bool, progress: bool) -> None:
    """Write an array as the file that the suffix of the target says, or as lossless zarr; an image as one of these."""
    source, target = local_path(source), _local(target)
    is_store = not target.lower().endswith(tuple(KINDS))
    if not is_store:
        check_file_target(target, (source,), overwrite=overwrite)
    else:
        check_array_target(target, (source,), overwrite=overwrite)
    image = opened_image(as_image(source, target) if is_store else source)
    if is_store and image.groups:
        with io.finished(target, overwrite=overwrite) as part:
            for level in image.levels:
                (part / level.path).parent.mkdir(parents=True, exist_ok=True)
                told = from_attributes(level.names, level.attributes, len(level.array.shape))
                volume = io.Volume(level.array, told, level.attributes)
                done = _decode(volume, str(part / level.path), workers, False, progress)
            write_groups(image, str(part), 3)
        print(f"{target}: {len(image.levels)} arrays, the last {done}")
        return
    further = [name for name in image.groups if name.startswith("labels/")]
    further += [f"the attribute {name}" for name in image.groups.get("", ({}, {}))[1] if name != RECORD]
    if further:
        warnings.warn(f"{target!r}: {', '.join(further)} of the image stay behind", MetadataLoss, stacklevel=1)
    print(f"{target}: {_decode(open_volume(source), target, workers, overwrite, progress)}")


def _decode(volume: io.Volume, target: str, workers: int | None, overwrite: bool, progress: bool) -> str:
    """Write one volume; a text about it."""
    array, shape = volume.array, tuple(volume.array.shape)
    chunks = tuple(getattr(array, "chunks", None) or chunk_shape(shape, volume.axes).sides)
    with io.create(
        target,
        shape,
        array.dtype,
        chunks=chunks,
        attributes=volume.others,
        record=volume.record,
        overwrite=overwrite,
    ) as out:
        work = _copy("decoding", array, out, chunks, workers, progress)
    return f"{_sides(shape)} {array.dtype}, {work}"


def inspect(source: str, *, every_chunk: bool) -> None:
    """Print what one stream holds, or a line for each chunk of an array and the sum; nothing is decoded."""
    source = local_path(source)
    if Path(source).is_file():
        print(inspect_stream(Path(source).read_bytes()))
        return
    array = open_volume(source).array
    told = [(first, inspect_stream(stream)) for first, stream in stored_streams(array)]
    print(f"{source}: {_sides(array.shape)} {array.dtype} in chunks of {_sides(array.chunks)}, {len(told)} stored")
    print(f"{'chunk at':>18} {'bytes':>10} {'ratio':>8} {'blocks':>6} {'parameters':>10} {'PSNR':>7}")
    for first, one in told if every_chunk else told[:LISTED_CHUNKS]:
        reached = "-" if one.psnr is None else f"{one.psnr:.2f}"
        place = ",".join(map(str, first))
        print(f"{place:>18} {one.bytes:>10,} {one.ratio:>8.1f} {len(one.blocks):>6} {one.parameters:>10,} {reached:>7}")
    if len(told) > LISTED_CHUNKS and not every_chunk:
        print(f"{'...':>18} and {len(told) - LISTED_CHUNKS} more (--all lists them)")
    if told:
        stored = sum(one.bytes for _, one in told)
        sections: Counter[str] = Counter()
        for _, one in told:
            sections.update(one.bytes_by_section)
        ratio = sum(one.ratio * one.bytes for _, one in told) / stored
        print(f"{'all':>18} {stored:>10,} {ratio:>8.1f}")
        print("sections:", ", ".join(f"{name} {size:,} ({size / stored:.1%})" for name, size in sections.items()))


def _chunks(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, axes: Sequence[str | None] | None
) -> tuple[int, ...]:
    """The sides of chunks that were given, or those chosen by what the axes are."""
    if chunks is None:
        return chunk_shape(shape, axes).sides
    if len(chunks) != len(shape):
        raise ConfigError(f"expected chunks with a side for each of {shape!r}, got {chunks!r}: change --chunks")
    return tuple(min(side, chunk) for side, chunk in zip(shape, chunks))


@contextmanager
def _group(folder: Path, zarr_format: Literal[2, 3]) -> Iterator[None]:
    """A new zarr group where an array is to go into one, GROUP.zarr/ARRAY, and there is none; it goes if that fails."""
    new = folder.suffix == ".zarr" and not folder.exists()
    if new:
        import zarr

        zarr.open_group(str(folder), mode="w-", zarr_format=zarr_format)
    try:
        yield
    except BaseException:
        if new:
            drop_group(str(folder))
        raise


def _local(target: str) -> str:
    """The path of a target on this machine; ConfigError for any other."""
    if is_url(path := local_path(target)):
        raise ConfigError(
            f"expected a target on this machine, got {target!r}: encode writes to URLs with --scheduler local"
        )
    return path.rstrip("/") or path


def _copy(verb: str, source: Any, target: Any, chunks: tuple[int, ...], workers: int | None, progress: bool) -> str:
    """`target[...] = source[...]` chunk by chunk on threads; a text with the time taken. The first error ends it."""
    shape = tuple(source.shape)
    count = prod(ceil(side / chunk) for side, chunk in zip(shape, chunks))

    def copy(region: tuple[slice, ...]) -> int:
        target[region] = np.asarray(source[region])
        return prod(part.stop - part.start for part in region)

    pool, waits = ThreadPoolExecutor(workers or threads()), True
    with drawn(verb, count, prod(shape), shown=progress or sys.stderr.isatty()) as bar:
        try:
            for done in as_completed([pool.submit(copy, region) for region in _regions(shape, chunks)]):
                bar.step(done.result())
        except KeyboardInterrupt:
            waits = False  # the chunks in work are dropped
            raise
        finally:
            pool.shutdown(wait=waits, cancel_futures=True)
    return f"{count} chunks in {duration(bar.seconds)}, {voxels_per_second(bar.rate)}"


def _regions(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    for corner in product(*(range(0, side, chunk) for side, chunk in zip(shape, chunks))):
        yield tuple(slice(start, min(start + chunk, side)) for start, chunk, side in zip(corner, chunks, shape))


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
