"""What the schedule promises whatever the batch, and what a step of the fused optimiser is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.config import Config
from inr_codec.efforts import EFFORTS
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.layers.network.plan import plan_schedule
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters


@given(st.integers(200, 10**6), st.sampled_from(["fast", "default", "best"]), st.sampled_from([1, 8, 64]))
def test_small_batches_see_as_many_voxels(parameters: int, effort: str, blocks: int) -> None:
    """The batch follows the networks' size, and what a fit sees stays within the effort's bounds."""
    voxels = 1 << 20
    schedule = plan_schedule(Config(ratio=100, effort=effort), parameters, voxels, voxels // blocks)  # type: ignore[arg-type]
    assert schedule.batch == (128 if parameters < 1000 * blocks else 256)
    low, high = EFFORTS[effort].steps
    assert low * 256 <= schedule.steps * schedule.batch <= high * 256


def test_settings_that_are_given_are_kept() -> None:
    """Batch, steps, rate and optimiser are as the user wants them."""
    config = Config(ratio=100, batch=512, steps=77, learning_rate=3e-3, optimiser="adamax")
    assert plan_schedule(config, 100, 1000, 1000) == Schedule(77, 512, 3e-3, "adamax")


@pytest.mark.parametrize("sides", [(7, 3, 11), (131, 5), (2, 3, 5, 7), (1, 1, 400), (257,)])
def test_every_voxel_is_seen_at_its_own_coordinates(sides: tuple[int, ...]) -> None:
    """A block that is linear in its coordinates is learned by a network of one linear map: no voxel is misplaced."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in sides]
    slopes = np.arange(1, len(sides) + 1) / 5
    values = sum(s * g for s, g in zip(slopes, np.meshgrid(*axes, indexing="ij"), strict=True))
    shape = NetworkShape((len(sides), 1))
    start = np.zeros(shape.parameters, np.float32)
    task = FitTask(values.astype(np.float32).reshape(-1), sides, shape, 15.0, start, Schedule(1500, 128, 2e-2), 0)
    outcome = fit_blocks([task])[0]
    moving = [k for k, n in enumerate(sides) if n > 1]
    np.testing.assert_allclose(outcome.parameters[moving], slopes[moving], atol=2e-2)


def test_first_step_of_adam_is_the_rate() -> None:
    """Bias correction makes the first step `rate` long in every parameter that has a gradient."""
    shape = NetworkShape((1, 5, 1))
    start = initial_parameters(shape, 15.0, np.random.default_rng(0))
    values = np.sin(np.linspace(0, 9, 128)).astype(np.float32)
    outcome = fit_blocks([FitTask(values, (128,), shape, 15.0, start, Schedule(1, 128, 1e-3), 0)])[0]
    # one step of one: the half cosine has come to its end
    np.testing.assert_allclose(outcome.parameters, start, atol=1e-9)
    outcome = fit_blocks([FitTask(values, (128,), shape, 15.0, start, Schedule(2, 128, 1e-3), 0)])[0]
    np.testing.assert_allclose(np.abs(outcome.parameters - start), 5e-4, rtol=1e-2)
