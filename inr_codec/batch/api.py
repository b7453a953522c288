"""The steps of encoding a large array, each a function that can be called again.

    encode_array("brain.zarr", "small.zarr", {"ratio": 100}, client=client)

is `prepare`, `measure`, `encode` and `finish`, which the command line has as `plan`, `measure`, `run` and `finish`.
Beside the store `small.zarr` lies the folder `small.zarr.batch` with the plan, the records of all chunks and, at the
end, the manifest.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inr_codec.batch import owners, pyramid, run
from inr_codec.batch.audit import Check
from inr_codec.batch.clearing import check_continued, check_target, clear, undone
from inr_codec.batch.manifest import MEASURES
from inr_codec.batch.plan import Index, Plan, clipped
from inr_codec.batch.run import Executor, Here, Part
from inr_codec.batch.source import marked
from inr_codec.batch.store import (
    BUDGET,
    PLAN,
    absolute,
    check_voxels,
    create_target,
    described_array,
    finest_level,
    load_plan,
    open_volume,
    split_target,
    state_folder,
    tell_settings,
)
from inr_codec.config import make_config
from inr_codec.errors import ConfigError, GenerationLoss, IncompleteArray
from inr_codec.stores.folders import is_url
from inr_codec.stores.losses import of_source
from inr_codec.stores.nodata import with_missing
from inr_codec.targets import check_apart, check_array_target

LOG = logging.getLogger(__name__)
GEOMETRY = ("shape", "dtype", "chunks", "shards", "zarr_format", "array")


def encode_array(
    source: str,
    target: str,
    settings: dict[str, Any],
    *,
    client: Any = None,
    gpus: bool = False,
    workers: int | None = None,
    memory: float | None = None,
    check: Check = "bytes",
    shown: bool | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Encode an array from path to path (or URL); called again after whatever ended it, it continues.

    settings: options of INRCodec; ratio and bpv hold for the whole array unless per_chunk=True. client: of
    distributed; None works in this process on `workers` threads. gpus: tasks ask for the workers' resource GPU. memory:
    bytes that a task may take (default: half of what its process has). check: how what is stored is compared with what
    was written, before and after: "bytes" reads all of it, "sizes" finds only what is gone or cut. options: those of
    `prepare`. Returns the summary of the manifest; IncompleteArray where chunks have failed, ConfigError where another
    process works on the target.
    """
    if client is None:
        executor: Executor = Here(workers, memory)
    else:
        from inr_codec.batch.cluster import Cluster

        executor = Cluster(client, gpus=gpus, memory=memory)
    target = prepare(source, target, settings, **options, write=False).target
    with alone(target):
        prepare(source, target, settings, **options)
        measure(target, executor, shown=shown)
        encode(target, executor, check=check, shown=shown)
        return finish(target, check=check, shown=shown)


@contextmanager
def alone(target: str) -> Iterator[None]:
    """Keep all other processes from a target; ConfigError where some are at work, or its folder does not exist."""
    root = os.path.dirname(absolute(split_target(target)[0]))
    if not is_url(target) and not os.path.isdir(root):
        raise FileNotFoundError(f"expected a folder to write to, found none at {root!r}: create it first")
    with owners.alone(target):
        yield


@contextmanager
def _at_work(target: str, part: Part) -> Iterator[None]:
    """Work on a part of the plan of a target beside others that have other parts of it."""
    plan = load_plan(target)
    with owners.working(target, plan.id, part):
        if load_plan(target).id != plan.id:
            raise ConfigError(f"expected one plan of {target!r}, it was planned again just now: run it again")
        yield


def targets_of(target: str) -> list[str]:
    """A target and, where it is an OME-Zarr group, its further levels: arrays with plans of their own."""
    return [target, *(place for _, place, _ in pyramid.levels(load_plan(target)))]


def measure(target: str, executor: Executor, *, part: Part = (1, 1), shown: bool | None = None) -> None:
    """Pass 1 for a part of the chunks of a target, all levels; see `run.measure`."""
    with _at_work(target, part):
        for one in targets_of(target):
            run.measure(one, executor, part=part, shown=shown)


