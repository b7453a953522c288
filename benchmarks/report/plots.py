"""Plots of the report, each from results/*.json alone: rate and fidelity, seconds, partition, concentration."""

from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.harness.data import one_of_each_kind
from benchmarks.report.claims import NETWORKS, OURS
from benchmarks.report.grid import Grid, Value, accuracy, biological, encode_s, medical, psnr, ratio_name, ssim
from inr_codec.picture import new_figure

COLOURS = (
    "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan",
    "gold", "teal", "indigo", "salmon", "slategray", "darkgreen", "crimson",
)  # fmt: skip
DASHES = {"image": "--", "video": "-", "scientific": "-.", "network": ":", "ours": "-"}
DPI = 65


def style(grid: Grid, codec: str) -> dict[str, Any]:
    """The same line of a codec in every plot: ours black and thick, families by their dashes."""
    if grid.family[codec] == "ours":
        line = {"ls": "--", "lw": 2, "mfc": "white"} if codec == NETWORKS else {"ls": "-", "lw": 3}
        return line | {"color": "black", "marker": "o", "ms": 5, "zorder": 5}
    others = [name for name in grid.codecs if grid.family[name] != "ours"]
    colour = COLOURS[others.index(codec) % len(COLOURS)]
    return {"color": colour, "ls": DASHES.get(grid.family[codec], "-"), "lw": 1.3, "marker": "o", "ms": 3}


