"""What became of every chunk: a ledger read from the journals while work goes on, one manifest at the end."""

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.journal import Place, Places, Record, Records, numbered_lines, one_line, parsed
from inr_codec.batch.plan import Plan
from inr_codec.batch.shards import stored_stream, valid
from inr_codec.batch.store import array_folder, load_plan, state_folder
from inr_codec.decoding.inspection import inspect
from inr_codec.errors import ConfigError, CorruptChunk, UnsupportedFormat
from inr_codec.stores.total import Total, mean_square

JOURNAL, MEASURES = "journal", "measures"
MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
NEVER, BEGUN, FAILED, EMPTY, DONE = range(5)
STATES = {"begun": BEGUN, "failed": FAILED, "empty": EMPTY, "done": DONE}
LISTED = 100
"""Failed chunks in the summary, at most; the manifest has all of them."""
NUMBERS = ("budget", "psnr", "mse", "max_error", "lo", "hi", "seconds", "crc", "source")
COUNTS = ("bytes", "blocks", "voxels")
TEXTS = ("worker", "error", "missed")
"""Fields of a record by what they hold: a number or null, a number of things, a text or null."""

Written = tuple[int, int | None]
"""Bytes of a stream as it was written, and their CRC-32; None in journals that do not have it."""


def is_sound(plan: Plan, record: Record) -> bool:
    """Whether a record of a journal, whatever JSON it is, tells of a chunk of this plan with values of all fields."""
    n, state = record.get("n"), record.get("state")
    if type(n) is not int or not 0 <= n < plan.count or not isinstance(state, str) or state not in STATES:
        return False
    if state == "begun":
        return True
    place = record.get("chunk") == list(plan.index_of(n)) and record.get("key") == plan.key_of_job(plan.job_of(n))
    counts = all(type(record.get(name)) is int and 0 <= record[name] < 2**32 for name in COUNTS)
    numbers = all(_is_number(record.get(name)) for name in NUMBERS)
    texts = all(isinstance(record.get(name), str | None) for name in TEXTS)
    return place and counts and numbers and texts and isinstance(record.get("exact"), bool)


def _is_number(value: Any) -> bool:
    return value is None or type(value) is float or (type(value) is int and abs(value) < 2**64)