def encode(
    target: str, executor: Executor, *, part: Part = (1, 1), check: Check = "bytes", shown: bool | None = None
) -> int:
    """Pass 2 for a part of the jobs of a target, all levels; how many chunks failed. See `run.encode`."""
    with _at_work(target, part):
        return sum(run.encode(one, executor, part=part, check=check, shown=shown) for one in targets_of(target))


def finish(target: str, *, check: Check = "bytes", shown: bool | None = None) -> dict[str, Any]:
    """Write the manifests of all levels and the metadata of an OME-Zarr group; the summary of the (finest) array.

    IncompleteArray, after all of that, where chunks have failed, were never encoded or are not stored as they were
    written; see `run.finish`.
    """
    load_plan(target)
    with alone(target):
        summaries = {one: run.finish(one, check=check, shown=shown) for one in targets_of(target)}
        pyramid.write(load_plan(target))
    for one, summary in summaries.items():
        if summary["failed"]:
            first = summary["first_failed"][0]
            raise IncompleteArray(
                f"expected {summary['chunks']:,} chunks in {one!r}, {summary['failed']:,} failed (the first: "
                f"{first['key']}, {first['error']}): see the manifest, and run the same command again"
            )
    return summaries[target]


def prepare(
    source: str,
    target: str,
    settings: dict[str, Any],
    *,
    chunks: Index | None = None,
    shards: Index | None = None,
    zarr_format: Literal[2, 3] | None = None,
    per_chunk: bool = False,
    mask: str | None = None,
    overwrite: bool = False,
    force: bool = False,
    write: bool = True,
) -> Plan:
    """The plan of a target, written beside it, and its empty array; the plan that is there if it is the same.

    source: anything that io.load opens; an OME-Zarr group: its finest level, and the others and labels with plans of
    their own (in its zarr format, unless `zarr_format` is given; else 3); or a source with `#ome` after its path, for
    the OME-Zarr image that is made of it. chunks: chosen by what the axes are, unless they are given
    (`inr_codec.chunk_shape`). mask: labels that the settings' segmentation network
    should find (in the finest level), opened as the source is and of its shape; that network's file and the mask must
    be where every worker can read them. Raises ConfigError where the target was begun with other settings: `force` goes
    on with the new ones and keeps the chunks that are written, `overwrite` begins anew. What `overwrite` may delete is
    in `clearing`; FileExistsError where there is anything else. Where this raises, nothing is left behind.
    write: without it, all of this is checked, and nothing is written or deleted.
    """
    plan = make_plan(source, target, settings, chunks, shards, zarr_format, per_chunk, mask)
    check_target(plan, overwrite)
    plans = [plan]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GenerationLoss)  # the finest level has told
        for path, place, level in pyramid.levels(plan):
            given = {"lossless": True} if level.exact else settings
            inner, outer = (sides and sides[-len(level.array.shape) :] for sides in (chunks, shards))
            further = make_plan(path, place, given, inner, outer, plan.zarr_format, per_chunk)
            plans.append(replace(further, separator=plan.separator))
    if plan.source_group is not None:
        pyramid.tell_left(pyramid.image_at(plan.source_group), plan.source_group)
    if not write:
        return plan if overwrite else _continued(plan, force)
    with alone(plan.target), undone(plan.target):
        if overwrite:
            clear(plan.target)
        else:
            plans = [_continued(one, force) for one in plans]
        for one in plans:
            _write(one)
    return plans[0]


