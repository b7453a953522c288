"""The Triton fit: one kernel for gather, forward and backward of a whole network on a tile, one for the optimiser.

A program takes one network and one tile of its batch. The activations stay in registers: a recursion over the layers,
unrolled by the compiler, goes forward on its way in and backward on its way out. Each program writes its gradient to a
place of its own, and the optimiser's kernel adds them up in a fixed order, so that a network's result depends neither
on its neighbours nor on scheduling. Products are TF32 with float32 sums; the first layer, the last one and everything
else is float32. `torch_engine` is the reference: the same voxels, the same step. It also fits the networks that are too
wide for a program. Checked in Triton's interpreter and by compiling; not run on a GPU yet.
"""

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from inr_codec.engines.queued_calls import Gather
from inr_codec.engines.task import ADAM_BETA2, ADAMAX_BETA2, BETA1, EPSILON, FitOutcome, FitTask
from inr_codec.engines.torch_engine import fit as torch_engine
from inr_codec.engines.torch_engine.groups import fit_together
from inr_codec.engines.torch_engine.minibatch import TILE, NetworkBatch
from inr_codec.engines.torch_engine.network import device
from inr_codec.engines.triton_engine.tiles import fits, precision, sine_cosine, triton_shape, warps
from inr_codec.errors import ConfigError
from inr_codec.runtime.threads import cancelled

PARAMETERS_AT_ONCE = 256


@triton.jit
def mix(x):
    """`torch_engine.fit.mix`, in Triton."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return x ^ (x >> 15)


@triton.jit
def _beyond(
    h, target, weight, parameters, gradient, w0, scale, AT: tl.constexpr, K: tl.constexpr, WIDTHS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The tile's weighted sum of squares, given the activations h (TILE, n) that layer K sees, and its gradient by h.

    Writes the gradients of the layers K, K + 1, ..., whose parameters begin at AT.
    """
    n: tl.constexpr = WIDTHS[K]
    m: tl.constexpr = WIDTHS[K + 1]
    i = tl.arange(0, n)
    if K == len(WIDTHS) - 2:
        w = tl.load(parameters + AT + i)
        error = tl.sum(h * w[None, :], 1) + tl.load(parameters + AT + n) - target
        counted = error * weight
        delta = counted * scale
        tl.store(gradient + AT + i, tl.sum(h * delta[:, None], 0))
        tl.store(gradient + AT + n, tl.sum(delta, 0))
        return tl.sum(error * counted, 0), delta[:, None] * w[None, :]
    else:
        o = tl.arange(0, m)
        transposed = tl.load(parameters + AT + o[None, :] * n + i[:, None])
        z = tl.dot(h, transposed, input_precision=PRECISION) + tl.load(parameters + AT + n * m + o)[None, :]
        inner, slope = sine_cosine(z, w0)
        squares, delta = _beyond(
            inner, target, weight, parameters, gradient, w0, scale, AT + n * m + m, K + 1, WIDTHS, PRECISION
        )
        delta *= slope
        weights = tl.dot(tl.trans(delta), h, input_precision=PRECISION)
        tl.store(gradient + AT + o[:, None] * n + i[None, :], weights)
        tl.store(gradient + AT + n * m + o, tl.sum(delta, 0))
        return squares, tl.dot(delta, tl.trans(transposed), input_precision=PRECISION)


