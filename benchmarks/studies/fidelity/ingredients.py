"""What each ingredient gives at equal bytes.

    python -m benchmarks.studies.fidelity.ingredients --volumes FOLDER [--names NAME ...] [--ratios 256]

PSNR of the central chunk with everything, and the change when one thing is left out; two seeds; processor seconds, so
that it can be seen what an ingredient costs.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import fmean
from typing import Any
from unittest import mock

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec import INRCodec, metrics
from inr_codec.encoding import choose_layers as choose


@contextmanager
def without(**replaced: Any) -> Iterator[None]:
    """The layer choice with some of its parts replaced."""
    with ExitStack() as stack:
        for name, part in replaced.items():
            stack.enter_context(mock.patch.object(choose, name, part))
        yield


def no_filter(*arguments: Any, **more: Any) -> None:
    """encode_filter that never finds one."""


NO_GAIN = {"gain_of_networks": lambda *_: -math.inf}
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "everything": (lambda: without(), {}),
    "without networks": (lambda: without(**NO_GAIN), {}),
    "without filter": (lambda: without(encode_filter=no_filter), {}),
    "without networks and filter": (lambda: without(**NO_GAIN, encode_filter=no_filter), {}),
    "networks alone": (lambda: without(), {"layers": "network"}),
    "networks alone, the paper's rules": (
        lambda: without(),
        {"layers": "network", "allocation": "spectrum", "concentration": "magnitude", "max_blocks": 50},
    ),
}


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk, ratio and case."""
    for name, chunk in chunks(arguments.volumes, arguments.names).items():
        for ratio in arguments.ratios:
            for case, (context, settings) in CASES.items():
                reached, begun = [], time.process_time()
                for seed in arguments.seeds:
                    codec = INRCodec(ratio=ratio, effort=arguments.effort, seed=seed, **settings)
                    with context():
                        reached.append(metrics.psnr(chunk, codec.decode(codec.encode(chunk))))
                seconds = (time.process_time() - begun) / len(arguments.seeds)
                yield {"chunk": name, "ratio": ratio, "case": case, "psnr": reached, "processor_s": seconds}


def table(rows: Sequence[Row]) -> str:
    """A line for each row, with what it loses against everything."""
    whole = {(row["chunk"], row["ratio"]): fmean(row["psnr"]) for row in rows if row["case"] == "everything"}
    lines = []
    for row in rows:
        change = fmean(row["psnr"]) - whole[row["chunk"], row["ratio"]]
        lines.append([
            row["chunk"], f"{row['ratio']}", row["case"], ", ".join(f"{value:.2f}" for value in row["psnr"]),
            "" if row["case"] == "everything" else f"{change:+.2f}", f"{row['processor_s']:.0f}",
        ])  # fmt: skip
    return markdown(["chunk", "ratio", "case", "PSNR, by seed", "change", "processor s"], lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[256])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--effort", default="default")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
