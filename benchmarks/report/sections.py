"""Sections of the report: ablations, fidelity against spectrum concentration, theory. All from results/*.json."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from benchmarks.harness.markdown import markdown
from benchmarks.report.grid import Value, accuracy, biological, medical, psnr, ranked, ratio_name, ssim

METRICS: tuple[tuple[str, Value, int], ...] = (
    ("PSNR", psnr, 2), ("SSIM", ssim, 4), ("Acc. (200)", accuracy("200"), 5), ("Acc. (500)", accuracy("500"), 5),
)  # fmt: skip
"""The columns of the paper's Table 2: two for medical volumes, two for biological ones."""


def ablation_means(result: dict) -> dict[str, list[float | None]]:
    """Table 2: variant -> means of the METRICS over the volumes of their kind."""
    rows = _table_rows(result)
    names = list(dict.fromkeys(row["volume"] for row in rows))
    means: dict[str, list[float | None]] = {}
    for variant in result["variants"]:
        means[variant] = []
        for name, value, _ in METRICS:
            of_kind = medical(names) if name in ("PSNR", "SSIM") else biological(names)
            found = [value(row) for row in rows if row["variant"] == variant and row["volume"] in of_kind]
            known = [one for one in found if one is not None]
            means[variant].append(fmean(known) if known else None)
    return means


def _table_rows(result: dict) -> list[dict]:
    """Rows at the ratios of Table 2."""
    return [row for row in result["rows"] if row["target_ratio"] in (80, 100)]


def ablation_section(result: dict) -> str:
    """Table 2, by volume too, and Figure 5."""
    rows, variants = _table_rows(result), list(result["variants"])
    names = list(dict.fromkeys(row["volume"] for row in rows))
    columns = list(zip(*ablation_means(result).values()))
    texts = [ranked([column], digits) for column, (_, _, digits) in zip(columns, METRICS)]
    lines = [[variant, *(text[k][0] for text in texts)] for k, variant in enumerate(variants)]
    kinds = [", ".join(some) or "none" for some in (medical(names), biological(names))]
    used = f"Medical: {kinds[0]}, 80x; biological: {kinds[1]}, 100x."
    options = ", ".join(f"{name}={value!r}" for name, value in result["settings"].items())
    said = (
        "Equal partition: the deepest level of the tree with at most a_max = 50 blocks. The paper does not say which "
        "f_r < 1 it took."
    )
    parts = [f"{used} `{options}`. {said}", markdown(["variant", *(name for name, _, _ in METRICS)], lines)]

    def mean(variant: str, volume: str, key: str) -> float:
        return fmean(row[key] for row in rows if (row["variant"], row["volume"]) == (variant, volume))

    each = ranked([[mean(variant, volume, "psnr") for variant in variants] for volume in names], 2)
    blocks = [" / ".join(f"{mean(variant, volume, 'blocks'):g}" for volume in names) for variant in variants]
    seconds = [f"{fmean(mean(variant, volume, 'processor_s') for volume in names):.3g}" for variant in variants]
    lines = [[variant, *line, cut, cost] for variant, line, cut, cost in zip(variants, each, blocks, seconds)]
    head = ["variant", *(f"{name}, dB" for name in names), "blocks", "processor s"]
    parts.append("PSNR of each volume, in how many blocks it was cut, mean seconds:\n\n" + markdown(head, lines))
    return "\n\n".join(parts) + "\n\n" + partition_section(result)


