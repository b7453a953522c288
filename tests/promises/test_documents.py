"""The pages of the checkout: their links lead somewhere, the modules that they name are there, prose is wrapped."""

import re
import tomllib
from pathlib import Path

import pytest
from places import ROOT

PAGES = sorted(path for pattern in ("*.md", "*/*.md", "benchmarks/studies/*/*.md") for path in ROOT.glob(pattern))
LINKING = [page for page in PAGES if page.relative_to(ROOT).parts[0] != "benchmarks"]  # tests/benchmarks/test_index.py
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MODULES = re.compile(r"^\*Modules?\*:(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"INR_CODEC_[A-Z]+")
WIDTH = 100


def prose_of(text: str) -> list[str]:
    """The lines of a page that are neither code nor tables, nor written by a script."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!-- bench.*?<!-- /bench -->", "", text, flags=re.DOTALL)
    return [line for line in text.splitlines() if not line.startswith(("|", "    ", "![", "#"))]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file or a folder of the checkout."""
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped(page: Path) -> None:
    """No line of prose is longer than 100 characters, so that a change of a word can be reviewed."""
    assert [line for line in prose_of(page.read_text()) if len(line) > WIDTH] == []


def test_the_method_names_modules_that_are_there() -> None:
    """Each step of docs/ALGORITHM.md names its modules below inr_codec/."""
    steps = MODULES.findall((ROOT / "docs" / "ALGORITHM.md").read_text())
    assert len(steps) >= 10
    for step in steps:
        named = re.split(r"\*(?:Papers|Measured)\*", step)[0]
        names = re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", named))
        assert names
        for name in names:
            path = ROOT / "inr_codec" / name
            assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_the_map_names_every_room() -> None:
    """The table of docs/ARCHITECTURE.md has every folder and module at the top of the package."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rooms = text[text.index("## Rooms") : text.index("## Who imports whom")]
    for path in sorted((ROOT / "inr_codec").iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"`{path.name}/`" in rooms, path.name
        elif path.suffix == ".py" and path.name != "__init__.py":
            assert f"`{path.name}`" in rooms, path.name


def test_the_map_has_the_floors_of_the_contract() -> None:
    """The floors in docs/ARCHITECTURE.md are those that import-linter holds."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    drawn = text[text.index("## Who imports whom") :].split("```")[1].split("\n")[1:-1]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert drawn == next(one["layers"] for one in contracts if one["name"] == "the floors of the house")


def test_the_map_names_every_variable() -> None:
    """The environment variables that the package reads are those of docs/ARCHITECTURE.md."""
    read = {name for path in (ROOT / "inr_codec").rglob("*.py") for name in VARIABLE.findall(path.read_text())}
    assert read == set(VARIABLE.findall((ROOT / "docs" / "ARCHITECTURE.md").read_text()))
