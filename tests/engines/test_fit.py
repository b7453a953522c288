"""The fused fit against torch, and what both engines promise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.engines.restarts import BestState, drive
from inr_codec.engines.torch_engine.network import forward
from inr_codec.errors import ConfigError
from inr_codec.networks.position import coordinates, encoded_axes
from inr_codec.networks.shape import NetworkShape, funnel_shape, layer_table
from inr_codec.networks.start import initial_parameters

Array = NDArray[np.float32]


def smooth_block(sides: tuple[int, ...], seed: int = 0) -> Array:
    """A standardised sum of a few waves."""
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in sides], indexing="ij")
    rng = np.random.default_rng(seed)
    values = sum(
        np.sin(sum(f * g for f, g in zip(rng.uniform(-4, 4, len(sides)), grid, strict=True))) for _ in range(4)
    )
    return ((values - values.mean()) / values.std()).astype(np.float32).reshape(-1)


def make_task(
    sides: tuple[int, ...],
    widths: tuple[int, ...],
    schedule: Schedule,
    seed: int = 0,
    octaves: int = 0,
    **more: object,
) -> FitTask:
    """A fit of a smooth block."""
    shape = NetworkShape(widths, octaves)
    start = initial_parameters(shape, 15.0, np.random.default_rng(seed))
    return FitTask(smooth_block(sides), sides, shape, 15.0, start, schedule, seed, **more)  # type: ignore[arg-type]


def torch_gradient(task: FitTask, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient of the mean of weight times squared error over the whole block, by autograd in float64."""
    points = np.stack(np.meshgrid(*[coordinates(n) for n in task.sides], indexing="ij"), -1).reshape(
        1, -1, len(task.sides)
    )
    parameters = torch.tensor(task.parameters[None].astype(np.float64), requires_grad=True)
    output = forward(parameters, task.shape, task.w0, torch.tensor(points.astype(np.float64)))
    error = output[0] - torch.tensor(task.values.astype(np.float64))
    (torch.tensor(weights) * error**2).mean().backward()  # type: ignore[no-untyped-call]
    assert parameters.grad is not None
    gradient: NDArray[np.float64] = parameters.grad[0].numpy()
    return gradient


@settings(max_examples=30)
@given(
    st.integers(1, 4),
    st.lists(st.integers(1, 13), min_size=1, max_size=5),
    st.integers(0, 99),
    st.sampled_from([0, 2, 12]),
)
def test_fused_gradients_are_those_of_torch_in_float64(dims: int, hidden: list[int], seed: int, octaves: int) -> None:
    """Whatever architecture, widths, dimensions, start and weights, each derivative agrees to float32 accuracy."""
    from inr_codec.engines.fused.fit import fused_gradient
    from inr_codec.engines.fused.forward import count_activations
    from inr_codec.engines.fused.tiles import TILE
    from inr_codec.runtime.kernels import kernel

    sides = {1: (128,), 2: (8, 16), 3: (4, 8, 4), 4: (2, 4, 4, 4)}[dims]
    task = make_task(sides, (dims, *hidden, 1), Schedule(1, 64, 1e-3), seed, octaves)
    neurons = count_activations(layer_table(task.shape))
    axes = encoded_axes(task.shape, [coordinates(n) for n in sides])
    gradient = np.zeros(task.shape.parameters, np.float32)
    picks = np.arange(128, dtype=np.int32)
    scratch = [np.zeros(neurons * TILE, np.float32) for _ in range(2)]
    weights = np.random.default_rng(seed).uniform(0.2, 2, 128 * (seed % 2)).astype(np.float32)
    total = kernel(fastmath=True)(fused_gradient)(
        task.values, weights, picks, 0, 128 // TILE, np.array(sides), axes, np.zeros((0, 0), np.float32),
        task.parameters, layer_table(task.shape), np.float32(15.0), octaves > 0, *scratch, gradient,
    )  # fmt: skip
    counted = weights.astype(np.float64) if len(weights) else np.ones(128)
    expected = torch_gradient(task, counted)
    np.testing.assert_allclose(gradient * 2 / 128, expected, atol=2e-5 * np.abs(expected).max() + 1e-7, rtol=1e-4)
    predicted = evaluate_grid(task.parameters, task.shape, 15.0, [coordinates(n) for n in sides]).reshape(-1)
    assert total / 128 == pytest.approx(float(np.mean(counted * (predicted - task.values) ** 2)), rel=1e-4)


