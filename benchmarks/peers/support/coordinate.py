"""One network from coordinates to values for a whole chunk, fitted by inr_codec's engine, stored as plain numbers.

No partition, no funnel, nothing of inr_codec's coding: a stream is mean and standard deviation (8 bytes) and then every
weight and bias as a float of 32 or 16 bits. Widths follow from the number of bytes. Steps, batches and rates are those
that inr_codec's default effort takes for such networks, so they are given about the arithmetic that ours are.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.support.search import Unreachable
from inr_codec.config import Config
from inr_codec.engines import FitTask, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.layers.network.plan import FREQUENCIES, W0, plan_schedule
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters

DEPTH = 5
HEADER = 8
TINY_STEPS = 200

Pair = tuple[Callable[[NDArray, int, int, str], bytes], Callable[[bytes, tuple[int, ...], Any], NDArray]]


def coder(architecture: str, dtype: Any) -> Pair:
    """fit and decode of a peer: "siren" or "nerf", weights of a dtype."""
    size, frequencies = np.dtype(dtype).itemsize, FREQUENCIES if architecture == "nerf" else 0
    w0 = 0.0 if frequencies else W0

    def fit(chunk: NDArray, n_bytes: int, seed: int, effort: str) -> bytes:
        shape = widest(chunk.ndim, (n_bytes - HEADER) // size, frequencies)
        known = np.array([chunk.mean(dtype=np.float64), chunk.std(dtype=np.float64)], np.float32)
        values = ((chunk - np.float64(known[0])) / np.float64(max(known[1], 1e-30))).astype(np.float32).reshape(-1)
        config = Config(ratio=1, architecture=architecture, steps=TINY_STEPS if effort == "tiny" else None)  # type: ignore[arg-type]
        schedule = plan_schedule(config, shape.parameters, chunk.size, chunk.size, w0)
        start = initial_parameters(shape, w0, np.random.default_rng(seed))
        (outcome,) = fit_blocks([FitTask(values, chunk.shape, shape, w0, start, schedule, seed)])
        return known.tobytes() + outcome.parameters.astype(dtype).tobytes()

    def decode(data: bytes, shape: tuple[int, ...], _: Any) -> NDArray:
        mean, std = np.frombuffer(data[:HEADER], np.float32)
        parameters = np.frombuffer(data[HEADER:], dtype).astype(np.float32)
        network = widest(len(shape), len(parameters), frequencies)
        return evaluate_grid(parameters, network, w0, [coordinates(n) for n in shape], std, mean)

    return fit, decode


def widest(axes: int, parameters: int, frequencies: int = 0) -> NetworkShape:
    """The network of nearly equal hidden layers with the most parameters, at most so many."""
    width = 1
    while NetworkShape((axes, *[width + 1] * (DEPTH - 1), 1), frequencies).parameters <= parameters:
        width += 1
    steps = itertools.product((0, 1, -1, 2), repeat=DEPTH - 1)
    shapes = [NetworkShape((axes, *(max(width + step, 1) for step in more), 1), frequencies) for more in steps]
    fitting = [shape for shape in shapes if shape.parameters <= parameters]
    if not fitting:
        raise Unreachable(f"its smallest network has {shapes[0].parameters} parameters, {parameters} are wanted")
    return max(fitting, key=lambda shape: shape.parameters)
