"""Writes the golden streams: run once for a new format version, never to make a failing test pass.

    python tests/golden/make.py tests/golden/v1

Each case is NAME.inr (the stream) and NAME.npz (the array it decodes to, on the machine that wrote it).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from samples import field

from inr_codec import INRCodec, decode

QUICK: dict[str, Any] = {"effort": "fast", "steps": 300}


def masked() -> np.ndarray:
    """NaN, infinities and a padded edge."""
    values = field((16, 16, 24), "f4")
    values[0, 0, :3] = [np.nan, np.inf, -np.inf]
    values[:, 12:] = np.nan
    return values


def seamed() -> np.ndarray:
    """A volume that is cut into eight blocks."""
    return field((24, 32, 40), "u2", noise=0.01)


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
        "bounded-levels": (np.asfortranarray(field((2, 6, 10, 12), "u4", 0.2)), {"max_error": 3e7} | QUICK),
        "bounded-base": (field((24, 32, 32), "u2", 0.05), {"max_error": 1500} | QUICK),
        "bounded-floats": (field((24, 32, 32), "f4", 0.05), {"max_error": 2.5} | QUICK),
        "bounded-mask": (masked(), {"max_error": 0.5} | QUICK),
        "lossless-bool": (field((12, 16, 20), "f4") > 0, {"ratio": 12}),
        "lossless-time": (np.arange("2024-01-01", "2024-02-01", dtype="M8[D]"), {"ratio": 12}),
        "lossless-0d": (np.array(2.5), {"ratio": 12}),
        "lossless-text": (np.array(["dorsal", "ventral"]), {"ratio": 12}),
    }
    return found


def main() -> None:
    """Write every case that is not there yet."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (values, options) in cases().items():
        if (folder / f"{name}.inr").exists():
            continue
        data = INRCodec(**options).encode(values)
        (folder / f"{name}.inr").write_bytes(data)
        np.savez_compressed(folder / f"{name}.npz", decode(data))
        print(name, len(data))


if __name__ == "__main__":
    main()
