"""Makes the figures of docs/TRUST.md: python -m tests.trust [--long] [--only NAME ...]

tests: those that attack batch runs, in pytest. fuzz, bounds, bombs, memory, worst, kills: see the modules beside this
one and tests/support/fuzz.py. The short mode takes about 15 minutes on two quiet cores, the long one two and a half
hours. What is measured goes to docs/trust.json, what is not stays there, and the tables of the page are written from
it. Ends with status 1 where anything was found.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.trust import bounds, kills, memory, table, worst

ATTACKS = ("test_damaged_state", "test_owners", "test_changed_source", "test_written", "test_run", "test_kills")
"""Modules of tests/batch."""
FINDINGS = "failed", "findings", "broken", "lost", "torn", "unnoticed", "wrong", "endless"
SECONDS = {"fuzz": (120, 1200), "bounds": (60, 900), "worst": (240, 3600), "kills": (300, 1800)}
"""Of the short and of the long mode."""


def tests(_: float) -> dict[str, Any]:
    """How many tests hold."""
    files = [f"tests/batch/{name}.py" for name in ATTACKS]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *files], capture_output=True, text=True, check=False)
    told = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    if "passed" not in told:
        raise SystemExit(done.stdout + done.stderr)
    return {"passed": told["passed"], "failed": told.get("failed", 0) + told.get("error", 0)}


def fuzz(seconds: float) -> dict[str, Any]:
    """How many damaged streams were decoded; a finding ends it."""
    environment = os.environ | {"INR_CODEC_FUZZ": "plain"}
    command = [sys.executable, "tests/support/fuzz.py", str(int(seconds))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    found = re.search(r"(\d+) damaged streams", done.stdout)
    return {"streams": int(found[1]) if found else 0, "findings": int(done.returncode != 0)}


MEASURES: dict[str, Callable[[float], dict[str, Any]]] = {
    "tests": tests,
    "fuzz": fuzz,
    "bounds": bounds.run,
    "bombs": worst.run_bombs,
    "memory": memory.run,
    "worst": worst.run,
    "kills": kills.run,
}


def main() -> None:
    """Measure, write, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="as long as the page says")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    chosen = parser.parse_args()
    figures: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        figures = json.loads(table.FIGURES.read_text())
    found = {}
    for name in chosen.only:
        seconds, begun = SECONDS.get(name, (0, 0))[chosen.long], time.monotonic()
        figures[name] = MEASURES[name](seconds) | {
            "wall": round(time.monotonic() - begun),
            "cores": len(os.sched_getaffinity(0)),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        found |= {f"{name}: {each}": figures[name][each] for each in FINDINGS if figures[name].get(each)}
        table.FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        table.write()
    if found:
        sys.exit(f"found: {found}")


if __name__ == "__main__":
    main()
