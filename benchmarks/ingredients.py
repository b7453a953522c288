"""What each ingredient gives at equal bytes: `python benchmarks/ingredients.py --data FOLDER --volumes NAME ...`.

PSNR of the central chunk with everything, and the change when one thing is left out; two seeds; processor seconds, so
that it can be seen what an ingredient costs.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from volumes import central_chunk

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


def main() -> None:
    """Print a row for each volume, ratio and case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", nargs="+", required=True)
    parser.add_argument("--ratios", type=int, nargs="+", default=[256])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--effort", default="default")
    options = parser.parse_args()
    print("| chunk | ratio | case | PSNR, by seed | change | processor s |\n" + "|---" * 6 + "|")
    for name in options.volumes:
        chunk = central_chunk(np.load(options.data / f"{name}.npy"))
        for ratio in options.ratios:
            whole = 0.0
            for case, (context, settings) in CASES.items():
                reached, begun = [], time.process_time()
                for seed in options.seeds:
                    codec = INRCodec(ratio=ratio, effort=options.effort, seed=seed, **settings)
                    with context():
                        reached.append(metrics.psnr(chunk, codec.decode(codec.encode(chunk))))
                seconds = (time.process_time() - begun) / len(options.seeds)
                mean = float(np.mean(reached))
                whole = whole or mean
                shown = ", ".join(f"{value:.2f}" for value in reached)
                change = "" if case == "everything" else f"{mean - whole:+.2f}"
                print(f"| {name} | {ratio} | {case} | {shown} | {change} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
