"""Driving a plan to its end: measure, share out the budget, encode, account for every chunk.

The work runs in this process or on a Dask cluster; a task is then submitted only when another has ended, so that
scheduler and driver hold a window of tasks and not a million.
"""

import logging
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.allocation import allocate
from inr_codec.batch.audit import Check, audit, jobs_of
from inr_codec.batch.journal import Journal
from inr_codec.batch.manifest import JOURNAL, Ledger, described, finite, read_manifest, write_manifest
from inr_codec.batch.plan import MAX_BATCH, Plan, batch_size, batches, together
from inr_codec.batch.rate_curves import Curve
from inr_codec.batch.shards import SPOOL
from inr_codec.batch.source import check_source, measured_chunks
from inr_codec.batch.store import load_budget, load_plan, save_budget, state_folder, written_array
from inr_codec.batch.tasks import Tally, Task, encode_anew, encode_jobs, error_text, measure_chunks
from inr_codec.errors import IncompleteArray
from inr_codec.progress import Progress
from inr_codec.runtime.compiling import drawn
from inr_codec.runtime.limits import host_memory
from inr_codec.runtime.threads import threads
from inr_codec.stores.attributes import describe
from inr_codec.stores.folders import SCRATCH
from inr_codec.stores.total import Total

MEASURE_SPEEDUP = 100
"""Measuring a chunk is so many times faster than encoding it, at least
(benchmarks/studies/allocation)."""

SHARE = 4
"""Tasks for each slot, at least: with fewer, workers would be idle at the end."""

Part = tuple[int, int]
"""Which of how many shares, counted from 1."""
LOG = logging.getLogger(__name__)

Results = Iterator[tuple[list[int], Tally | Exception]]


class Executor(Protocol):
    """Where tasks run. slots: tasks that run at a time; each has so many threads and so many bytes of memory."""

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""

    threads: int
    memory: float
    gpu: bool

    def run(self, task: Task, target: str, plan_id: str, work: Iterable[list[int]], at_a_time: int) -> Results:
        """Every batch with what became of it; a batch may come in several parts."""


class Here:
    """This process: one task after another, their chunks on `workers` threads (default: one a core)."""

    gpu, slots = False, 1

    def __init__(self, workers: int | None = None, memory: float | None = None) -> None:
        self.threads = workers or threads()
        self.memory = memory or host_memory() / 2

    def run(self, task: Task, target: str, plan_id: str, work: Iterable[list[int]], at_a_time: int) -> Results:
        """Every batch with what became of it, part by part."""
        for numbers in work:
            for tally in task(target, plan_id, numbers, at_a_time):
                yield numbers, tally


@dataclass
class Outlook:
    """Sums over all tasks so far, and the bar that shows them."""

    bar: Progress
    budget: int | None
    bytes: int = 0
    total: Total = field(default_factory=Total)
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, tally: Tally) -> None:
        """Count a task and draw."""
        self.bytes += tally.bytes
        self.total.merge(tally.total)
        self.failed += tally.failed
        if tally.error is not None:
            self.errors.append(tally.error)
        psnr = finite(self.total.psnr)
        parts = [] if psnr is None else [f"PSNR {psnr:.1f} dB"]
        if self.bytes:
            parts.append(f"{self.bytes / 1e6:.1f}" + (f"/{self.budget / 1e6:.1f} MB" if self.budget else " MB"))
        if self.failed:
            parts.append(f"{self.failed} failed")
        self.bar.step(tally.voxels, tally.chunks, ", ".join(parts))


def measure(target: str, executor: Executor, *, part: Part = (1, 1), shown: bool | None = None) -> None:
    """Pass 1: measure the chunks that have not been yet, and share out the budget once all of them are there.

    IncompleteArray for chunks that cannot be measured. Nothing happens where every chunk has its own target, or where
    the budget has been shared out.
    """
    plan = load_plan(target)
    if plan.total_bytes is None or load_budget(plan) is not None:
        return
    check_source(plan, part, shown=shown)
    todo = ~measured_chunks(plan).known
    at_a_time = together(plan, executor.memory, executor.threads)
    work = batches(todo, _size(plan, at_a_time, todo, executor.slots, MEASURE_SPEEDUP), *part)
    with _outlook("measuring", plan, int(todo[part[0] - 1 :: part[1]].sum()), None, shown) as outlook:
        _drain(plan, executor.run(measure_chunks, plan.target, plan.id, work, at_a_time), outlook, journal=False)
    if outlook.failed:
        raise IncompleteArray(
            f"expected to read every chunk of {plan.source!r}, could not read {outlook.failed} ({outlook.errors[0]}): "
            "repair them, or plan with --per-chunk, which needs no measuring"
        )
    share_out(plan)


