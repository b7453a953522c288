"""Writes the golden streams: run once for a new format version, never to make a failing test pass.

    python tests/golden/make.py tests/golden/v2

The streams of version 1 were written by the release that wrote that version; this one no longer does.

Each case is NAME.inr (the stream) and NAME.npz (the array it decodes to, on the machine that wrote it); NAME.prior is
the option `prior` of the codec that wrote it.
"""

import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from samples import field

from inr_codec import INRCodec, decode
from inr_codec.chunk.intensity import normalise
from inr_codec.chunk.selection import all_indices
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.decoding.compose import unit_boxes
from inr_codec.encoding.choose_layers import Candidate, with_residual
from inr_codec.encoding.learn_prior import learn_prior
from inr_codec.layers.filter.payload import FilterLayer, pack_filter
from inr_codec.layers.kind import CoverKind
from inr_codec.layers.network.prior import make_prior
from inr_codec.layers.table import kind_of
from inr_codec.stream.frame import PADDING, Layer, LayerType, pack_stream, unpack_stream

QUICK: dict[str, Any] = {"effort": "fast", "steps": 300}


def masked() -> np.ndarray:
    """NaN, infinities and a padded edge."""
    values = field((16, 16, 24), "f4")
    values[0, 0, :3] = [np.nan, np.inf, -np.inf]
    values[:, 12:] = np.nan
    return values


def padded() -> np.ndarray:
    """Integers in a chunk that the array fills in part."""
    values = field((16, 20, 24), ">u2")
    values[:, 14:] = 0
    return values


def seamed() -> np.ndarray:
    """A volume that is cut into eight blocks."""
    return field((24, 32, 40), "u2", noise=0.01)


def together(values: np.ndarray, **options: Any) -> bytes:
    """Networks, deblocking, a residual, a filter and the mask, whatever the encoder would have chosen of them."""
    header, layers = unpack_stream(INRCodec(**options, **QUICK).encode(values))
    covers = [layer for layer in layers if isinstance(kind_of(layer), CoverKind)]
    networks = tuple(layer for layer in layers if layer not in covers)
    assert header.intensity is not None
    assert header.dtype is not None
    valid = np.isfinite(values)
    filled = np.where(valid, values, values[valid].mean()).astype(header.dtype)
    chunk = UnitChunk(normalise(np.ascontiguousarray(filled), header.intensity), valid)
    [(_, decoded)] = unit_boxes(networks, values.shape, all_indices(values.shape))
    budget = sum(len(layer.payload) for layer in networks) + 600
    best = with_residual(chunk, Candidate(networks, decoded, 1.0), budget)
    last = FilterLayer(tuple(n > 1 for n in values.shape), (3, 2), 40, 128, 8)
    steps = tuple(range(8, 8 + 2 * last.shape.depth))
    symbols = np.random.default_rng(0).integers(-2, 3, last.shape.parameters)
    last = replace(last, steps=steps, symbols=symbols)
    return pack_stream(header, [*best.layers, Layer(LayerType.FILTER, pack_filter(last)), *covers])


def assembled() -> dict[str, bytes]:
    """Streams of several layers."""
    four = masked()[:, :12].reshape(4, 4, 12, 24)
    short = INRCodec(lossless=True).encode(field((6, 10, 11), "u1"))
    body = short[8:] + bytes([PADDING, 20]) + bytes(20)
    equal = {"layers": "network", "partition": "equal", "max_blocks": 8}
    return {
        "bounded-padded": short[:4] + zlib.crc32(body).to_bytes(4, "little") + body,
        "all-layers": together(np.asfortranarray(masked().astype(">f4")), ratio=24, **equal),
        "all-layers-nerf": together(four, bpv=1, architecture="nerf", max_blocks=8, partition="equal"),
    }


