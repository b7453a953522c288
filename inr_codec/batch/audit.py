"""What is stored, compared with what the journal says was written: on every rerun, and before anything is finished."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.manifest import DONE, EMPTY, Ledger
from inr_codec.batch.plan import Plan
from inr_codec.batch.promises import beyond
from inr_codec.batch.shards import SPOOL, index_bytes, spooled, unpack_shard, valid
from inr_codec.batch.store import array_folder, state_folder
from inr_codec.decoding.inspection import inspect
from inr_codec.errors import CorruptChunk, InrCodecError
from inr_codec.progress import Progress
from inr_codec.stores.folders import Folder

Check = Literal["bytes", "sizes"]
"""What is looked at: every byte that is stored (the default), or only the size of every key."""
THREADS = 16
"""Keys that are read at a time: what is slow is waiting for them."""
AHEAD = 4
"""Keys that wait for each thread."""


@dataclass
class Found:
    """Chunks that are not stored as the journal says. wrong: what is wrong, by number. foreign: sound streams (or a
    sound shard without them) that are not those that were written: they would pass for ours."""

    wrong: dict[int, str] = field(default_factory=dict)
    foreign: set[int] = field(default_factory=set)

    def add(self, n: int, what: str, *, foreign: bool = False) -> None:
        """Note a chunk."""
        self.wrong[n] = what
        if foreign:
            self.foreign.add(n)


def audit(
    plan: Plan, ledger: Ledger, check: Check = "bytes", *, part: tuple[int, int] = (1, 1), shown: bool | None = None
) -> Found:
    """What a part of the jobs have stored against the records of the journal.

    "bytes" reads all that is stored and compares its CRC-32: chunks that are gone, cut, changed or from elsewhere, and
    those that break a bound of the plan's settings. "sizes" finds only what is gone or of another size. Chunks that no
    record tells of are not looked at.
    """
    known, every, voxels = ledger.state >= EMPTY, Found(), prod(plan.shards or plan.chunks)
    jobs = [job for job in range(part[0] - 1, plan.jobs, part[1]) if known[plan.chunks_of_job(job)].any()]
    drawn = sys.stderr.isatty() if shown is None else shown
    bar = Progress("checking", len(jobs), len(jobs) * voxels, stream=sys.stderr, shown=drawn)
    look = _Look(plan, ledger, check)
    try:
        for found in _on_threads(look.at, jobs):
            every.wrong |= found.wrong
            every.foreign |= found.foreign
            bar.step(voxels)
    finally:
        bar.close()
    return every


def jobs_of(plan: Plan, chunks: Iterable[int]) -> NDArray[np.bool_]:
    """The jobs that write these chunks, one bool each."""
    jobs = np.zeros(plan.jobs, np.bool_)
    for n in chunks:
        jobs[plan.job_of(n)] = True
    return jobs


def _on_threads(call: Callable[[int], Found], items: list[int]) -> Iterator[Found]:
    """Results in order, with a window of calls on threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = iter(items)
        running: deque[Future[Found]] = deque(pool.submit(call, item) for item in islice(waiting, AHEAD * THREADS))
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(call, item) for item in islice(waiting, 1))


class _Look:
    """The check of one job's key."""

    def __init__(self, plan: Plan, ledger: Ledger, check: Check) -> None:
        self.plan, self.ledger, self.check = plan, ledger, check
        self.target: Folder = array_folder(plan)
        self.state: Folder = state_folder(plan.target)

    def at(self, job: int) -> Found:
        """What is wrong with a job."""
        try:
            return self.at_bytes(job) if self.check == "bytes" else self.at_size(job)
        except OSError as error:  # a folder in the place of a key, say
            return Found(dict.fromkeys(self.done(job), f"it cannot be read ({error})"))

    def done(self, job: int) -> list[int]:
        """Chunks of a job that were written and do not wait for their shard."""
        done = [n for n in self.plan.chunks_of_job(job) if self.ledger.state[n] == DONE]
        if self.plan.shards is None or not done:
            return done
        waiting = set(self.state.names(f"{SPOOL}/{job}"))
        return [n for n in done if spooled(self.plan, job, n) not in waiting]

    def at_size(self, job: int) -> Found:
        """Is the key there, and of the size that its streams have."""
        found, done = Found(), self.done(job)
        if not done:
            return found
        size = self.target.size(self.plan.key_of_job(job))
        written = [self.ledger.written(n) for n in done]
        least, most = (index_bytes(self.plan) + sum(pick(b for b, _ in one) for one in written) for pick in (min, max))
        if size is None or not least <= size <= most:
            for n in done:
                found.add(n, "it was written, and is gone" if size is None else f"its key has {size:,} bytes")
        return found

    def at_bytes(self, job: int) -> Found:
        """Are all streams of a key those that were written."""
        found, done, plan = Found(), self.done(job), self.plan
        data = self.target.read(plan.key_of_job(job))
        try:
            streams = {} if data is None else {job: data} if plan.shards is None else unpack_shard(plan, job, data)
        except CorruptChunk as error:
            for n in done:
                found.add(n, str(error))
            return found
        for n in done:
            if n in streams:
                self._compare(found, n, streams[n])
            else:
                found.add(n, "it was written, and is gone", foreign=data is not None)
        for n in plan.chunks_of_job(job):
            if n in streams and self.ledger.state[n] == EMPTY:
                found.add(n, "it is stored, but was nothing but the fill value", foreign=True)
        return found

    def _compare(self, found: Found, n: int, stream: bytes) -> None:
        if not self.ledger.knows(n, stream):
            sound = valid(self.plan, stream)
            found.add(n, "its bytes are not those that were written", foreign=sound)
            return
        try:
            broken = beyond(inspect(stream), self.plan.config)
        except InrCodecError as error:
            broken = str(error)
        if broken is not None:
            found.add(n, f"its stream {broken}")
