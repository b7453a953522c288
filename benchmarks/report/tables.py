"""Sections of the report: what was measured, as tables. All from results/*.json."""

import math
from collections.abc import Sequence
from statistics import fmean

from benchmarks.harness.markdown import markdown
from benchmarks.report.grid import (
    Grid,
    Value,
    accuracy,
    biological,
    decode_s,
    encode_s,
    medical,
    otsu,
    processor_s,
    psnr,
    ranked,
    ratio_name,
    ssim,
)


def environment_section(results: dict[str, dict]) -> str:
    """Hardware and versions, and which commit each result was measured with."""
    known = {name: found["environment"] for name, found in results.items() if "environment" in found}
    one = next(iter(known.values()))
    versions = ", ".join(f"{name} {version}" for name, version in (one["libraries"] | one["codecs"]).items())
    measured = ", ".join(f"{name} {found['date']} ({found['commit'] or 'no commit'})" for name, found in known.items())
    others = {found["processor"] for found in known.values()} - {one["processor"]}
    also = f" Some results are from another machine: {', '.join(sorted(others))}." if others else ""
    return (
        f"{one['cores']} cores of an {one['processor']}, {one['memory_gib']:g} GiB, {one['system']}, Python "
        f"{one['python']}; {versions} (x264 and x265 by build number).{also}\n\n"
        f"Measured (a + marks a checkout with changes): {measured}."
    )


def volumes_section(grid: Grid) -> str:
    """Name, shape, type and thresholds of every volume."""
    rows = []
    for name in grid.volumes:
        row = next(row for row in grid.rows if row["volume"] == name)
        kind = "medical" if name in medical([name]) else "biological"
        shape = " x ".join(map(str, row["shape"]))
        rows.append([name, kind, shape, row["dtype"], ", ".join(row["accuracy"]), otsu(row)])
    return markdown(["volume", "counted as", "chunk", "type", "thresholds of accuracy", "Otsu's"], rows)


def settings_section(grid: Grid, skipped: Sequence[dict], unreachable: Sequence[dict]) -> str:
    """Family and settings of every codec, what was not run, and which ratios were out of reach."""
    rows = []
    for codec in grid.codecs:
        of_codec = [row for row in grid.rows if row["codec"] == codec]
        settings = min((row["settings"] for row in of_codec), key=len)
        interpolated = f"{sum(row['interpolated'] for row in of_codec)} of {len(of_codec)}"
        rows.append([codec, grid.family[codec], settings, interpolated])
    rows += [[row["codec"], row["family"], f"not run: {row['skipped']}", "-"] for row in skipped]
    parts = [markdown(["codec", "family", "settings", "rows interpolated"], rows)]
    missed: dict[str, list[str]] = {}
    for row in unreachable:
        missed.setdefault(row["codec"], []).append(f"{row['volume']} {ratio_name(row['target_ratio'])}")
    if missed:
        lines = [[codec, ", ".join(sorted(set(places)))] for codec, places in missed.items()]
        parts.append("Ratios that a codec does not reach, at any level:\n\n" + markdown(["codec", "where"], lines))
    return "\n\n".join(parts)


def rate_tables(grid: Grid) -> str:
    """PSNR of every codec on every volume, a table for each ratio."""
    parts = []
    for ratio in grid.ratios:
        columns = [[grid.cell(volume, codec, ratio, psnr) for codec in grid.codecs] for volume in grid.volumes]
        texts = ranked(columns, 2)
        rows = [[codec, *line] for codec, line in zip(grid.codecs, texts) if any(text != "-" for text in line)]
        parts.append(f"PSNR in dB at {ratio_name(ratio)}:\n\n" + markdown(["codec", *grid.volumes], rows))
    return "\n\n".join(parts)