def _continued(plan: Plan, force: bool) -> Plan:
    """The plan that is there already if it is the same, or this one; ConfigError where it is another.

    A damaged plan is made again where the array beside it is the one that it would make; its marks are left out, so
    that it is asked before the next pass whether the source is that of the chunks that are written.
    """
    if state_folder(plan.target).size(PLAN) is None:
        check_array_target(plan.target)
        return plan
    try:
        old = load_plan(plan.target)
    except ConfigError as error:
        if described_array(plan) != described_array(plan, stored=True):
            raise
        LOG.warning("%r: the plan beside it is damaged (%s), it is made again", plan.target, error)
        return replace(plan, marks={})
    check_continued(old)
    if old.recipe_hash == plan.recipe_hash and not (force and old.marks != plan.marks):
        return old
    changed = [name for name in (*GEOMETRY, "source", "per_chunk", "mask") if getattr(old, name) != getattr(plan, name)]
    if old.config != plan.config:
        changed.append(f"settings (they were {old.config.to_dict()!r})")
    if not force or set(changed) & set(GEOMETRY):
        raise ConfigError(
            f"expected the settings that {plan.target!r} was begun with, got others: {', '.join(changed)}; give "
            "the same ones, --force to go on with these where only source and settings differ, or --overwrite"
        )
    return plan


def _write(plan: Plan) -> None:
    """Write the plan of one array, unless it is there, and the empty array."""
    folder = state_folder(plan.target)
    damaged, old = False, None
    if folder.size(PLAN) is not None:
        try:
            old = load_plan(plan.target)
        except ConfigError:
            damaged = True
    if old is None or old.id != plan.id:
        if old is not None and (old.source != plan.source or old.marks != plan.marks):
            folder.delete(MEASURES)
        if not damaged:
            folder.delete(BUDGET)
        folder.write(PLAN, plan.to_json().encode())
    create_target(plan)
    if old is not None and old.id != plan.id:
        tell_settings(plan)


def make_plan(
    source: str,
    target: str,
    settings: dict[str, Any],
    chunks: Index | None,
    shards: Index | None,
    zarr_format: Literal[2, 3] | None,
    per_chunk: bool,
    mask: str | None = None,
) -> Plan:
    """The plan for a source, of which the metadata are read, the times of its files and a few chunks."""
    source, target = absolute(source), absolute(target).rstrip("/")
    check_apart(target, filter(None, (source, mask)))
    level = finest_level(source)
    group = None if level is None else source
    volume = open_volume(source if level is None else f"{source}/{level}")
    array = volume.array
    shape = tuple(map(int, array.shape))
    check_voxels(array, source)
    if level is not None and zarr_format is None and hasattr(array, "metadata"):
        zarr_format = array.metadata.zarr_format
    sides, outer = clipped(shape, chunks, shards, volume.axes)
    if mask is not None:
        _check_mask(mask, shape, settings)
    given = make_config(with_missing(settings, volume.record.nodata))
    if given.weights == "array":
        raise ConfigError(
            "expected weights= that hold for any chunk, got an array for a single one: use 'foreground' or a number"
        )
    network = given.segmentation.content if given.segmentation is not None else None
    if network is not None and not isinstance(network, Path):
        raise ConfigError(
            f"expected segmentation to be a file for every worker, got {type(network)!r}: save it with torch.export"
        )
    plan = Plan(
        source=source if level is None else f"{source}/{level}",
        source_group=group,
        target=target,
        array=level or "",
        shape=shape,
        dtype=np.dtype(array.dtype).str,
        chunks=sides,
        shards=outer,
        zarr_format=zarr_format or 3,
        settings=given.to_dict(),
        per_chunk=per_chunk,
        separator=getattr(getattr(array, "metadata", None), "dimension_separator", "." if level is None else "/"),
        segmentation=None if network is None else str(network),
        mask=None if mask is None else absolute(mask),
        axes=volume.axes,
        attributes=of_source(
            source if level is None else f"{source}/{level}",
            array,
            volume.stored if level is None else volume.of_level,
            lossless=bool(given.lossless),
        ),
    )
    return marked(plan)


def _check_mask(mask: str, shape: Index, settings: dict[str, Any]) -> None:
    if settings.get("segmentation") is None:
        raise ConfigError(f"expected segmentation with a mask, got the mask {mask!r} alone: add --segmentation FILE")
    found = tuple(map(int, open_volume(mask).array.shape))
    if found != shape:
        raise ConfigError(
            f"expected a mask of the source's shape {shape!r}, got {found!r} in {mask!r}: crop one of them"
        )