@pytest.mark.parametrize("engine", ["fused", "torch"])
@pytest.mark.parametrize(("optimiser", "octaves"), [("adam", 0), ("adamax", 0), ("adam", 4)])
def test_both_engines_learn_a_smooth_block(engine: str, optimiser: str, octaves: int) -> None:
    """A few hundred steps explain most of the variance (sines: nearly all), and the loss returned is the true one."""
    if octaves:
        task = make_task((24, 32), (2, 20, 20, 20, 1), Schedule(800, 256, 1e-2), octaves=octaves)
    else:
        task = make_task((12, 16, 20), (3, 20, 10, 10, 1), Schedule(400, 256, 2e-3, optimiser))
    outcome = fit_blocks([task], engine)[0]
    predicted = evaluate_grid(outcome.parameters, task.shape, task.w0, [coordinates(n) for n in task.sides])
    error = float(np.mean((predicted.reshape(-1) - task.values) ** 2))
    assert error < (0.3 if octaves else 0.1)
    assert outcome.loss == pytest.approx(error, rel=0.5)


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_an_axis_that_is_not_seen_changes_nothing(engine: str) -> None:
    """A slice of a stack is fitted as the picture that it is."""
    picture = make_task((12, 16), (2, 9, 8, 7, 1), Schedule(30, 64, 5e-3), octaves=5)
    stack = replace(picture, sides=(12, 1, 16), shape=NetworkShape((3, 9, 8, 7, 1), 5, (1,)))
    a, b = (fit_blocks([task], engine)[0].parameters for task in (picture, stack))
    np.testing.assert_array_equal(a, b)
    axes = [coordinates(12), coordinates(16)]
    flat = evaluate_grid(a, picture.shape, 0.0, axes)
    thick = evaluate_grid(a, stack.shape, 0.0, [axes[0], np.zeros(2, np.float32), axes[1]])
    np.testing.assert_array_equal(thick[:, 1], flat)


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_frozen_parameters_stay(engine: str) -> None:
    """Where frozen is 1 nothing moves, elsewhere it does."""
    frozen = np.zeros(NetworkShape((2, 9, 5, 1)).parameters, np.uint8)
    frozen[::3] = 1
    task = make_task((16, 16), (2, 9, 5, 1), Schedule(30, 64, 1e-3), frozen=frozen)
    moved = fit_blocks([task], engine)[0].parameters != task.parameters
    assert not moved[frozen == 1].any()
    assert moved[frozen == 0].mean() > 0.9


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_voxels_that_are_not_picked_do_not_matter(engine: str) -> None:
    """Rubbish in masked voxels leaves the fit bit for bit the same."""
    task = make_task((16, 16), (2, 9, 5, 1), Schedule(30, 64, 1e-3), picks=np.arange(0, 256, 2, dtype=np.int32))
    spoilt = task.values.copy()
    spoilt[1::2] = 1e6
    again = FitTask(spoilt, task.sides, task.shape, task.w0, task.parameters, task.schedule, task.seed, task.picks)
    np.testing.assert_array_equal(fit_blocks([task], engine)[0].parameters, fit_blocks([again], engine)[0].parameters)


def test_engines_agree_on_one_full_batch_step() -> None:
    """With the batch as large as the block and one step, Adam moves every parameter alike in both engines."""
    task = make_task((8, 8), (2, 8, 6, 1), Schedule(1, 64, 1e-3))
    task = FitTask(task.values, task.sides, task.shape, task.w0, task.parameters, Schedule(2, 64, 1e-3), 0)
    fused = fit_blocks([task], "fused")[0].parameters - task.parameters
    assert np.abs(fused).max() < 2.1e-3
    assert np.abs(fused).mean() > 1e-4


