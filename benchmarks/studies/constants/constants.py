"""What tuned constants of the encoder are worth: one is changed at a time, all else stays.

    python -m benchmarks.studies.constants.constants --volumes FOLDER [--names NAME ...] [--side 64]
        [--measures residual filter networks diverging layers bound psnr] [--constants NAME ...]

The centre of each volume, a cube of --side, is encoded at two rates with the constant as it is and with others. A gain
is positive where the other value is better: dB at equal bytes, or per cent of the bytes at an equal bound or PSNR. The
row "another seed" of a measure tells what chance does. Constants of the format are not here: they cannot be changed.
"""

import argparse
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any
from unittest import mock

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import crop, volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, metrics
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.encoding.choose_layers import Candidate, price_of_byte
from inr_codec.engines import Schedule
from inr_codec.layers.filter.encode import encode_filter
from inr_codec.layers.residual.encode import ResidualEncoder, move_share

SEED = 0
RATIOS = (64, 256)
HOT_RATE = 6e-3
"""A learning rate at which fits diverge now and then."""
SHARES = (0.005, 0.02)
"""Bounds, as shares of max - min."""
DECIBELS = (36.0, 44.0)
FILTER_SHARE = 0.1
"""Of a stream's bytes, what its filter may take here."""
LONG = 40
"""Characters from which on a value is not printed."""


@dataclass(frozen=True)
class Constant:
    """A constant of a module and the values to try instead; kernel: the compiled function that holds it, if one does.

    module: below inr_codec. also: modules that import the constant by name.
    """

    module: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    kernel: str = ""
    also: tuple[str, ...] = ()

    def places(self) -> list[Any]:
        """Modules in which the name stands."""
        return [importlib.import_module(f"inr_codec.{module}") for module in (self.module, *self.also)]

    def own(self) -> Any:
        """The value that the package has."""
        return getattr(self.places()[0], self.name)

    def tried(self) -> dict[str, Any]:
        """Text -> value: those given, else half and twice its own."""
        own = self.own()
        return self.values or {f"{own * factor:g}": type(own)(own * factor) for factor in (0.5, 2)}

    def replaced(self, value: Any) -> ExitStack:
        """A context in which it has another value; what is kept from before is forgotten at both ends."""
        stack = ExitStack()
        for module in self.places():
            stack.enter_context(mock.patch.object(module, self.name, value))
        if self.kernel:
            module = self.places()[0]
            code = getattr(module, self.kernel).py_func
            fresh = FunctionType(code.__code__, {**code.__globals__, self.name: value}, code.__name__)
            stack.enter_context(mock.patch.object(module, self.kernel, numba.njit(nogil=True)(fresh)))
        move_share.cache_clear()
        stack.callback(move_share.cache_clear)
        return stack


def values(*several: Any) -> dict[str, Any]:
    """Named after themselves."""
    return {f"{value}": value for value in several}


Array = NDArray[np.generic]
Score = Callable[[Array, float, int], float]
"""Chunk, rate and seed to a score: the higher, the better."""


def networks(chunk: Array, ratio: float, seed: int, **more: Any) -> float:
    """PSNR of networks alone."""
    codec = INRCodec(ratio=ratio, layers="network", effort="fast", seed=seed, **more)
    return metrics.psnr(chunk, codec.decode(codec.encode(chunk)))


def diverging(chunk: Array, ratio: float, seed: int) -> float:
    """The same at a rate that is too high."""
    return networks(chunk, ratio, seed, learning_rate=HOT_RATE)


def residual(chunk: Array, ratio: float, seed: int) -> float:
    """PSNR of the residual layer alone, whose passes go on from others of little effort, as the encoder's do."""
    encoder = ResidualEncoder(chunk.astype(np.float32))
    encoder.encode(int((1 - FILTER_SHARE) * chunk.nbytes / ratio), 0)
    return metrics.psnr(chunk, encoder.encode(int(chunk.nbytes / ratio), 1).decoded)


