"""What a worker runs: a batch of jobs, given by number. It reads everything else from the plan beside the store.

Tasks are idempotent: one that runs again, because a worker died with its result, keeps what is stored and valid.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.allocation import config_within
from inr_codec.batch.journal import Journal, worker_name
from inr_codec.batch.manifest import JOURNAL, MEASURES, described, measured
from inr_codec.batch.plan import Plan
from inr_codec.batch.rate_curves import NOTHING, measure_chunk
from inr_codec.batch.shards import SPOOL, pack_shard, spooled, unpack_shard, valid
from inr_codec.batch.store import array_folder, load_budget, load_plan, open_source, state_folder
from inr_codec.encoding.encoder import encode
from inr_codec.engines.joint_calls import Crowd
from inr_codec.errors import ConfigError, CorruptChunk
from inr_codec.runtime.caches import kept
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


class Work:
    """What all tasks of one process and one plan share: opened folders, the budget, the journals."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = state_folder(plan.target)
        self.target: Folder = array_folder(plan)
        self.budget = load_budget(plan) if plan.total_bytes is not None else None
        self.journal = Journal(self.state, JOURNAL)
        self.measures = Journal(self.state, MEASURES)

    def chunk(self, n: int) -> NDArray[Any] | None:
        """Chunk n of the source, padded with the fill value as zarr pads it; None if it is nothing but that."""
        from zarr.buffer.cpu import NDBuffer

        plan = self.plan
        region = plan.region_of(n)
        chunk = np.full(plan.chunks, plan.fill_value, np.dtype(plan.dtype))
        chunk[tuple(slice(0, part.stop - part.start) for part in region)] = open_source(plan.source)[region]
        empty = NDBuffer.from_numpy_array(chunk).all_equal(np.dtype(plan.dtype).type(plan.fill_value))
        return None if empty else chunk

    def labels(self, n: int) -> NDArray[Any] | None:
        """The mask of chunk n, padded with background; None where the plan has no mask."""
        plan = self.plan
        if plan.mask is None:
            return None
        region = plan.region_of(n)
        part = np.asarray(open_source(plan.mask)[region])
        labels = np.zeros(plan.chunks, part.dtype)
        labels[tuple(slice(0, side) for side in part.shape)] = part
        return labels


@kept(2)
def _work(target: str, plan_id: str, has_budget: bool) -> Work:
    """One for a process; `has_budget` tells apart what is loaded before and after the budget is made."""
    plan = load_plan(target)
    if plan.id != plan_id:
        raise ConfigError(
            f"expected the plan {plan_id!r} beside {target!r}, got {plan.id!r}: it was planned again, start a new run"
        )
    return Work(plan)


_opening = threading.Lock()


def work_of(target: str, plan_id: str, has_budget: bool) -> Work:
    """What tasks of this process share, opened by the first of them."""
    with _opening:
        return _work(target, plan_id, has_budget)


def encode_jobs(target: str, plan_id: str, jobs: Sequence[int], at_a_time: int) -> Iterator[Tally]:
    """Encode the jobs' chunks, `at_a_time` at a time, and write their keys. A chunk that fails is recorded."""
    work, stop = work_of(target, plan_id, True), threading.Event()
    tally = Tally()
    missing = {job: _missing(work, job, tally) for job in jobs}
    yield tally
    crowd = Crowd(sum(map(len, missing.values())), at_a_time)

    def encode_one(job: int, n: int) -> dict[str, Any] | None:
        with crowd.turn():
            return None if stop.is_set() else _encode_chunk(work, job, n, stop)

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
            work.journal.flush()


def _missing(work: Work, job: int, tally: Tally) -> list[int]:
    """Chunks of a job that are to be encoded; none where its key is stored and valid, and those count in `tally`."""
    plan, numbers = work.plan, work.plan.chunks_of_job(job)
    data = work.target.read(plan.key_of_job(job))
    if plan.shards is None:
        if not valid(plan, data):
            return numbers
        tally.add(described(plan, job, "done", **measured(data or b"")))
        return []
    if data is not None and not work.state.names(f"{SPOOL}/{job}"):
        try:
            streams = unpack_shard(plan, job, data)
        except CorruptChunk:
            streams = {-1: b""}
        if all(valid(plan, stream) for stream in streams.values()):
            for n in numbers:
                more = measured(streams[n]) if n in streams else {}
                tally.add(described(plan, n, "done" if n in streams else "empty", **more))
            return []
    return numbers


def _encode_chunk(work: Work, job: int, n: int, stop: threading.Event) -> dict[str, Any]:
    """Encode a chunk and write its key, or its part of a shard; its record, in the journal too unless it failed."""
    plan, begun = work.plan, perf_counter()
    allowed = None if work.budget is None else int(work.budget[n])
    common = {"worker": worker_name(), "budget": allowed}
    folder, key = (work.target, plan.key_of_job(job)) if plan.shards is None else (work.state, spooled(plan, job, n))
    try:
        if plan.shards is not None and valid(plan, waiting := folder.read(key)):
            return described(plan, n, "done", **common, **measured(waiting or b""))
        work.journal.append({"n": n, "state": "begun"})
        chunk = None if allowed == 0 else work.chunk(n)
        if chunk is None:
            record = described(plan, n, "empty", **common)
        else:
            config = plan.config if allowed is None else config_within(plan.config, chunk.nbytes, allowed)
            stream = encode(chunk, config, None, work.labels(n))
            folder.write(key, stream)
            inside = tuple(slice(0, part.stop - part.start) for part in plan.region_of(n))  # without padding
            record = described(plan, n, "done", **common, **measured(stream, chunk[inside]))
        record["seconds"] = round(perf_counter() - begun, 3)
        _note(work.journal, record)
        return record
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            stop.set()
        return described(plan, n, "failed", **common, error=error_text(error), seconds=round(perf_counter() - begun, 3))


def _assemble(
    work: Work, job: int, records: list[dict[str, Any] | None], stop: threading.Event
) -> list[dict[str, Any] | None]:
    """Write the shard of a job; delete the streams that waited for it once all of them are in it."""
    plan = work.plan
    complete = all(record is not None and record["state"] != "failed" for record in records)
    try:
        streams = {}
        for n in plan.chunks_of_job(job):
            stream = work.state.read(spooled(plan, job, n))
            if stream is not None and valid(plan, stream):
                streams[n] = stream
        if streams:
            work.target.write(plan.key_of_job(job), pack_shard(plan, streams))
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

    def measure(n: int) -> Tally:
        tally = Tally()
        if stop.is_set():
            return tally
        try:
            chunk = work.chunk(n)
            curve = NOTHING if chunk is None else measure_chunk(chunk)
            work.measures.append({"n": n, "curve": curve.to_json()})
            tally.add(described(work.plan, n, "done"))
        except Exception as error:
            tally.add(described(work.plan, n, "failed", error=error_text(error)))
        return tally

    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            yield from pool.map(measure, numbers)
        finally:
            stop.set()
            work.measures.flush()


def error_text(error: Exception) -> str:
    """Type and message of an error in one line, at most 500 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