def cases() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Arrays and options by name: every dtype, order, layer, and the kinds of partition."""
    networks = {"layers": "network"} | QUICK
    found: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        f"network-{dtype}": (field((12, 16, 20), dtype), {"ratio": 12} | networks)
        for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
    }
    found |= {
        "big-endian": (field((12, 16, 20), ">i2"), {"ratio": 12} | networks),
        "fortran": (np.asfortranarray(field((12, 16, 20), "u2")), {"ratio": 12} | networks),
        "1d": (field((70000,), "f4"), {"ratio": 200} | QUICK),
        "2d": (field((60, 70), "u1"), {"ratio": 12} | QUICK),
        "4d": (field((4, 8, 16, 12), "u2"), {"ratio": 12} | QUICK),
        "tree": (seamed(), {"ratio": 20, "partition": "spectrum", "max_blocks": 15} | networks),
        "equal-deblocked": (seamed(), {"ratio": 60, "partition": "equal", "max_blocks": 8, "deblock": True} | networks),
        "one-block": (seamed(), {"ratio": 60, "partition": "none"} | networks),
        "paper": (seamed(), {"ratio": 20, "preset": "paper"} | QUICK),
        "siren": (field((60, 70), "u2"), {"bpv": 3, "architecture": "siren", "bits": 16} | QUICK),
        "nerf": (field((12, 16, 20), "f4"), {"bpv": 2, "architecture": "nerf"} | QUICK),
        "nerf-picture": (field((60, 70), "u1"), {"bpv": 2, "architecture": "nerf", "depth": 7} | QUICK),
        "nerf-blocks": (seamed(), {"bpv": 1, "architecture": "nerf", "partition": "equal", "max_blocks": 8} | QUICK),
        "residual": (field((24, 40, 48), "u2", noise=0.3), {"ratio": 20} | QUICK),
        "filter": (field((32, 64, 64), "u2", noise=0.02), {"ratio": 100} | QUICK),
        "mask": (masked(), {"ratio": 12} | QUICK),
        "mask-network": (masked(), {"ratio": 12} | networks),
        "constant": (np.full((9, 10, 11), 1234, "u2"), {"ratio": 100}),
        "constant-nan": (np.full((9, 10, 11), np.nan, "f4"), {"ratio": 100}),
        "lossless-levels": (field((10, 14, 16), ">i2", 0.002), {"lossless": True}),
        "lossless-table": (np.cumsum(np.arange(90, 346))[field((9, 10, 11), "u1")].astype("u2"), {"lossless": True}),
        "lossless-floats": (np.float32(0.25) * np.rint(field((10, 14, 16), "f4", 0.01)), {"lossless": True}),
        "lossless-noise": (field((6, 10, 11), "f4"), {"lossless": True}),
        "bounded-levels": (np.asfortranarray(field((2, 6, 10, 12), "u4", 0.2)), {"max_error": 3e7, "effort": "fast"}),
        "bounded-base": (field((24, 32, 32), "u2", 0.05), {"max_error": 1500, "effort": "fast"}),
        "bounded-floats": (field((24, 32, 32), "f4", 0.05), {"max_error": 2.5, "effort": "fast"}),
        "bounded-mask": (masked(), {"max_error": 0.5, "effort": "fast"}),
        "bounded-order": (np.asfortranarray(field((12, 20, 24), ">f8", 0.05)), {"max_error": 2.5, "effort": "fast"}),
        "lossless-bool": (field((12, 16, 20), "f4") > 0, {"ratio": 12}),
        "lossless-time": (np.arange("2024-01-01", "2024-02-01", dtype="M8[D]"), {"ratio": 12}),
        "lossless-0d": (np.array(2.5), {"ratio": 12}),
        "lossless-text": (np.array(["dorsal", "ventral"]), {"ratio": 12}),
        "lossless-order": (np.asfortranarray(np.arange(12).reshape(3, 4).astype(">c16")), {"ratio": 12}),
        "lossless-empty": (np.zeros((0, 3), "f4"), {"ratio": 12}),
        "constant-padded": (np.repeat(np.array([5] * 7 + [0] * 5, "u1"), 72).reshape(12, 9, 8), {"ratio": 9}),
        "mask-integers": (padded(), {"ratio": 12} | networks),
        "shallow": (field((60, 70), "u2"), {"bpv": 3, "depth": 2} | networks),
        "deep": (field((16, 16, 24), "f8"), {"bpv": 3, "depth": 9, "funnel_ratio": 0.7, "w0": 22.5} | networks),
    }
    return found


def cases_2() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Arrays and options by name: what version 2 added."""
    rng = np.random.default_rng(0)
    noise = {"effort": "fast"}
    parts = (field((6, 9, 10)) + 1j * field((6, 9, 10), seed=1)).astype(">c8")
    holes = field((9, 14, 12), "i2")
    holes[:, 3:9, 2:7] = -32768
    return {
        "residual-five-axes": (field((2, 2, 3, 14, 15), "u2"), {"ratio": 12} | QUICK),
        "residual-over-four-axes": (series((11, 4, 12, 14)), {"ratio": 12} | QUICK),
        "residual-unit-axes": (np.asfortranarray(field((1, 9, 1, 12, 14), "f4")), {"ratio": 12} | QUICK),
        "residual-complex": (parts, {"ratio": 12} | QUICK),
        "residual-wide-complex": ((field((2, 2, 2, 3, 6, 7)) * (1 + 2j)).astype("c16"), {"ratio": 12} | QUICK),
        "residual-signed-64": (field((8, 9, 10), "i4").astype("i8") * 4096, {"ratio": 12} | QUICK),
        "residual-unsigned-64": (field((8, 9, 10), "u4").astype("u8"), {"ratio": 12} | QUICK),
        "residual-booleans": (field((10, 12, 14), noise=0.6) > 30, {"ratio": 20, "labels": "never"} | QUICK),
        "residual-huge": (field((8, 9, 10), "f8") * 1e305, {"ratio": 8} | QUICK),
        "residual-tiny": (field((8, 9, 10), "f8") * 1e-305, {"ratio": 8} | QUICK),
        "network-five-axes": (field((2, 2, 3, 14, 15), "u2"), {"ratio": 12, "layers": "network"} | QUICK),
        "missing": (holes, {"ratio": 12} | QUICK),
        "constant": (np.full((9, 10, 11), 1234, "u2"), {"ratio": 100}),
        "constant-mean": (field((9, 10, 11), "f4"), {"ratio": 60} | QUICK),
        "constant-missed": (np.full((2, 256), 7, "u1"), {"ratio": 100}),
        "bounded-multiples": (field((5, 9, 11), "f4", 0.2), {"max_error": 2.5, **noise}),
        "bounded-coarse": (field((5, 9, 11), "f4", 0.2) + 1e6, {"max_error": 2.5, **noise}),
        "bounded-half": (field((5, 9, 11), "f2", 0.2), {"max_error": 0.7, **noise}),
        "bounded-table": (rng.choice(np.array([3, 7000, 50001], "u2"), (6, 9, 10)), {"max_error": 40.0}),
        "bounded-base": (field((24, 32, 32), "u2", 0.05), {"max_error": 3000, **noise}),
        "bounded-complex": (parts, {"max_error": 2.0, **noise}),
        "lossless-missed": (np.arange(40.0), {"ratio": 100}),
    } | {
        "labels": (labelled((6, 20, 24)), {"ratio": 100}),
        "labels-wide": (labelled((6, 20, 24)).astype("i8") * 10**14 - 5, {"ratio": 100}),
        "labels-booleans": (field((12, 16, 20)) > 40, {"ratio": 100}),
        "mask-contexts": (speckled((9, 20, 24)), {"ratio": 8} | QUICK),
    }


