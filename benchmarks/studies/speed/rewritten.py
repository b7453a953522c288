"""What was rewritten to be faster, against an earlier commit: CPU seconds on one thread, as ratios.

    python -m benchmarks.studies.speed.rewritten --before COMMIT [--quick]

Each side runs in processes of its own, one after the other in turns, so that both meet the same other work on the
machine; the least of all repetitions counts. BLAS has as many threads as it takes by itself. --quick encodes no chunk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run

ROOT = Path(__file__).parents[3]
SHAPE = 64, 128, 128
STEP, LAMBDA = 0.02, 0.1
TURNS, REPETITIONS = 3, 3


def cases() -> dict[str, tuple[float, Callable[[], object]]]:
    """What to time, by name, with the factor that turns its seconds into those of the table. Both sides have it all."""
    from benchmarks.studies.speed.cost import volume
    from inr_codec import INRCodec
    from inr_codec.layers.network.partition import grow_tree, solve_tree
    from inr_codec.layers.residual import wavelet
    from inr_codec.layers.residual.packet_tree import choose_packet_tree, mallat_tree, subbands_of_tree

    whole = volume(SHAPE)
    values = (whole / np.float32(whole.max())).astype(np.float32)
    splits = subbands_of_tree(SHAPE, mallat_tree(SHAPE))[0]
    work, mega = values.copy(), 1e6 / values.size
    tree = grow_tree(SHAPE, 3)
    gains = -np.random.default_rng(0).random(len(tree.nodes)) / [8.0**node.level for node in tree.nodes]
    return {
        "inverse wavelet, s a megavoxel": (mega, lambda: wavelet.inverse(work, splits)),
        "forward wavelet": (mega, lambda: wavelet.forward(work, splits)),
        "its transpose": (mega, lambda: wavelet.forward(work, splits, transpose=True)),
        "choice of a packet tree": (mega, lambda: choose_packet_tree(values, STEP, LAMBDA)),
        "partition of 585 nodes, 64 blocks, s": (1.0, lambda: solve_tree(gains, tree, 64)),
        "encode, effort=fast, 64x": (mega, lambda: INRCodec(ratio=64, effort="fast").encode(whole)),
    }


def work(quick: bool) -> None:
    """Print the least CPU seconds of every case in this process, as JSON."""
    found = {}
    for name, (factor, call) in cases().items():
        if quick and "encode" in name:
            continue
        seconds = []
        for _ in range(1 + (1 if "encode" in name else REPETITIONS)):  # the first one compiles
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)
        found[name] = min(seconds[1:]) * factor
    print(json.dumps(found))


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each case."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", arguments.before, "inr_codec", "benchmarks"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        Path(folder, "benchmarks/studies/speed/rewritten.py").write_text(Path(__file__).read_text())
        least: list[dict[str, float]] = [{}, {}]
        for _ in range(TURNS):
            for side, place in enumerate((folder, str(ROOT))):
                for name, seconds in _timed(place, f"{folder}/kernels-{side}", arguments.quick).items():
                    least[side][name] = min(seconds, least[side].get(name, np.inf))
    for name, seconds in least[1].items():
        yield {"case": name, "before": least[0][name], "after": seconds}


def _timed(place: str, kernels: str, quick: bool) -> dict[str, float]:
    environment = os.environ | {"INR_CODEC_THREADS": "1", "PYTHONPATH": place, "NUMBA_CACHE_DIR": kernels}
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", f"from {__spec__.name} import work; work({quick})"],
        env=environment, cwd=place, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: Sequence[Row]) -> str:
    """Before, after, and how many times as fast."""
    head = ("CPU seconds, one thread", "before", "after", "ratio")
    return markdown(
        head,
        [
            (str(row["case"]), f"{row['before']:.3g}", f"{row['after']:.3g}", f"{row['before'] / row['after']:.1f}")
            for row in rows
        ],
    )


if __name__ == "__main__":
    parser = options(__doc__, volumes=False)
    parser.add_argument("--before", required="--print" not in sys.argv, metavar="COMMIT", help="what to compare with")
    parser.add_argument("--quick", action="store_true", help="leave out what compiles for minutes")
    run(__file__, parser, measure, table)
