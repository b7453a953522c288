"""The report, its plots and the figures of the package's README, from results/*.json alone.

python -m benchmarks.report.pages
"""

import re
from pathlib import Path
from statistics import fmean

from numpy.typing import NDArray

from benchmarks.harness.markdown import markdown
from benchmarks.report import plots
from benchmarks.report.claims import NETWORKS, OURS, lead, other_claims, table_1_orders, table_2_orders
from benchmarks.report.grid import RESULTS, Grid, decode_s, encode_s, load, psnr, ratio_name
from benchmarks.report.sections import ablation_section, concentration_section, theory_section
from benchmarks.report.tables import (
    efforts_table,
    environment_section,
    rate_tables,
    seconds_table,
    seeds_section,
    settings_section,
    table_1,
    volumes_section,
)  # fmt: skip

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- bench: written by `make bench` -->", "<!-- /bench -->"
RATIO = 256
"""Of the README's table."""


def report_text(results: dict[str, dict]) -> str:
    """The whole of README.md beside this module."""
    rates = results["rates"]
    grid = Grid(rates["rows"])
    parts = [
        "# The papers' tables, measured",
        "Written by `make bench` from `benchmarks/results/*.json`, not by hand. PSNR has the chunk's max - min as its "
        "peak; SSIM windows are 3-D with the same range. Every codec codes the same chunk, is decoded and measured by "
        "the same code, and meets a ratio within 2 % (or is interpolated between the two levels on either side). "
        f"`{OURS}` is INRCodec(ratio=...) as it comes; `{NETWORKS}` is the papers' kind of codec, layers=\"network\".",
        "## On what", environment_section(results), volumes_section(grid),
        "## Codecs", settings_section(grid, rates["skipped"], rates["unreachable"]),
        "## Rate and fidelity", "![Rate against PSNR](../results/rates.png)", rate_tables(grid),
        "## Table 1 and Figure 3", table_1(grid), "![Means against ratio](../results/averages.png)",
        "## How far ahead", lead(grid),
    ]  # fmt: skip
    parts += [
        "## Seconds",
        "Seconds a megavoxel, means over the volumes on which a codec was measured.",
        seconds_table(grid),
    ]
    parts += ["![PSNR against seconds](../results/seconds.png)"]
    if "efforts" in results:
        parts += ["## Efforts", efforts_table(Grid(results["efforts"]["rows"]))]
    if "ablations" in results:
        parts += ["## Table 2 and Figure 5: ablations", ablation_section(results["ablations"])]
    if "concentration" in results:
        parts += ["## Supplementary Figure 5: fidelity against D", concentration_section(results["concentration"])]
    if "theory" in results:
        parts += ["## The theory", theory_section(results["theory"])]
    parts += ["## Which of the paper's orders hold here", table_1_orders(grid)]
    if "ablations" in results:
        parts += [table_2_orders(results["ablations"])]
    parts += [other_claims(results), "## Seeds", seeds_section(grid)]
    return "\n\n".join(parts) + "\n"


def readme_block(results: dict[str, dict]) -> str:
    """The README's figures, markers included."""
    grid = Grid(results["rates"]["rows"])
    ratio = RATIO if RATIO in grid.ratios else grid.ratios[-1]
    rows = []
    for volume in grid.volumes:
        ours = grid.cell(volume, OURS, ratio, psnr)
        if ours is None:
            continue
        best = [f"{codec} {found:.2f}" for found, codec in grid.others(volume, ratio, psnr)] + ["-"] * 3
        times = [grid.cell(volume, OURS, ratio, value) for value in (encode_s, decode_s)]
        rows.append([volume, f"**{ours:.2f}**", *best[:3], *(f"{time:.2g}" for time in times)])
    table = markdown(["chunk", "inr_codec", "best other", "second", "third", "write, s", "read, s"], rows)
    machine = f"{results['rates']['environment']['cores']} cores of an {results['rates']['environment']['processor']}"
    return (
        f"{BEGIN}\nPSNR in dB at {ratio_name(ratio)} (peak = max - min), default effort, beside the three best of "
        f"{sum(family != 'ours' for family in grid.family.values())} other codecs at the same bytes; {machine}; "
        "everything else is in [benchmarks/report](benchmarks/report/README.md):\n\n"
        f"{table}\n\n{_means(grid)}\n{_comparison(grid)}{END}"
    )


def _comparison(grid: Grid) -> str:
    """The picture of the nuclei, which the step pictures draws where they were measured."""
    if ("nuclei", OURS, RATIO) not in {(row["volume"], row["codec"], row["target_ratio"]) for row in grid.rows}:
        return ""
    return (
        f"\n![A stack of nuclei at {RATIO}x: original, best other codecs, inr_codec, and what each changed]"
        "(docs/comparison.png)\n"
    )


def _means(grid: Grid) -> str:
    """Mean distance to the best other codec, ratio by ratio."""
    said = []
    for ratio in grid.ratios:
        gaps = []
        for volume in grid.volumes:
            ours = grid.cell(volume, OURS, ratio, psnr)
            others = grid.others(volume, ratio, psnr)
            if ours is not None and others:
                gaps.append(ours - others[0][0])
        if gaps:
            ahead = f"ahead on {sum(gap > 0 for gap in gaps)} of {len(gaps)}"
            said.append(f"{fmean(gaps):+.2f} dB at {ratio_name(ratio)} ({ahead})")
    return f"Mean distance to the best other codec of each chunk: {', '.join(said)}."


def with_block(readme: str, block: str) -> str:
    """A README with its figures replaced."""
    found = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, readme, flags=re.DOTALL)
    if found[1] != 1:
        raise ValueError(f"expected {BEGIN} ... {END} once in the README, found {found[1]} times: put the markers back")
    return found[0]


def pictures_of(text: str) -> list[str]:
    """Paths of the pictures that a Markdown text shows."""
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)


def run(chunks: dict[str, NDArray], out: Path, *, full: bool, smoke: bool) -> None:
    """Write plots into `out`, the report and the package's README (of a smoke run: both texts into `out` only)."""
    results = load(out)
    if "rates" not in results:
        raise SystemExit(f"rates.json expected in {out}, found none: run the step rates first")
    grid = Grid(results["rates"]["rows"])
    plots.rate_distortion(grid, out / "rates.png")
    plots.averages(grid, out / "averages.png")
    plots.seconds(grid, Grid(results["efforts"]["rows"]) if "efforts" in results else None, out / "seconds.png")
    if "ablations" in results:
        plots.partition(results["ablations"], out / "partition.png")
    if "concentration" in results:
        plots.concentration(results["concentration"], out / "concentration.png")
    block = readme_block(results)
    if out.resolve() == RESULTS and not smoke:
        (HERE / "README.md").write_text(report_text(results))
        README.write_text(with_block(README.read_text(), block))
    else:
        (out / "REPORT.md").write_text(report_text(results).replace("](../results/", "]("))
        (out / "README-block.md").write_text(block)


if __name__ == "__main__":
    run({}, RESULTS, full=False, smoke=False)
