"""Digests of what this checkout writes and reads: equal before and after a change that must not change bytes.

    INR_CODEC_THREADS=1 python tests/golden/digests.py > before.txt

One line a case: its name, SHA-256 of the stream, SHA-256 of the array it decodes to. Golden streams are decoded, arrays
are encoded with every option of the README's table, every effort, the torch engine and a batch run. The process that
compiles kernels prints what all others print. One machine and one set of package versions: fits are float32. It takes
about two minutes on one core, once kernels are compiled.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from make import QUICK, assembled, cases, seamed
from samples import field

from inr_codec import INRCodec, INRSerializer, decode
from inr_codec.cli import main as command_line

HERE = Path(__file__).parent


def options() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Arrays and options by name, beside those of `make.cases`: what the README's table offers and each effort."""
    blocks = {"ratio": 20, "layers": "network", "max_blocks": 8} | QUICK
    busy = field((24, 40, 48), "u2", noise=0.1)
    threshold = np.zeros((24, 32, 40))
    threshold[:, 8:20] = 3.0
    return {
        "effort-fast": (busy, {"ratio": 50, "effort": "fast"}),
        "effort-default": (busy, {"ratio": 50}),
        "effort-best": (field((12, 24, 24), "u2", noise=0.1), {"ratio": 30, "effort": "best", "steps": 2000}),
        "psnr": (busy, {"psnr": 38} | QUICK),
        "psnr-network": (seamed(), {"psnr": 30, "layers": "network"} | QUICK),
        "seed": (busy, {"ratio": 50, "seed": 7} | QUICK),
        "partition-measured": (seamed(), {"partition": "measured"} | blocks),
        "partition-spectrum-centred": (
            seamed(),
            {"partition": "spectrum", "top_m": 3, "concentration": "centred", "levels": 2} | blocks,
        ),
        "allocation-measured": (seamed(), {"partition": "equal", "allocation": "measured"} | blocks),
        "allocation-spectrum": (seamed(), {"partition": "equal", "allocation": "spectrum"} | blocks),
        "allocation-size": (seamed(), {"partition": "equal", "allocation": "size"} | blocks),
        "allocation-concentration": (seamed(), {"partition": "equal", "allocation": "concentration"} | blocks),
        "allocation-equal": (seamed(), {"partition": "equal", "allocation": "equal"} | blocks),
        "networks-shape": (seamed(), {"depth": 4, "funnel_ratio": 1.5, "w0": 20, "bits": 7, "deblock": False} | blocks),
        "adamax": (seamed(), {"optimiser": "adamax", "learning_rate": 2e-3, "batch": 256, "deblock": True} | blocks),
        "weights-foreground": (busy, {"ratio": 50, "weights": "foreground"} | QUICK),
        "weights-number": (busy, {"ratio": 50, "weights": 30000.0} | QUICK),
        "weights-array": (seamed(), {"weights": 1 + threshold} | blocks),
        "prior": (
            field((12, 16, 20)),
            {"ratio": 40, "layers": "network", "prior": (HERE / "v1" / "prior.prior").read_text()} | QUICK,
        ),
        "exact-labels": (field((16, 24, 24), "u2") // 20000, {"ratio": 9}),
        "too-small-budget": (busy, {"ratio": 3000} | QUICK),
    }


def structures() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Arrays and options of the structural regulariser."""
    import segmenters

    image = field((32, 40), "f4")
    common = {"bpv": 1.5, "segmentation": segmenters.Threshold(40.0, 0.2), "effort": "fast", "steps": 300}
    return {
        "structure": (image, common),
        "structure-mask": (image, common | {"mask": (image > 30).astype(int), "dice_weight": 2.0}),
    }


def show(name: str, stream: bytes, array: np.ndarray) -> None:
    """One line: name, digest of the stream, digest of dtype, shape and values."""
    described = f"{array.dtype.str} {array.shape}".encode() + array.tobytes()
    print(f"{name:32} {hashlib.sha256(stream).hexdigest()} {hashlib.sha256(described).hexdigest()}", flush=True)


def arrays(folder: Path) -> None:
    """Whole arrays: written through zarr and by the batch driver, without its processes."""
    values = field((24, 40, 48), "u2", noise=0.1)
    made = zarr.create_array(
        folder / "serialised.zarr",
        data=values,
        chunks=(24, 20, 24),
        shards=(24, 40, 48),
        serializer=INRSerializer(ratio=30, **QUICK),
        compressors=None,
    )
    show("serializer-shards", (folder / "serialised.zarr/c/0/0/0").read_bytes(), np.asarray(made[:]))
    np.save(folder / "source.npy", values)
    source, target = str(folder / "source.npy"), str(folder / "planned.zarr")
    chunks = ("--chunks", "12,20,24", "--effort", "fast")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for words in (["plan", source, target, "--ratio", "30", *chunks], ["measure", target], ["run", target]):
            assert command_line(words) == 0, words
        assert command_line(["finish", target]) == 0
    done = zarr.open_array(target, mode="r")
    keys = sorted(
        path for path in Path(target).rglob("*") if path.is_file() and not path.name.startswith((".", "zarr"))
    )
    show("batch", b"".join(path.read_bytes() for path in keys), np.asarray(done[:]))


def main() -> None:
    """Print all digests."""
    if os.environ.get("INR_CODEC_THREADS") != "1":
        sys.exit("expected INR_CODEC_THREADS=1 in the environment: one thread makes outputs comparable")
    torch.set_num_threads(1)
    for path in sorted(HERE.glob("v*/*.inr")):
        if path.stem == "prior":
            INRCodec(ratio=2, prior=path.with_suffix(".prior").read_text())
        show(f"read {path.parent.name} {path.stem}", path.read_bytes(), decode(path.read_bytes()))
    for name, data in assembled().items():
        show(f"write {name}", data, decode(data))
    for name, (values, chosen) in (cases() | options() | structures()).items():
        data = INRCodec(**chosen).encode(values)
        show(f"write {name}", data, decode(data))
    os.environ["INR_CODEC_ENGINE"] = "torch"
    data = INRCodec(ratio=20, layers="network", partition="equal", max_blocks=8, **QUICK).encode(seamed())
    show("write engine-torch", data, decode(data))
    del os.environ["INR_CODEC_ENGINE"]
    with tempfile.TemporaryDirectory() as folder:
        arrays(Path(folder))


if __name__ == "__main__":
    main()
