"""The torch fit against autograd and torch's own optimisers, and what lets it run without Python on a GPU."""

import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from torch.utils._python_dispatch import TorchDispatchMode

from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.queued_calls import Gather
from inr_codec.engines.torch_engine import fit as torch_engine
from inr_codec.engines.torch_engine.cuda_graph import UNROLLED, Repeat
from inr_codec.engines.torch_engine.groups import fit_together, portions
from inr_codec.engines.torch_engine.minibatch import Kind, NetworkBatch, batch_of, bytes_of
from inr_codec.engines.torch_engine.network import device, encode_points, forward, pad, padded_shape, places
from inr_codec.errors import ConfigError
from inr_codec.networks.position import coordinates, encode_position
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
HIDDEN = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def make_task(sides, widths, schedule, seed=0, **more):
    """A fit of random values."""
    shape = NetworkShape(widths)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=int(np.prod(sides))).astype(np.float32)
    return FitTask(values, sides, shape, 15.0, initial_parameters(shape, 15.0, rng), schedule, seed, **more)


def make_batch(tasks, unit=1):
    """Tasks of one kind as a batch."""
    kind = Kind(padded_shape(tasks[0].shape, unit), tasks[0].w0, tasks[0].schedule, batch_of(tasks[0]))
    return NetworkBatch(tasks, [task.schedule.rate for task in tasks], kind, CPU)


def fit(tasks, unit=1):
    """All tasks fitted together, widths padded to multiples of unit."""
    return fit_together(tasks, torch_engine.step, lambda shape: padded_shape(shape, unit), CPU, cancelled=lambda: False)


def mixed_tasks():
    """Blocks of several sizes, widths, masks and seeds, which padding to eight makes alike."""
    schedule = Schedule(20, 128, 1e-3)
    frozen = np.zeros(NetworkShape((2, 11, 6, 1)).parameters, np.uint8)
    frozen[::3] = 1
    return [
        make_task((16, 20), (2, 9, 5, 1), schedule, 1),
        make_task((13, 31), (2, 16, 8, 1), schedule, 2, picks=np.arange(0, 403, 2, dtype=np.int32)),
        make_task((40, 30), (2, 11, 6, 1), schedule, 3, frozen=frozen),
    ]


@settings(max_examples=20)
@given(st.integers(1, 4), HIDDEN, st.integers(0, 99), st.sampled_from([0, 3]))
def test_gradients_are_those_of_autograd(inputs, hidden, seed, octaves):
    """In float64 the gradient written by hand is autograd's, to rounding, for both architectures."""
    shape = NetworkShape((inputs, *hidden, 1), octaves)
    generator = torch.Generator().manual_seed(seed)
    parameters, points, values, weights = (
        torch.rand(size, generator=generator, dtype=torch.float64) - 0.5
        for size in ((3, shape.parameters), (3, 64, inputs), (3, 64), (3, 64))
    )
    losses, slope = torch_engine.gradient(parameters, shape, 15.0, encode_points(points, octaves), values, weights)
    parameters.requires_grad_()
    expected = (weights * (forward(parameters, shape, 15.0, points) - values) ** 2).mean(1)
    expected.sum().backward()
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(slope, parameters.grad)


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_steps_are_those_of_torch_optim(name):
    """On full batches, six steps move the parameters as torch.optim does with the same betas and a half cosine."""
    task = make_task((8, 8), (2, 9, 5, 1), Schedule(8, 64, 1e-2, name))
    batch = make_batch([task])
    parameters = torch.tensor(task.parameters[None], requires_grad=True)
    maker, beta = (torch.optim.Adam, 0.99) if name == "adam" else (torch.optim.Adamax, 0.999)
    optimiser = maker([parameters], betas=(0.9, beta), eps=1e-10)
    for number in range(1, 7):
        optimiser.param_groups[0]["lr"] = 0.5e-2 * (1 + np.cos(np.pi * number / 8))
        optimiser.zero_grad()
        ((forward(parameters, task.shape, 15.0, batch.points[None]) - batch.values) ** 2).mean().backward()
        optimiser.step()
        torch_engine.step(batch)
    torch.testing.assert_close(batch.parameters, parameters.detach(), rtol=1e-3, atol=2e-5)