def _panels(title: str, count: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure of so many panels, each of that size in inches, and room for a legend on the right."""
    figure, columns = new_figure(title), min(columns, count)
    rows = -(-count // columns)
    figure.set_size_inches(columns * size[0] + 2, rows * size[1] + 0.5)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[:count]:
        panel.grid(alpha=0.3)
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels[:count]


def _save(figure: Any, panels: list[Any], path: Path) -> None:
    """With one legend of all panels beside them."""
    named: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            named.setdefault(label, handle)
    figure.legend(named.values(), named.keys(), loc="outside right center", fontsize=9)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def rate_distortion(grid: Grid, path: Path) -> None:
    """PSNR against ratio, a panel for each volume."""
    figure, panels = _panels("PSNR (peak = max - min) against ratio", len(grid.volumes), 3, (3.6, 2.9))
    for panel, volume in zip(panels, grid.volumes):
        for codec in grid.codecs:
            ratios = grid.reached(volume, codec)
            if ratios:
                panel.plot(
                    ratios,
                    [grid.cell(volume, codec, ratio, psnr) for ratio in ratios],
                    label=codec,
                    **style(grid, codec),
                )
        _ratio_axis(panel, grid.ratios)
        panel.set_title(volume, fontsize=10)
        panel.set_ylabel("dB", fontsize=9)
    _save(figure, panels, path)


def averages(grid: Grid, path: Path) -> None:
    """Figure 3: means over medical and over biological volumes, those on which most codecs were measured."""
    counts = {volume: sum(bool(grid.reached(volume, codec)) for codec in grid.codecs) for volume in grid.volumes}
    most = [volume for volume in grid.volumes if counts[volume] == max(counts.values())]
    kinds = {"medical": medical(most), "biological": biological(most)}
    wanted: list[tuple[str, Value, str]] = [("medical", psnr, "PSNR, dB"), ("medical", ssim, "SSIM")]
    wanted += [("biological", psnr, "PSNR, dB"), ("biological", accuracy("Otsu"), "accuracy at Otsu's threshold")]
    wanted += [("biological", accuracy(key), f"accuracy at {key}") for key in ("200", "500")]
    title = f"Means, medical: {', '.join(kinds['medical'])}; biological: {', '.join(kinds['biological'])}"
    figure, panels = _panels(title, len(wanted), 2, (4.6, 3))
    for panel, (kind, value, name) in zip(panels, wanted):
        for codec in grid.codecs:
            lines = [[grid.cell(volume, codec, ratio, value) for volume in kinds[kind]] for ratio in grid.ratios]
            known = [[found for found in line if found is not None] for line in lines]
            points = [(r, fmean(k)) for r, line, k in zip(grid.ratios, lines, known) if line and len(k) == len(line)]
            if points:
                panel.plot(*zip(*points), label=codec, **style(grid, codec))
        _ratio_axis(panel, grid.ratios)
        panel.set_title(f"{kind}: {name}", fontsize=10)
    _save(figure, panels, path)


def _ratio_axis(panel: Any, ratios: list[float]) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(ratios, [ratio_name(ratio) for ratio in ratios])


def seconds(grid: Grid, efforts: Grid | None, path: Path) -> None:
    """PSNR against encode seconds at the middle ratio, every codec a point, the efforts of ours joined."""
    ratio = grid.ratios[len(grid.ratios) // 2]
    names = one_of_each_kind(grid.volumes)
    title = f"PSNR against seconds of encoding at {ratio_name(ratio)}"
    figure, panels = _panels(title, len(names), 2, (4.6, 3.3))
    for panel, volume in zip(panels, names):
        for codec in grid.codecs:
            time, quality = (grid.cell(volume, codec, ratio, value) for value in (encode_s, psnr))
            if time and quality is not None:
                panel.plot([time], [quality], label=codec, **style(grid, codec) | {"ls": "none", "ms": 6})
        points = []
        for effort, codec in [(efforts, codec) for codec in efforts.codecs] if efforts else []:
            time, quality = (effort.cell(volume, codec, ratio, value) for value in (encode_s, psnr))
            if time and quality is not None:
                points.append((time, quality))
                name = codec.removeprefix(OURS).strip(" ,")
                panel.annotate(name, (time, quality), (4, 4), textcoords="offset points", fontsize=8)
        if points:
            panel.plot(*zip(*sorted(points)), "k-", lw=2, marker="s", ms=5, label=f"{OURS}, efforts")
        panel.set_xscale("log")
        panel.set_title(volume, fontsize=10)
        panel.set_xlabel("s", fontsize=9)
        panel.set_ylabel("dB", fontsize=9)
        panel.margins(0.08)
    _save(figure, panels, path)


def partition(result: dict, path: Path) -> None:
    """Figure 5: PSNR and SSIM against bits per voxel, medical volumes, with and without partition."""
    rows = [row for row in result["rows"] if row["target_ratio"] not in (80, 100)]
    names = medical(dict.fromkeys(row["volume"] for row in rows))
    if not names:
        return
    figure, panels = _panels("Networks alone, with and without partition", 2 * len(names), 2, (4, 2.8))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    colours = dict(zip(variants, ("black", "tab:orange", "tab:blue", "tab:green", "tab:red")))
    for k, panel in enumerate(panels):
        volume, key = names[k // 2], ("psnr", "ssim")[k % 2]
        for variant in variants:
            line: dict[float, list[float]] = {}
            for row in rows:
                if (row["volume"], row["variant"]) == (volume, variant):
                    line.setdefault(row["target_ratio"], []).append(row[key])
            points = sorted((ratio, sum(values) / len(values)) for ratio, values in line.items())
            panel.plot(*zip(*points), "o-", color=colours[variant], label=variant)
        _ratio_axis(panel, sorted({row["target_ratio"] for row in rows}))
        panel.set_title(f"{volume}, {'PSNR, dB' if key == 'psnr' else 'SSIM'}", fontsize=10)
    _save(figure, panels, path)


def concentration(result: dict, path: Path) -> None:
    """Supplementary Figure 5: fidelity against D, a point for each block, in both forms."""
    figure, panels = _panels(f"One network in {result['bpv']:g} bits per voxel a block", 2, 2, (4.6, 3.6))
    names = list(dict.fromkeys(row["volume"] for row in result["rows"]))
    forms = (
        ("d", "psnr", "D (eq. 9)", "PSNR in the volume's window, dB"),
        ("d_centred", "snr", "D without the zero frequency", "SNR of the block, dB"),
    )
    for panel, (x, y, x_name, y_name) in zip(panels, forms):
        for colour, name in zip(COLOURS, names):
            rows = [row for row in result["rows"] if row["volume"] == name]
            panel.plot([row[x] for row in rows], [row[y] for row in rows], "o", ms=4, color=colour, label=name)
        panel.set_xscale("log")
        panel.minorticks_off()
        panel.set_xlabel(x_name, fontsize=9)
        panel.set_ylabel(y_name, fontsize=9)
    _save(figure, panels, path)
