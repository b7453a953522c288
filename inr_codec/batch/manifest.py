"""What became of every chunk: a ledger read from the journals while work goes on, one manifest at the end."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.journal import Places, Record, numbered_lines, one_line, read_lines
from inr_codec.batch.plan import Plan
from inr_codec.batch.shards import stored_stream
from inr_codec.batch.store import array_folder, state_folder
from inr_codec.decoding.inspection import inspect
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.stores.folders import LocalFolder
from inr_codec.stores.total import Total, mean_square

JOURNAL, MEASURES = "journal", "measures"
MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
NEVER, BEGUN, FAILED, EMPTY, DONE = range(5)
STATES = {"begun": BEGUN, "failed": FAILED, "empty": EMPTY, "done": DONE}
LISTED = 100
"""Failed chunks in the summary, at most; the manifest has all of them."""


class Ledger:
    """What the journal says of every chunk: state, stored bytes, attempts, where its record is."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: NDArray[np.uint8] = np.zeros(plan.count, np.uint8)
        self.attempts: NDArray[np.uint16] = np.zeros(plan.count, np.uint16)
        self._bytes: NDArray[np.uint32] = np.zeros(plan.count, np.uint32)
        folder = state_folder(plan.target)
        self._places = Places(folder, plan.count)
        for file, offset, record in read_lines(folder, JOURNAL):
            n, state = record["n"], STATES.get(record["state"], NEVER)
            if not 0 <= n < plan.count:
                continue
            if state == BEGUN:
                self.attempts[n] += 1
            if state >= self.state[n]:
                self.state[n], self._bytes[n] = state, record.get("bytes", 0)
                self._places.set(n, file, offset)

    def todo(self) -> NDArray[np.bool_]:
        """Jobs still to do, one bool each: a chunk is not recorded, or its key is not stored as recorded."""
        plan, target = self.plan, array_folder(self.plan)
        missing = self.state < EMPTY
        if plan.shards is None:
            need = missing
            if isinstance(target, LocalFolder):
                for n in np.flatnonzero(self.state == DONE).tolist():
                    need[n] = target.size(plan.key_of_job(n)) != self._bytes[n]
            return need
        need = np.zeros(plan.jobs, np.bool_)
        for job in range(plan.jobs):
            numbers = plan.chunks_of_job(job)
            gone = (self.state[numbers] == DONE).any() and target.size(plan.key_of_job(job)) is None
            need[job] = missing[numbers].any() or gone
        return need

    def records(self) -> Iterator[Record]:
        """One record for every chunk, in order; of a chunk that no journal reports, what the store itself tells."""
        for n in range(self.plan.count):
            record = self._places.read(n) if self.state[n] > BEGUN else found(self.plan, n)
            yield record | {"attempts": int(self.attempts[n])}
        self._places.close()


def described(plan: Plan, n: int, state: str, **more: Any) -> Record:
    """The record of a chunk, with a value for every field."""
    record = {"n": n, "chunk": list(plan.index_of(n)), "key": plan.key_of_job(plan.job_of(n)), "state": state}
    nothing = dict.fromkeys(("budget", "psnr", "mse", "max_error", "lo", "hi", "seconds", "worker", "error"))
    if state == "empty":
        more |= {"mse": 0.0, "exact": True} | ({"lo": 0.0, "hi": 0.0} if plan.fill_value == 0 else {})
    return record | {"bytes": 0, "exact": False, "blocks": 0, "voxels": plan.voxels_of(n)} | nothing | more


def measured(stream: bytes, chunk: NDArray[Any] | None = None) -> Record:
    """What a stream says of itself, for its record. CorruptChunk or UnsupportedFormat for bytes that are none.

    mse: mean squared error over the voxels that are not masked, in squared intensity units. A stream of a single value
    does not store its chunk's range: its mse and range are measured on `chunk` (without padding), or its mse is None.
    """
    told = inspect(stream)
    exact = told.psnr is not None and not np.isfinite(told.psnr)
    mse, lo, hi = mean_square(told.psnr, told.lo, told.hi), told.lo, told.hi
    if mse is None and chunk is not None and told.lo is not None:
        seen = chunk[np.isfinite(chunk)].astype(np.float64)
        mse, lo, hi = float(np.mean((seen - told.lo) ** 2)), float(seen.min()), float(seen.max())
    return {
        "bytes": told.bytes,
        "psnr": None if told.psnr is None or exact else round(told.psnr, 3),
        "exact": exact,
        "mse": mse,
        "max_error": told.max_error,
        "lo": lo,
        "hi": hi,
        "blocks": len(told.blocks),
    }


def finite(psnr: float | None) -> float | None:
    """A PSNR that JSON can hold."""
    return None if psnr is None or math.isinf(psnr) else psnr


def found(plan: Plan, n: int) -> Record:
    """The record, made from the store, of a chunk whose process died before it wrote one."""
    try:
        stream = stored_stream(plan, array_folder(plan), n)
        if stream is not None:
            return described(plan, n, "done", **measured(stream))
    except (CorruptChunk, UnsupportedFormat) as error:
        return described(plan, n, "failed", error=str(error))
    return described(plan, n, "failed", error="never encoded")


def read_manifest(target: str) -> Iterator[Record]:
    """The records of a finished target, in order of the chunks; none where there is no manifest."""
    folder = state_folder(target)
    if folder.size(MANIFEST) is None:
        return
    for _, line in numbered_lines(folder, MANIFEST):
        yield json.loads(line)


def write_manifest(plan: Plan) -> Record:
    """Merge the journals into the manifest and the summary, which is returned."""
    folder = state_folder(plan.target)
    total, failed = Total(), list[Record]()
    scores, scored = 0.0, 0
    sums: dict[str, Any] = {"chunks": plan.count, "done": 0, "empty": 0, "failed": 0, "bytes": 0, "seconds": 0.0}

    def lines() -> Iterator[bytes]:
        nonlocal scores, scored
        for record in Ledger(plan).records():
            sums[record["state"]] += 1
            sums["bytes"] += record["bytes"]
            sums["seconds"] += record["seconds"] or 0.0
            if record["state"] != "failed":
                total.add(record["mse"], record["voxels"], record["lo"], record["hi"])
            if record["psnr"] is not None:
                scores, scored = scores + record["psnr"], scored + 1
            if record["state"] == "failed" and len(failed) < LISTED:
                failed.append({name: record[name] for name in ("chunk", "key", "error", "attempts")})
            yield one_line(record)

    folder.write(MANIFEST, lines())
    summary = sums | {
        "budget": plan.total_bytes,
        "nbytes": plan.nbytes,
        "psnr": finite(total.psnr),
        "fidelity": str(total),
        "mean_psnr": scores / scored if scored else None,
        "recipe_hash": plan.recipe_hash,
        "first_failed": failed,
    }
    folder.write(SUMMARY, json.dumps(summary, indent=1).encode())
    return summary
