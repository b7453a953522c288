"""SINCO's experiment: what a structural regulariser keeps, at the same bytes, of slices that no network has seen.

    python -m benchmarks.studies.sinco.sinco slices.npz --quick    # the hippocampus set, under 10 minutes on two cores
    python -m benchmarks.studies.sinco.sinco slices.npz network.pt2 --bpp 1.2 0.6 0.3 --seeds 3 --figure fig.png

slices.npz and network.pt2 are those of examples/sinco/train.py, which trains the network first where there is none; the
subjects that it left out are the ones measured. Every method encodes every slice with every seed, every encoding is a
line on stderr. Methods come in pairs that differ in the weight alone: 0 (the same steps, not looking) and `--weight`.
"truth" and "original" say what the regulariser was given: the experts' mask, as in the paper, or what the network finds
in the original. PSNR has the slice's range as peak, as SSIM has; Dice is that of everything that is not background.
"""

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "sinco"
sys.path.insert(0, str(EXAMPLE))

METHODS: dict[str, tuple[dict[str, Any], str | None]] = {
    "COIN": ({"architecture": "siren", "bits": 16.0}, None),
    "SINCO (SIREN), truth": ({"architecture": "siren", "bits": 16.0}, "truth"),
    "vanilla INR": ({"architecture": "nerf", "bits": 16.0}, None),
    "SINCO (INR), truth": ({"architecture": "nerf", "bits": 16.0}, "truth"),
    "funnel": ({}, None),
    "funnel + SINCO, truth": ({}, "truth"),
    "funnel + SINCO, original": ({}, "original"),
}
"""Options of the codec, and which mask its regulariser is given."""
SMALL, SMALL_W0 = 128, 15.0
"""SIRENs of smaller slices have so few parameters that the codec's w0 for pictures costs decibels."""
QUICK = {"bpp": [0.6], "seeds": 3, "effort": "fast", "methods": [name for name in METHODS if "INR" not in name]}
"""NeRFs of the few parameters that such a slice leaves room for hold nothing (README.md)."""
TRAINING = ["--rate", "4e-3", "--epochs", "40"]
KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""Freed memory stays with the process: returning 9 MB a tensor to the system takes a third of a step's time."""
SEGMENT: list[Any] = []
"""The network that this process looks through, see `start`."""
NAMES = ("bpp", "PSNR", "SSIM", "Dice truth", "Dice original", "seconds")


def start(network: str) -> None:
    """In every process: one thread, and the network."""
    import torch

    torch.set_num_threads(1)
    SEGMENT.append(torch.export.load(network).module())


