"""An array of which one chunk is busy and five are smooth: one budget for all of them is better than one for each."""

from pathlib import Path

import numpy as np
import pytest
from samples import FAST, field, psnr

from inr_codec import batch, io
from inr_codec.cli.parser import main

CHUNKS = (16, 32, 32)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.mark.slow
def test_an_array_gains_from_one_budget(tmp_path: Path) -> None:
    """It is 1 dB nearer than with the same ratio for every chunk, in no more bytes; every chunk is as near as it says;
    the PSNR of the manifest is that of the decoded arrays."""
    volume = 100 * field((16, 64, 96), noise=0)
    volume[:, :32, :32] += 40 * field(CHUNKS, noise=1, seed=1)
    volume = np.rint(volume + 5000).astype(np.uint16)
    source, one, each = (str(tmp_path / name) for name in ("source.npy", "one.zarr", "each.zarr"))
    np.save(source, volume)
    settings = {"ratio": 50, **FAST}
    done = {
        target: batch.encode_array(source, target, settings, chunks=CHUNKS, per_chunk=target == each)
        for target in (one, each)
    }
    assert max(summary["bytes"] for summary in done.values()) <= volume.nbytes / 50
    assert main(["verify", one, "--against", source, "--sample", "100%"]) == 0
    for target, summary in done.items():
        assert summary["psnr"] == pytest.approx(psnr(volume, np.asarray(io.load(target).array[...])), abs=0.05)
    assert done[one]["psnr"] - done[each]["psnr"] >= 1
