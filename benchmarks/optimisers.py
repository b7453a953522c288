"""PSNR of fitted blocks at equal arithmetic, for batch sizes, rates and ways to sample: the tables of NETWORKS.md.

    python benchmarks/optimisers.py DIRECTORY --volumes ct_chest mouse_brain

DIRECTORY holds 3-D arrays as .npy. The centre of each (at most 64 x 128 x 128 voxels) is halved along every axis, as
the encoder does; the most varied eighth and a middling one are fitted, with two seeds. Fits run in turns on one thread;
steps are set so that all settings see the same number of voxels, and the microseconds of processor time are printed.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["INR_CODEC_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray

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
    sides = [min(n, w) for n, w in zip(volume.shape, (64, 128, 128), strict=True)]
    centre = tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(volume.shape, sides, strict=True))
    chunk = volume[centre].astype(np.float32)
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


def main() -> None:
    """Print one row for each network size, batch and rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--volumes", nargs="+", required=True)
    parser.add_argument("--parameters", nargs="+", type=int, default=[300, 680, 1365])
    arguments = parser.parse_args()
    blocks = [b for name in arguments.volumes for b in blocks_of(np.load(arguments.directory / f"{name}.npy"))]
    print("parameters  batch    rate  sampling      dB    gain   worst  us/voxel")
    for parameters in arguments.parameters:
        rows: dict[tuple[int, float, str], list[tuple[float, float]]] = {setting: [] for setting in SETTINGS}
        for block in blocks:
            for seed in (0, 1):
                for setting in SETTINGS:
                    rows[setting].append(fit(block, parameters, *setting, seed))
        reference = np.array(rows[SETTINGS[0]])[:, 0]
        for (batch, rate, sampling), results in rows.items():
            quality, cost = np.array(results).T
            gain = quality - reference
            print(
                f"{parameters:10d} {batch:6d} {rate:7.1e} {sampling:9s} {quality.mean():6.2f} {gain.mean():+7.2f} "
                f"{gain.min():+7.2f} {np.median(cost):9.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
