"""A study: a script that measures rows, results.json beside it that keeps them, and the table that its page shows.

Every script of benchmarks/studies takes --results and --print, and --volumes where it codes volumes.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.data import add_options
from benchmarks.harness.environment import environment
from benchmarks.harness.rows import short

Row = dict[str, Any]
UNTOLD = ("--volumes", "--results")
"""Options with places on one machine: the command that results.json tells does without them."""


def options(doc: str | None, *, volumes: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that studies share; `doc`: of the script."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if volumes:
        add_options(parser)
    parser.add_argument("--results", metavar="FILE", help="default: results.json beside the script")
    parser.add_argument("--print", action="store_true", help="measure nothing, print the tables of --results")
    return parser


def run(
    script: str,
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    table: Callable[[Sequence[Row]], str],
) -> None:
    """Measure, keep every row at once (what another command has measured stays in the file), and print the table.

    script: the path of the script. measure: arguments -> rows of numbers and texts. table: rows -> Markdown.
    """
    place = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    place.add_argument("--results", type=Path, default=Path(script).resolve().with_name("results.json"))
    file = place.parse_known_args()[0].results
    name = Path(script).stem
    kept = json.loads(file.read_text()) if file.exists() else {}
    if "--print" in sys.argv:
        for command in [key for key in kept if key.split()[0] == name]:
            print(f"{command}\n\n{table(kept[command]['rows'])}\n")
        return
    arguments = parser.parse_args()
    entry: dict[str, Any] = {"environment": environment(), "rows": []}
    kept[told(name, sys.argv[1:])] = entry
    for row in measure(arguments):
        entry["rows"].append(short(row))
        print(json.dumps(entry["rows"][-1]), file=sys.stderr, flush=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        part.replace(file)
    print(table(entry["rows"]))


def told(name: str, arguments: Sequence[str]) -> str:
    """The command of a script, without places on this machine: of a path its last part alone."""
    words, skip = [], False
    for word in arguments:
        if not skip and word.split("=")[0] not in UNTOLD:
            words.append(os.path.basename(word) if os.sep in word else word)
        skip = word in UNTOLD
    return shlex.join([name, *words])
