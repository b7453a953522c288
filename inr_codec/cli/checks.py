"""The commands that check encoded stores: verify and report."""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inr_codec.batch import verify as checks
from inr_codec.batch.report import write_report
from inr_codec.batch.store import as_image, finest_level, open_volume
from inr_codec.batch.verify import Verification, arrays_of
from inr_codec.errors import IncompleteArray
from inr_codec.progress import Progress
from inr_codec.runtime.threads import threads


def verify(target: str, *, against: str | None, sample: float, workers: int | None, progress: bool) -> None:
    """Check every chunk of an array, or of all arrays of a group; IncompleteArray where anything is wrong."""
    wrong = 0
    if against is not None:
        against = as_image(against, target, ome=finest_level(target) is not None)
    for name, array in arrays_of(target).items():
        path = "/".join(filter(None, (target.rstrip("/"), name)))
        source = None if against is None else source_of(against, name)
        count = math.prod(-(-side // chunk) for side, chunk in zip(array.shape, array.chunks))
        bar = Progress(
            "checking", count, math.prod(array.shape), stream=sys.stderr, shown=progress or sys.stderr.isatty()
        )
        try:
            found = checks.verify(
                target, array=name, against=source, sample=sample, workers=workers or threads(), bar=bar
            )
        finally:
            bar.close()
        for line in lines_of(path, found):
            print(line)
        wrong += found.wrong
    if wrong:
        raise IncompleteArray(
            f"expected every chunk of {target!r} to hold, {wrong:,} do not: encode them again (delete their keys and "
            "run the same inr-codec encode, plan or run) or restore them from a copy"
        )


def report(target: str, html: str | None) -> None:
    """Write the report of an array, or of the finest array of a group, as one page."""
    path = html or f"{target.rstrip('/')}.html"
    write_report(target, path)
    print(path)


def source_of(path: str, name: str) -> Any:
    """The array that the array `name` of a store was made of: of the same name where the path is a group."""
    level = finest_level(path)
    if level is None and name and Path(path, name).is_dir():
        level = name
    return open_volume(path if level is None else f"{path}/{name or level}").array


def lines_of(path: str, found: Verification) -> Iterator[str]:
    """The lines of text that tell what was found."""
    empty = found.chunks - found.stored - found.missing - found.corrupt
    yield (
        f"{path}: {found.chunks:,} chunks, {found.stored:,} sound in {found.bytes:,} bytes, {empty:,} not stored "
        f"(nothing but the fill value), {found.missing:,} missing, {found.corrupt:,} corrupt"
    )
    if found.beyond:
        yield f"  {found.beyond:,} chunks break what the array's metadata ask for"
    for reason, missed in found.missed.items():
        yield f"  {missed:,} chunks take more bytes than were asked for: {reason}"
    yield f"  recorded PSNR of the array (peak = its max - min): {found.recorded}"
    yield f"  recorded PSNR of chunks (peak = max - min of each): {_distribution(found.psnr)}"
    if found.measured:
        count = f"{len(found.measured):,} chunks"
        yield f"  measured PSNR of {count} together: {found.sample}; {found.far:,} further off than recorded"
        yield f"  measured PSNR of {count}: {_distribution(found.measured)}"
    for key, chunk, what in found.problems:
        yield f"  {key} (chunk {','.join(map(str, chunk))}): {what}"
    if found.wrong > len(found.problems):
        yield f"  ... and {found.wrong - len(found.problems):,} more"


def _distribution(psnr: Sequence[float]) -> str:
    values = np.array([value for value in psnr if math.isfinite(value)])
    exact = f"{len(psnr) - values.size:,} exact"
    if not values.size:
        return exact
    low, tenth, middle, most = np.percentile(values, [0, 10, 50, 100])
    return f"least {low:.2f}, 10 % below {tenth:.2f}, median {middle:.2f}, most {most:.2f} dB, {exact}"
