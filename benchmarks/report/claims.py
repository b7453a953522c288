"""Which of the SCI paper's orders hold on the measured volumes, computed from the results."""

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
    psnr,
    ratio_name,
    ssim,
)
from benchmarks.report.sections import METRICS, ablation_means, correlations

OURS, NETWORKS = "inr_codec", "inr_codec, networks alone"
PAPER_NAMES = {
    "SCI": NETWORKS, "JPEG": "JPEG, 8 bits", "H.264": "H.264", "HEVC": "HEVC", "SIREN": "SIREN", "NeRF": "NeRF",
    "NeRV": "NeRV",
}  # fmt: skip
"""Codecs of the paper's Table 1 that are measured here, and what they are called in rates.json."""
TABLE_1: dict[str, dict[str, tuple[float, ...]]] = {
    "PSNR": {
        "SCI": (45.63, 63.23, 50.15, 50.82), "JPEG": (42.32, 48.20, 44.76, 43.90),
        "H.264": (45.30, 57.66, 49.59, 50.08), "HEVC": (46.15, 61.54, 50.09, 50.31),
        "SIREN": (45.48, 55.49, 48.99, 49.22), "NeRF": (44.56, 57.77, 49.77, 49.77),
        "NeRV": (43.36, 53.67, 46.71, 46.83),
    },
    "SSIM": {
        "SCI": (0.9734, 0.9995, 0.9896, 0.9927), "JPEG": (0.9599, 0.9970, 0.9850, 0.9757),
        "H.264": (0.9733, 0.9990, 0.9894, 0.9925), "HEVC": (0.9763, 0.9992, 0.9902, 0.9932),
        "SIREN": (0.9727, 0.9989, 0.9891, 0.9905), "NeRF": (0.9687, 0.9991, 0.9890, 0.9919),
        "NeRV": (0.9681, 0.9982, 0.9887, 0.9908),
    },
    "Acc. (200)": {
        "SCI": (0.9986, 0.9944), "JPEG": (0.9949, 0.9846), "H.264": (0.9950, 0.9710), "HEVC": (0.9947, 0.9848),
        "SIREN": (0.9983, 0.9866), "NeRF": (0.9980, 0.9913), "NeRV": (0.9948, 0.9756),
    },
    "Acc. (500)": {
        "SCI": (0.9995, 0.9970), "JPEG": (0.9969, 0.9866), "H.264": (0.9975, 0.9797), "HEVC": (0.9976, 0.9891),
        "SIREN": (0.9993, 0.9918), "NeRF": (0.9992, 0.9949), "NeRV": (0.9970, 0.9828),
    },
}  # fmt: skip
"""Lung, heart, kidney, brain; accuracies: neurons, vessels."""
TABLE_2: dict[str, tuple[float, float, float, float]] = {
    "SCI": (49.29, 0.9558, 0.9752, 0.9865), "equal partition": (48.67, 0.9546, 0.9706, 0.9842),
    "no partition": (47.76, 0.9532, 0.9670, 0.9835), "f_r = 1": (49.24, 0.9556, 0.9537, 0.9738),
    "f_r = 0.5": (48.87, 0.9540, 0.9354, 0.9600), "by size": (49.01, 0.9560, 0.9708, 0.9849),
    "by D": (48.82, 0.9558, 0.9745, 0.9861), "equal allocation": (48.35, 0.9554, 0.9707, 0.9855),
}  # fmt: skip
VALUES: dict[str, Value] = {"PSNR": psnr, "SSIM": ssim, "Acc. (200)": accuracy("200"), "Acc. (500)": accuracy("500")}


def verdict(paper: float, here: list[float]) -> str:
    """How often a difference has the paper's sign."""
    if not here:
        return "not measured"
    same = sum(value * paper > 0 for value in here)
    return f"{'yes' if fmean(here) * paper > 0 else 'no'}, {same} of {len(here)}"


def differences(grid: Grid, first: str, second: str, metric: str) -> list[float]:
    """first - second on every volume of the metric's kind, averages over common ratios."""
    names = medical(grid.volumes) if metric in ("PSNR", "SSIM") else biological(grid.volumes)
    pairs = [(grid.average(name, first, VALUES[metric]), grid.average(name, second, VALUES[metric])) for name in names]
    return [a - b for a, b in pairs if a is not None and b is not None]


