"""What a worker runs: a batch of jobs, given by number. It reads everything else from the plan beside the store.

Tasks are idempotent: one that runs again, because a worker died with its result, keeps what is stored and valid.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.journal import Journal, parsed, worker_name
from inr_codec.batch.manifest import JOURNAL, MEASURES, described, measured
from inr_codec.batch.plan import Plan
from inr_codec.batch.promises import counted_bytes, too_many
from inr_codec.batch.rate_curves import NOTHING, measure_chunk
from inr_codec.batch.shards import SPOOL, pack_shard, spooled, unpack_shard, valid
from inr_codec.batch.source import chunk_of, chunks_of, rows_of, source_crc, values_of
from inr_codec.batch.store import PLAN, array_folder, load_budget, load_plan, state_folder
from inr_codec.decoding.inspection import inspect
from inr_codec.encoding.encoder import encode
from inr_codec.engines.joint_calls import Crowd
from inr_codec.errors import ConfigError, CorruptChunk
from inr_codec.runtime.caches import kept
from inr_codec.runtime.threads import few_already
from inr_codec.stores.folders import Folder
from inr_codec.stores.total import Total

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass
class Tally:
    """What a task did: sums over its chunks. full: whether the disk is."""

    chunks: int = 0
    voxels: int = 0
    bytes: int = 0
    total: Total = field(default_factory=Total)
    failed: int = 0
    error: str | None = None
    full: bool = False

    def add(self, record: dict[str, Any]) -> None:
        """Count one chunk by its record."""
        self.chunks += 1
        self.voxels += record["voxels"]
        self.bytes += record["bytes"]
        if record["state"] == "failed":
            self.failed += 1
            self.error = self.error or record["error"]
        else:
            self.total.add(record["mse"], record["voxels"], record["lo"], record["hi"])

    def merge(self, other: "Tally") -> None:
        """Add the sums of another tally."""
        self.chunks, self.voxels = self.chunks + other.chunks, self.voxels + other.voxels
        self.bytes, self.failed = self.bytes + other.bytes, self.failed + other.failed
        self.total.merge(other.total)
        self.error, self.full = self.error or other.error, self.full or other.full


Task = Callable[[str, str, Sequence[int], int], Iterator[Tally]]
"""(target, id of its plan, numbers of jobs or chunks, chunks at a time) -> what is done, bit by bit."""


def whole(task: Task, target: str, plan_id: str, numbers: Sequence[int], at_a_time: int) -> Tally:
    """Run a task to its end and add up its tallies: the call that a worker gets."""
    tally = Tally()
    for part in task(target, plan_id, numbers, at_a_time):
        tally.merge(part)
    return tally


class PlanReplaced(ConfigError):
    """The plan of a task is no longer that of its target: whoever planned anew owns what is there now."""


class Work:
    """What all tasks of one process and one plan share: opened folders, the budget, the journals."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = state_folder(plan.target)
        self.target: Folder = array_folder(plan)
        self.budget = load_budget(plan) if plan.total_bytes is not None else None
        self._seen = b""
        self.journal = Journal(self.state, JOURNAL)
        self.measures = Journal(self.state, MEASURES)

    def check_plan(self) -> None:
        """PlanReplaced where the target has another plan by now: asked before anything is written."""
        text = self.state.read(PLAN)
        if text is None or text != self._seen:
            found = None if text is None else parsed(text)
            if text is None or found is None or found.get("id") != self.plan.id:
                raise PlanReplaced(
                    f"expected the plan {self.plan.id!r} beside {self.plan.target!r}, found "
                    f"{'none' if found is None else repr(found.get('id'))}: it was planned again, start a new run"
                )
            self._seen = text

    def is_within(self, n: int, stream: bytes) -> bool:
        """Whether a valid stream of chunk n, of whichever run, takes no more than the budget of this one."""
        return self.budget is None or not too_many(counted_bytes(inspect(stream)), int(self.budget[n]))

    def flush(self, journal: Journal) -> None:
        """Write the records that a journal has kept, unless they are of a plan that is gone."""
        with suppress(PlanReplaced):
            self.check_plan()
            journal.flush()

    def labels(self, n: int) -> NDArray[Any] | None:
        """The mask of chunk n, padded with background; None where the plan has no mask."""
        plan = self.plan
        if plan.mask is None:
            return None
        region = plan.region_of(n)
        part = np.asarray(values_of(plan, plan.mask)[region])
        labels = np.zeros(plan.chunks, part.dtype)
        labels[tuple(slice(0, side) for side in part.shape)] = part
        return labels


