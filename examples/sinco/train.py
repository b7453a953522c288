"""Train the segmentation network that a regularised encoding looks through, on slices whose masks experts drew.

    python examples/sinco/train.py slices.npz network.pt2 [--binary] [--side 240] [--epochs 75] [--rate 1e-4]

slices.npz holds `images` (slices, y, x), `masks` (labels 0..K, same shape) and `subject` (a name per slice). Subjects
are split: slices of the last ones (by a seeded order) are never trained on, and `left_out` gives their names to
whoever measures. The file written is a program of torch.export, as INRCodec(segmentation="network.pt2") takes it.
Loss: cross entropy, as in SINCO (eq. 4), plus 1 - Dice, without which rare classes take far longer. Adam, whose rate
falls to 0 as a half cosine; batches of 8; slices shifted by up to 4 pixels at random. One thread unless OMP_NUM_THREADS
says more.
"""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from unet import UNet

BATCH = 8
SHIFT = 4


def load(path: Path, image: str, binary: bool, side: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slices (float32), labels (int64) and the subject of each slice; `side`: the middle side x side pixels alone."""
    with np.load(path) as data:
        images, masks, subjects = data[image], data["masks"], data["subject"]
    if side:
        y, x = ((n - side) // 2 for n in images.shape[1:])
        images, masks = (stack[:, y : y + side, x : x + side] for stack in (images, masks))
    return images.astype(np.float32), ((masks > 0) if binary else masks).astype(np.int64), subjects


def left_out(subjects: np.ndarray, count: int, seed: int = 0) -> list[str]:
    """Names of `count` subjects to be left out of the training."""
    return sorted(np.random.default_rng(seed).permutation(np.unique(subjects))[:count].tolist())


def soft_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean Dice of the classes above 0 over a batch, of probabilities."""
    if logits.shape[1] == 1:
        chance, truth = logits.sigmoid(), labels[:, None].float()
    else:
        chance = logits.softmax(1)[:, 1:]
        truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].float()
    both = (chance * truth).sum((0, 2, 3))
    return ((2 * both + 1) / (chance.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)).mean()


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy + 1 - Dice."""
    if logits.shape[1] == 1:
        entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
    else:
        entropy = functional.cross_entropy(logits, labels)
    return entropy + 1 - soft_dice(logits, labels)


def predict(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Labels of slices (n, y, x)."""
    found = []
    with torch.no_grad():
        for part in np.array_split(images, max(1, math.ceil(len(images) / BATCH))):
            logits = network(torch.from_numpy(part)[:, None])
            found.append((logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)).numpy())
    return np.concatenate(found).astype(np.uint8)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of what is not background, over all slices together."""
    both = np.count_nonzero((found > 0) & (truth > 0))
    return 2 * int(both) / max(int(np.count_nonzero(found)) + int(np.count_nonzero(truth)), 1)


def train(
    images: np.ndarray, labels: np.ndarray, *, epochs: int, rate: float, width: int, levels: int, seed: int = 0
) -> UNet:
    """A trained network, in evaluation mode."""
    torch.manual_seed(seed)
    classes = int(labels.max()) + 1
    network = UNet(1 if classes == 2 else classes, width, levels)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), rate)
    batches = math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    rng = np.random.default_rng(seed)
    x, s = torch.from_numpy(images)[:, None], torch.from_numpy(labels)
    begin = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        for picks in np.array_split(rng.permutation(len(images)), batches):
            shifts = tuple(int(shift) for shift in rng.integers(-SHIFT, SHIFT + 1, 2))
            loss = loss_of(network(x[picks].roll(shifts, (2, 3))), s[picks].roll(shifts, (1, 2)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() / batches
        if epoch % 5 == 4 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:3d}  loss {total:.4f}  {time.monotonic() - begin:.0f} s", flush=True)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.eval()


def save(network: UNet, levels: int, path: Path) -> None:
    """As a program of torch.export that takes any number of slices of any size that the network divides."""
    unit = 2 ** (levels - 1)
    y, x = (torch.export.Dim(name, min=2, max=256) for name in "yx")
    example = (torch.zeros(3, 1, 8 * unit, 10 * unit),)
    sizes = ({0: torch.export.Dim("n"), 2: unit * y, 3: unit * x},)
    torch.export.save(torch.export.export(network, example, dynamic_shapes=sizes), path)


def main() -> None:
    """Train, report the Dice on subjects not seen, write the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--image", default="images", help="name of the slices in the file (flair, t1c)")
    parser.add_argument("--binary", action="store_true", help="one class: every label above 0")
    parser.add_argument("--side", type=int, help="the middle of every slice alone, so many pixels")
    parser.add_argument("--test-subjects", type=int, default=10, help="how many subjects are kept out")
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--every", type=int, default=1, help="train on every so many slices")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    images, labels, subjects = load(options.data, options.image, options.binary, options.side)
    out = left_out(subjects, options.test_subjects)
    seen = np.flatnonzero(~np.isin(subjects, out))[:: options.every]
    unseen = np.flatnonzero(np.isin(subjects, out))
    network = train(
        images[seen], labels[seen], epochs=options.epochs, rate=options.rate, width=options.width, levels=options.levels
    )
    for name, picks in (("trained on", seen), ("not seen", unseen)):
        found = predict(network, images[picks])
        scores = [dice(a, b) for a, b in zip(found, labels[picks]) if b.any()]
        print(
            f"{name}: {len(np.unique(subjects[picks]))} subjects, {len(picks)} slices, "
            f"Dice {dice(found, labels[picks]):.3f} (mean of slices {np.mean(scores):.3f})"
        )
    save(network, options.levels, options.network)


if __name__ == "__main__":
    main()