def share_out(plan: Plan) -> bool:
    """Give every chunk its bytes; False while there are chunks that have not been measured."""
    measured = measured_chunks(plan)
    if not measured.known.all() or plan.total_bytes is None:
        return False
    try:
        curves = (Curve.from_json(measured.read(n)["curve"]) for n in range(plan.count))
        save_budget(plan, allocate(curves, plan.total_bytes))
    finally:
        measured.close()
    return True


def encode(
    target: str, executor: Executor, *, part: Part = (1, 1), check: Check = "bytes", shown: bool | None = None
) -> int:
    """Pass 2: encode the jobs that are not done; how many chunks failed. Only a full disk ends it early.

    What is stored is compared with the journal first; check: see `audit`.
    """
    plan = load_plan(target)
    if plan.total_bytes is not None and load_budget(plan) is None and not share_out(plan):
        raise IncompleteArray(
            f"expected all {plan.count:,} chunks of {target!r} to be measured, got "
            f"{int(measured_chunks(plan).known.sum()):,}: run inr-codec measure {target} first (all of its parts)"
        )
    check_source(plan, part, shown=shown)
    ledger = Ledger(plan)
    if ledger.skipped:
        LOG.warning("%s: %d damaged lines of the journal are passed over", target, ledger.skipped)
    found = audit(plan, ledger, check, part=part, shown=shown)
    anew = jobs_of(plan, found.foreign)
    todo = (ledger.missing() | jobs_of(plan, found.wrong)) & ~anew
    if found.wrong:
        n, why = next(iter(found.wrong.items()))
        LOG.warning("%s: %d chunks are encoded again (chunk %d: %s)", target, len(found.wrong), n, why)
    failed = 0
    for task, jobs in ((encode_anew, anew), (encode_jobs, todo)):
        at_a_time = together(plan, executor.memory, executor.threads, executor.gpu)
        count = int(jobs[part[0] - 1 :: part[1]].sum())
        if not count:
            continue
        work = batches(jobs, _size(plan, at_a_time, jobs, executor.slots), *part)
        with _outlook("encoding", plan, count, plan.total_bytes, shown) as outlook:
            _drain(plan, executor.run(task, plan.target, plan.id, work, at_a_time), outlook, journal=True)
        failed += outlook.failed
    check_source(plan, part, shown=shown)
    return failed


def _size(plan: Plan, at_a_time: int, todo: NDArray[np.bool_], slots: int, speedup: int = 1) -> int:
    """Jobs of a task: as the plan says, fewer where they would leave workers idle at the end."""
    size = min(batch_size(plan, at_a_time) * speedup, MAX_BATCH)
    return max(1, min(size, int(todo.sum()) // (SHARE * slots)))


@contextmanager
def _outlook(verb: str, plan: Plan, jobs: int, budget: int | None, shown: bool | None) -> Iterator[Outlook]:
    units = plan.count if verb == "measuring" else plan.jobs
    share = jobs / units
    voxels = round(share * np.prod(plan.shape, dtype=float))
    with drawn(verb, round(share * plan.count), voxels, shown=sys.stderr.isatty() if shown is None else shown) as bar:
        yield Outlook(bar, budget)


def _drain(plan: Plan, results: Results, outlook: Outlook, *, journal: bool) -> None:
    """Wait for all tasks. Where a task could not run at all, its chunks have failed."""
    notes = Journal(state_folder(plan.target), JOURNAL)
    try:
        for numbers, tally in results:
            if isinstance(tally, Exception):
                error = error_text(tally)
                lost = [n for job in numbers for n in (plan.chunks_of_job(job) if journal else [job])]
                tally = Tally()
                for record in (described(plan, n, "failed", error=error) for n in lost):
                    tally.add(record)
                    if journal:
                        notes.append(record)
            outlook.add(tally)
            if tally.full:
                raise IncompleteArray(
                    f"expected room for {plan.target!r}, got {tally.error or 'a full disk'}: make room and run the "
                    "same command again, nothing that is written is lost"
                )
    finally:
        with suppress(OSError):
            notes.close()


def finish(target: str, *, check: Check = "bytes", shown: bool | None = None) -> dict[str, Any]:
    """Write the manifest of one array and, into its attributes, what was reached; return the summary.

    Chunks that are not stored as they were written count as failed; check: see `audit`. Streams that wait for their
    shards are deleted unless a chunk failed.
    """
    plan = load_plan(target)
    ledger = Ledger(plan)
    summary = write_manifest(plan, ledger, audit(plan, ledger, check, shown=shown).wrong)
    total = Total()

    def figures() -> Iterator[tuple[float | None, float | None]]:
        for one in read_manifest(target):
            if one["state"] != "failed":
                total.add(one["mse"], one["voxels"], one["lo"], one["hi"])
            if one["state"] == "done":
                yield (math.inf if one["max_error"] == 0 else one["psnr"]), one["max_error"]

    written_array(plan).update_attributes(describe(plan.settings, figures(), total))
    state_folder(target).delete(SCRATCH)
    if not summary["failed"]:
        state_folder(target).delete(SPOOL)
    return summary