@given(st.integers(1, 3000), st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_every_run_of_voxels_gives_one_sample(voxels, batch, seed):
    """Samples are in order, one from each of equal runs of the block; a block of the batch's size is taken whole."""
    task = make_task((voxels,), (1, 2, 1), Schedule(5, batch, 1e-3), seed)
    state = make_batch([task])
    rows = torch_engine.sample(state)[0].numpy()
    size = state.kind.batch
    places_ = np.arange(size)
    low, high = places_ * voxels // size, (places_ + 1) * voxels // size
    assert ((rows >= low) & (rows < np.maximum(high, low + 1))).all()
    assert rows.max() < voxels


def test_samples_are_spread_evenly():
    """Over many steps every voxel is drawn about equally often, whatever the network's neighbours."""
    batch = make_batch([make_task((640,), (1, 2, 1), Schedule(400, 64, 1e-3), seed) for seed in (3, 4)])
    seen = np.zeros((2, 1280))
    for _ in range(400):
        batch.step += 1
        for k, rows in enumerate(torch_engine.sample(batch).numpy()):
            seen[k, rows] += 1
    assert (seen[0, :640] > 15).all() and (seen[1, 640:] > 15).all() and seen.max() < 75
    assert seen[0, 640:].sum() == 0
    assert not np.array_equal(seen[0, :640], seen[1, 640:])


@given(HIDDEN, st.integers(1, 16), st.booleans(), st.sampled_from([0, 2]))
def test_padding_changes_nothing(hidden, unit, power, octaves):
    """A padded network computes the same, and the places of its parameters are distinct."""
    shape = NetworkShape((3, *hidden, 1), octaves)
    padded = padded_shape(shape, unit, power)
    assert all(wide >= width for wide, width in zip(padded.widths, shape.widths, strict=True))
    assert len(set(places(shape, padded).tolist())) == shape.parameters
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape.parameters).astype(np.float32) * np.float32(0.1)
    points = torch.tensor(rng.uniform(-1, 1, (1, 32, 3)).astype(np.float32))
    small = forward(torch.tensor(values[None]), shape, 3.0, points)
    large = forward(torch.tensor(pad([values], [shape], padded)), padded, 3.0, points)
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-4)


def test_neighbours_do_not_matter():
    """Blocks of different sizes, widths and masks give the same fits alone and as one padded batch."""
    tasks = mixed_tasks()
    kinds = {Kind(padded_shape(task.shape, 8), task.w0, task.schedule, batch_of(task)) for task in tasks}
    assert len(kinds) == 1
    for task, together in zip(tasks, fit(tasks, unit=8), strict=True):
        alone = fit([task])[0]
        np.testing.assert_allclose(together.parameters, alone.parameters, rtol=1e-3, atol=1e-4)
        assert together.loss == pytest.approx(alone.loss, rel=1e-3)


def test_features_take_the_place_of_coordinates():
    """Features that are the coordinates give the same fit, masked or not."""
    sides = (12, 14)
    grid = np.stack(np.meshgrid(*[coordinates(n) for n in sides], indexing="ij"), -1).reshape(-1, 2)
    for picks in (None, np.arange(0, 168, 2, dtype=np.int32)):
        task = make_task(sides, (2, 9, 5, 1), Schedule(20, 64, 1e-3), picks=picks)
        seen = replace(task, sides=(), features=grid)
        np.testing.assert_array_equal(fit([task])[0].parameters, fit([seen])[0].parameters)


def test_what_a_nerf_sees_is_the_same_in_numpy():
    """The encoding of points in torch is that of axes in numpy, axis after axis."""
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    expected = np.concatenate([encode_position(axis, 12) for axis in points.T]).T
    np.testing.assert_allclose(encode_points(torch.tensor(points), 12).numpy(), expected, atol=1e-6)


def test_a_batch_fits_into_memory():
    """Groups are cut so that each part stays within the bound, in order, one network at least."""
    tasks = [make_task((n, 10), (2, 9, 5, 1), Schedule(5, 64, 1e-3)) for n in (10, 40, 10, 300, 10, 10)]
    kind = Kind(tasks[0].shape, 15.0, tasks[0].schedule, 64)
    need = [bytes_of(task, kind) for task in tasks]
    allowed = need[0] + need[1] + need[2]
    parts = portions(tasks, range(6), kind, allowed)
    assert [k for part in parts for k in part] == list(range(6))
    assert all(sum(need[k] for k in part) <= allowed or len(part) == 1 for part in parts)
    assert parts[0] == [0, 1, 2]
    assert portions(tasks, range(6), kind, 1) == [[k] for k in range(6)]


def test_a_diverging_network_does_not_disturb_the_others():
    """One at an absurd rate restarts at lower ones while its neighbours keep their fits."""
    good = make_task((16, 16), (2, 9, 5, 1), Schedule(40, 64, 1e-3), 1)
    wild = replace(good, values=good.values * np.float32(1e18), seed=7)
    alone = fit([good])[0]
    outcomes = fit([good, wild])
    np.testing.assert_allclose(outcomes[0].parameters, alone.parameters, rtol=1e-3, atol=1e-4)
    assert outcomes[0].restarts == 0
    assert outcomes[1].restarts > 0 and np.isfinite(outcomes[1].parameters).all()


