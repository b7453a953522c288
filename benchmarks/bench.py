"""The papers' tables and figures from one command: `make bench`, or `make bench FULL=1`.

    python benchmarks/bench.py [--full | --smoke] [--volumes FOLDER] [--only STEP ...] [--results FOLDER]

Every step writes JSON (theory and pictures: images too) into the folder of results; the last one, `report`, makes
tables, plots, REPORT.md and the README's figures from that JSON alone. A step that fails is named at the end and does
not stop the others.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path

import volumes

from inr_codec.progress import duration

STEPS = ("theory", "rates", "efforts", "ablations", "concentration", "pictures", "report")
"""Modules with `run(chunks, out, *, full, smoke)`."""
RESULTS = Path(__file__).parent / "results"
SMOKE = (16, 32, 32)
"""Crops of the first two volumes that a smoke run codes."""


def main() -> None:
    """Run the steps one after the other."""
    parser = argparse.ArgumentParser(description="Measure everything, write results and report.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="all volumes, rates and codecs, two seeds: many hours")
    size.add_argument("--smoke", action="store_true", help="tiny crops, few steps: whether everything runs")
    parser.add_argument("--volumes", type=Path, help=f"folder of .npy volumes, default {volumes.FOLDER} or PyPI's")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--results", type=Path, help="default: benchmarks/results, its folder smoke for --smoke")
    arguments = parser.parse_args()
    folder = arguments.volumes or (volumes.FOLDER if volumes.FOLDER.is_dir() else None)
    chunks = volumes.chunks(folder)
    if arguments.smoke:
        chunks = {name: volumes.crop(chunk, SMOKE) for name, chunk in list(chunks.items())[:2]}
    out = arguments.results or (RESULTS / "smoke" if arguments.smoke else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    print(f"{len(chunks)} volumes from {folder or 'packages'}: {', '.join(chunks)}; results go to {out}", flush=True)
    begin, failed = time.monotonic(), []
    for step in [name for name in STEPS if name in arguments.only]:
        started = time.monotonic()
        print(f"== {step}: begun after {duration(started - begin)}", flush=True)
        try:
            importlib.import_module(step).run(chunks, out, full=arguments.full, smoke=arguments.smoke)
        except (Exception, SystemExit):
            failed.append(step)
            traceback.print_exc()
        print(f"== {step}: took {duration(time.monotonic() - started)}", flush=True)
    print(f"all in {duration(time.monotonic() - begin)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    main()
