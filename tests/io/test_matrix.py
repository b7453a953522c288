"""The table of docs/FORMATS.md is what happens to small files of every format."""

import runpy

import pytest
from places import ROOT


@pytest.mark.filterwarnings("ignore")
def test_the_table_of_formats_is_true() -> None:
    """Nothing is lost without being named, and the page shows what was measured; docs/formats.py writes it."""
    script = runpy.run_path(str(ROOT / "docs" / "formats.py"))
    found = script["rows"]()
    assert [
        (name, suffix) for name, cells in found.items() for suffix, signs in cells.items() if "!" in str(signs)
    ] == []
    assert [(name, suffix) for name, cells in found.items() for suffix, signs in cells.items() if signs is None] == [
        ("NumPy", ".ome.zarr")
    ]
    page = script["PAGE"].read_text()
    assert script["filled"](page, script["table"](found)) == page
