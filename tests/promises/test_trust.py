"""The tables of docs/TRUST.md are those of its figures."""

import json

from tests.trust.table import FIGURES, PAGE, filled


def test_the_tables_are_those_of_the_figures() -> None:
    """What `make trust` has written into docs/trust.json is what the page shows."""
    page = PAGE.read_text()
    assert filled(page, json.loads(FIGURES.read_text())) == page
