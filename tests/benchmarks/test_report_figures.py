"""The figures of README.md and benchmarks/report/README.md are those of benchmarks/results/*.json."""

import pytest
from places import ROOT

from benchmarks.report import grid
from benchmarks.report import pages as report

BENCHMARKS = ROOT / "benchmarks"
measured = pytest.mark.skipif(
    not (BENCHMARKS / "results" / "rates.json").exists(), reason="no results yet: `make bench` writes them"
)


def row(volume: str, codec: str, ratio: float, psnr: float, seed: int = 0) -> dict:
    """One of rates.json."""
    return {
        "volume": volume, "codec": codec, "family": "ours" if codec == "inr_codec" else "image", "target_ratio": ratio,
        "psnr": psnr, "seed": seed, "accuracy": {"200": 0.5, "61": 0.25}, "encode_s": 2.0, "decode_s": 0.5,
    }  # fmt: skip


@measured
def test_readme_shows_what_was_measured() -> None:
    """Generated again, its block is the same; the picture that it shows is there and small."""
    readme = report.README.read_text()
    for picture in report.pictures_of(report.readme_block(grid.load(BENCHMARKS / "results"))):
        assert 0 < (BENCHMARKS.parent / picture).stat().st_size <= 400_000
    assert report.with_block(readme, report.readme_block(grid.load(BENCHMARKS / "results"))) == readme


@measured
def test_report_shows_what_was_measured() -> None:
    """Generated again, it is the same; the pictures that it shows are there and small."""
    text = (BENCHMARKS / "report" / "README.md").read_text()
    assert text == report.report_text(grid.load(BENCHMARKS / "results"))
    for picture in report.pictures_of(text):
        assert 0 < (BENCHMARKS / "report" / picture).stat().st_size <= 300_000


def test_readme_has_its_markers() -> None:
    """Exactly one block, which is replaced as a whole and nothing else with it."""
    readme = report.README.read_text()
    assert report.with_block(readme, f"{report.BEGIN}\nx\n{report.END}").count("\nx\n") == 1
    with pytest.raises(ValueError, match="once in the README, found 0"):
        report.with_block("nothing", "x")


def test_averages_are_over_the_rates_that_all_reached() -> None:
    """The paper's intersection; a codec with one rate alone does not narrow it; seeds are averaged first."""
    rows = [row("a", "inr_codec", ratio, psnr) for ratio, psnr in ((64, 40), (256, 35), (1024, 30))]
    rows += [row("a", "inr_codec", 64, 42, seed=1)]
    rows += [row("a", "JPEG", 64, 38), row("a", "JPEG", 256, 31), row("a", "ZFP", 64, 20)]
    cells = grid.Grid(rows)
    assert cells.common("a") == [64, 256]
    assert cells.average("a", "inr_codec", grid.psnr) == (41 + 35) / 2
    assert cells.average("a", "ZFP", grid.psnr) is None
    assert cells.others("a", 64, grid.psnr) == [(38, "JPEG"), (20, "ZFP")]
    assert cells.spread(grid.psnr) == [(("a", "inr_codec", 64), 2)]
    assert grid.accuracy("Otsu")(rows[0]) == 0.25


def test_readme_block_names_the_best() -> None:
    """Ours beside the three best others of each volume, and how often it is ahead."""
    rows = [row("a", "inr_codec", 256, 35.0), row("b", "inr_codec", 256, 20.0)]
    rows += [row(volume, name, 256, 30 + k) for volume in "ab" for k, name in enumerate(("w", "x", "y", "z"))]
    block = report.readme_block({"rates": {"environment": {"cores": 2, "processor": "Z80"}, "rows": rows}})
    assert "| a | **35.00** | z 33.00 | y 32.00 | x 31.00 | 2 | 0.5 |" in block
    assert "-5.50 dB at 256x (ahead on 1 of 2)" in block


def test_best_and_second_best_are_marked() -> None:
    """Of each column, on rounded values."""
    assert grid.ranked([[1.001, 0.999, 2, None], [3, 2, 1, 0]], 2) == [
        ["*1.00*", "**3.00**"], ["*1.00*", "*2.00*"], ["**2.00**", "1.00"], ["-", "0.00"],
    ]  # fmt: skip