class Recorder(TorchDispatchMode):
    """A stand-in for a CUDA graph: records operations and makes them again on the same memory."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        assert "_local_scalar_dense" not in str(function), "a step must not read back to the host"
        self.made.append((function, args, kwargs or {}, result))
        return result

    def replay(self):
        """Make everything again."""
        for function, args, kwargs, result in self.made:
            again = function(*args, **kwargs)
            if isinstance(result, torch.Tensor) and again.data_ptr() != result.data_ptr():
                result.copy_(again)


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_a_step_can_be_captured_and_replayed(name, monkeypatch):
    """Replaying recorded steps equals making them: nothing of a step happens in Python."""
    for attribute, fake in {
        "Stream": lambda: type("Stream", (), {"wait_stream": lambda self, other: None})(),
        "current_stream": lambda: type("Stream", (), {"wait_stream": lambda self, other: None})(),
        "stream": lambda stream: nullcontext(),
        "graph_pool_handle": lambda: None,
        "CUDAGraph": Recorder,
        "graph": lambda graph, **options: graph,
    }.items():
        monkeypatch.setattr(torch.cuda, attribute, fake)
    tasks = [replace(task, schedule=replace(task.schedule, optimiser=name)) for task in mixed_tasks()]
    eager, captured = make_batch(tasks, 8), make_batch(tasks, 8)
    repeat = Repeat(torch_engine.step, captured)
    before = [tensor.clone() for tensor in captured.changing()]
    repeat.capture()
    # recording also ran the steps, which capturing on a GPU does not
    for tensor, value in zip(captured.changing(), before, strict=True):
        tensor.copy_(value)
    repeat(UNROLLED + 3)
    for _ in range(UNROLLED + 3):
        torch_engine.step(eager)
    assert int(captured.step) == UNROLLED + 3
    for a, b in zip(captured.changing(), eager.changing(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_trying_a_step_on_a_twin_changes_nothing():
    """A twin of a batch has changing tensors of its own."""
    batch = make_batch(mixed_tasks(), 8)
    before = [tensor.clone() for tensor in batch.changing()]
    torch_engine.step(batch.like())
    for tensor, value in zip(batch.changing(), before, strict=True):
        torch.testing.assert_close(tensor, value, rtol=0, atol=0)


def test_waiting_calls_are_served_together():
    """Calls that arrive during another are taken along by the next one, and each gets its own results."""
    sizes, running, go_on = [], threading.Event(), threading.Event()

    def work(items):
        sizes.append(len(items))
        running.set()
        assert go_on.wait(10)
        return [item * 10 for item in items]

    gather = Gather(work)
    results = {}
    threads = [threading.Thread(target=lambda k=k: results.update({k: gather([k, k + 100])})) for k in range(5)]
    threads[0].start()
    assert running.wait(10)
    for thread in threads[1:]:
        thread.start()
    while gather.waiting < 5:
        threads[0].join(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert sizes == [2, 8]
    assert results == {k: [k * 10, (k + 100) * 10] for k in range(5)}


def test_an_error_reaches_the_caller_and_ends_there():
    """What the work raises is raised by the call, and the next call works."""
    failures = iter([ValueError("no"), KeyboardInterrupt()])

    def work(items):
        for failure in failures:
            raise failure
        return list(items)

    gather = Gather(work)
    with pytest.raises(ValueError, match="no"):
        gather([1])
    with pytest.raises(KeyboardInterrupt):
        gather([2])
    assert gather([3]) == [3]


def test_a_device_that_is_not_there_is_named(monkeypatch):
    """INR_CODEC_DEVICE must name a device that torch can use."""
    monkeypatch.setenv("INR_CODEC_DEVICE", "abacus")
    with pytest.raises(ConfigError, match="abacus"):
        device()
    monkeypatch.setenv("INR_CODEC_DEVICE", "cpu")
    assert device() == CPU


def test_the_engine_learns():
    """Networks as wide as they are, and padded as for an accelerator, fit a plane exactly enough."""
    plane = np.add.outer(coordinates(20), coordinates(24)).astype(np.float32)
    task = make_task((20, 24), (2, 9, 5, 1), Schedule(300, 128, 5e-3))
    task = replace(task, values=(plane / plane.std()).reshape(-1))
    fitted = fit_together([task], torch_engine.step, torch_engine.torch_shape, CPU, lambda: False)
    assert fitted[0].loss < 0.01
    assert fit_blocks([task], "torch")[0].loss < 0.01


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_cuda_benchmark_says_what_it_needs(pytestconfig):
    """Without CUDA it ends with one line that says so."""
    command = [sys.executable, "-m", "benchmarks.studies.speed.cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["expected a CUDA device, found none: run this where torch.cuda.is_available()"]