@kept(2)
def _work(target: str, plan_id: str, has_budget: bool) -> Work:
    """One for a process; `has_budget` tells apart what is loaded before and after the budget is made."""
    plan = load_plan(target)
    if plan.id != plan_id:
        raise PlanReplaced(
            f"expected the plan {plan_id!r} beside {target!r}, got {plan.id!r}: it was planned again, start a new run"
        )
    return Work(plan)


_opening = threading.Lock()


def work_of(target: str, plan_id: str, has_budget: bool) -> Work:
    """What tasks of this process share, opened by the first of them."""
    with _opening:
        return _work(target, plan_id, has_budget)


def encode_jobs(target: str, plan_id: str, jobs: Sequence[int], at_a_time: int) -> Iterator[Tally]:
    """Encode the jobs' chunks, `at_a_time` at a time, and write their keys. A chunk that fails is recorded.

    What is stored and valid is kept.
    """
    yield from _encode_jobs(target, plan_id, jobs, at_a_time, True)


def encode_anew(target: str, plan_id: str, jobs: Sequence[int], at_a_time: int) -> Iterator[Tally]:
    """The same for jobs of which something else is stored than what was written: nothing of it is kept."""
    yield from _encode_jobs(target, plan_id, jobs, at_a_time, False)


def _encode_jobs(target: str, plan_id: str, jobs: Sequence[int], at_a_time: int, keep: bool) -> Iterator[Tally]:
    work, stop = work_of(target, plan_id, True), threading.Event()
    if work.plan.total_bytes is not None and work.budget is None:
        raise ConfigError(f"expected a budget beside {target!r}, found none: run the same command again")
    work.check_plan()
    tally = Tally()
    missing = {job: _missing(work, job, tally) if keep else work.plan.chunks_of_job(job) for job in jobs}
    yield tally
    crowd = Crowd(sum(map(len, missing.values())), at_a_time)

    def encode_one(job: int, n: int) -> dict[str, Any] | None:
        with crowd.turn(), few_already():
            return None if stop.is_set() else _encode_chunk(work, job, n, keep, stop)

    with ThreadPoolExecutor(at_a_time) as pool:
        futures = {job: [pool.submit(encode_one, job, n) for n in numbers] for job, numbers in missing.items()}
        try:
            for job, running in futures.items():
                records = [future.result() for future in running]
                if work.plan.shards is not None and records and not stop.is_set():
                    records = _assemble(work, job, records, stop)
                tally = Tally(full=stop.is_set())
                for record in filter(None, records):
                    tally.add(record)
                    if record["state"] == "failed":
                        _note(work.journal, record)
                yield tally
        finally:  # an interrupt, or a driver that has seen enough: chunks that have not begun are left
            stop.set()
            work.flush(work.journal)


def _missing(work: Work, job: int, tally: Tally) -> list[int]:
    """Chunks of a job that are to be encoded. Those that are stored and valid are recorded and count in `tally`."""
    plan, numbers = work.plan, work.plan.chunks_of_job(job)
    data = work.target.read(plan.key_of_job(job))
    streams = {n: s for n, s in _sound_streams(plan, job, data).items() if work.is_within(n, s)}
    waiting = plan.shards is not None and work.state.names(f"{SPOOL}/{job}")
    if data is None or waiting or (plan.shards is not None and not streams):
        return [n for n in numbers if n not in streams]
    stored = {job} if plan.shards is None else unpack_shard(plan, job, data).keys()
    common = {"worker": worker_name()}
    for n in numbers:
        if n in streams:
            _tell(work, tally, described(plan, n, "done", **common, **measured(streams[n])))
        elif n not in stored:
            _tell(work, tally, described(plan, n, "empty", **common))
    return [n for n in numbers if n in stored and n not in streams]


def _tell(work: Work, tally: Tally, record: dict[str, Any]) -> None:
    tally.add(record)
    _note(work.journal, record)


def _sound_streams(plan: Plan, job: int, data: bytes | None) -> dict[int, bytes]:
    """The valid streams of a key by the number of their chunk."""
    if data is None:
        return {}
    try:
        streams = {job: data} if plan.shards is None else unpack_shard(plan, job, data)
    except CorruptChunk:
        return {}
    return {n: stream for n, stream in streams.items() if valid(plan, stream)}


