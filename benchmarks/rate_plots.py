"""Rate against PSNR, a panel for each volume: `python benchmarks/rate_plots.py ROWS.json PEERS.json OUT.png`.

ROWS.json is what `benchmarks/fidelity.py --json` writes (several files may be joined by commas), PEERS.json the PSNR of
other codecs by volume, ratio and name.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

STYLES = {"SVT-AV1": "tab:orange", "x265": "tab:green", "SPERR": "tab:purple", "inr_codec": "black"}


def main() -> None:
    """Draw all panels on one page."""
    rows = [row for path in sys.argv[1].split(",") for row in json.loads(Path(path).read_text())]
    peers = json.loads(Path(sys.argv[2]).read_text())
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        curves[row["volume"]]["inr_codec"].append((row["real"], row["psnr"]))
    for volume, by_codec in curves.items():
        for ratio, reached in peers.get(volume, {}).items():
            for name, value in reached.items():
                if value:
                    by_codec[name].append((float(ratio), value))
    columns = 3
    figure, panels = pyplot.subplots(-(-len(curves) // columns), columns, figsize=(11, 9), squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    for panel, volume in zip(panels.flat, sorted(curves), strict=False):
        for name, points in sorted(curves[volume].items()):
            ratios, decibels = zip(*sorted(points), strict=True)
            width = 2.2 if name == "inr_codec" else 1.2
            panel.plot(ratios, decibels, "o-", color=STYLES.get(name, "gray"), label=name, lw=width, ms=3 * width)
        panel.set_xscale("log", base=2)
        panel.set_xticks([32, 64, 128, 256, 512, 1024], ["32", "64", "128", "256", "512", "1024"])
        panel.set_title(volume, fontsize=10)
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.supxlabel("ratio (bytes of the chunk / bytes of the stream)")
    figure.supylabel("PSNR, dB (peak = max - min of the chunk)")
    figure.tight_layout()
    figure.savefig(sys.argv[3], dpi=80)


if __name__ == "__main__":
    main()
