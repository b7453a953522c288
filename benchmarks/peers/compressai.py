"""A learned codec: CompressAI's scale hyperprior (Balle et al. 2018), trained here on what volumes hold besides chunks.

A model for each weight of distortion is trained on crops of planes that do not meet the chunks that are coded; a chunk
is coded as one mosaic of its planes. A stream is the header, two lengths and the two entropy-coded strings; models,
which decoders must have, are not counted, as learned codecs are always reported. They are kept in results/compressai.
"""

import math
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.data import VARIABLE, central_chunk, volumes
from benchmarks.peers import Peer
from benchmarks.peers.support import mosaic, scaling

WEIGHTS = [0.02 / 2.5**k for k in range(9)]
"""Lambda of lambda 255^2 MSE + bits per pixel."""
MINUTES = 20.0
QUALITY = 1
"""The smaller of the zoo's two widths."""
CROP, BATCH, RATE, AUX_RATE = 128, 8, 1e-4, 1e-3
STEP = 64
"""Sides are padded to multiples of this."""
BITS = 16
MODELS = Path(__file__).parents[1] / "results" / "compressai"


def prepare() -> None:
    """Train what is not there yet: MINUTES a weight, with all cores."""
    MODELS.mkdir(parents=True, exist_ok=True)
    for weight in WEIGHTS:
        if not _path(weight).exists():
            print(f"  CompressAI: {MINUTES:g} min of training for {_path(weight).name}", flush=True)
            _train(weight)


def encode(chunk: NDArray, weight: float) -> bytes:
    """Header, two lengths, two strings."""
    import torch

    header, grey = scaling.to_grey(chunk, BITS)
    picture = torch.from_numpy(mosaic.mosaic(grey).astype(np.float32) / (2**BITS - 1))[None, None]
    rows, columns = (math.ceil(n / STEP) * STEP for n in picture.shape[2:])
    pad = (0, columns - picture.shape[3], 0, rows - picture.shape[2])
    padded = torch.nn.functional.pad(picture, pad, mode="replicate").expand(1, 3, rows, columns)
    with torch.no_grad():
        strings = [part[0] for part in _model(weight).compress(padded)["strings"]]
    head = np.array([WEIGHTS.index(weight), len(strings[0])], "<u4").tobytes()
    return header + head + b"".join(strings)


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """The values: the mean of the three channels."""
    import torch

    size = scaling.header_size(dtype)
    number, length = np.frombuffer(data, "<u4", 2, size)
    first, second = data[size + 8 :][:length], data[size + 8 + length :]
    rows, columns = mosaic.mosaic(np.empty(shape, np.uint8)).shape
    latent = [math.ceil(n / STEP) for n in (rows, columns)]
    with torch.no_grad():
        picture = _model(WEIGHTS[number]).decompress([[first], [second]], latent)["x_hat"]
    grey = picture.mean(1)[0].numpy()[:rows, :columns] * (2**BITS - 1)
    return scaling.from_grey(data[:size], mosaic.planes(grey, shape), BITS, dtype)


@cache
def _model(weight: float) -> Any:
    import torch
    from compressai.zoo import bmshj2018_hyperprior

    model = bmshj2018_hyperprior(QUALITY)
    model.load_state_dict(torch.load(_path(weight), weights_only=True))
    model.update(force=True)
    return model.eval()


def _train(weight: float) -> None:
    import torch
    from compressai.losses import RateDistortionLoss
    from compressai.optimizers import net_aux_optimizer
    from compressai.zoo import bmshj2018_hyperprior

    torch.manual_seed(0)
    model, loss = bmshj2018_hyperprior(QUALITY).train(), RateDistortionLoss(lmbda=weight)
    optimisers = net_aux_optimizer(model, {"net": {"lr": RATE}, "aux": {"lr": AUX_RATE}})
    crops, begin = _crops(np.random.default_rng(0)), time.monotonic()
    while (gone := (time.monotonic() - begin) / (60 * MINUTES)) < 1:
        batch = torch.from_numpy(np.stack([next(crops) for _ in range(BATCH)]))[:, None].expand(BATCH, 3, CROP, CROP)
        optimisers["net"].param_groups[0]["lr"] = RATE * (0.5 + 0.5 * math.cos(math.pi * gone))
        optimisers["net"].zero_grad()
        loss(model(batch), batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers["net"].step()
        optimisers["aux"].zero_grad()
        model.aux_loss().backward()
        optimisers["aux"].step()
    torch.save(model.state_dict(), _path(weight))


def _crops(rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Crops of planes, in the unit of their volume's range, from what lies above, below or beside the central chunk."""
    stacks = []
    for volume in volumes().values():
        coded, low, high = central_chunk(volume).shape, float(volume.min()), float(volume.max())
        for axis, (whole, part) in enumerate(zip(volume.shape, coded)):
            before = (whole - part) // 2
            for piece in (slice(0, before), slice(before + part, whole)):
                stack = volume[(slice(None),) * axis + (piece,)]
                if stack.size and min(stack.shape[1:]) >= CROP:
                    stacks.append(((stack - low) / (high - low)).astype(np.float32))
    if not stacks:
        where = os.environ[VARIABLE]
        raise FileNotFoundError(f"volumes to train on expected in {where}, found none that are larger than a chunk")
    while True:
        stack = stacks[rng.integers(len(stacks))]
        z, y, x = (rng.integers(n) for n in (len(stack), stack.shape[1] - CROP + 1, stack.shape[2] - CROP + 1))
        yield stack[z, y : y + CROP, x : x + CROP]


def _path(weight: float) -> Path:
    return MODELS / f"hyperprior_{weight:.1e}.pt"


PEERS = [
    Peer(
        "CompressAI hyperprior", "network", "compressai",
        f"bmshj2018-hyperprior, one mosaic, trained {MINUTES:g} min a weight on what volumes hold besides the chunks",
        WEIGHTS, encode, decode, 4, long="models are trained for hours: run with --full", prepare=prepare,
    )
]  # fmt: skip