class Ledger:
    """What the journal says of every chunk: state, streams as they were written, attempts, where its record is.

    skipped: lines of the journal that are torn or damaged.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: NDArray[np.uint8] = np.zeros(plan.count, np.uint8)
        self.attempts: NDArray[np.uint16] = np.zeros(plan.count, np.uint16)
        self._bytes: NDArray[np.uint32] = np.zeros(plan.count, np.uint32)
        self._crc: NDArray[np.int64] = np.full(plan.count, -1, np.int64)
        self._older: dict[int, list[tuple[Written, Place]]] = {}
        folder = state_folder(plan.target)
        self._places = Places(folder, plan.count)
        records = Records(folder, JOURNAL, lambda record: is_sound(plan, record))
        for file, offset, record in records:
            n, state = record["n"], STATES[record["state"]]
            if state == BEGUN:
                self.attempts[n] = min(int(self.attempts[n]) + 1, 2**16 - 1)
            if state == DONE and self.state[n] == DONE:
                self._also(n, record, (file, offset))
            elif state >= self.state[n]:
                self._set(n, state, _written(record), (file, offset))
        self.skipped = records.skipped

    def _set(self, n: int, state: int, written: Written, place: Place) -> None:
        self.state[n], self._bytes[n] = state, written[0]
        self._crc[n] = -1 if written[1] is None else written[1]
        self._places.set(n, *place)

    def _also(self, n: int, record: Record, place: Place) -> None:
        """Another record of a stream: of the same one, that of its encoding tells more than a later look at it."""
        written = _written(record)
        if written not in self.written(n):
            self._older.setdefault(n, []).append((written, place))
        elif written == self.written(n)[0] and record["seconds"] is not None:
            self._places.set(n, *place)

    def written(self, n: int) -> list[Written]:
        """Streams of a chunk that the journal knows of; it may have been encoded several times, on several machines."""
        crc = int(self._crc[n])
        first = (int(self._bytes[n]), None if crc < 0 else crc)
        return [first, *(written for written, _ in self._older.get(n, ()))]

    def knows(self, n: int, stream: bytes) -> bool:
        """Whether a stream is one that was written for chunk n; the record of that one then stands for the chunk."""
        found = (len(stream), zlib.crc32(stream))
        for k, (nbytes, crc) in enumerate(self.written(n)):
            if (nbytes, crc) == found or (crc is None and nbytes == found[0] and valid(self.plan, stream)):
                if k:
                    self._set(n, DONE, *self._older[n][k - 1])
                return True
        return False

    def missing(self) -> NDArray[np.bool_]:
        """Jobs with a chunk that is not recorded as written or empty, one bool each."""
        missing = self.state < EMPTY
        if self.plan.shards is None:
            return missing
        need = np.zeros(self.plan.jobs, np.bool_)
        for job in range(self.plan.jobs):
            need[job] = missing[self.plan.chunks_of_job(job)].any()
        return need

    def records(self, wrong: dict[int, str]) -> Iterator[Record]:
        """One record for every chunk, in order; of a chunk that no journal reports, what the store itself tells.

        wrong: why chunks that were written count as failed, by number.
        """
        try:
            for n in range(self.plan.count):
                if n in wrong:
                    record = described(self.plan, n, "failed", error=wrong[n])
                else:
                    record = self._places.read(n) if self.state[n] > BEGUN else found(self.plan, n)
                yield record | {"attempts": int(self.attempts[n])}
        finally:
            self._places.close()


def _written(record: Record) -> Written:
    crc = record.get("crc")
    return record.get("bytes", 0), int(crc) if crc is not None and 0 <= crc < 2**32 else None


def described(plan: Plan, n: int, state: str, **more: Any) -> Record:
    """The record of a chunk, with a value for every field.

    crc, source: CRC-32 of its stream, and of its voxels in the source with their padding (0: only the fill value).
    """
    record = {"n": n, "chunk": list(plan.index_of(n)), "key": plan.key_of_job(plan.job_of(n)), "state": state}
    nothing: Record = dict.fromkeys(NUMBERS + TEXTS)
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
        "crc": zlib.crc32(stream),
        "psnr": None if told.psnr is None or exact else round(told.psnr, 3),
        "exact": exact,
        "mse": mse,
        "max_error": told.max_error,
        "lo": lo,
        "hi": hi,
        "blocks": len(told.blocks),
        "missed": "; ".join(told.missed) or None,
    }


def finite(psnr: float | None) -> float | None:
    """A PSNR that JSON can hold."""
    return None if psnr is None or math.isinf(psnr) else psnr


def found(plan: Plan, n: int) -> Record:
    """The record, made from the store, of a chunk whose process died before it wrote one."""
    try:
        stream = stored_stream(plan, array_folder(plan), n)
    except CorruptChunk as error:
        return described(plan, n, "failed", error=str(error))
    if stream is None:
        return described(plan, n, "failed", error="never encoded")
    try:
        told = measured(stream)
    except (CorruptChunk, UnsupportedFormat) as error:
        return described(plan, n, "failed", error=str(error))
    if not valid(plan, stream):
        return described(plan, n, "failed", error="its stream is not of this array and its settings")
    return described(plan, n, "done", **told)


def read_manifest(target: str) -> Iterator[Record]:
    """The records of a finished target, in order of the chunks; none where there is no manifest.

    ConfigError where it is damaged, or not that of the plan beside it.
    """
    folder = state_folder(target)
    if folder.size(MANIFEST) is None:
        return
    plan, count = load_plan(target), 0
    for _, line in numbered_lines(folder, MANIFEST):
        record = parsed(line)
        if record is None or record.get("n") != count or not _is_last_word(plan, record):
            raise _damaged(target, plan, count)
        yield record
        count += 1
    if count != plan.count:
        raise _damaged(target, plan, count)


def _is_last_word(plan: Plan, record: Record) -> bool:
    return is_sound(plan, record) and record["state"] != "begun" and type(record.get("attempts")) is int


def _damaged(target: str, plan: Plan, count: int) -> ConfigError:
    return ConfigError(
        f"expected a manifest of {plan.count:,} chunks beside {target!r}, got {count:,} sound lines: it is damaged, "
        f"inr-codec finish {target} writes it again"
    )


def write_manifest(plan: Plan, ledger: Ledger, wrong: dict[int, str]) -> Record:
    """Merge the journals into the manifest and the summary, which is returned. wrong: see `Ledger.records`."""
    folder = state_folder(plan.target)
    total, failed = Total(), list[Record]()
    scores, scored = 0.0, 0
    missed = Counter[str]()
    sums: dict[str, Any] = {"chunks": plan.count, "done": 0, "empty": 0, "failed": 0, "bytes": 0, "seconds": 0.0}

    def lines() -> Iterator[bytes]:
        nonlocal scores, scored
        for record in ledger.records(wrong):
            sums[record["state"]] += 1
            sums["bytes"] += record["bytes"]
            sums["seconds"] += record["seconds"] or 0.0
            if record["state"] != "failed":
                total.add(record["mse"], record["voxels"], record["lo"], record["hi"])
            if record["missed"] is not None:
                missed[record["missed"]] += 1
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
        "missed": dict(missed),
        "recipe_hash": plan.recipe_hash,
        "skipped_lines": ledger.skipped,
        "first_failed": failed,
    }
    folder.write(SUMMARY, json.dumps(summary, indent=1).encode())
    return summary
