"""Rows of rates.json and efforts.json by volume, codec and ratio, and Markdown tables of them."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.harness.data import KINDS, MEDICAL

RESULTS = Path(__file__).resolve().parents[1] / "results"
FAMILIES = ("image", "video", "scientific", "learned", "network", "ours")
"""In the order of tables."""
Value = Callable[[dict], float | None]


def load(folder: Path) -> dict[str, dict]:
    """Every result that is there, by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


class Grid:
    """Measured rows; means over seeds are taken where one value is asked for."""

    def __init__(self, rows: Iterable[dict]) -> None:
        self.rows = list(rows)
        self._cells: dict[tuple[str, str, float], list[dict]] = defaultdict(list)
        for row in self.rows:
            self._cells[row["volume"], row["codec"], row["target_ratio"]].append(row)
        self.volumes = sorted({row["volume"] for row in self.rows})
        self.ratios = sorted({row["target_ratio"] for row in self.rows})
        self.family = {row["codec"]: row["family"] for row in self.rows}
        self.codecs = sorted(self.family, key=lambda codec: (FAMILIES.index(self.family[codec]), codec))

    def cell(self, volume: str, codec: str, ratio: float, value: Value) -> float | None:
        """Mean over seeds; None where nothing was measured."""
        values = [found for row in self._cells.get((volume, codec, ratio), []) if (found := value(row)) is not None]
        return fmean(values) if values else None

    def reached(self, volume: str, codec: str) -> list[float]:
        """Ratios at which a codec was measured."""
        return [ratio for ratio in self.ratios if (volume, codec, ratio) in self._cells]

    def common(self, volume: str) -> list[float]:
        """The intersection of the ratios of all codecs measured at two or more (at one, where one was asked for)."""
        least = min(2, len(self.ratios))
        sets = [set(found) for codec in self.codecs if len(found := self.reached(volume, codec)) >= least]
        return sorted(set.intersection(*sets)) if sets else []

    def average(self, volume: str, codec: str, value: Value) -> float | None:
        """Mean over the common ratios; None where one of them is missing."""
        values = [self.cell(volume, codec, ratio, value) for ratio in self.common(volume)]
        known = [found for found in values if found is not None]
        return fmean(known) if known and len(known) == len(values) else None

    def others(self, volume: str, ratio: float, value: Value) -> list[tuple[float, str]]:
        """Values and names of the codecs that are not ours, the best first."""
        names = [codec for codec in self.codecs if self.family[codec] != "ours"]
        cells = [(self.cell(volume, codec, ratio, value), codec) for codec in names]
        return sorted([(found, codec) for found, codec in cells if found is not None], reverse=True)

    def spread(self, value: Value) -> list[tuple[tuple[str, str, float], float]]:
        """Largest minus smallest value of every cell with several seeds."""
        found = []
        for key, rows in self._cells.items():
            values = [known for row in rows if (known := value(row)) is not None]
            if len({row["seed"] for row in rows}) > 1 and values:
                found.append((key, max(values) - min(values)))
        return found


def psnr(row: dict) -> float | None:
    """dB."""
    return row["psnr"]


def ssim(row: dict) -> float | None:
    """Structural similarity."""
    return row["ssim"]


def encode_s(row: dict) -> float | None:
    """Wall seconds."""
    return row["encode_s"]


def decode_s(row: dict) -> float | None:
    """Wall seconds."""
    return row["decode_s"]


def processor_s(row: dict) -> float | None:
    """Of all cores, to encode."""
    return row["processor_s"]


def accuracy(key: str) -> Value:
    """At the paper's thresholds "200" and "500", or at "Otsu", the one beside them."""

    def value(row: dict) -> float | None:
        return row["accuracy"].get(otsu(row) if key == "Otsu" else key)

    return value


def otsu(row: dict) -> str:
    """The threshold that is not the paper's, else the lowest."""
    return next((key for key in row["accuracy"] if key not in ("200", "500")), next(iter(row["accuracy"])))


def medical(names: Iterable[str]) -> list[str]:
    """The volumes that stand for the paper's medical data."""
    return [name for name in names if KINDS.get(name) in MEDICAL]


def biological(names: Iterable[str]) -> list[str]:
    """All others."""
    return [name for name in names if KINDS.get(name) not in MEDICAL]


def ranked(columns: Sequence[Sequence[float | None]], digits: int) -> list[list[str]]:
    """Columns of numbers as rows of text: the best of each column bold, the second best in italics, gaps as dashes."""
    shown = []
    for column in columns:
        best = sorted({round(value, digits) for value in column if value is not None}, reverse=True)[:2]
        texts = []
        for value in column:
            text = "-" if value is None else f"{value:.{digits}f}"
            mark = (
                ""
                if value is None or round(value, digits) not in best
                else "**"
                if round(value, digits) == best[0]
                else "*"
            )
            texts.append(f"{mark}{text}{mark}")
        shown.append(texts)
    return [list(row) for row in zip(*shown)]


def ratio_name(ratio: float) -> str:
    """As 64x."""
    return f"{ratio:g}x"