def table_1_orders(grid: Grid) -> str:
    """SCI over each other codec, and how many of all pairs of codecs are ordered as in the paper."""
    rows = []
    for name in list(PAPER_NAMES)[1:]:
        line = [f"SCI over {name}"]
        for metric, values in TABLE_1.items():
            paper = fmean(values["SCI"]) - fmean(values[name])
            here = differences(grid, NETWORKS, PAPER_NAMES[name], metric)
            digits = 2 if metric == "PSNR" else 5
            shown = f" ({fmean(here):+.{digits}f})" if here else ""
            line.append(f"{paper:+.{min(digits, 4)}f}; {verdict(paper, here)}{shown}")
        rows.append(line)
    table = markdown(["order", *TABLE_1], rows)
    kept = []
    for metric, values in TABLE_1.items():
        names, hold, count = list(values), 0, 0
        for k, first in enumerate(names):
            for second in names[k + 1 :]:
                if here := differences(grid, PAPER_NAMES[first], PAPER_NAMES[second], metric):
                    count += 1
                    hold += fmean(here) * (fmean(values[first]) - fmean(values[second])) > 0
        kept.append(f"{metric} {hold} of {count}")
    return (
        f"Table 1, {NETWORKS} in SCI's place. Each cell: the paper's mean difference; whether the mean difference here "
        f"has its sign, on how many volumes (and the mean difference here).\n\n{table}\n\n"
        f"Of all pairs of these seven codecs, ordered in the mean as in the paper: {', '.join(kept)}."
    )


def table_2_orders(result: dict) -> str:
    """The complete method over each ablation."""
    means = ablation_means(result)
    rows = []
    for variant, numbers in list(TABLE_2.items())[1:]:
        line = [f"SCI over {variant}"]
        for k, (_, _, digits) in enumerate(METRICS):
            paper = TABLE_2["SCI"][k] - numbers[k]
            a, b = means["SCI"][k], means[variant][k]
            here = None if a is None or b is None else a - b
            digits = max(digits, 4) if k else digits
            held = "not measured" if here is None else "yes" if here * paper > 0 or here == paper == 0 else "no"
            line.append(f"{paper:+.{digits}f}; {held}" + ("" if here is None else f" ({here:+.{digits}f})"))
        rows.append(line)
    head = ["order", *(name for name, _, _ in METRICS)]
    what = "the paper's difference; whether it has the same sign here (and the difference here)"
    return f"Table 2. Each cell: {what}.\n\n{markdown(head, rows)}"


def lead(grid: Grid) -> str:
    """inr_codec's default against every other codec: cells ahead in PSNR, and the mean distance, by ratio."""
    rows = []
    for codec in grid.codecs:
        if grid.family[codec] == "ours":
            continue
        line = [codec]
        for ratio in grid.ratios:
            gaps = [
                ours - theirs
                for volume in grid.volumes
                if (ours := grid.cell(volume, OURS, ratio, psnr)) is not None
                and (theirs := grid.cell(volume, codec, ratio, psnr)) is not None
            ]
            line.append(
                f"{fmean(gaps):+.2f} dB, ahead in {sum(gap > 0 for gap in gaps)} of {len(gaps)}" if gaps else "-"
            )
        rows.append(line)
    return markdown([f"{OURS} over", *map(ratio_name, grid.ratios)], rows)


def other_claims(results: dict[str, dict]) -> str:
    """What the paper says beside its tables: partition at every rate, D and fidelity, who is slow and who is fast."""
    grid = Grid(results["rates"]["rows"])
    ratio = grid.ratios[-1]
    rows = []
    if "ablations" in results:
        curves = [row for row in results["ablations"]["rows"] if row["target_ratio"] not in (80, 100)]
        for variant in ("equal partition", "no partition"):
            if gaps := _gaps(curves, "SCI", variant):
                said = f"SCI over {variant} at every rate, medical volumes"
                rows.append([said, verdict(1, gaps), f"{fmean(gaps):+.2f} dB"])
    if "concentration" in results:
        found = [one for name, one in correlations(results["concentration"]).items() if name != "all"]
        forms = ("fidelity grows with D within a volume", "the same without the zero frequency, SNR of the block")
        for k, said in enumerate(forms, start=1):
            if each := [one[k] for one in found]:
                rows.append([said, verdict(1, each), f"mean rank correlation {fmean(each):+.2f}"])
    for first, second, value, what in (
        ("SCI", "HEVC", encode_s, "encodes slower than"),
        ("HEVC", "SCI", decode_s, "decodes slower than"),
        ("NeRV", "SCI", encode_s, "encodes slower than"),
    ):
        codecs = (PAPER_NAMES[first], PAPER_NAMES[second])
        times = [[grid.cell(name, codec, ratio, value) for codec in codecs] for name in grid.volumes]
        if known := [(a, b) for a, b in times if a is not None and b is not None]:
            means = " s, ".join(f"{fmean(column):.3g}" for column in zip(*known))
            held = verdict(1, [a - b for a, b in known])
            rows.append([f"{first} {what} {second} at {ratio_name(ratio)}", held, f"{means} s"])
    return markdown(["what the paper says", "holds here", "measured"], rows)


def _gaps(rows: list[dict], first: str, second: str) -> list[float]:
    """PSNR of one variant less that of another, on each volume at each ratio."""
    means: dict[tuple[str, float, str], list[float]] = {}
    for row in rows:
        means.setdefault((row["volume"], row["target_ratio"], row["variant"]), []).append(row["psnr"])
    places = {(volume, ratio) for volume, ratio, _ in means}
    return [fmean(means[*place, first]) - fmean(means[*place, second]) for place in sorted(places)]
