"""Writes the tables of options in README.md and docs/OPTIONS.md, from what `inr_codec.config` says of each option.

python docs/options.py
"""

import re
from pathlib import Path

from inr_codec.config import options_table

ROOT = Path(__file__).parents[1]
MARKS = "<!-- options: written by docs/options.py -->", "<!-- /options -->"
PAGES = {ROOT / "README.md": options_table(common=True), ROOT / "docs" / "OPTIONS.md": options_table()}


def filled(page: str, tables: str) -> str:
    """The text of a page with these tables between its two marks."""
    between = re.compile(f"(?<={re.escape(MARKS[0])}\n).*?(?={re.escape(MARKS[1])})", re.DOTALL)
    return between.sub(lambda _: f"{tables}\n", page, count=1)


if __name__ == "__main__":
    for path, tables in PAGES.items():
        path.write_text(filled(path.read_text(), tables))