def _encode_chunk(work: Work, job: int, n: int, keep: bool, stop: threading.Event) -> dict[str, Any]:
    """Encode a chunk and write its key, or its part of a shard; its record, in the journal too unless it failed."""
    plan, begun = work.plan, perf_counter()
    allowed = None if work.budget is None else int(work.budget[n])
    common = {"worker": worker_name(), "budget": allowed}
    folder, key = (work.target, plan.key_of_job(job)) if plan.shards is None else (work.state, spooled(plan, job, n))
    try:
        if keep and plan.shards is not None and valid(plan, waiting := folder.read(key)):
            return described(plan, n, "done", **common, **measured(waiting or b""))
        work.check_plan()
        work.journal.append({"n": n, "state": "begun"})
        chunk = None if allowed == 0 else chunk_of(plan, n)
        common["source"] = None if allowed == 0 else source_crc(chunk)
        if chunk is None:
            if not keep:
                work.check_plan()
                folder.delete(key)
            record = described(plan, n, "empty", **common)
        else:
            stream = encode(chunk, plan.config, None, work.labels(n), allowed, plan.fill_value).stream
            work.check_plan()
            folder.write(key, stream)
            inside = tuple(slice(0, part.stop - part.start) for part in plan.region_of(n))  # without padding
            record = described(plan, n, "done", **common, **measured(stream, chunk[inside]))
        record["seconds"] = round(perf_counter() - begun, 3)
        _note(work.journal, record)
        return record
    except PlanReplaced:
        stop.set()
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            stop.set()
        return described(plan, n, "failed", **common, error=error_text(error), seconds=round(perf_counter() - begun, 3))


def _assemble(
    work: Work, job: int, records: list[dict[str, Any] | None], stop: threading.Event
) -> list[dict[str, Any] | None]:
    """Write the shard of a job; delete the streams that waited for it once all of them are in it.

    What the shard had before stays where nothing new has come: a chunk that fails now loses nothing.
    """
    plan, key = work.plan, work.plan.key_of_job(job)
    complete = all(record is not None and record["state"] != "failed" for record in records)
    empty = {record["n"] for record in records if record is not None and record["state"] == "empty"}
    try:
        streams = {n: s for n, s in _sound_streams(plan, job, work.target.read(key)).items() if n not in empty}
        for n in plan.chunks_of_job(job):
            stream = work.state.read(spooled(plan, job, n))
            if stream is not None and valid(plan, stream):
                streams[n] = stream
        work.check_plan()
        if streams:
            work.target.write(key, pack_shard(plan, streams))
        elif complete:
            work.target.delete(key)
        if complete:
            work.state.delete(f"{SPOOL}/{job}")
    except OSError as error:
        if error.errno in FULL_DISK:
            stop.set()
        return [record and described(plan, record["n"], "failed", error=error_text(error)) for record in records]
    return records


def _note(journal: Journal, record: dict[str, Any]) -> None:
    """Write a record to the journal. A full disk may prevent that: the store itself still tells what became of it."""
    try:
        journal.append(record)
    except OSError:
        return


def measure_chunks(target: str, plan_id: str, numbers: Sequence[int], at_a_time: int) -> Iterator[Tally]:
    """The first pass over chunks: what each would cost at which error, journalled for the allocation."""
    work, stop = work_of(target, plan_id, False), threading.Event()

    def measure(row: list[int]) -> Tally:
        tally = Tally()
        if not stop.is_set():
            chunks = _read(work.plan, row)
            for n in row:
                tally.add(_measure(work, n, chunks))
        return tally

    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            yield from pool.map(measure, rows_of(work.plan, numbers))
        finally:
            stop.set()
            work.flush(work.measures)


def _read(plan: Plan, row: list[int]) -> dict[int, NDArray[Any] | None]:
    """The chunks of a row; none where they cannot be read together: each then tells what is wrong with it."""
    try:
        return dict(chunks_of(plan, row))
    except Exception:
        return {}


def _measure(work: Work, n: int, read: dict[int, NDArray[Any] | None]) -> dict[str, Any]:
    """Measure and journal a chunk, which may have been read already; its record."""
    plan = work.plan
    try:
        chunk = read[n] if n in read else chunk_of(plan, n)
        curve = NOTHING if chunk is None else measure_chunk(chunk, plan.config.missing_numbers, plan.fill_value)
        work.check_plan()
        work.measures.append({"n": n, "curve": curve.to_json(), "source": source_crc(chunk)})
        return described(plan, n, "done")
    except PlanReplaced:
        raise
    except Exception as error:
        return described(plan, n, "failed", error=error_text(error))


def error_text(error: Exception) -> str:
    """Type and message of an error in one line, at most 500 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
