"""Whether the source of a plan is still what was planned, between passes and between runs.

A plan holds marks of its inputs: how many files they have, their bytes, a hash of names, sizes and times of change
(ETags behind a URL), and the CRC-32 of a few chunks. Where these differ, every chunk that was measured or encoded is
compared with the source by the CRC-32 in its record: other values are refused, files that are only newer are told of.
"""

import hashlib
import json
import logging
import math
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.journal import Places, Record, Records
from inr_codec.batch.manifest import JOURNAL, MEASURES, is_sound
from inr_codec.batch.plan import ODD, Plan
from inr_codec.batch.rate_curves import Curve
from inr_codec.batch.store import PLAN, open_source, state_folder
from inr_codec.errors import ConfigError
from inr_codec.progress import Progress
from inr_codec.runtime.threads import threads
from inr_codec.stores.folders import is_url
from inr_codec.targets import split_part, split_view

LOG = logging.getLogger(__name__)
ROW = 1 << 18
"""Voxels of neighbouring chunks that are read at once: to read one tiny chunk takes zarr a millisecond."""
SAMPLES = 4
"""Chunks of the source whose values are among its marks."""
TIMES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems of fsspec call the mark of a file's content, or the time at which it changed."""

Marks = dict[str, Any]


def marked(plan: Plan) -> Plan:
    """A plan with the marks of its source and mask as they are now."""
    return replace(plan, marks=_marks(plan) or {})


def check_source(plan: Plan, part: tuple[int, int] = (1, 1), *, shown: bool | None = None) -> None:
    """ConfigError where the source is not what was planned: its shape, its dtype, or values that were used already.

    Chunks of this part are looked at. Files that are only newer are told of, and the plan learns their new marks.
    """
    now = _marks(plan)
    if now is None or now == plan.marks:  # a source that is gone is told of by whoever needs it
        return
    values_of(plan, plan.source)
    known = _recorded(plan, part)
    drawn = sys.stderr.isatty() if shown is None else shown
    bar = Progress("comparing", len(known), sum(map(plan.voxels_of, known)), stream=sys.stderr, shown=drawn)
    now_plan, unreadable = replace(plan, marks=now), 0
    try:
        for n, crc in _crcs(now_plan, known):
            unreadable += crc is None
            if crc is not None and crc not in known[n]:
                raise ConfigError(
                    f"expected the source {plan.source!r} as it was planned, got other values in chunk {n} (key "
                    f"{plan.key_of_job(plan.job_of(n))}): plan with --overwrite to begin anew, or with --force to keep "
                    "what is written of the old ones"
                )
            bar.step(plan.voxels_of(n))
    finally:
        bar.close()
    if plan.marks:
        LOG.warning(
            "the files of the source %r have changed since it was planned: %d chunks that were used hold the same "
            "values, %d cannot be read",
            *(plan.source, len(known) - unreadable, unreadable),
        )
    if part == (1, 1):
        state_folder(plan.target).write(PLAN, now_plan.to_json().encode())


def values_of(plan: Plan, path: str) -> Any:
    """The array at the path of the plan's source or mask; ConfigError where it has another shape or dtype by now."""
    array = open_source(path, json.dumps(plan.marks))
    shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
    if shape != plan.shape or (path == plan.source and dtype != np.dtype(plan.dtype)):
        raise ConfigError(
            f"expected {path!r} as it was planned, {plan.shape!r} {plan.dtype}, got {shape!r} {dtype.str}: it has "
            "changed, plan with --overwrite to begin anew"
        )
    return array


def chunk_of(plan: Plan, n: int) -> NDArray[Any] | None:
    """Chunk n of the source, padded with the fill value as zarr pads it; None if it is nothing but that."""
    return _padded(plan, values_of(plan, plan.source)[plan.region_of(n)])


def chunks_of(plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[Any] | None]]:
    """(n, chunk n of the source) of a row of chunks, which is read at once."""
    regions = [plan.region_of(n) for n in numbers]
    first, start, stop = regions[0][:-1], regions[0][-1].start, regions[-1][-1].stop
    row = values_of(plan, plan.source)[(*first, slice(start, stop))]
    for n, region in zip(numbers, regions, strict=True):
        yield n, _padded(plan, row[..., region[-1].start - start : region[-1].stop - start])


