"""How many steps a regularised fit takes: the paper's schedule against ours, on one slice.

    python -m benchmarks.studies.sinco.schedule slices.npz network.pt2 [--steps 50000] [--bpp 1.2]

The paper's: Adam at 1e-3 from the first step to the last, always through the segmentation network; the figures are
those of the parameters at that step. Ours: the fused fit on pixels, then so many regularised steps whose rate falls to
0. Both fit the same network (SIREN, before its parameters are quantised) to the same loss; mask of the experts.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.markdown import markdown
from benchmarks.harness.study import Row, options, run
from benchmarks.studies.sinco.sinco import choose  # which makes examples/sinco importable

MARKS = (100, 300, 1000, 2000, 3000, 5000, 10000, 20000, 30000, 40000, 50000)
OURS = (0, 30, 100, 300, 1000)


def draw(rows: Sequence[Row], path: str) -> None:
    """PSNR and Dice of both schedules against the regularised steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 3), layout="tight")
    FigureCanvasAgg(canvas)
    for axis, column, label in zip(canvas.subplots(1, 2), ("psnr", "dice"), ("PSNR, dB", "Dice (truth)")):
        for name in dict.fromkeys(row["schedule"] for row in rows):
            mine = [row for row in rows if row["schedule"] == name]
            axis.plot([max(row["steps"], 10) for row in mine], [row[column] for row in mine], "o-", label=name)
        axis.set_xscale("log")
        axis.set_xlabel("regularised steps (0 is drawn at 10)")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend()
    canvas.savefig(path, dpi=100)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for every mark of both schedules."""
    os.environ |= {"OMP_NUM_THREADS": "1", "INR_CODEC_THREADS": "1", "INR_CODEC_DEVICE": "cpu"}
    torch.set_num_threads(1)
    import train

    from inr_codec import metrics
    from inr_codec.chunk.intensity import Intensity, normalise
    from inr_codec.chunk.unit_chunk import UnitChunk
    from inr_codec.config import make_config
    from inr_codec.engines import FitOutcome, fit_blocks
    from inr_codec.layers.network.encode import REGULARISED_RATE, choose_sizes, make_scene
    from inr_codec.layers.network.plan import make_task, plan_network
    from inr_codec.layers.network.structure_fit import Loss, Painter, fit_regularised, squared_error
    from inr_codec.layers.network.structure_loss import Regulariser

    images, labels, subjects = train.load(arguments.data, arguments.image, arguments.binary, None)
    k = choose(labels, subjects, train.left_out(subjects, arguments.test_subjects, 0), 10)[arguments.slice]
    image, mask = images[k], labels[k]
    target = {
        "bpv": arguments.bpp,
        "architecture": "siren",
        "bits": 16.0,
        "w0": 15.0,
        "segmentation": arguments.network,
    }
    config = make_config(target).resolved()
    intensity = Intensity(float(image.min()), float(image.max()))
    structure = Regulariser(image, None, intensity, config.segmentation, mask, arguments.weight)
    chunk = UnitChunk(normalise(image, intensity), structure=structure)
    plan = plan_network(chunk, int(arguments.bpp * image.size / 8), config)
    tasks = [make_task(plan, 0, choose_sizes(plan, config)[0], plan.settings.schedule, 0)]
    scene, rows = make_scene(plan, [0]), np.arange(len(image))
    painter, loss = Painter(scene, tasks, structure.where), Loss(scene, structure)
    segment = torch.export.load(arguments.network).module()

    told: list[Row] = []

    def tell(name: str, steps: int, parameters: list[torch.Tensor], seconds: float) -> Row:
        with torch.no_grad():
            unit = painter.paint(parameters, rows).clamp(0, 1).numpy()
        decoded = (intensity.lo + (intensity.hi - intensity.lo) * unit).astype(np.float32)
        found = train.predict(segment, decoded[None])[0]
        told.append({
            "schedule": name, "steps": steps, "psnr": metrics.psnr(image, decoded), "dice": metrics.dice(mask, found),
            "seconds": seconds,
        })  # fmt: skip
        if arguments.figure:
            draw(told, arguments.figure)
        return told[-1]

    begin = time.process_time()
    fitted = fit_blocks(tasks)
    pixels = time.process_time() - begin
    scale = squared_error(tasks, fitted, scene, structure)
    begun = [replace(task, parameters=outcome.parameters) for task, outcome in zip(tasks, fitted)]
    for steps in OURS:
        begin = time.process_time()
        done: list[FitOutcome] = fitted
        if steps:
            rate = plan.settings.schedule.rate * REGULARISED_RATE
            done = fit_regularised(begun, scene, structure, scale=scale, steps=steps, rate=rate)
        spent = time.process_time() - begin + pixels
        yield tell("pixels first", steps, [torch.from_numpy(outcome.parameters) for outcome in done], spent)

    parameters = [torch.tensor(task.parameters, requires_grad=True) for task in tasks]
    optimiser = torch.optim.Adam(parameters, 1e-3)
    begin = time.process_time()
    for step in range(1, arguments.steps + 1):
        optimiser.zero_grad()
        slopes = torch.autograd.grad(loss.of(painter.paint(parameters, rows), rows, scale), parameters)
        for parameter, slope in zip(parameters, slopes):
            parameter.grad = slope
        optimiser.step()
        if step in MARKS:
            yield tell("the paper's", step, parameters, time.process_time() - begin)


def table(rows: Sequence[Row]) -> str:
    """A line for each row."""
    return markdown(["schedule", "regularised steps", "PSNR", "Dice (truth)", "seconds of CPU"], [
        [row["schedule"], f"{row['steps']:,}", f"{row['psnr']:.2f}", f"{row['dice']:.3f}", f"{row['seconds']:.1f}"]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, volumes=False)
    parser.add_argument("data", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--image", default="images")
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--test-subjects", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50000)
    parser.add_argument("--bpp", type=float, default=1.2)
    parser.add_argument("--weight", type=float, default=3.0)
    parser.add_argument("--slice", type=int, default=0, help="which of the benchmark's ten")
    parser.add_argument("--figure", help="draw the curve here")
    run(__file__, parser, measure, table)


if __name__ == "__main__":
    main()