def one(job: tuple[str, np.ndarray, np.ndarray, dict[str, Any]]) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Encode and decode a slice: its figures (NAMES), the decoded slice and the labels found in it."""
    from train import predict

    from inr_codec import INRCodec, decode, metrics

    name, image, labels, options = job
    begin = time.process_time()
    data = INRCodec(**options).encode(image)
    seconds = time.process_time() - begin
    decoded = decode(data)
    found, before = predict(SEGMENT[0], np.stack([decoded, image]).astype(np.float32))
    figures = [
        8 * len(data) / image.size,
        metrics.psnr(image, decoded),
        metrics.ssim(image, decoded, data_range="range"),
        metrics.dice(labels, found),
        metrics.dice(before, found),
        seconds,
    ]
    print(f"{options['bpv']:g} bpp, {name}, seed {options['seed']}:", *(f"{x:.3f}" for x in figures), file=sys.stderr)
    return figures, decoded, found


def choose(labels: np.ndarray, subjects: np.ndarray, out: list[str], count: int) -> list[int]:
    """`count` slices of the subjects left out, in turn, those with the largest masks first."""
    ranked = [
        sorted(np.flatnonzero(subjects == name), key=lambda k: -np.count_nonzero(labels[k])) for name in sorted(out)
    ]
    spaced = [
        [group[k] for k in range(0, len(group), max(1, len(group) * len(out) // (2 * count)))] for group in ranked
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*spaced))
    return [int(k) for k in turns if k is not None and labels[k].any()][:count]


def table(rows: Sequence[Row]) -> str:
    """For each rate the table of its methods and what the regulariser gave."""
    parts = []
    for bpp in dict.fromkeys(row["bpp"] for row in rows):
        figures = {row["method"]: np.array(row["figures"]) for row in rows if row["bpp"] == bpp}
        gains = "\n".join(f"- {line}" for line in verdict(figures).splitlines())
        parts.append(f"### {bpp:g} bits per pixel\n\n{methods_table(figures)}\n\n{gains}")
    known = rows[0]
    originals = f"Dice (truth) of the originals: {np.mean(known['originals']):.3f} ({np.std(known['originals']):.3f})"
    first = (
        f"{len(known['originals'])} slices of {known['subjects']} subjects, weight {known['weight']:g}. {originals}."
    )
    return "\n\n".join([first, *parts])


def methods_table(rows: dict[str, np.ndarray]) -> str:
    """Mean over slices and seeds; in brackets the spread over slices, and over seeds of the mean of slices. Seconds of
    the processor: the median."""
    lines = []
    for name, figures in rows.items():  # (seeds, slices, figures)
        mean, slices, seeds = figures.mean((0, 1)), figures.mean(0).std(0), figures.mean(1).std(0)
        cells = [f"{mean[0]:.3f}"]
        for k in range(1, len(NAMES) - 1):
            digits = 2 if k == 1 else 3
            cells.append(f"{mean[k]:.{digits}f} ({slices[k]:.{digits}f}, {seeds[k]:.{digits}f})")
        lines.append([name, *cells, f"{np.median(figures[..., -1]):.1f}"])
    return markdown(["method", *NAMES], lines)


def figure(path: str, image: np.ndarray, truth: np.ndarray, shown: dict[str, Any]) -> None:
    """The paper's Fig. 3: decoded slices, the masks found in them (red: missed, blue: wrong), what decoding changed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    columns: list[tuple[str, str, np.ndarray, np.ndarray]] = [("original, truth", "", image, truth)]
    for name, (figures, decoded, found) in shown.items():
        columns.append((name, f"{figures[1]:.2f} dB / {figures[2]:.3f}\nDice {figures[3]:.3f}", decoded, found))
    canvas = Figure(figsize=(1.9 * len(columns), 6.4), layout="tight")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(3, len(columns))
    errors = [np.abs(decoded.astype(float) - image) for _, _, decoded, _ in columns]
    most = np.percentile(errors, 99.5)
    for k, (name, text, decoded, found) in enumerate(columns):
        axes[0, k].imshow(decoded, cmap="gray", vmin=image.min(), vmax=np.percentile(image, 99.9))
        axes[0, k].set_title(name.replace(", ", "\n"), fontsize=8)
        both = [truth > 0, (truth > 0) & (found > 0), found > 0]
        axes[1, k].imshow(np.stack(both, -1).astype(float), interpolation="nearest")
        axes[2, k].imshow(errors[k], cmap="gray", vmin=0, vmax=most)
        axes[2, k].set_xlabel(text, fontsize=8)
    for row, label in enumerate(("slice", "mask", "|decoded - original|")):
        axes[row, 0].set_ylabel(label, fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    drawn = BytesIO()
    canvas.savefig(drawn, dpi=110)
    Image.open(drawn).convert("RGB").quantize(96).save(path, optimize=True)  # a third of the bytes


def verdict(rows: dict[str, np.ndarray]) -> str:
    """Dice of every regularised row less that of its vanilla one, against the spread of that difference: over seeds, or
    with one seed the standard error over slices."""
    lines, vanilla = [], ""
    for name in rows:
        if METHODS[name][1] is None:
            vanilla = name
            continue
        if not vanilla:
            continue
        column = NAMES.index("Dice original" if METHODS[name][1] == "original" else "Dice truth")
        gains = (rows[name] - rows[vanilla])[:, :, column]
        gain, seeds = gains.mean(), len(gains)
        spread = gains.mean(1).std(ddof=1) if seeds > 1 else gains.std(ddof=1) / np.sqrt(gains.size)
        kind = f"spread over {seeds} seeds" if seeds > 1 else f"standard error over {gains.size} slices"
        told = "beyond twice it" if gain > 2 * spread else "NOT beyond twice it"
        lines.append(f"{name} against {vanilla}: {NAMES[column]} {gain:+.3f}, {kind} {spread:.3f}: {told}")
    return "\n".join(lines)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each rate and method: the figures (seeds, slices, NAMES) of its encodings."""
    if arguments.quick:
        vars(arguments).update(QUICK)
    os.environ |= {"OMP_NUM_THREADS": "1", "INR_CODEC_THREADS": "1", "INR_CODEC_DEVICE": "cpu"} | KEEP_PAGES
    import train

    network = arguments.network or Path(f"{arguments.data.stem}.pt2")
    if not network.exists():
        command = [sys.executable, train.__file__, str(arguments.data), str(network), "--image", arguments.image]
        command += [*TRAINING, "--test-subjects", str(arguments.test_subjects)]
        command += ["--binary"] if arguments.binary else []
        command += ["--side", str(arguments.side)] if arguments.side else []
        print("training first:", *command[1:], file=sys.stderr, flush=True)
        subprocess.run(command, check=True)
    images, labels, subjects = train.load(arguments.data, arguments.image, arguments.binary, arguments.side)
    out = train.left_out(subjects, arguments.test_subjects, 0)
    picks = choose(labels, subjects, out, arguments.slices)
    start(str(network))
    before = train.predict(SEGMENT[0], images[picks])
    known: Row = {
        "subjects": len({subjects[k] for k in picks}), "weight": arguments.weight,
        "originals": [float(train.dice(found, labels[k])) for found, k in zip(before, picks)],
    }  # fmt: skip
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        arguments.workers, mp_context=context, initializer=start, initargs=(str(network),)
    ) as pool:
        for bpp in arguments.bpp:
            jobs = []
            for k, name, seed in itertools.product(picks, arguments.methods, range(arguments.seeds)):
                codec, given = METHODS[name]
                if codec.get("architecture") == "siren" and max(images.shape[1:]) <= SMALL:
                    codec = codec | {"w0": SMALL_W0}
                base = {"bpv": bpp, "effort": arguments.effort, "segmentation": network, "seed": seed}
                base["dice_weight"] = 0.0 if given is None else arguments.weight
                base |= {"mask": labels[k]} if given == "truth" else {}
                jobs.append((name, images[k].astype(np.uint16), labels[k], base | codec))
            done = list(pool.map(one, jobs))
            size = (len(picks), len(arguments.methods), arguments.seeds, len(NAMES))
            figures = np.array([figures for figures, _, _ in done]).reshape(size).transpose(1, 2, 0, 3)
            for name, found in zip(arguments.methods, figures):
                yield {"bpp": bpp, "method": name, "figures": found.tolist()} | known
            if arguments.figure:
                first = figures[0, 0, :, NAMES.index("Dice truth")]
                k = int(np.argsort(first)[len(picks) // 2])
                path = Path(arguments.figure)
                path = path.with_stem(f"{path.stem}_{bpp:g}") if len(arguments.bpp) > 1 else path
                first_seed = done[k * size[1] * size[2] : (k + 1) * size[1] * size[2] : size[2]]
                figure(str(path), images[picks[k]], labels[picks[k]], dict(zip(arguments.methods, first_seed)))


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, volumes=False)
    parser.add_argument("data", type=Path)
    parser.add_argument("network", type=Path, nargs="?", help="DATA.pt2 here, trained if there is none")
    parser.add_argument("--quick", action="store_true", help="one bit rate, the fast effort, three seeds")
    parser.add_argument("--image", default="images")
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--side", type=int, help="the middle of every slice alone, so many pixels")
    parser.add_argument("--test-subjects", type=int, default=10, help="as they were left out of the training")
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--bpp", type=float, nargs="+", default=[1.2, 0.6, 0.3])
    parser.add_argument("--weight", type=float, default=3.0)
    parser.add_argument("--effort", default="default")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--figure", help="draw the slice of median Dice of the first method here")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