def partition_section(result: dict) -> str:
    """Figure 5: with and without partition at several rates."""
    rows = [row for row in result["rows"] if row["target_ratio"] not in (80, 100)]
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    cases = list(dict.fromkeys((row["volume"], row["target_ratio"]) for row in rows))
    lines = []
    for volume, ratio in cases:
        cells = []
        for variant in variants:
            same = [
                row for row in rows if (row["volume"], row["target_ratio"], row["variant"]) == (volume, ratio, variant)
            ]
            cells.append(f"{fmean(row['psnr'] for row in same):.2f} / {fmean(row['ssim'] for row in same):.4f}")
        lines.append([volume, ratio_name(ratio), *cells])
    table = markdown(["volume", "ratio", *variants], lines)
    return f"With and without partition, PSNR in dB / SSIM:\n\n{table}\n\n![Partition](../results/partition.png)"


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation (ties get their mean rank)."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def correlations(result: dict) -> dict[str, tuple[int, float, float]]:
    """Volume (or "all") -> blocks, rank correlation of D with PSNR, of centred D with the block's own SNR."""
    found = {}
    for name in [*dict.fromkeys(row["volume"] for row in result["rows"]), "all"]:
        rows = [row for row in result["rows"] if name in ("all", row["volume"])]
        if len(rows) > 2:
            paper = spearman([row["d"] for row in rows], [row["psnr"] for row in rows])
            plain = spearman([row["d_centred"] for row in rows], [row["snr"] for row in rows])
            found[name] = (len(rows), paper, plain)
    return found


def concentration_section(result: dict) -> str:
    """Supplementary Figure 5."""
    rows = [
        [name, str(n), f"{paper:+.2f}", f"{plain:+.2f}"] for name, (n, paper, plain) in correlations(result).items()
    ]
    head = [
        "volume",
        "blocks",
        "D, PSNR in the volume's window (the paper's)",
        "D without zero frequency, SNR of the block",
    ]
    return (
        f"Blocks of at most {result['side']} voxels along an axis, one network each in {result['bpv']:g} bits per "
        f"voxel. Spearman's rank correlation:\n\n{markdown(head, rows)}\n\n"
        "![Fidelity against D](../results/concentration.png)"
    )


def theory_section(result: dict) -> str:
    """Eq. 5 against transforms, shares of energy in fitted networks."""
    checks = [
        [name, f"{row['largest_coefficient']:.3f}", f"{row['largest_difference']:.1e}"]
        for name, row in result["coefficients"].items()
    ]
    parts = ["Bessel products of eq. 5 against the FFT of the network's output (periodic grid, biases included):"]
    parts.append(markdown(["grid", "largest coefficient", "largest difference"], checks))
    columns, rows = {"psnr": 1, "weights_rms": 2, "signal_share": 3, "measured": 3, "predicted": 3}, []
    for signal in dict.fromkeys(row["signal"] for row in result["lines"]):
        some = [row for row in result["lines"] if row["signal"] == signal]
        rows.append([signal, *(f"{fmean(row[key] for row in some):.{n}f}" for key, n in columns.items())])
    head = ["signal", "PSNR of the fit, dB", "rms weight", "signal's share", "network's share, FFT", "eq. 5"]
    parts.append(
        "Networks of 8 + 8 neurons with eight fixed input frequencies, fitted to lines of known spectrum; share of "
        "energy at the input frequencies, means over seeds:"
    )
    parts.append(markdown(head, rows))
    last = result["sweep"][-1]
    within = [row["sigma"] for row in result["sweep"] if row["measured"] > 0.9]
    parts.append(
        f"Networks with normal random weights keep more than 0.9 of their energy at the input frequencies up to a "
        f"standard deviation of {max(within, default=0):g}; at {last['sigma']:g} they keep {last['measured']:.2f}.\n\n"
        "![Bessel products and spectra](../results/theory.png)"
    )
    rows = []
    for row in result["blocks"]:
        shares = (f"{share:.2f}" for share in row["orders"])
        rows.append([row["volume"], f"{row['psnr']:.1f}", f"{row['weights_rms']:.2f}", *shares])
    parts.append(
        "Three-layer networks as the encoder fits them, on 32 x 32 x 32 voxels; energy by order of the terms of eq. 5 "
        "(1: input frequencies; 2 and more: their sums, differences and harmonics):"
    )
    parts.append(markdown(["volume", "PSNR, dB", "rms weight", "1", "2", "3", "4", "5", "6", "above"], rows))
    return "\n\n".join(parts)
