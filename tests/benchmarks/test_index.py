"""The benchmarks' index and pages: nothing is missing, nothing is named that is not there."""

import re
from pathlib import Path

import pytest

import benchmarks
from benchmarks.studies.constants.constants import MEASURES, Constant

ROOT = Path(benchmarks.__file__).parent
STUDIES = sorted(path for path in (ROOT / "studies").iterdir() if path.is_dir() and path.name != "__pycache__")
PAGES = [ROOT / "README.md", *(study / "README.md" for study in STUDIES)]
CONSTANTS = [constant for *_, constants in MEASURES.values() for constant in constants]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_a_study_is_a_page_and_its_scripts(study: Path) -> None:
    """The page names every script of its folder, and no others."""
    scripts = {script.stem for script in study.glob("*.py")}
    named = set(re.findall(rf"benchmarks\.studies\.{study.name}\.(\w+)", (study / "README.md").read_text()))
    assert scripts
    assert named == scripts


def test_the_index_names_every_study() -> None:
    """Each script once or more, and no others."""
    scripts = {f"studies.{study.name}.{script.stem}" for study in STUDIES for script in study.glob("*.py")}
    table = (ROOT / "README.md").read_text().partition("## ")[0]
    assert set(re.findall(r"studies\.\w+\.\w+", table.replace("benchmarks.", ""))) == scripts


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the checkout."""
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda constant: f"{constant.module}.{constant.name}")
def test_a_constant_that_is_varied_is_there(constant: Constant) -> None:
    """In every module that is named, with one value; its kernel reads it."""
    assert all(getattr(module, constant.name) is constant.own() for module in constant.places())
    assert all(value != constant.own() for value in constant.tried().values())
    if constant.kernel:
        assert constant.name in getattr(constant.places()[0], constant.kernel).py_func.__code__.co_names