def test_result_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread or many give the same bits."""
    tasks = [make_task((16, 16), (2, 9, 5, 1), Schedule(50, 64, 1e-3), seed) for seed in range(5)]
    many = fit_blocks(tasks)
    monkeypatch.setenv("INR_CODEC_THREADS", "1")
    one = fit_blocks(tasks)
    for a, b in zip(many, one, strict=True):
        np.testing.assert_array_equal(a.parameters, b.parameters)


def test_a_diverging_fit_is_restarted_at_half_the_rate() -> None:
    """A loss of three times the lowest stops the run; the next one starts at half the rate and may win."""
    task = make_task((8, 8), (2, 4, 1), Schedule(10, 64, 1e-2))
    rates: list[float] = []

    def begin(rate: float):  # type: ignore[no-untyped-def]
        rates.append(rate)
        losses = iter([0.5, 0.1, 0.4] if len(rates) == 1 else [0.5, 0.4, 0.3, 0.2, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05])
        return lambda count: (next(losses), task.parameters)

    outcome = drive(task, begin, lambda: False)
    assert rates == [1e-2, 5e-3]
    assert (outcome.loss, outcome.restarts) == (0.05, 1)


def test_an_absurd_rate_ends_in_finite_parameters() -> None:
    """Whatever happens on the way, the best state is finite and no worse than no network."""
    outcome = fit_blocks([make_task((16, 16), (2, 24, 12, 12, 1), Schedule(600, 64, 50.0))])[0]
    assert np.isfinite(outcome.parameters).all()


def test_the_best_state_is_kept() -> None:
    """When the loss rises again, the parameters of the lowest segment come back."""
    task = make_task((8, 8), (2, 4, 1), Schedule(10, 64, 1e-3))
    losses = iter([0.9, 0.5, 0.3, 0.2, 0.4, 0.5, 0.4, 0.3, 0.25, 0.21])

    def begin(rate: float):  # type: ignore[no-untyped-def]
        def run(count: int) -> tuple[float, Array]:
            loss = next(losses)
            return loss, np.full_like(task.parameters, loss)

        return run

    outcome = drive(task, begin, lambda: False)
    assert outcome.loss == 0.2
    assert (outcome.parameters == np.float32(0.2)).all()


def test_nan_is_divergence() -> None:
    """NaN losses and infinite parameters are never taken for the best state."""
    task = make_task((8, 8), (2, 4, 1), Schedule(10, 64, 1e-3))
    best = BestState(task)
    assert not best.update(float("nan"), task.parameters)
    assert not best.update(0.1, np.full_like(task.parameters, np.inf))
    np.testing.assert_array_equal(best.outcome().parameters, task.parameters)


def test_a_cancelled_fit_stops() -> None:
    """A fit asks between segments whether it is still wanted."""
    task = make_task((8, 8), (2, 4, 1), Schedule(10, 64, 1e-3))
    with pytest.raises(KeyboardInterrupt):
        drive(task, lambda rate: lambda count: (0.1, task.parameters), lambda: True)


def test_a_long_fit_asks_often() -> None:
    """However many steps a segment has, a fit asks after a bounded amount of work; the mean loss is that of all."""
    task = make_task((8, 8), (2, 4, 1), Schedule(10**8, 64, 1e-3))
    counts: list[int] = []

    def run(count: int) -> tuple[float, np.ndarray]:
        counts.append(count)
        return 0.25, task.parameters

    assert drive(task, lambda rate: run, lambda: False).loss == pytest.approx(0.25)
    assert sum(counts) == 10**8
    assert max(counts) * 64 * len(task.parameters) <= 10**9


def test_unknown_engine_is_named() -> None:
    """A wrong engine is a ConfigError."""
    with pytest.raises(ConfigError, match="engine"):
        fit_blocks([], "abacus")


def test_tiny_blocks_can_be_fitted() -> None:
    """Blocks with fewer voxels than a tile repeat them."""
    task = make_task((3, 5), (2, 4, 1), Schedule(50, 256, 1e-3))
    assert np.isfinite(fit_blocks([task])[0].loss)


def test_funnel_of_four_dimensions_fits() -> None:
    """Time series of volumes are fitted like anything else."""
    shape = funnel_shape(4, 18, 4, 35)
    outcome = fit_blocks([make_task((3, 6, 8, 10), shape.widths, Schedule(300, 128, 2e-3))])[0]
    assert outcome.loss < 0.5
