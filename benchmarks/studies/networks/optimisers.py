"""PSNR of fitted blocks at equal arithmetic, for batch sizes, rates and ways to sample.

    python -m benchmarks.studies.networks.optimisers --volumes FOLDER --names ct_chest mouse_brain

The central chunk of each volume is halved along every axis, as the encoder does; the most varied eighth and a middling
one are fitted, with two seeds. Fits run in turns on one thread; steps are set so that all settings see the same number
of voxels, and the microseconds of processor time are told.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["INR_CODEC_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import central_chunk, volumes
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.layers.network.blocks import root, split
from inr_codec.layers.network.sampling import sample_by_structure, sample_evenly
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import funnel_shape, size_for_budget
from inr_codec.networks.start import initial_parameters

EVEN, STRUCTURE = "even", "structure"
SETTINGS = [
    (256, 1.5e-3, EVEN),
    (256, 1.5e-3, STRUCTURE),
    (128, 1.5e-3, EVEN),
    (128, 1.5e-3, STRUCTURE),
    (128, 1e-3, STRUCTURE),
    (128, 2e-3, STRUCTURE),
    (256, 2e-3, STRUCTURE),
    (512, 2e-3, STRUCTURE),
]
"""Batch, rate and sampling of voxels; the first is what the others are compared with."""
SAMPLES = 6e6
W0 = 15.0


def blocks_of(volume: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    """Two standardised eighths of the centre of a volume."""
    chunk = central_chunk(volume).astype(np.float32)
    parts = sorted((chunk[block.slices] for block in split(root(chunk.shape))), key=lambda part: -float(part.std()))
    chosen = (parts[0], parts[min(4, len(parts) - 1)])
    return [np.ascontiguousarray((part - part.mean()) / part.std()) for part in chosen]


def fit(
    block: NDArray[np.float32], parameters: int, batch: int, rate: float, sampling: str, seed: int
) -> tuple[float, float]:
    """Signal to noise of one fit in dB, and microseconds a voxel."""
    shape = funnel_shape(3, size_for_budget(3, parameters, 5, 35), 5, 35)
    start = initial_parameters(shape, W0, np.random.default_rng(seed))
    schedule = Schedule(int(SAMPLES / batch), batch, rate)
    begin = time.process_time()
    sample = sample_by_structure(block, None) if sampling == STRUCTURE else sample_evenly(None, block.size)
    task = FitTask(block.reshape(-1), block.shape, shape, W0, start, schedule, seed, sample.picks)
    outcome = fit_blocks([replace(task, weights=sample.weights)])[0]
    seconds = time.process_time() - begin
    error = evaluate_grid(outcome.parameters, shape, W0, [coordinates(n) for n in block.shape]) - block
    return -10 * float(np.log10(np.mean(error**2))), seconds / SAMPLES * 1e6


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each network size and setting: decibels and microseconds of every fit."""
    blocks = [block for volume in volumes(arguments.volumes, arguments.names).values() for block in blocks_of(volume)]
    for parameters in arguments.parameters:
        rows: list[Row] = [
            {"parameters": parameters, "batch": batch, "rate": rate, "sampling": sampling, "snr": [], "us_voxel": []}
            for batch, rate, sampling in SETTINGS
        ]
        for block in blocks:
            for seed in (0, 1):
                for setting, row in zip(SETTINGS, rows):
                    quality, cost = fit(block, parameters, *setting, seed)
                    row["snr"].append(quality)
                    row["us_voxel"].append(cost)
        yield from rows


def table(rows: Sequence[Row]) -> str:
    """Means, gains over the first setting of the same size, and the worst of these."""
    first = {row["parameters"]: row["snr"] for row in reversed(rows)}
    lines = []
    for row in rows:
        gain = np.array(row["snr"]) - first[row["parameters"]]
        lines.append([
            f"{row['parameters']}", f"{row['batch']}", f"{row['rate']:.1e}", row["sampling"],
            f"{np.mean(row['snr']):.2f}", f"{gain.mean():+.2f}", f"{gain.min():+.2f}",
            f"{np.median(row['us_voxel']):.3f}",
        ])  # fmt: skip
    return markdown(["parameters", "batch", "rate", "sampling", "dB", "gain", "worst", "us/voxel"], lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--parameters", nargs="+", type=int, default=[300, 680, 1365])
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