def average_table(grid: Grid, names: Sequence[str], value: Value, digits: int) -> str:
    """Means over the common ratios of each volume, and over the volumes on which all shown codecs were measured."""
    columns = [[grid.average(volume, codec, value) for codec in grid.codecs] for volume in names]
    names = [name for name, column in zip(names, columns) if any(cell is not None for cell in column)]
    columns = [column for column in columns if any(cell is not None for cell in column)]
    if not columns:
        return "No volume has it."
    shown = [k for k in range(len(grid.codecs)) if any(column[k] is not None for column in columns)]
    whole = [column for column in columns if all(column[k] is not None for k in shown)]
    if len(whole) > 1:
        known = [[column[k] or 0.0 for column in whole] for k in range(len(grid.codecs))]  # no gaps in those shown
        columns.append([fmean(known[k]) if k in shown else None for k in range(len(grid.codecs))])
        names = [*names, f"mean of {len(whole)}"]
    texts = ranked(columns, digits)
    return markdown(["codec", *names], [[grid.codecs[k], *texts[k]] for k in shown])


def table_1(grid: Grid) -> str:
    """The paper's Table 1 on these volumes."""
    used = ", ".join(
        f"{volume}: {', '.join(map(ratio_name, grid.common(volume))) or 'none'}" for volume in grid.volumes
    )
    parts = [f"Averages over the ratios that every codec reached (the paper's intersection): {used}."]
    parts.append("PSNR, dB:\n\n" + average_table(grid, grid.volumes, psnr, 2))
    if names := medical(grid.volumes):
        parts.append("SSIM, medical volumes:\n\n" + average_table(grid, names, ssim, 4))
    if names := biological(grid.volumes):
        for key in ("200", "500", "Otsu"):
            where = "Otsu's threshold" if key == "Otsu" else f"threshold {key}"
            parts.append(f"Accuracy at {where}, biological volumes:\n\n" + average_table(grid, names, accuracy(key), 5))
    return "\n\n".join(parts)


SECONDS: dict[str, Value] = {"encode": encode_s, "(processor)": processor_s, "decode": decode_s}


def seconds_table(grid: Grid) -> str:
    """Supplementary Table 2: seconds a megavoxel, means over the volumes on which a codec was measured."""
    sizes = {row["volume"]: math.prod(row["shape"]) / 1e6 for row in grid.rows}
    rows = []
    for codec in grid.codecs:
        line = [codec]
        for ratio in grid.ratios:
            for value in SECONDS.values():
                cells = [(grid.cell(volume, codec, ratio, value), sizes[volume]) for volume in grid.volumes]
                known = [seconds / size for seconds, size in cells if seconds is not None]
                line.append(f"{fmean(known):.3g}" if known else "-")
        rows.append(line)
    head = [f"{ratio_name(ratio)} {what}" for ratio in grid.ratios for what in SECONDS]
    return markdown(["codec", *head], rows)


def efforts_table(grid: Grid) -> str:
    """PSNR and seconds of every effort."""
    rows = []
    for volume in grid.volumes:
        for ratio in grid.ratios:
            for codec in grid.codecs:
                quality = grid.cell(volume, codec, ratio, psnr)
                if quality is not None:
                    times = [grid.cell(volume, codec, ratio, value) for value in SECONDS.values()]
                    shown = ("-" if time is None else f"{time:.3g}" for time in times)
                    rows.append([volume, ratio_name(ratio), codec, f"{quality:.2f}", *shown])
    return markdown(["volume", "ratio", "effort", "PSNR, dB", "encode, s", "processor, s", "decode, s"], rows)


def seeds_section(grid: Grid) -> str:
    """How far results move with the seed."""
    spreads = grid.spread(psnr)
    if not spreads:
        return "One seed was run; what another seed moves is not in these results."
    by_codec: dict[str, list[float]] = {}
    for (_, codec, _), width in spreads:
        by_codec.setdefault(codec, []).append(width)
    rows = [
        [codec, str(len(widths)), f"{fmean(widths):.2f}", f"{max(widths):.2f}"] for codec, widths in by_codec.items()
    ]
    return markdown(["codec", "cells", "mean spread of PSNR, dB", "largest"], rows)
