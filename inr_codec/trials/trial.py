"""Trials: typical parts of a volume encoded at several rates and efforts, and which of them is recommended.

A rate is recommended by the noise: what is lost is to be no larger than the noise that is estimated in the data, in
every part that was tried. Where there is no noise, or no rate is that good, by the similarity (SSIM).
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log10, prod
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec import metrics
from inr_codec.codec import INRCodec
from inr_codec.decoding.decoder import decode
from inr_codec.efforts import EFFORTS, Effort
from inr_codec.errors import ConfigError
from inr_codec.progress import Progress, duration
from inr_codec.runtime.compiling import drawn
from inr_codec.runtime.threads import threads
from inr_codec.stores.chunk_shape import chunk_shape
from inr_codec.trials.samples import PLACES, Sample, noise, typical

RATIOS = (10.0, 30.0, 100.0, 300.0, 1000.0)
STANDARD = 100.0
"""The ratio that is tried first; then those next to it."""
SECONDS = 90.0
SHARE = 0.5
"""Of the time that the samples are made for: what machines that do other work as well still keep."""
VOXELS = (1 << 15, 1 << 20)
"""Of a sample, at least and at most."""
NOISE = 1.1
"""Root mean square error over the noise, up to which nothing but noise is taken to be lost."""
SIMILAR = 0.95
"""SSIM from which a part is taken to look the same."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sample, encoded: seconds are those of one thread beside others; error is the root of the mean square."""

    ratio: float
    effort: Effort
    sample: Sample
    bytes: int
    seconds: float
    decoded: NDArray[Any]
    error: float
    ssim: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rate and an effort do to all samples, and would do to the whole array.

    ratio: what was asked; reached: of all samples together. psnr: in dB (peak = max - min of all samples), of all of
    them; error: root mean square over the noise, the largest of the samples, None without noise. ssim: the least of
    the samples (range = max - min of all). bytes, hours: of the whole array, on this machine.
    """

    ratio: float
    effort: Effort
    reached: float
    psnr: float
    error: float | None
    ssim: float | None
    bytes: float
    hours: float


@dataclass
class Trials:
    """What was tried of an array.

    chunks: sides that it would be cut into. axes: their names, where they are known. sigma: noise of each sample, in
    units of the data. complete: all rates and efforts that were asked for were tried; else the time was up.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    samples: list[Sample]
    sigma: dict[str, float]
    axes: tuple[str | None, ...] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    complete: bool = False

    @cached_property
    def span(self) -> float:
        """Max - min of the samples."""
        seen = [sample.values[np.isfinite(sample.values)] for sample in self.samples]
        return max(float(part.max()) for part in seen) - min(float(part.min()) for part in seen)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of every rate and effort that all samples were encoded at, by effort and rate."""
        groups: dict[tuple[Effort, float], list[Attempt]] = {}
        for attempt in self.attempts:
            groups.setdefault((attempt.effort, attempt.ratio), []).append(attempt)
        order = list(EFFORTS)
        whole = [key for key, group in groups.items() if len(group) == len(self.samples)]
        return [self._outcome(groups[key]) for key in sorted(whole, key=lambda key: (order.index(key[0]), key[1]))]

    def _outcome(self, group: list[Attempt]) -> Outcome:
        voxels = [attempt.sample.values.size for attempt in group]
        square = sum(attempt.error**2 * n for attempt, n in zip(group, voxels)) / sum(voxels)
        noisy = [(attempt.error, self.sigma[attempt.sample.name]) for attempt in group]
        similar = [attempt.ssim for attempt in group if attempt.ssim is not None]
        reached = sum(attempt.sample.values.nbytes for attempt in group) / sum(attempt.bytes for attempt in group)
        seconds = sum(attempt.seconds for attempt in group) / sum(voxels) * prod(self.shape) / threads()
        return Outcome(
            group[0].ratio,
            group[0].effort,
            reached,
            inf if square == 0 else 20 * log10(self.span) - 10 * log10(square),
            max(error / sigma for error, sigma in noisy) if all(sigma > 0 for _, sigma in noisy) else None,
            min(similar) if similar else None,
            prod(self.shape) * self.dtype.itemsize / reached,
            seconds / 3600,
        )

    @property
    def recommended(self) -> tuple[Outcome, str]:
        """An outcome and why it is recommended; ConfigError where nothing was tried in time."""
        tried = [outcome for outcome in self.outcomes if outcome.effort == "default"] or self.outcomes
        if not tried:
            raise ConfigError("expected a rate that was tried in time, got none: allow more seconds")
        tried.sort(key=lambda outcome: -outcome.ratio)
        for outcome in tried:
            if outcome.error is not None and outcome.error <= NOISE:
                return outcome, f"the error is {outcome.error:.2f} of the noise at most: what is lost is noise"
        missed = "no rate keeps the error below the noise" if tried[0].error is not None else "no noise was found"
        for outcome in tried:
            if outcome.ssim is not None and outcome.ssim >= SIMILAR:
                return outcome, f"{missed}; SSIM is {outcome.ssim:.3f} at least, {SIMILAR} looks the same"
        return tried[-1], f"{missed}, and none has SSIM {SIMILAR}: the lowest that was tried; try lower ones, or bounds"

    def save_picture(
        self,
        path: str | PathLike[str],
        *,
        title: str = "",
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
    ) -> None:
        """Draw crops, differences and curves to a PNG; see `trials.picture.save_trials`."""
        from inr_codec.trials.picture import save_trials

        save_trials(path, self, title=title, spacing=spacing, unit=unit)

    def __str__(self) -> str:
        """The table, the noise and what is recommended, in lines."""
        parts = (
            f"{s.name} {'x'.join(map(str, s.values.shape))} at {','.join(map(str, s.first))}, "
            f"noise {self.sigma[s.name]:.4g}"
            for s in self.samples
        )
        lines = [
            "tried: " + "; ".join(parts),
            f"{'ratio':>6} {'effort':<8} {'PSNR':>6} {'error/noise':>11} {'SSIM':>6} {'array':>10} {'time':>9}",
        ]
        for outcome in self.outcomes:
            error = "-" if outcome.error is None else f"{outcome.error:.2f}"
            similar = "-" if outcome.ssim is None else f"{outcome.ssim:.3f}"
            lines.append(
                f"{outcome.ratio:>6g} {outcome.effort:<8} {outcome.psnr:>6.2f} {error:>11} {similar:>6} "
                f"{size(outcome.bytes):>10} {duration(outcome.hours * 3600):>9}"
            )
        best, reason = self.recommended
        lines.append(
            "PSNR in dB (peak = max - min of the samples); error and SSIM of the worst sample; array and time:"
        )
        lines.append(f"of {' x '.join(map(str, self.shape))} {self.dtype} here, on {threads()} threads")
        if not self.complete:
            lines.append("the time was up before all had been tried")
        lines.append(f"recommended: ratio {best.ratio:g}, effort {best.effort!r} ({reason})")
        return "\n".join(lines)


def size(count: float) -> str:
    """Bytes as text: `812 B`, `1.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def try_ratios(
    array: Any,
    *,
    axes: Sequence[str | None] | None = None,
    chunks: Sequence[int] | None = None,
    ratios: Sequence[float] = RATIOS,
    efforts: Sequence[Effort] = ("default", "fast", "best"),
    seconds: float = SECONDS,
    progress: bool | None = None,
) -> Trials:
    """Encode typical parts of an array at several rates and efforts: what each costs and keeps, and which to take.

    array: anything with a shape and a dtype of real numbers that is indexed as numpy's, lazy or not. axes: names of its
    axes. chunks: sides that it would be cut into (default: `chunk_shape`). All ratios are tried at the first effort,
    the one that is then recommended at the others. seconds: after which nothing more is begun; samples are made so
    large that about all is tried in that time. progress: draw a bar on stderr (default: where that is a terminal).
    Raises ConfigError for an array that has nothing to try, or where not even one rate was tried in time.
    """
    shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
    if dtype.kind not in "iuf" or not shape or 0 in shape or not ratios or not efforts:
        raise ConfigError(
            f"expected an array of real numbers, ratios and efforts, got {dtype} {shape!r}, {tuple(ratios)!r} and "
            f"{tuple(efforts)!r}: name others"
        )
    codecs = {(ratio, effort): INRCodec(ratio=ratio, effort=effort) for ratio in ratios for effort in efforts}
    sides = tuple(chunks) if chunks is not None else chunk_shape(shape, axes).sides
    if len(sides) != len(shape):
        raise ConfigError(f"expected chunks with a side for each of {shape!r}, got {sides!r}: give as many")
    work = {effort: len(ratios) if effort == efforts[0] else 1 for effort in efforts}
    cost = len(PLACES) * sum(times / EFFORTS[effort].voxels_per_second for effort, times in work.items())
    deadline = time.monotonic() + seconds
    samples = typical(array, sides, int(np.clip(SHARE * seconds * threads() / cost, *VOXELS)))
    trials = Trials(shape, dtype, sides, samples, {sample.name: noise(sample.values) for sample in samples})
    trials.axes = None if axes is None else tuple(axes)
    count = (len(ratios) + len(efforts) - 1) * len(samples)
    shown = sys.stderr.isatty() if progress is None else progress
    with drawn("trying", count, count * samples[0].values.size, shown=shown) as bar:
        middle = sorted(ratios, key=lambda ratio: abs(log10(ratio / STANDARD)))
        _try(trials, [codecs[ratio, efforts[0]] for ratio in middle], deadline, bar)
        if trials.outcomes:
            best = trials.recommended[0].ratio
            _try(trials, [codecs[best, effort] for effort in efforts[1:]], deadline, bar)
    trials.complete = len(trials.attempts) == count
    if not trials.outcomes:
        raise ConfigError(f"expected a rate that is tried within {seconds:g} s, got none: allow more seconds")
    return trials


def _try(trials: Trials, codecs: Sequence[INRCodec], deadline: float, bar: Progress) -> None:
    """Encode all samples with these codecs, on all threads, in this order, until the time is up."""

    def attempt(codec: INRCodec, sample: Sample) -> Attempt | None:
        if time.monotonic() >= deadline:
            return None
        begin = bar.seconds  # of a clock that stands still while kernels are compiled
        stream = codec.encode(sample.values)
        return _measured(trials, codec, sample, stream, bar.seconds - begin)

    pool, waits = ThreadPoolExecutor(threads()), True
    try:
        for done in as_completed(
            [pool.submit(attempt, codec, sample) for codec in codecs for sample in trials.samples]
        ):
            found = done.result()
            if found is not None:
                trials.attempts.append(found)
                bar.step(trials.samples[0].values.size)
    except KeyboardInterrupt:
        waits = False  # what is in work is dropped
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)


def _measured(trials: Trials, codec: INRCodec, sample: Sample, stream: bytes, seconds: float) -> Attempt:
    """What a stream of a sample keeps of it."""
    decoded, values = decode(stream), sample.values
    finite = np.isfinite(values)
    error = float(np.sqrt(np.mean((decoded[finite].astype(np.float64) - values[finite]) ** 2)))
    try:
        similar = metrics.mean_ssim(values, decoded, data_range=trials.span)
    except ConfigError:  # too small, or no window without holes
        similar = None
    assert codec.config.ratio is not None
    return Attempt(codec.config.ratio, codec.config.effort, sample, len(stream), seconds, decoded, error, similar)
