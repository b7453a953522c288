"""Steps from sensitivity, and freezing to the grid."""

import numpy as np
import pytest

from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.layers.network.quantise import freeze, sensitivities, step_codes, steps_vector, symbols
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters

SIDES = (16, 20)


@pytest.fixture(scope="module", params=[0, 4], ids=["sines", "nerf"])
def fitted(request: pytest.FixtureRequest) -> tuple[FitTask, np.ndarray]:  # type: ignore[type-arg]
    """A network fitted to a wavy picture."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SIDES], indexing="ij")
    values = np.sin(5 * x * y) + np.cos(3 * x + 2 * y)
    values = ((values - values.mean()) / values.std()).astype(np.float32)
    shape = NetworkShape((2, 16, 8, 8, 1), request.param)
    start = initial_parameters(shape, 15.0, np.random.default_rng(0))
    task = FitTask(values.reshape(-1), SIDES, shape, 15.0, start, Schedule(1500, 128, 2e-3), 0)
    return task, fit_blocks([task])[0].parameters


def error_of(task: FitTask, parameters: np.ndarray) -> float:  # type: ignore[type-arg]
    """Mean squared error over the block."""
    out = evaluate_grid(parameters.astype(np.float32), task.shape, task.w0, [coordinates(n) for n in SIDES])
    return float(np.mean((out.reshape(-1) - task.values) ** 2))


def test_sensitivities_are_mean_squared_derivatives(fitted) -> None:  # type: ignore[no-untyped-def]
    """They agree with a central difference on every parameter, within the noise of two random nudges."""
    task, parameters = fitted
    axes = [coordinates(n) for n in SIDES]
    wide = parameters.astype(np.float64)
    exact = []
    for tensor in task.shape.tensors():
        squares = 0.0
        for k in range(tensor.start, tensor.stop):
            moved = [wide.copy(), wide.copy()]
            moved[0][k] += 1e-3
            moved[1][k] -= 1e-3
            up, down = (evaluate_grid(m.astype(np.float32), task.shape, task.w0, axes) for m in moved)
            squares += float(np.mean(((up - down) / 2e-3) ** 2))
        exact.append(squares / (tensor.stop - tensor.start))
    ratio = sensitivities(task, parameters) / np.array(exact)
    assert (ratio > 0.2).all() and (ratio < 5).all()


def test_sensitive_tensors_get_finer_steps(fitted) -> None:  # type: ignore[no-untyped-def]
    """Four times the sensitivity halves the step, to a quarter octave."""
    assert step_codes(np.array([1.0, 4.0, 16.0]), 2.0**-4) == (16, 20, 24)


def test_frozen_parameters_lie_on_their_grid(fitted) -> None:  # type: ignore[no-untyped-def]
    """After freezing, symbols and steps give the parameters back exactly."""
    task, parameters = fitted
    codes = step_codes(sensitivities(task, parameters), 2.0**-5)
    frozen = freeze([task], [parameters], [codes], Schedule(40, 128, 3e-4), fit_blocks)[0]
    grid = task.parameters + symbols(frozen, codes, task) * steps_vector(codes, task)
    np.testing.assert_array_equal(grid.astype(np.float32), frozen)


def test_freezing_in_rounds_beats_rounding(fitted) -> None:  # type: ignore[no-untyped-def]
    """At a coarse step, refitting what is still free undoes part of what rounding costs."""
    task, parameters = fitted
    codes = step_codes(sensitivities(task, parameters), 2.0**-4)
    rounded = task.parameters + symbols(parameters, codes, task) * steps_vector(codes, task)
    frozen = freeze([task], [parameters], [codes], Schedule(300, 128, 5e-4), fit_blocks)[0]
    assert error_of(task, parameters) < error_of(task, frozen) < error_of(task, rounded)
