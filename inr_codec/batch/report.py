"""One HTML page about an encoded array: sums, images of a few chunks, maps and histograms of all, failed chunks.

Nothing else is needed to look at it.

The figures are those of the manifest; without one, of the streams themselves, which then know nothing of seconds,
workers and attempts. matplotlib draws the pictures (extra `picture`).
"""

import base64
import html
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec import io
from inr_codec.batch.journal import Record
from inr_codec.batch.manifest import measured, read_manifest
from inr_codec.batch.report_images import chosen, draw_chunks
from inr_codec.batch.report_maps import draw_histogram, draw_maps
from inr_codec.batch.store import PLAN, load_plan, open_volume, state_folder
from inr_codec.batch.verify import arrays_of
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.progress import duration
from inr_codec.stores.attributes import PREFIX
from inr_codec.stores.encoded_chunks import codec_of, streams_of_key
from inr_codec.stores.folders import open_folder
from inr_codec.stores.total import Total, mean_square
from inr_codec.targets import PAGE_MARK, check_file_target

LISTED = 200
"""Failed chunks that are listed."""
LEGEND = "Grey: nothing but the fill value, exact, or not known. Red cross: a chunk behind it failed."
STATES = ("done", "empty", "failed")
Floats = NDArray[np.float32]

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; max-width: 1080px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em } img { max-width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: 2px 14px 2px 0; text-align: left; vertical-align: top }
th { font-weight: 600 } .bad { color: #b00020 } code { font-size: 0.92em }
"""


@dataclass
class Chunks:
    """What is known of every chunk of an array, as arrays over the grid of chunks; NaN where nothing is known.

    source: path of the original, where it is known. state: index into STATES. mse: mean squared error, 0 where there
    is none. failed: (key, error).
    """

    path: str
    array: Any
    state: NDArray[np.uint8]
    bytes: Floats
    mse: Floats
    seconds: Floats
    source: str | None = None
    total: Total = field(default_factory=Total)
    repeated: int = 0
    workers: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    recorded: bool = False

    def add(self, record: Record) -> None:
        """Count a chunk by its record."""
        place = tuple(record["chunk"])
        state = record["state"]
        self.state[place] = STATES.index(state)
        if state == "done":
            self.bytes[place] = record["bytes"]
            lo, hi = record["lo"], record["hi"]
            psnr = math.inf if record["exact"] else record["psnr"]
            mse = record.get("mse", mean_square(psnr, lo, hi))
            self.mse[place] = math.nan if mse is None else mse
            region = (range(i * c, min((i + 1) * c, n)) for i, c, n in zip(place, self.array.chunks, self.array.shape))
            self.total.add(mse, math.prod(map(len, region)), lo, hi)
        elif state == "failed" and len(self.failed) < LISTED:
            self.failed.append((record["key"], record["error"] or "no reason given"))
        if record.get("seconds"):
            self.seconds[place] = record["seconds"]
        if record.get("worker"):
            self.workers[record["worker"]] += 1
        self.repeated += record.get("attempts", 0) > 1

    @property
    def psnr(self) -> Floats:
        """dB of every chunk, peak = max - min of the array; NaN for what is exact or not known."""
        peak = max(self.total.peak, 0.0)
        with np.errstate(divide="ignore"):
            psnr = 10 * np.log10(peak**2 / np.where(self.mse > 0, self.mse, np.nan))
        return psnr.astype(np.float32)

    def count(self, state: str) -> int:
        """How many chunks are in a state."""
        return int(np.count_nonzero(self.state == STATES.index(state)))


def write_report(target: str, page: str) -> None:
    """Write the page about the array at `target` (path or URL), or about the first array of a group.

    Raises ConfigError where there is no array of ours or matplotlib is not installed, FileExistsError where `page` is
    anything but an older page of ours.
    """
    check_file_target(page, (target,), overwrite=True, kind="page")
    text = render(gather(target))
    with io.finished(page, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")


def gather(target: str) -> Chunks:
    """What the manifest or, without one, the streams say of the chunks."""
    target = target.rstrip("/")
    arrays = arrays_of(target)
    plan = load_plan(target) if state_folder(target).size(PLAN) is not None else None
    name = "" if plan is None else plan.array
    name = name if name in arrays else sorted(arrays)[0]
    array = arrays[name]
    grid = tuple(-(-n // c) for n, c in zip(array.shape, array.chunks))
    path = "/".join(filter(None, (target, name)))
    nothing = np.full(grid, np.nan, np.float32)
    chunks = Chunks(path, array, np.full(grid, 2, np.uint8), nothing, nothing.copy(), nothing.copy())
    chunks.source = None if plan is None or plan.array != name else plan.source
    for record in () if plan is None else read_manifest(target):
        chunks.add(record)
        chunks.recorded = True
    if not chunks.recorded:
        for record in _looked_up(array, path, grid):
            chunks.add(record)
    return chunks


def _looked_up(array: Any, path: str, grid: tuple[int, ...]) -> Iterator[Record]:
    """Records of what is stored; what is not counts as empty."""
    folder, outer = open_folder(path), array.shards or array.chunks
    per = tuple(o // c for o, c in zip(outer, array.chunks))
    for index in np.ndindex(*(-(-n // o) for n, o in zip(array.shape, outer))):
        key = array.metadata.encode_chunk_key(index)
        data = folder.read(key)
        first = tuple(i * n for i, n in zip(index, per))
        shape = tuple(min(n, side - start) for n, side, start in zip(per, grid, first))
        places = [tuple(a + b for a, b in zip(first, inner)) for inner in np.ndindex(*shape)]
        streams: dict[tuple[int, ...], bytes] = {}
        whole: Record = {"key": key, "state": "empty"}
        try:
            streams = {} if data is None else dict(streams_of_key(array, index, data))
        except CorruptChunk as error:
            whole |= {"state": "failed", "error": str(error)}
        for place in places:
            record = whole | {"chunk": place}
            try:
                if place in streams:
                    record |= {"state": "done", **measured(streams[place])}
            except (CorruptChunk, UnsupportedFormat) as error:
                record |= {"state": "failed", "error": str(error)}
            yield record


def render(chunks: Chunks) -> str:
    """The page as text."""
    escape = html.escape
    name = Path(chunks.path).name if "://" not in chunks.path else chunks.path
    parts = [f"<h1>{escape(name)}</h1>", _table(_summary(chunks)), *_shown(chunks)]
    for title, unit, values, least in (
        ("PSNR", "dB, peak = max - min of the array", chunks.psnr, True),
        ("Bytes", "bytes", chunks.bytes, False),
        ("Seconds", "s", chunks.seconds, False),
    ):
        if values.size > 1 and np.isfinite(values).any():  # of a single chunk the table above tells all
            names = _axes(chunks)
            parts.append(f"<h2>{title} of chunks</h2><p>{LEGEND}</p>")
            parts.append(_image(f"{title} over the chunks", draw_maps(values, chunks.state == 2, unit, least, names)))
            parts.append(_image(f"Histogram of {title}", draw_histogram(values, unit)))
    parts += _failures(chunks)
    body = "\n".join(parts)
    head = f'<meta charset="utf-8">{PAGE_MARK}<title>{escape(name)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _shown(chunks: Chunks) -> Iterator[str]:
    """Images of a few chunks."""
    places = chosen(chunks.psnr, chunks.state == STATES.index("done"))
    drawn = list(draw_chunks(chunks.path, chunks.source, places, chunks.array.chunks))
    if drawn:
        yield "<h2>What it looks like</h2><p>The middle plane of a chunk, grey from percentile 0.2 to 99.8.</p>"
    for one in drawn:
        told = f"chunk {', '.join(map(str, one.place))}: {one.what}"
        yield f"<p>{html.escape(told)}</p>" + _image(told, one.png)


def _failures(chunks: Chunks) -> Iterator[str]:
    """What failed, and why."""
    escape, failed = html.escape, chunks.count("failed")
    yield f"<h2>Failed chunks: {failed:,}</h2>"
    if failed:
        rows = "".join(f"<tr><td><code>{escape(k)}</code></td><td>{escape(e)}</td></tr>" for k, e in chunks.failed)
        yield f"<table><tr><th>key</th><th>why</th></tr>{rows}</table>"
        if failed > len(chunks.failed):
            yield f"<p>and {failed - len(chunks.failed):,} more, which the manifest lists</p>"


def _axes(chunks: Chunks) -> tuple[str, ...]:
    """Names of the last three axes."""
    names = open_volume(chunks.path).axes or ("z", "y", "x")
    return ("z", "y", "x")[: max(0, 3 - len(names))] + tuple(names[-3:])


def _summary(chunks: Chunks) -> dict[str, str]:
    array = chunks.array
    stored, whole = int(np.nansum(chunks.bytes)), math.prod(array.shape) * array.dtype.itemsize
    sides = {name: " x ".join(map(str, s)) for name, s in (("array", array.shape), ("chunk", array.chunks))}
    states = ", ".join(f"{chunks.count(state):,} {state}" for state in STATES)
    rows = {
        "path": chunks.path,
        "array": f"{sides['array']} {array.dtype}, {whole:,} bytes, zarr format {array.metadata.zarr_format}",
        "chunks": f"{chunks.state.size:,} of {sides['chunk']}: {states}",
        "stored": f"{stored:,} bytes" + (f", {whole / stored:.1f} times smaller" if stored else ""),
    }
    rows["PSNR"] = f"{chunks.total}, peak = max - min of the array"
    scores = chunks.psnr[np.isfinite(chunks.psnr)]
    if scores.size:
        low, tenth, middle = np.percentile(scores, [0, 10, 50])
        rows["of chunks"] = f"median {middle:.2f}, 10 % below {tenth:.2f}, least {low:.2f} dB, of the same peak"
    if chunks.recorded:
        busy = float(np.nansum(chunks.seconds))
        rows["work"] = f"{duration(busy)}, processes: {len(chunks.workers):,}, chunks tried again: {chunks.repeated:,}"
    else:
        rows["work"] = "no manifest beside the store: seconds, workers and failures are not known"
    settings = codec_of(array.metadata).config.to_dict()
    rows |= _origin(chunks)
    rows["settings"] = ", ".join(f"{name}={value}" for name, value in settings.items())
    return rows


def _origin(chunks: Chunks) -> dict[str, str]:
    """What the array was made of and by, what reads it, and how large a voxel is."""
    volume = open_volume(chunks.path)
    spacing, told = volume.attributes.get("spacing"), dict(chunks.array.attrs)
    sides, unit = " x ".join(f"{size:g}" for size in spacing or ()), volume.attributes.get("unit", "of unknown unit")
    versions = ", ".join(f"{name} {version(name)}" for name in ("inr_codec", "zarr", "numpy"))
    return {
        "source": chunks.source or "not known: there is no plan beside the store",
        "axes": ", ".join(volume.axes) if volume.axes else "not named",
        "voxel": f"{sides} {unit}" if spacing else "of unknown size",
        "written by": str(told.get(f"{PREFIX}implementation", "not told: the array has no record")),
        "this page by": versions,
    }


def _image(what: str, png: bytes) -> str:
    return f'<img alt="{html.escape(what)}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'


def _table(rows: dict[str, str]) -> str:
    inside = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows.items())
    return f"<table>{inside}</table>"
