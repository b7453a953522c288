"""Speed beside fidelity: inr_codec at its three efforts, alone on the machine, with all cores.

python -m benchmarks.run --only efforts [--full | --smoke] [--volumes FOLDER] [--results FOLDER]
"""

from pathlib import Path

from numpy.typing import NDArray

from benchmarks.harness.data import one_of_each_kind
from benchmarks.harness.rows import Results
from benchmarks.paper.rates import FULL_RATIOS, QUICK_RATIOS, SMOKE_RATIOS, our_row, warm_up

BEST_RATIOS = (256,)
"""Of the best effort, which takes minutes a chunk; with --full as the others."""


def run(chunks: dict[str, NDArray], out: Path, *, full: bool = False, smoke: bool = False) -> None:
    """Measure and write out/efforts.json: all efforts on a volume of each kind, with `full` on all volumes."""
    ratios = SMOKE_RATIOS if smoke else FULL_RATIOS if full else QUICK_RATIOS
    by_effort = {"fast": ratios, "default": ratios, "best": ratios if full or smoke else BEST_RATIOS}
    some = list(chunks) if full else one_of_each_kind(list(chunks))
    jobs = [(e, v, r, s) for e in by_effort for v in some for s in ((0, 1) if full else (0,)) for r in by_effort[e]]
    results = Results(out / "efforts.json", len(jobs))
    warm_up()
    options = {"steps": 200} if smoke else {}
    for effort, volume, ratio, seed in jobs:
        results.add([our_row(f"inr_codec {effort}", volume, chunks[volume], ratio, seed, effort, options)])
