"""The filter in the loop: what the residual gains when it is coded for the filter above it, and by which settings.

    python -m benchmarks.studies.loop.loop --volumes FOLDER [--names NAME ...] [--ratios 16 64 256] [--seeds 0 1]
    python -m benchmarks.studies.loop.loop --settings --volumes FOLDER ...

Central chunks, without networks, so that nothing else differs. PSNR of the whole stream at equal bytes, by seed;
processor seconds a megavoxel of all of `encode`.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import fmean
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, metrics
from inr_codec.efforts import EFFORTS
from inr_codec.encoding import choose_layers as choose
from inr_codec.layers.filter import encode as filters

PLAIN, LOOP = "rounds that do not see it", "rounds below the filter"
SETTINGS: dict[str, dict[str, Any]] = {
    "4 pairs of rounds": {"pairs": 4},
    "12 pairs": {"pairs": 12},
    "the error counts 1": {"GAINS": (1.0, 1.0)},
    "the error counts 1.4": {"GAINS": (1.4, 1.4)},
    "the error counts 1.8": {"GAINS": (1.8, 1.8)},
    "filters of 8 neurons at most": {"FOLLOWER_WIDTH": 8},
    "filters of 24 neurons at most": {"FOLLOWER_WIDTH": 24},
}


def changed(case: str) -> ExitStack:
    """The encoder without networks, and with the settings of a case."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(choose, "gain_of_networks", return_value=-math.inf))
    if case == PLAIN:
        stack.enter_context(mock.patch.object(choose, "below_filter", return_value=None))
    for name, value in SETTINGS.get(case, {}).items():
        if name == "pairs":
            more = replace(EFFORTS["default"], filter_pairs=value)
            stack.enter_context(mock.patch.dict(EFFORTS, {"default": more}))
        else:
            stack.enter_context(mock.patch.object(filters if name == "FOLLOWER_WIDTH" else choose, name, value))
    return stack


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk, ratio and case."""
    cases = [PLAIN, LOOP, *(SETTINGS if arguments.settings else ())]
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        for ratio in arguments.ratios:
            for case in cases:
                reached, largest, begun = [], [], time.process_time()
                for seed in arguments.seeds:
                    codec = INRCodec(ratio=ratio, seed=seed)
                    with changed(case):
                        decoded = np.asarray(codec.decode(codec.encode(chunk)))
                    reached.append(metrics.psnr(chunk, decoded))
                    largest.append(float(np.abs(decoded.astype("f8") - chunk).max()))
                seconds = (time.process_time() - begun) / len(arguments.seeds) / chunk.size * 1e6
                yield {
                    "chunk": name, "ratio": ratio, "case": case, "psnr": reached, "largest": fmean(largest),
                    "processor_s": seconds,
                }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each chunk and ratio: the case without a loop, and what all others gain."""
    found = {(row["chunk"], row["ratio"], row["case"]): row for row in rows}
    cases = list(dict.fromkeys(row["case"] for row in rows if row["case"] != PLAIN))
    lines, gains = [], dict[str, list[float]]()
    for chunk, ratio in dict.fromkeys((row["chunk"], row["ratio"]) for row in rows):
        plain = found[chunk, ratio, PLAIN]
        line = [chunk, f"{ratio}", f"{fmean(plain['psnr']):.2f}, {plain['largest']:.0f}, {plain['processor_s']:.1f}"]
        for case in cases:
            row = found.get((chunk, ratio, case))
            if row is None:
                line.append("not measured")
                continue
            each = [a - b for a, b in zip(row["psnr"], plain["psnr"], strict=True)]
            gains.setdefault(case, []).append(fmean(each))
            told = ", ".join(f"{gain:+.2f}" for gain in each)
            line.append(f"{told}; {row['largest']:.0f}, {row['processor_s']:.1f}")
        lines.append(line)
    lines.append(["mean", "", "", *(f"{fmean(gains[case]):+.3f}" for case in cases)])
    heads = [f"{PLAIN}: dB, largest error, s/Mvoxel", *(f"{case}: gain by seed; largest, s" for case in cases)]
    return markdown(["chunk", "ratio", *heads], lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--settings", action="store_true", help="vary settings too")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
