"""The papers' tables and figures from one command: `make bench`, or `make bench FULL=1`.

    python -m benchmarks.run [--full | --smoke] [--volumes FOLDER] [--only STEP ...] [--results FOLDER]

Every step writes JSON (theory and pictures: images too) into the folder of results; the last one, `report`, makes
tables, plots, benchmarks/report/README.md and the figures of the package's README from that JSON alone. A step that
fails is named at the end and does not stop the others.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path

from benchmarks.harness import data
from benchmarks.report.grid import RESULTS
from inr_codec.progress import duration

STEPS = {
    "theory": "paper.theory", "rates": "paper.rates", "efforts": "paper.by_effort", "ablations": "paper.ablations",
    "concentration": "paper.concentration", "pictures": "paper.pictures", "report": "report.pages",
}  # fmt: skip
"""Modules with `run(chunks, out, *, full, smoke)`."""
SMOKE = (16, 32, 32)
"""Crops of the first two volumes that a smoke run codes."""


def main() -> None:
    """Run the steps one after the other."""
    parser = argparse.ArgumentParser(description="Measure everything, write results and report.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="all volumes, rates and codecs, two seeds: many hours")
    size.add_argument("--smoke", action="store_true", help="tiny crops, few steps: whether everything runs")
    data.add_options(parser)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=[*STEPS], metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--results", type=Path, help="default: benchmarks/results, its folder smoke for --smoke")
    arguments = parser.parse_args()
    where = arguments.volumes or os.environ.get(data.VARIABLE, data.PYPI)
    os.environ[data.VARIABLE] = where  # a peer trains on them
    chunks = data.chunks(where, arguments.names)
    if arguments.smoke:
        chunks = {name: data.crop(chunk, SMOKE) for name, chunk in list(chunks.items())[:2]}
    out = arguments.results or (RESULTS / "smoke" if arguments.smoke else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    print(f"{len(chunks)} volumes from {where}: {', '.join(chunks)}; results go to {out}", flush=True)
    begin, failed = time.monotonic(), []
    for step in [name for name in STEPS if name in arguments.only]:
        started = time.monotonic()
        print(f"== {step}: begun after {duration(started - begin)}", flush=True)
        try:
            module = importlib.import_module(f"benchmarks.{STEPS[step]}")
            module.run(chunks, out, full=arguments.full, smoke=arguments.smoke)
        except (Exception, SystemExit):
            failed.append(step)
            traceback.print_exc()
        print(f"== {step}: took {duration(time.monotonic() - started)}", flush=True)
    print(f"all in {duration(time.monotonic() - begin)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    main()
