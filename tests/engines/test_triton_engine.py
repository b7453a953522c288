"""The Triton kernels against torch, on a GPU or in Triton's interpreter, and whether they compile."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
pytest.importorskip("triton", reason="triton is not installed")

from dataclasses import replace

from inr_codec import INRCodec, decode
from inr_codec.chunk.intensity import Intensity
from inr_codec.decoding.gpu import decode_torch, evaluate_network_torch
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.engines.fused.evaluate import evaluate_grid
from inr_codec.engines.torch_engine import fit as torch_engine
from inr_codec.engines.torch_engine.minibatch import Kind, NetworkBatch, batch_of
from inr_codec.engines.torch_engine.network import Grid, device
from inr_codec.engines.triton_engine import fit as triton_engine
from inr_codec.engines.triton_engine.evaluate import evaluate_grids
from inr_codec.engines.triton_engine.tiles import fits, triton_shape
from inr_codec.errors import ConfigError
from inr_codec.layers.network.blocks import root, split
from inr_codec.layers.network.payload import (
    NetworkBlock,
    NetworkLayer,
    evaluate_network,
    pack_network,
    unpack_network,
)
from inr_codec.networks.position import coordinates
from inr_codec.networks.shape import NetworkShape
from inr_codec.networks.start import initial_parameters
from inr_codec.stream.frame import Header, Layer, LayerType, pack_stream, unpack_stream

pytestmark = pytest.mark.gpu


def make_task(sides, widths, schedule, seed=0, octaves=0, **more):
    """A fit of random values."""
    shape = NetworkShape(widths, octaves)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=int(np.prod(sides))).astype(np.float32)
    return FitTask(values, sides, shape, 15.0, initial_parameters(shape, 15.0, rng), schedule, seed, **more)


def make_batch(tasks):
    """Tasks of one kind as a batch of the widths that the kernels take."""
    kind = Kind(triton_shape(tasks[0].shape), tasks[0].w0, tasks[0].schedule, batch_of(tasks[0]))
    return NetworkBatch(tasks, [task.schedule.rate for task in tasks], kind, device())


@pytest.mark.parametrize("widths", [(1, 5, 1), (2, 20, 9, 1), (4, 17, 16, 3, 1), (7, 16, 16, 1)])
def test_gradients_are_those_of_torch(widths):
    """For the same voxels the kernel's gradient is torch's in float64, whatever widths, masks, block sizes, inputs."""
    schedule = Schedule(5, 64, 1e-3)
    sides = [(9,) * min(widths[0], 3) + (1,) * (widths[0] - 3)] * 2
    more = [{}, {"picks": np.arange(0, 9, 2, dtype=np.int32)}] if widths[0] == 1 else [{}, {}]
    tasks = [make_task(side, widths, schedule, seed, **extra) for seed, (side, extra) in enumerate(zip(sides, more))]
    tasks[1] = replace(tasks[1], weights=np.linspace(0.5, 2, tasks[1].values.size, dtype=np.float32))
    if widths[0] == 7:
        features = np.random.default_rng(1).normal(size=(729, 7)).astype(np.float32)
        tasks = [replace(task, sides=(), features=features) for task in tasks]
    batch = make_batch(tasks)
    batch.step += 3
    rows = torch_engine.sample(batch)
    seen = (rows_of[rows].double() for rows_of in (batch.points, batch.values, batch.weights))
    losses, expected = torch_engine.gradient(batch.parameters.double(), batch.kind.shape, 15.0, *seen)
    slopes, squares = triton_engine.gradients(batch, exact=True)
    torch.testing.assert_close(slopes.sum(1).double(), expected, rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(squares.sum(1).double() / batch.kind.batch, losses, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_steps_are_those_of_the_torch_engine(name):
    """Three steps on several tiles leave parameters, moments and losses alike; frozen parameters stay."""
    frozen = np.zeros(NetworkShape((2, 20, 9, 1)).parameters, np.uint8)
    frozen[::3] = 1
    task = make_task((12, 16), (2, 20, 9, 1), Schedule(4, 128, 1e-3, name), frozen=frozen)
    one = make_batch([task])
    other = one.like()
    for _ in range(3):
        torch_engine.step(one)
        triton_engine.step(other, exact=True)
    for a, b in zip(one.changing(), other.changing(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    moved = other.fetch(3)[1][0] != task.parameters
    assert not moved[frozen == 1].any() and moved[frozen == 0].mean() > 0.9


def test_the_engine_fits_narrow_and_wide_networks_together(monkeypatch):
    """Networks beyond the kernels' widths and without sines go through torch; outcomes keep their order."""
    tasks = [
        make_task((8, 8), widths, Schedule(4, 64, 1e-3), seed)
        for seed, widths in enumerate([(2, 5, 1), (2, 80, 1), (2, 9, 1)])
    ]
    tasks.append(make_task((8, 8), (2, 4, 3, 3, 1), Schedule(4, 64, 1e-3), octaves=3))
    assert [fits(task.shape) for task in tasks] == [True, False, True, False]
    for task, outcome, expected in zip(tasks, fit_blocks(tasks, "triton"), fit_blocks(tasks, "torch"), strict=True):
        assert outcome.parameters.shape == task.parameters.shape
        assert np.isfinite(outcome.loss)
        np.testing.assert_allclose(outcome.parameters, expected.parameters, atol=2e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_engine_says_so(monkeypatch):
    """Outside the interpreter the engine asks for a GPU."""
    import triton

    monkeypatch.setattr(triton.knobs.runtime, "interpret", False)
    with pytest.raises(ConfigError, match="GPU"):
        fit_blocks([make_task((8, 8), (2, 5, 1), Schedule(4, 64, 1e-3))], "triton")


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_grids_are_evaluated_as_on_the_cpu(dims):
    """Networks of unequal grids and widths land in their windows of one array; nothing else is touched."""
    sides = [(3, 4, 5, 2)[:dims], (2, 5, 3, 3)[:dims]]
    out = torch.full([side + 6 for side in (3, 5, 5, 3)[:dims]], 7.0, device=device())
    expected = out.cpu().numpy().copy()
    grids = []
    for number, side in enumerate(sides):
        shape = NetworkShape((dims, 9 - 3 * number, 6, 1))
        parameters = initial_parameters(shape, 15.0, np.random.default_rng(number))
        axes = [coordinates(n) for n in side]
        corner = [number * 3] * dims
        grids.append(Grid(parameters, shape, axes, corner, 0.5 + number, 0.25))
        window = tuple(slice(at, at + n) for at, n in zip(corner, side, strict=True))
        expected[window] = evaluate_grid(parameters, shape, 15.0, axes, 0.5 + number, 0.25)
    assert evaluate_grids(grids, 15.0, out, None) == []
    np.testing.assert_allclose(out.cpu().numpy(), expected, atol=2e-5)


def make_stream(dtype):
    """A stream of eight blocks: networks of several widths, and constants."""
    rng = np.random.default_rng(0)
    blocks = split(root((8, 8, 16)))
    layer = NetworkLayer(tuple(blocks), (), 3, 35, 240)
    networks = []
    for k, size in enumerate((0, 3, 7, 0, 9, 20, 7, 1)):
        empty = NetworkBlock(size, 30000 + 1000 * k if size == 0 else 8, 8)
        if size:
            shape = layer.shape_of(empty, 3)
            symbols = np.rint(initial_parameters(shape, 15.0, rng) * 2.0**5).astype(np.int64)
            empty = replace(empty, steps=(20,) * 6, symbols=symbols)
        networks.append(empty)
    payload = pack_network(replace(layer, networks=tuple(networks)), (8, 8, 16))
    header = Header((8, 8, 16), np.dtype(dtype), False, False, Intensity(3.0, 101.0), None)
    return pack_stream(header, [Layer(LayerType.NETWORK, payload)])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "f2", "f4", "f8"])
