"""Supplementary Figure 5 of the SCI paper: fidelity of single blocks against their spectrum concentration D (eq. 9).

Every block gets one network in the same number of bytes a voxel. As the paper has it: D with the zero frequency, PSNR
in the window of the whole volume. Both grow where a block is merely quiet, so two forms without that are measured
beside: D without the zero frequency, and the signal-to-noise ratio of the block itself.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.environment import environment
from inr_codec import INRCodec, metrics
from inr_codec.layers.network.spectrum import spectrum_concentration

SIDE, BPV = 32, 0.125
QUICK_BLOCKS = 12


def blocks_of(chunk: NDArray, side: int, count: int) -> list[NDArray]:
    """At most `count` cubes (thinner in thin stacks) evenly from a chunk, constant ones left out."""
    starts = [range(0, max(n - side, 0) + 1, side) for n in chunk.shape]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, chunk.ndim)
    cubes = [np.ascontiguousarray(chunk[tuple(slice(a, a + side) for a in corner)]) for corner in corners]
    cubes = [cube for cube in cubes if cube.max() > cube.min()]
    return [cubes[k] for k in np.unique(np.linspace(0, len(cubes) - 1, count).astype(int))] if cubes else []


def measure_block(block: NDArray, window: float, options: dict) -> dict:
    """Both forms of D, both of fidelity."""
    codec = INRCodec(bpv=BPV, layers="network", partition="none", deblock=False, **options)
    decoded = codec.decode(codec.encode(block))
    values = block.astype(np.float32)
    error = float(np.mean((decoded.astype(np.float64) - block) ** 2)) or math.nan
    return {
        "d": round(spectrum_concentration(values), 6),
        "d_centred": round(spectrum_concentration(values, form="centred"), 6),
        "psnr": round(metrics.psnr(block, decoded, peak=window), 3),
        "snr": round(10 * math.log10(float(values.var(dtype=np.float64)) / error), 3),
    }  # fmt: skip


def run(chunks: dict[str, NDArray], out: Path, *, full: bool, smoke: bool) -> None:
    """Write concentration.json."""
    options = {"effort": "fast", "steps": 50} if smoke else {}
    side, count = (16, 2) if smoke else (SIDE, 10**6 if full else QUICK_BLOCKS)
    rows = []
    with ThreadPoolExecutor(2) as pool:
        for name, chunk in chunks.items():
            window = float(chunk.max()) - float(chunk.min())
            cubes = blocks_of(chunk, side, count)
            found = pool.map(lambda cube, window=window: measure_block(cube, window, options), cubes)
            rows += [{"volume": name, **row} for row in found if not math.isnan(row["snr"])]
            print(f"  {name}: {len(cubes)} blocks", flush=True)
    result = {"environment": environment(), "side": side, "bpv": BPV, "rows": rows}
    (out / "concentration.json").write_text(json.dumps(result, indent=1))
