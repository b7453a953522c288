"""The commands that encode large arrays: plan, measure, run, finish, and `encode --scheduler`, which is all four."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from inr_codec import batch
from inr_codec.batch.audit import Check, audit, jobs_of
from inr_codec.batch.cluster import connected
from inr_codec.batch.manifest import Ledger
from inr_codec.batch.plan import Plan, batch_size, together
from inr_codec.batch.run import Executor, Here
from inr_codec.batch.store import as_image, load_plan, state_of
from inr_codec.errors import ConfigError, IncompleteArray
from inr_codec.metrics import compression_ratio
from inr_codec.progress import duration
from inr_codec.stores.chunk_shape import chunk_shape


def plan(source: str, target: str, *, check: Check, ome: bool, **options: Any) -> None:
    """Write the plan of a target and its empty array; print what there is to do."""
    source = as_image(source, target, ome)
    made = batch.prepare(source, target, options.pop("settings"), **options)
    _tell_chunks(made, options)
    ledger = Ledger(made)
    wrong = audit(made, ledger, check).wrong
    missing = int((ledger.missing() | jobs_of(made, wrong)).sum())
    here = Here()
    at_a_time = together(made, here.memory, here.threads)
    size = batch_size(made, at_a_time)
    sides = " x ".join(map(str, made.shape))
    kind = "chunks" if made.shards is None else f"chunks in {made.jobs:,} shards"
    print(f"{made.source}: {sides} {made.dtype}, {made.count:,} {kind}, {missing:,} jobs to do in batches of {size:,}")
    if made.total_bytes is not None:
        print(f"budget: {made.nbytes:,} bytes in {made.total_bytes:,}")
    print(f"state: {state_of(target)}, recipe {made.recipe_hash[:12]}")


def measure(target: str, *, part: tuple[int, int], progress: bool, **where: Any) -> None:
    """Pass 1 of a part: what its chunks would cost."""
    with _executor(**where) as executor:
        batch.measure(target, executor, part=part, shown=progress or None)


def run(target: str, *, part: tuple[int, int], check: Check, progress: bool, **where: Any) -> None:
    """Encode a part; a run that is not one of several measures first. IncompleteArray where chunks failed."""
    with _executor(**where) as executor:
        failed = _run(target, executor, part, check, progress)
    if failed:
        raise IncompleteArray(
            f"expected to encode every chunk of this part of {target!r}, {failed:,} failed: inr-codec finish says which"
        )


def _run(target: str, executor: Executor, part: tuple[int, int], check: Check, progress: bool) -> int:
    if part[1] == 1:
        batch.measure(target, executor, shown=progress or None)
    return batch.encode(target, executor, part=part, check=check, shown=progress or None)


def finish(target: str, *, check: Check) -> None:
    """Write the manifest and what belongs to the whole array; print the sum."""
    made = load_plan(target)
    done = batch.finish(target, check=check)
    ratio = f"{compression_ratio(done['nbytes'], done['bytes']):.1f} times smaller" if done["bytes"] else "empty"
    work = f"{made.count:,} chunks ({done['empty']:,} empty) in {duration(done['seconds'])} of work"
    print(
        f"{target}: {done['nbytes']:,} bytes in {done['bytes']:,}, {ratio}, PSNR {done['fidelity']} "
        f"(peak = max - min of the array), {work}"
    )
    over = done["budget"] is None or done["bytes"] > done["budget"]
    for reason, count in done["missed"].items() if over else ():
        print(f"  {count:,} chunks take more bytes than were asked for: {reason}")


def encode(source: str, target: str, *, check: Check, progress: bool, where: dict[str, Any], **options: Any) -> None:
    """Plan, measure, run and finish on one cluster; the same command continues what was interrupted."""
    settings, source = options.pop("settings"), as_image(source, target, options.pop("ome"))
    made = batch.prepare(source, target, settings, **options, write=False)
    _tell_chunks(made, options)
    target = made.target
    with _executor(**where) as executor, batch.alone(target):
        batch.prepare(source, target, settings, **options)
        _run(target, executor, (1, 1), check, progress)
        finish(target, check=check)


def _tell_chunks(made: Plan, options: dict[str, Any]) -> None:
    """A line about the sides of chunks, where they were chosen by what the axes are."""
    if options["chunks"] is None:
        told = chunk_shape(made.shape, made.axes, shards=made.shards)
        print(replace(told, sides=made.chunks), flush=True)


@contextmanager
def _executor(scheduler: str | None, workers: int | None, gpus: int, memory: float | None) -> Iterator[Executor]:
    if scheduler is None:
        if gpus:
            raise ConfigError(f"expected --gpus with --scheduler, got {gpus} without: add --scheduler local")
        yield Here(workers, memory)
        return
    with connected(scheduler, workers=workers, gpus=gpus, memory=memory) as cluster:
        yield cluster