def rows_of(plan: Plan, numbers: Sequence[int]) -> Iterator[list[int]]:
    """The same chunks, in rows of neighbours along the last axis of at most ROW voxels, or of one chunk."""
    most, row = max(ROW // math.prod(plan.chunks), 1), list[int]()
    for n in numbers:
        if row and (n != row[-1] + 1 or n % plan.grid[-1] == 0 or len(row) == most):
            yield row
            row = []
        row.append(n)
    if row:
        yield row


def _padded(plan: Plan, values: Any) -> NDArray[Any] | None:
    """The values of a chunk, padded; None for nothing but the fill value."""
    from zarr.buffer.cpu import NDBuffer

    chunk = np.full(plan.chunks, plan.fill_value, np.dtype(plan.dtype))
    chunk[tuple(slice(0, side) for side in values.shape)] = values
    empty = NDBuffer.from_numpy_array(chunk).all_equal(np.dtype(plan.dtype).type(plan.fill_value))
    return None if empty else chunk


def source_crc(chunk: NDArray[Any] | None) -> int:
    """CRC-32 of the voxels of a chunk of the source, with their padding; 0 for nothing but the fill value."""
    return 0 if chunk is None else zlib.crc32(chunk.tobytes())


def measured_chunks(plan: Plan) -> Places:
    """Where the curves of the chunks that have been measured are recorded; damaged lines count as not measured."""
    folder = state_folder(plan.target)
    places = Places(folder, plan.count)
    for file, offset, record in _measures(plan):
        places.set(record["n"], file, offset)
    return places


def _measures(plan: Plan) -> Records:
    def is_curve(record: Record) -> bool:
        n = record.get("n")
        if type(n) is not int or not 0 <= n < plan.count:
            return False
        try:
            Curve.from_json(record["curve"])
        except ODD:
            return False
        return True

    return Records(state_folder(plan.target), MEASURES, is_curve)


def _recorded(plan: Plan, part: tuple[int, int]) -> dict[int, set[int]]:
    """CRC-32 of the source of every chunk of a part that was measured or encoded, as its records have it."""
    known: dict[int, set[int]] = {}
    journal = Records(state_folder(plan.target), JOURNAL, lambda record: is_sound(plan, record))
    for records in (_measures(plan), journal):
        for _, _, record in records:
            n, crc = record["n"], record.get("source")
            if type(crc) is int and (plan.job_of(n) - part[0] + 1) % part[1] == 0:
                known.setdefault(n, set()).add(crc)
    return known


def _crcs(plan: Plan, numbers: Iterable[int]) -> Iterator[tuple[int, int | None]]:
    """(n, CRC-32 of chunk n of the source as it is now); None where it cannot be read."""

    def crc(n: int) -> tuple[int, int | None]:
        try:
            return n, source_crc(chunk_of(plan, n))
        except ConfigError:
            raise
        except Exception:  # whatever a reader raises for damaged files: the task that needs the chunk tells
            return n, None

    with ThreadPoolExecutor(threads()) as pool:
        yield from pool.map(crc, numbers)


def _marks(plan: Plan) -> Marks | None:
    """Marks of the source and of the mask as they are now; None where the source is gone."""
    try:
        found = {path: _files(path) for path in (plan.source, plan.mask) if path is not None}
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    count = size = 0
    for path, files in found.items():
        digest.update(path.encode())
        for name, length, time in sorted(files):
            digest.update(f"{name}\0{length}\0{time}\n".encode())
            count, size = count + 1, size + length
    files_mark = {"files": count, "bytes": size, "sha256": digest.hexdigest()}
    there = replace(plan, marks=files_mark)
    numbers = sorted({plan.count * k // SAMPLES for k in range(SAMPLES)})
    return files_mark | {"sample": [[n, crc] for n, crc in _sampled(there, numbers)]}


def _sampled(plan: Plan, numbers: list[int]) -> list[tuple[int, int | None]]:
    try:
        return list(_crcs(plan, numbers))
    except ConfigError:  # another shape or dtype, which whoever compares the marks is told of
        return []


def _files(path: str) -> list[tuple[str, int, str]]:
    """(name, bytes, time or ETag) of all files at a path or URL, in no order."""
    path = split_part(split_view(path)[0])[0]
    if is_url(path):
        import fsspec

        files, root = fsspec.core.url_to_fs(path)
        files.invalidate_cache()
        told = files.find(root, detail=True)
        return [(name, int(one.get("size") or 0), _time(one)) for name, one in told.items()]
    if not os.path.isdir(path):
        stat = os.stat(path)
        return [("", stat.st_size, str(stat.st_mtime_ns))]
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            stat = os.stat(os.path.join(folder, name))
            found.append((os.path.relpath(os.path.join(folder, name), path), stat.st_size, str(stat.st_mtime_ns)))
    return found


def _time(told: dict[str, Any]) -> str:
    return next((str(told[name]) for name in TIMES if told.get(name) is not None), "")