def filtered(chunk: Array, ratio: float, seed: int) -> float:
    """dB that a filter takes off a residual layer, less what its bytes would take off there."""
    unit, decoded, step, price = below(chunk.tobytes(), chunk.dtype.str, chunk.shape, ratio)
    before = unit.squared_error(decoded)
    found = encode_filter(unit, decoded, step, int(FILTER_SHARE * chunk.nbytes / ratio), price, seed=seed)
    return 0.0 if found is None else 10 * math.log10(before / (found[1] * (1 + price * len(found[0]))))


@cache
def below(
    data: bytes, dtype: str, shape: tuple[int, ...], ratio: float
) -> tuple[UnitChunk, NDArray[np.float32], float, float]:
    """What a filter is put on: the chunk, what its residual layer decodes to, the step, the price of a byte."""
    chunk = np.frombuffer(data, dtype).reshape(shape)
    unit = UnitChunk(normalise(chunk, Intensity(float(chunk.min()), float(chunk.max()))))
    size = int((1 - FILTER_SHARE) * chunk.nbytes / ratio)
    coded = ResidualEncoder(unit.unit).encode(size, 1)
    best = Candidate((), coded.decoded, unit.squared_error(coded.decoded), coded.step)
    return unit, coded.decoded, coded.step, price_of_byte(unit, best, size)


def layers(chunk: Array, ratio: float, seed: int) -> float:
    """PSNR of INRCodec(ratio=) as it comes."""
    codec = INRCodec(ratio=ratio, seed=seed)
    return metrics.psnr(chunk, codec.decode(codec.encode(chunk)))


def bound(chunk: Array, share: float, seed: int) -> float:
    """Bytes (-100 ln) within a bound on every error."""
    return -100 * math.log(len(INRCodec(max_error=share * float(np.ptp(chunk.astype(np.float64)))).encode(chunk)))


def psnr(chunk: Array, decibels: float, seed: int) -> float:
    """Bytes (-100 ln) that reach a PSNR."""
    return -100 * math.log(len(INRCodec(psnr=decibels, effort="fast", seed=seed).encode(chunk)))


