"""How many steps a regularised fit takes: the paper's schedule against ours, on one slice.

    python benchmarks/sinco_schedule.py slices.npz network.pt2 [--steps 50000] [--bpp 1.2]

The paper's: Adam at 1e-3 from the first step to the last, always through the segmentation network; the figures are
those of the parameters at that step. Ours: the fused fit on pixels, then so many regularised steps whose rate falls to
0. Both fit the same network (SIREN, before its parameters are quantised) to the same loss; mask of the experts.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "sinco"))

MARKS = (100, 300, 1000, 2000, 3000, 5000, 10000, 20000, 30000, 40000, 50000)
OURS = (0, 30, 100, 300, 1000)


def draw(rows: list[tuple[str, int, float, float, float]], path: str) -> None:
    """PSNR and Dice of both schedules against the regularised steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 3), layout="tight")
    FigureCanvasAgg(canvas)
    for axis, column, label in zip(canvas.subplots(1, 2), (2, 3), ("PSNR, dB", "Dice (truth)")):
        for name in dict.fromkeys(row[0] for row in rows):
            mine = [row for row in rows if row[0] == name]
            axis.plot([max(row[1], 10) for row in mine], [row[column] for row in mine], "o-", label=name)
        axis.set_xscale("log")
        axis.set_xlabel("regularised steps (0 is drawn at 10)")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend()
    canvas.savefig(path, dpi=100)


def main() -> None:
    """Print a row for every mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "INR_CODEC_THREADS": "1", "INR_CODEC_DEVICE": "cpu"}
    torch.set_num_threads(1)
    import train
    from sinco import choose

    from inr_codec import metrics
    from inr_codec.chunk.intensity import Intensity, normalise
    from inr_codec.chunk.unit_chunk import UnitChunk
    from inr_codec.config import make_config
    from inr_codec.engines import FitOutcome, fit_blocks
    from inr_codec.layers.network.encode import REGULARISED_RATE, choose_sizes, make_scene
    from inr_codec.layers.network.plan import make_task, plan_network
    from inr_codec.layers.network.structure_fit import Loss, Painter, fit_regularised, squared_error
    from inr_codec.layers.network.structure_loss import Regulariser

    images, labels, subjects = train.load(options.data, options.image, options.binary, None)
    k = choose(labels, subjects, train.left_out(subjects, options.test_subjects, 0), 10)[options.slice]
    image, mask = images[k], labels[k]
    target = {"bpv": options.bpp, "architecture": "siren", "bits": 16.0, "w0": 15.0, "segmentation": options.network}
    config = make_config(target).resolved()
    intensity = Intensity(float(image.min()), float(image.max()))
    structure = Regulariser(image, None, intensity, config.segmentation, mask, options.weight)
    chunk = UnitChunk(normalise(image, intensity), structure=structure)
    plan = plan_network(chunk, int(options.bpp * image.size / 8), config)
    tasks = [make_task(plan, 0, choose_sizes(plan, config)[0], plan.settings.schedule, 0)]
    scene, rows = make_scene(plan, [0]), np.arange(len(image))
    painter, loss = Painter(scene, tasks, structure.where), Loss(scene, structure)
    segment = torch.export.load(options.network).module()

    told: list[tuple[str, int, float, float, float]] = []

    def tell(name: str, steps: int, parameters: list[torch.Tensor], seconds: float) -> None:
        with torch.no_grad():
            unit = painter.paint(parameters, rows).clamp(0, 1).numpy()
        decoded = (intensity.lo + (intensity.hi - intensity.lo) * unit).astype(np.float32)
        found = train.predict(segment, decoded[None])[0]
        row = (name, steps, metrics.psnr(image, decoded), metrics.dice(mask, found), seconds)
        told.append(row)
        print("| {} | {:,} | {:.2f} | {:.3f} | {:.1f} |".format(*row), flush=True)
        if options.figure:
            draw(told, options.figure)

    print("| schedule | regularised steps | PSNR | Dice (truth) | seconds of CPU |\n|---|---|---|---|---|")
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
        tell("pixels first", steps, [torch.from_numpy(outcome.parameters) for outcome in done], spent)

    parameters = [torch.tensor(task.parameters, requires_grad=True) for task in tasks]
    optimiser = torch.optim.Adam(parameters, 1e-3)
    begin = time.process_time()
    for step in range(1, options.steps + 1):
        optimiser.zero_grad()
        slopes = torch.autograd.grad(loss.of(painter.paint(parameters, rows), rows, scale), parameters)
        for parameter, slope in zip(parameters, slopes):
            parameter.grad = slope
        optimiser.step()
        if step in MARKS:
            tell("the paper's", step, parameters, time.process_time() - begin)


if __name__ == "__main__":
    main()
