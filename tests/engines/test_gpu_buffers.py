"""Reading into zarr's GPU buffers, with stand-ins for cupy and the GPU: what is decoded where, and that it is right."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr
from zarr.buffer import cpu, gpu
from zarr.core.buffer import BufferPrototype

from inr_codec.decoding import gpu as evaluate_torch
from inr_codec.serializer import INRSerializer

Z, Y, X = np.ogrid[:16, :16, :16]
NOISE = np.random.default_rng(0).normal(size=(16, 16, 16))
WAVES = (1000 + 200 * np.sin(Z / 3 + Y / 4) + 9 * X + 30 * NOISE).astype(np.uint16)


class HostBuffer(gpu.NDBuffer):
    """A GPU buffer in all but where its array lies."""

    def __init__(self, array):
        self._data = array

    @classmethod
    def create(cls, *, shape, dtype, order="C", fill_value=None):
        """An array of one value."""
        return cls(np.full(shape, 0 if fill_value is None else fill_value, dtype, order))

    @classmethod
    def empty(cls, shape, dtype, order="C"):
        """An array of anything."""
        return cls(np.empty(shape, dtype, order))

    @classmethod
    def from_numpy_array(cls, array_like):
        """The path of what the CPU decoded."""
        return cls(array_like)

    def as_numpy_array(self):
        """The array."""
        return self._data


@pytest.fixture
def decoded(monkeypatch):
    """Stand-ins for cupy and the GPU; a list of what cupy was given."""
    given = []

    def from_dlpack(voxels):
        given.append(voxels)
        return np.from_dlpack(voxels)

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=np.asarray, from_dlpack=from_dlpack))
    monkeypatch.setattr(evaluate_torch, "current_gpu", lambda: torch.device("cpu"))
    return given


def written(volume, **options):
    """A zarr array of one chunk."""
    serializer = INRSerializer(effort="fast", steps=100, **options)
    return zarr.create_array({}, data=volume, chunks=volume.shape, serializer=serializer, compressors=None)


@pytest.mark.parametrize(
    "selection", [(slice(None),) * 3, (slice(2, 9), 3, slice(None, None, 2)), (5, 5, 5)], ids=["all", "part", "voxel"]
)
def test_networks_are_decoded_on_the_device(decoded, selection):
    """A stream of networks goes from the device's decoder into the buffer, the values being those of the CPU."""
    array = written(WAVES, ratio=20, layers="network", deblock=False)
    prototype = BufferPrototype(buffer=cpu.Buffer, nd_buffer=HostBuffer)
    got = array.get_basic_selection(selection, prototype=prototype)
    assert len(decoded) == 1
    difference = np.asarray(got).astype(int) - array[selection].astype(int)
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.05


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_other_streams_are_decoded_on_the_cpu(decoded, dtype):
    """A stream with other layers, or of a foreign byte order, is decoded as ever and handed over."""
    options = {"layers": "auto", "max_blocks": 1} if dtype == "<u2" else {"layers": "network", "deblock": False}
    volume = WAVES.astype(dtype)
    volume[:8] = 7
    array = written(volume, ratio=20, **options)
    got = array.get_basic_selection(..., prototype=BufferPrototype(buffer=cpu.Buffer, nd_buffer=HostBuffer))
    assert decoded == []
    np.testing.assert_array_equal(got, array[...])


def test_ordinary_buffers_never_see_the_device(decoded):
    """Reading into the host's memory does not ask for a GPU."""
    array = written(WAVES, ratio=20, layers="network", deblock=False)
    assert array[3].shape == (16, 16)
    assert decoded == []