def series(shape: tuple[int, ...]) -> np.ndarray:
    """A volume that fades while another one comes."""
    share = np.linspace(0, 1, shape[0], dtype="f4")[:, None, None, None]
    return (1 - share) * field(shape[1:]) + share * field(shape[1:], seed=1)


def labelled(shape: tuple[int, ...]) -> np.ndarray:
    """Cells around points: labels whose boundaries are straight and whose numbers say nothing."""
    rng = np.random.default_rng(1)
    points = rng.uniform(0, shape, (14, len(shape)))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    nearest = np.linalg.norm(grid[..., None, :] - points, axis=-1).argmin(-1)
    return rng.permutation(60000)[:14].astype("u2")[nearest]


def speckled(shape: tuple[int, ...]) -> np.ndarray:
    """A tenth of the voxels is NaN or infinite."""
    values, odd = field(shape), np.random.default_rng(2).random(shape)
    values[odd < 0.09] = np.nan
    values[odd > 0.99] = np.inf
    return values


def main() -> None:
    """Write every case that is not there yet."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, data: bytes) -> None:
        if not (folder / f"{name}.inr").exists():
            (folder / f"{name}.inr").write_bytes(data)
            np.savez_compressed(folder / f"{name}.npz", decode(data))
            print(name, len(data))

    first = folder.name == "v1"
    for name, (values, options) in (cases() if first else cases_2()).items():
        if not (folder / f"{name}.inr").exists():
            write(name, INRCodec(**options).encode(values))
    if not first:
        return
    for name, data in assembled().items():
        write(name, data)
    if not (folder / "prior.inr").exists():
        recipe = {"ratio": 40, "layers": "network"} | QUICK
        learnt = learn_prior([field((12, 16, 20), seed=1)], Config(**recipe), rounds=2, steps=100)
        few = {size: learnt.starts[size] for size in sorted(learnt.starts)[:3]}
        text = make_prior(learnt.dims, learnt.depth, learnt.funnel_units, learnt.w0_units, few).text
        (folder / "prior.prior").write_text(text)
        write("prior", INRCodec(prior=text, **recipe).encode(field((12, 16, 20))))


if __name__ == "__main__":
    main()