MEASURES: dict[str, tuple[Score, Sequence[float], str, list[Constant]]] = {
    "residual": (residual, RATIOS, "dB", [
        Constant("layers.residual.encode", "LAMBDA"),
        Constant("layers.residual.encode", "SETTLE", values(3, 12)),
        Constant("layers.residual.encode", "NEAR", values(1.01, 2.0)),
        Constant("layers.residual.encode", "LEAP", values(1.0, 4.0)),
        Constant("layers.residual.encode", "NEAR_LEAP"),
        Constant("layers.residual.encode", "ENOUGH", values(0.99, 0.999)),
        Constant("layers.residual.encode", "WIDEN", values(1.05, 1.2)),
        Constant("layers.residual.encode", "GOAL", values(0.0, -0.01)),
        Constant("layers.residual.encode", "SLOPE"),
        Constant("layers.residual.encode", "SLOPES", values((0.6, 4.0), (0.15, 16.0))),
        Constant("layers.residual.encode", "INSIDE", values((0.01, 0.99), (0.25, 0.75))),
        Constant("layers.residual.encode", "LIVE_BITS"),
        Constant("layers.residual.encode", "LIVE_STEPS"),
        Constant("layers.residual.encode", "MOVE", values(0.75, 1.9)),
        Constant("layers.residual.encode", "MOST_MOVE"),
        Constant("layers.residual.quantise", "FRESH", values(0.6, 1.0), kernel="_mark"),
        Constant("layers.residual.quantise", "REVIVED", values(0.8, 2.0), kernel="_mark"),
    ]),
    "filter": (filtered, RATIOS, "dB", [
        Constant("layers.filter.encode", "SIZES", {
            "(4, 4) always": {(4, 4): 0.5}, "(16, 8) always": {(4, 4): 0.9, (16, 8): 0.1},
        }),
        Constant("layers.filter.encode", "PROBE_POWER", values(0.0, 0.35, 1.4)),
        Constant("layers.filter.encode", "PROBE_MOST", values(1.0, 2.6)),
        Constant("layers.filter.encode", "PROBE", values((2,), (8, 8))),
        Constant("layers.filter.encode", "PROBE_SCHEDULE", {
            "500 steps": Schedule(500, 512, 6e-3), "2000 steps": Schedule(2000, 512, 6e-3),
        }),
        Constant("layers.filter.encode", "HEAD_BYTES"),
        Constant("layers.filter.encode", "PARAMETER_BYTES"),
        Constant("layers.filter.fit", "SAMPLE_VOXELS", also=("layers.filter.encode",)),
        Constant("layers.filter.encode", "JACOBIAN_VOXELS"),
        Constant("layers.filter.fit", "FLOOR", values(0.001, 0.1, 1.0)),
        Constant("layers.filter.fit", "FIRST_WEIGHTS"),
        Constant("layers.filter.fit", "LAST_WEIGHTS", values(0.0125, 0.2, 1.0)),
        Constant("layers.filter.encode", "ROUNDING", {
            "half as many": tuple(10 ** (-k / 2) for k in range(2, 8)),
            "twice as many": tuple(10 ** (-k / 8) for k in range(8, 29)),
        }),
        Constant("layers.filter.rounding", "DAMPING", values(0.001, 0.1)),
    ]),
    "networks": (networks, RATIOS, "dB", [
        Constant("layers.network.encode", "FREEZE_SHARE"),
        Constant("layers.network.encode", "FREEZE_RATE"),
        Constant("layers.network.encode", "LEAST_MASS", values(1e-5, 0.1)),
        Constant("layers.network.quantise", "ROUNDS", {
            "one": (0.5,), "three": (0.4, 0.7, 0.9), "ten": (0.15, 0.3, 0.45, 0.55, 0.65, 0.75, 0.82, 0.88, 0.93, 0.97),
        }),
        Constant("layers.network.quantise", "SAMPLES"),
        Constant("layers.network.quantise", "NUDGE", values(1e-4, 1e-2)),
        Constant("layers.network.probe", "PROBE_SHARE"),
        Constant("layers.network.probe", "PROBE_PARAMETERS"),
        Constant("layers.network.plan", "BLOCK_BYTES", values(3, 14), also=("layers.network.probe",)),
        Constant("layers.network.sampling", "STRUCTURE", values(0.0, 0.25, 0.75)),
        Constant("layers.network.sampling", "PASSES", values(1, 4)),
        Constant("engines.restarts", "SEGMENTS", values(5, 20)),
        Constant("engines.restarts", "DIVERGED", values(1.5, 6.0)),
    ]),
    "diverging": (diverging, RATIOS, "dB", [
        Constant("engines.restarts", "SEGMENTS", values(5, 20)),
        Constant("engines.restarts", "DIVERGED", values(1.5, 6.0)),
        Constant("engines.restarts", "MAX_RESTARTS", values(0, 2, 8)),
    ]),
    "layers": (layers, RATIOS, "dB", [
        Constant("encoding.choose_layers", "RESIDUAL_LEAST"),
        Constant("encoding.choose_layers", "FILTER_SHARE"),
        Constant("encoding.choose_layers", "FILTER_LEAST"),
        Constant("encoding.choose_layers", "FILTER_MOST", values(120, 1800)),
        Constant("encoding.choose_layers", "CATCH_UP", values((0.0, 0.0), (0.6, 4.0))),
        Constant("encoding.choose_layers", "PROMISING", values(-0.5, 0.5)),
        Constant("encoding.choose_layers", "SHORT_SHARE"),
        Constant("encoding.choose_layers", "STEEPER"),
        Constant("encoding.choose_layers", "DEBLOCK_RESERVE"),
        Constant("encoding.psnr_search", "DECIBELS_PER_OCTAVE", also=("encoding.choose_layers",)),
    ]),
    "bound": (bound, SHARES, "%", [
        Constant("layers.correction.encode", "FIRST"),
        Constant("layers.correction.encode", "RATIO", values(1.25, 2.0)),
        Constant("layers.correction.encode", "HOPELESS", values(1.05, 2.0)),
        Constant("layers.correction.encode", "SHORT", values(0, 2000)),
        Constant("layers.correction.encode", "RICH"),
        Constant("layers.correction.encode", "SPARSE", values(1, 4)),
    ]),
    "psnr": (psnr, DECIBELS, "%", [
        Constant("encoding.psnr_search", "ENOUGH"),
        Constant("encoding.psnr_search", "AIM"),
        Constant("encoding.psnr_search", "TRIES", values(4, 16)),
        Constant("encoding.psnr_search", "FIRST_STEP"),
        Constant("encoding.psnr_search", "DECIBELS_PER_OCTAVE"),
    ]),
}  # fmt: skip
"""What is measured, at which rates, in which unit, and which constants it depends on."""


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each value of each constant: gains of all cells (volume, rate, seed), and processor seconds."""
    chunks = {
        name: crop(volume, (arguments.side,) * 3)
        for name, volume in volumes(arguments.volumes, arguments.names).items()
    }
    for title in arguments.measures:
        score, rates, unit, constants = MEASURES[title]
        if arguments.constants:
            constants = [constant for constant in constants if constant.name in arguments.constants]
        cells = [(name, rate) for name in chunks for rate in rates]

        def scores(
            seed: int, score: Score = score, cells: list[tuple[str, float]] = cells
        ) -> tuple[list[float], float]:
            score(chunks[cells[0][0]], cells[0][1], seed)  # compiles
            begun = time.process_time()
            found = [score(chunks[name], rate, seed) for name, rate in cells]
            return found, time.process_time() - begun

        if not constants:
            continue
        for name, rate in cells if title == "filter" else []:
            score(chunks[name], rate, SEED)  # makes and keeps what it is put on
        own, seconds = scores(SEED)
        kept = {"measure": title, "unit": unit, "cells": [f"{name} {rate:g}" for name, rate in cells]}
        if title in ("filter", "networks", "diverging", "layers"):
            other, _ = scores(SEED + 1)
            gains = [b - a for a, b in zip(own, other)]
            yield kept | {"constant": "another seed", "own": "", "value": "", "gains": gains, "seconds": 1.0}
        for constant in constants:
            for text, value in constant.tried().items():
                with constant.replaced(value):
                    found, spent = scores(SEED)
                yield kept | {
                    "constant": f"{constant.module}.{constant.name}", "own": _told(constant.own()), "value": text,
                    "gains": [b - a for a, b in zip(own, found)], "seconds": spent / seconds,
                }  # fmt: skip


def _told(value: Any) -> str:
    """A number or some of them; of other values nothing."""
    return f"{value:g}" if isinstance(value, int | float) else f"{value}" if isinstance(value, tuple) else ""


def table(rows: Sequence[Row]) -> str:
    """A table for each measure: mean and median gain, worst and best cell, seconds over those of the own value."""
    parts = []
    for title in dict.fromkeys(row["measure"] for row in rows):
        lines = []
        some = [row for row in rows if row["measure"] == title]
        for row in some:
            gains, unit = row["gains"], row["unit"]
            digits = 3 if unit == "dB" else 2
            own = row["own"] if len(row["own"]) < LONG else ""
            lines.append([
                row["constant"].removeprefix("layers."), own, row["value"],
                *(f"{found:+.{digits}f}" for found in (np.mean(gains), np.median(gains))),
                f"{min(gains):+.{digits}f} to {max(gains):+.{digits}f}", f"{row['seconds']:.2f}",
            ])  # fmt: skip
        head = ["constant", "own", "tried", f"gain, {some[0]['unit']}", "median", "cells", "seconds, times"]
        parts.append(f"### {title}\n\n{', '.join(some[0]['cells'])}\n\n{markdown(head, lines)}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--constants", nargs="+", metavar="NAME", help="those with these names (default: all)")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
