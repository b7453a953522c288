"""The table of docs/TRUST.md that `make trust` measures, from docs/trust.json."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "trust.json"
PAGE = ROOT / "docs" / "TRUST.md"
MARKS = "<!-- trust: written by make trust -->", "<!-- /trust -->"


def filled(page: str, figures: dict[str, Any]) -> str:
    """The text of the page with the tables of these figures between its two marks."""
    between = re.compile(f"(?<={re.escape(MARKS[0])}\n).*?(?={re.escape(MARKS[1])})", re.DOTALL)
    return between.sub(lambda _: "\n".join(tables(figures)) + "\n", page, count=1)


def write() -> None:
    """Write the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(), json.loads(FIGURES.read_text())))


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """Lines of markdown: what was attacked, what few bytes can ask for, what a voxel takes."""
    yield "| attack | how much of it | found |"
    yield "| --- | --- | --- |"
    for name, told in (("tests", _tests), ("fuzz", _fuzz), ("bounds", _bounds), ("bombs", _bombs), ("kills", _kills)):
        if name in figures:
            much, found = told(figures[name])
            yield f"| {much} | {_when(figures[name])} | {found} |"
    if "worst" in figures:
        yield ""
        yield "| bytes | streams tried | most CPU seconds | of layers | most memory beside the array | of layers |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for row in figures["worst"]["rows"]:
            over = "over " if row.get("given up") else ""
            yield (
                f"| {row['bytes']:,} | {row['streams']:,} | {over}{row['CPU seconds']:.2f} ({row['Mvoxel']} Mvoxel) "
                f"| {row['layers']} "
                f"| {row['MB beside the array']} MB ({row['its Mvoxel']} Mvoxel) | {row['its layers']} |"
            )
    if "memory" in figures:
        kinds = list(dict.fromkeys(row["chunk"] for row in figures["memory"]["rows"]))
        yield ""
        yield "| layers | " + " | ".join(f"bytes a voxel: {kind}" for kind in kinds) + " | ns a voxel |"
        yield "| --- | " + " | ".join("---" for _ in kinds) + " | --- |"
        for name in dict.fromkeys(row["layers"] for row in figures["memory"]["rows"]):
            rows = [row for row in figures["memory"]["rows"] if row["layers"] == name]
            cells = [str(row["bytes a voxel"]) for row in rows] + [_span([row["ns a voxel"] for row in rows])]
            yield f"| {name} | " + " | ".join(cells) + " |"


def _span(numbers: list[float]) -> str:
    return f"{min(numbers):,} to {max(numbers):,}"


def _when(figures: dict[str, Any]) -> str:
    return f"{figures['wall']:,.0f} s on {figures['cores']} cores, {figures['date']}"


def _tests(figures: dict[str, Any]) -> tuple[str, str]:
    return (
        f"tests of damaged records, two owners, changed sources, full disks, reruns, kills: {figures['passed']} of "
        f"{figures['passed'] + figures['failed']} hold",
        _number(figures["failed"], "failure"),
    )


def _fuzz(figures: dict[str, Any]) -> tuple[str, str]:
    return f"damaged streams: {figures['streams']:,}", _number(figures["findings"], "finding")


def _bounds(figures: dict[str, Any]) -> tuple[str, str]:
    return (
        f"`max_error=` and `lossless=True`: {figures['arrays']:,} random arrays, {figures['corrected']:,} of which "
        f"reached the correction layer, of {figures['dtypes corrected']} dtypes and byte orders",
        _number(figures["broken"], "broken promise"),
    )


def _bombs(figures: dict[str, Any]) -> tuple[str, str]:
    return (
        f"bombs: {figures['streams']} streams of {figures['Mvoxel']} Mvoxel in at most {figures['bytes']:,} bytes",
        f"most beside the array: {figures['MB beside the array']} MB ({figures['its layers']})",
    )


def _kills(figures: dict[str, Any]) -> tuple[str, str]:
    struck = {name: count for name, count in figures.items() if name.endswith((" killed", " stopped"))}
    wrong = sum(figures[name] for name in ("lost", "torn", "unnoticed", "wrong", "endless"))
    whom = ", ".join(f"{count} times {name}" for name, count in sorted(struck.items()))
    return (
        f"processes killed and stopped ({whom}): {figures['drivers']} drivers for {figures['episodes']} arrays of "
        f"{figures['chunks']} chunks, {figures['attempts above 1']} of which took more than one attempt",
        f"{_number(wrong, 'chunk')} lost, torn or unnoticed; {figures['endless']} drivers did not end",
    )


def _number(count: int, name: str) -> str:
    return f"{count or 'no'} {name}{'' if count == 1 else 's'}"
