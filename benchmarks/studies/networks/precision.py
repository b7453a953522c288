"""What quantising networks costs.

    python -m benchmarks.studies.networks.precision --volumes FOLDER --names NAME ... [--bytes 8192]

The networks of the central chunk are planned and fitted once for a budget; then they are stored in fewer and fewer bits
per parameter, side information counted, and compared with the float32 parameters that the fit gave.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.harness.data import chunks
from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
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


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each chunk and seed."""
    for name, values in chunks(arguments.volumes, arguments.names).items():
        intensity = Intensity(float(values.min()), float(values.max()))
        unit = normalise(values, intensity)
        chunk = UnitChunk(unit, None, intensity.lo / (intensity.hi - intensity.lo))
        for seed in arguments.seeds:
            config = Config(bpv=1, layers="network", effort=arguments.effort, seed=seed)
            plan = plan_network(chunk, arguments.bytes, config)
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
            row: Row = {
                "chunk": name, "seed": seed, "parameters": parameters,
                "float32": metrics.psnr(unit, np.clip(whole, 0, 1)), "stored": {},
            }  # fmt: skip
            for bits in BITS:
                layer = assemble(plan, live, tasks, fitted, int(parameters * bits / 8), fit_blocks)
                decoded = np.clip(evaluate_network(layer, all_indices(unit.shape)), 0, 1)
                spent = 8 * len(pack_network(layer, unit.shape)) / parameters
                row["stored"][f"{bits} bits"] = [metrics.psnr(unit, decoded), spent]
            yield row


def table(rows: Sequence[Row]) -> str:
    """Decibels below the float32 parameters, in brackets the bits per parameter that were spent."""
    return markdown(["chunk", "seed", "parameters", "float32", *rows[0]["stored"]], [
        [
            row["chunk"], f"{row['seed']}", f"{row['parameters']}", f"{row['float32']:.2f}",
            *(f"{psnr - row['float32']:+.2f} ({spent:.2f})" for psnr, spent in row["stored"].values()),
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--bytes", type=int, default=8192)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