@triton.jit
def gradient_kernel(
    points, values, weights, starts, counts, seeds, step, parameters, gradients, squares, w0,
    WIDTHS: tl.constexpr, SIZE: tl.constexpr, BATCH: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """gradients (networks, tiles, SIZE), squares (networks, tiles) <- those of each tile's share of the batch."""
    network = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    tiles: tl.constexpr = BATCH // TILE
    place = (tile * TILE + tl.arange(0, TILE)).to(tl.int64)
    count = tl.load(counts + network)
    low = place * count // BATCH
    run = (place + 1) * count // BATCH - low
    key = mix((tl.load(seeds + network) + mix(tl.load(step))) & 0xFFFFFFFF)
    row = tl.load(starts + network) + low + ((mix(key ^ place) * run) >> 32)
    own = parameters + network * SIZE
    slot = network * tiles + tile
    gradient = gradients + slot * SIZE
    n: tl.constexpr = WIDTHS[0]
    m: tl.constexpr = WIDTHS[1]
    o = tl.arange(0, m)
    z = tl.zeros((TILE, m), tl.float32) + tl.load(own + n * m + o)[None, :]
    for a in tl.static_range(n):
        z += tl.load(points + row * n + a)[:, None] * tl.load(own + o * n + a)[None, :]
    inner, slope = sine_cosine(z, w0)
    target = tl.load(values + row)
    weight = tl.load(weights + row)
    total, delta = _beyond(inner, target, weight, own, gradient, w0, 2.0 / BATCH, n * m + m, 1, WIDTHS, PRECISION)
    delta *= slope
    for a in tl.static_range(n):
        x = tl.load(points + row * n + a)
        tl.store(gradient + o * n + a, tl.sum(delta * x[:, None], 0))
    tl.store(gradient + n * m + o, tl.sum(delta, 0))
    tl.store(squares + slot, total)


@triton.jit
def optimiser_kernel(
    parameters, first, second, free, gradients, squares, total, step, rates, horizon,
    SIZE: tl.constexpr, TILES: tl.constexpr, BATCH: tl.constexpr, MANY: tl.constexpr, ADAMAX: tl.constexpr,
    BETA1: tl.constexpr, BETA2: tl.constexpr, LOG1: tl.constexpr, LOG2: tl.constexpr, EPSILON: tl.constexpr,
):  # fmt: skip
    """Adam or Adamax on MANY parameters of a network; the network's loss is added to its total.

    LOG1, LOG2: logarithms of the betas.
    """
    network = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * MANY + tl.arange(0, MANY)
    inside = k < SIZE
    g = tl.zeros((MANY,), tl.float32)
    loss = 0.0
    for t in range(TILES):
        g += tl.load(gradients + (network * TILES + t) * SIZE + k, mask=inside, other=0.0)
        loss += tl.load(squares + network * TILES + t)
    if tl.program_id(1) == 0:
        tl.store(total + network, tl.load(total + network) + loss / BATCH)
    made = tl.load(step).to(tl.float32)
    share = tl.minimum(made / horizon, 1.0)
    rate = tl.load(rates + network) * (0.5 + 0.5 * tl.cos(3.141592653589793 * share))
    at = network * SIZE + k
    moment = tl.load(first + at, mask=inside, other=0.0)
    moment += (1.0 - BETA1) * (g - moment)
    size = tl.load(second + at, mask=inside, other=0.0)
    if ADAMAX:
        size = tl.maximum(BETA2 * size, tl.abs(g))
        tl.store(second + at, size, mask=inside)
    else:
        size += (1.0 - BETA2) * (g * g - size)
        tl.store(second + at, size, mask=inside)
        size = tl.sqrt(size / (1.0 - tl.exp(made * LOG2)))
    tl.store(first + at, moment, mask=inside)
    rate = rate / (1.0 - tl.exp(made * LOG1))
    moved = rate * tl.load(free + at, mask=inside, other=0.0) * moment / (size + EPSILON)
    tl.store(parameters + at, tl.load(parameters + at, mask=inside, other=0.0) - moved, mask=inside)


def gradients(batch: NetworkBatch, exact: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients (networks, tiles, P) and sums of squares (networks, tiles) of the tiles of this step's batch.

    exact: with products in float32.
    """
    kind = batch.kind
    tiles = kind.batch // TILE
    networks, size = batch.parameters.shape
    slopes = torch.empty((networks, tiles, size), device=batch.where)
    squares = torch.empty((networks, tiles), device=batch.where)
    gradient_kernel[(networks, tiles)](
        batch.points, batch.values, batch.weights, batch.starts, batch.counts, batch.seeds, batch.step,
        batch.parameters, slopes, squares, kind.w0, WIDTHS=kind.shape.widths, SIZE=size, BATCH=kind.batch, TILE=TILE,
        PRECISION="ieee" if exact else precision(exact=False),
        num_warps=warps(kind.shape),
    )  # fmt: skip
    return slopes, squares


def step(batch: NetworkBatch, exact: bool = False) -> None:
    """One step of the optimiser for every network of a batch; exact: as in `gradients`."""
    kind = batch.kind
    adamax = kind.schedule.optimiser == "adamax"
    beta2 = ADAMAX_BETA2 if adamax else ADAM_BETA2
    batch.step += 1
    slopes, squares = gradients(batch, exact)
    networks, size = batch.parameters.shape
    optimiser_kernel[(networks, triton.cdiv(size, PARAMETERS_AT_ONCE))](
        batch.parameters, batch.first, batch.second, batch.free, slopes, squares, batch.total, batch.step, batch.rates,
        float(kind.schedule.steps), SIZE=size, TILES=kind.batch // TILE, BATCH=kind.batch, MANY=PARAMETERS_AT_ONCE,
        ADAMAX=adamax, BETA1=BETA1, BETA2=beta2, LOG1=math.log(BETA1), LOG2=math.log(beta2), EPSILON=EPSILON,
    )  # fmt: skip


def _on_device(tasks: Sequence[FitTask]) -> list[FitOutcome]:
    where = device()
    if where.type != "cuda" and not triton.knobs.runtime.interpret:
        raise ConfigError(
            f"expected a GPU for the triton engine, got the device {str(where)!r}: set INR_CODEC_ENGINE to 'fused'"
        )
    outcomes: list[FitOutcome | None] = [None] * len(tasks)
    for narrow, one_step, padded in ((True, step, triton_shape), (False, torch_engine.step, torch_engine.torch_shape)):
        members = [k for k, task in enumerate(tasks) if fits(task.shape) == narrow]
        fitted = fit_together([tasks[k] for k in members], one_step, padded, where, cancelled)
        for k, outcome in zip(members, fitted, strict=True):
            outcomes[k] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


run_all: Gather[FitTask, FitOutcome] = Gather(_on_device)
"""Fit every task, together with those of other threads."""