def test_streams_of_networks_are_decoded_on_the_device(dtype, fused):
    """In the stream's own dtype, the values of the CPU decoder, for any selection."""
    data = make_stream(dtype)
    selection = (slice(None, None, -3), 4, [0, 9, 9, 3])
    voxels, rest = decode_torch(data, device(), selection=selection, fused=fused)
    expected = decode(data, selection=selection)
    got = voxels.cpu().numpy()[rest]
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got.astype(float), expected.astype(float), atol=1 if dtype[0] in "ui" else 0.1)
    assert np.mean(got != expected) < 0.1 or dtype[0] == "f"


@pytest.mark.parametrize("fused", [False, True])
def test_unit_intensities_are_those_of_the_cpu(fused):
    """At some indices of each axis, to float32 accuracy."""
    header, layers = unpack_stream(make_stream("u2"))
    layer = unpack_network(layers[0].payload, header.shape)
    indices = [np.arange(0, 8, 3), np.arange(5, 8), np.array([1, 7, 8, 15])]
    got = evaluate_network_torch(layer, indices, device(), fused=fused)
    np.testing.assert_allclose(got.cpu().numpy(), evaluate_network(layer, indices), atol=1e-5)


def test_other_streams_are_left_to_the_cpu():
    """None for a stream with other layers, of one constant, or stored losslessly."""
    ramp = np.arange(4096, dtype=np.uint16).reshape(16, 16, 16)
    constant, lossless = np.full_like(ramp, 5), ramp[:2, :2]
    for array in (constant, lossless):
        assert decode_torch(INRCodec(ratio=20).encode(array), device()) is None


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from inr_codec.engines.triton_engine.evaluate import grid_kernel
from inr_codec.engines.triton_engine.fit import gradient_kernel, optimiser_kernel

def build(kernel, types, **constants):
    names = kernel.arg_names
    signature = {name: types.get(name, "*fp32") for name in names} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 2}).asm["cubin"]

whole = dict.fromkeys(("starts", "counts", "seeds", "step", "begins", "sides", "corners", "strides"), "*i64")
types = {**whole, "w0": "fp32", "horizon": "fp32", "ends": "*fp64", "out": "*u16"}
sizes = {"WIDTHS": (2, 16, 16, 1), "SIZE": 337, "TILE": 64}
build(gradient_kernel, types, BATCH=64, PRECISION="tf32", **sizes)
adam = {"BETA1": 0.9, "BETA2": 0.99, "LOG1": -0.1, "LOG2": -0.01, "EPSILON": 1e-10}
build(optimiser_kernel, types, SIZE=337, TILES=2, BATCH=128, MANY=256, ADAMAX=False, **adam)
build(grid_kernel, types, FORM=2, PRECISION="tf32x3", **sizes)
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    """Triton's compiler takes what its interpreter takes, down to machine code; that needs no GPU."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COMPILE], check=True, env=environment)
