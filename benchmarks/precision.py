"""What quantising networks costs: `python benchmarks/precision.py --data FOLDER --volumes NAME ... --bytes 8192`.

The networks of the central chunk are planned and fitted once for a budget; then they are stored in fewer and fewer bits
per parameter, side information counted, and compared with the float32 parameters that the fit gave.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from volumes import central_chunk

from inr_codec import metrics
from inr_codec.chunk.intensity import Intensity, normalise
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.engines import fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.layers.network.encode import assemble, choose_sizes
from inr_codec.layers.network.payload import affine_of, evaluate_network, pack_network
from inr_codec.layers.network.plan import make_task, plan_network
from inr_codec.networks.position import coordinates

BITS = (8.0, 7.0, 6.0, 5.8, 5.4, 5.0, 4.7)


def main() -> None:
    """Print a row for each volume and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", nargs="+", required=True)
    parser.add_argument("--bytes", type=int, default=8192)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    print("| chunk | seed | parameters | float32 | " + " | ".join(f"{bits} bits" for bits in BITS) + " |")
    print("|---" * (4 + len(BITS)) + "|")
    for name in options.volumes:
        values = central_chunk(np.load(options.data / f"{name}.npy"))
        intensity = Intensity(float(values.min()), float(values.max()))
        unit = normalise(values, intensity)
        chunk = UnitChunk(unit, None, intensity.lo / (intensity.hi - intensity.lo))
        for seed in options.seeds:
            config = Config(bpv=1, layers="network", effort=options.effort, seed=seed)
            plan = plan_network(chunk, options.bytes, config)
            sizes = choose_sizes(plan, config)
            live = [k for k, size in enumerate(sizes) if size]
            tasks = [make_task(plan, k, sizes[k], plan.settings.schedule, seed) for k in live]
            fitted = fit_blocks(tasks)
            parameters = sum(task.shape.parameters for task in tasks)
            whole = np.zeros_like(unit)
            for k, task, outcome in zip(live, tasks, fitted, strict=True):
                std, mean = affine_of(replace(plan.empty[k], size=1))
                axes = [coordinates(side) for side in task.sides]
                whole[plan.blocks[k].slices] = evaluate_grid(outcome.parameters, task.shape, task.w0, axes, std, mean)
            best = metrics.psnr(unit, np.clip(whole, 0, 1))
            cells = []
            for bits in BITS:
                layer = assemble(plan, live, tasks, fitted, int(parameters * bits / 8), fit_blocks)
                decoded = np.clip(evaluate_network(layer, all_indices(unit.shape)), 0, 1)
                stored = 8 * len(pack_network(layer, unit.shape)) / parameters
                cells.append(f"{metrics.psnr(unit, decoded) - best:+.2f} ({stored:.2f})")
            print(f"| {name} | {seed} | {parameters} | {best:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
