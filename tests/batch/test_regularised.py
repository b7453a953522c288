"""The batch driver with a segmentation network and a mask beside the source."""

from pathlib import Path

import numpy as np
import pytest
import segmenters
import torch
from samples import FAST, field

from inr_codec import batch
from inr_codec.batch import manifest, store
from inr_codec.cli import parser as cli
from inr_codec.config import make_config
from inr_codec.encoding.encoder import encode
from inr_codec.errors import ConfigError

CHUNKS = (8, 16, 16)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A volume of two chunks, the last one cut off, a mask beside it, and a network."""
    volume = field((6, 16, 24))
    np.save(tmp_path / "source.npy", volume)
    np.save(tmp_path / "mask.npy", np.roll(volume > 40, 2, axis=2))
    program = torch.export.export(
        segmenters.Threshold(40.0, 0.2), (torch.zeros(3, 1, 16, 16),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, tmp_path / "network.pt2")
    names = ("source.npy", "mask.npy", "network.pt2")
    return {name.split(".")[0]: str(tmp_path / name) for name in names}


@pytest.mark.slow
def test_every_chunk_is_encoded_with_its_part_of_the_mask(files: dict[str, str], tmp_path: Path) -> None:
    """The streams are those of `encode(chunk, config, labels=part)`, padded with background; metadata name no path."""
    target = str(tmp_path / "a.zarr")
    settings = {"bpv": 2, "segmentation": files["network"], "dice_weight": 9, **FAST, "steps": 60}
    batch.encode_array(files["source"], target, settings, chunks=CHUNKS, per_chunk=True, mask=files["mask"], workers=1)
    plan = store.load_plan(target)
    volume, mask = np.load(files["source"]), np.load(files["mask"])
    for n in range(plan.count):
        chunk, labels = np.full(plan.chunks, np.nan, "f4"), np.zeros(plan.chunks, int)
        inside = tuple(slice(0, part.stop - part.start) for part in plan.region_of(n))
        chunk[inside], labels[inside] = volume[plan.region_of(n)], mask[plan.region_of(n)]
        expected = encode(chunk, make_config(settings), labels=labels).stream
        assert manifest.stored_stream(plan, store.array_folder(plan), n) == expected
        assert expected != encode(chunk, make_config(settings)).stream
    metadata = (tmp_path / "a.zarr" / "zarr.json").read_text()
    assert "sha256:" in metadata and "network" not in metadata.replace('"network"', "")


def test_another_mask_is_another_plan(files: dict[str, str], tmp_path: Path) -> None:
    """A target that was begun without a mask is not continued with one; the plan finds its network again."""
    target, settings = str(tmp_path / "a.zarr"), {"bpv": 2, "segmentation": files["network"], **FAST}
    plan = batch.prepare(files["source"], target, settings, chunks=CHUNKS)
    assert store.load_plan(target).config.segmentation.content == Path(files["network"])
    assert batch.prepare(files["source"], target, settings, chunks=CHUNKS) == plan
    with pytest.raises(ConfigError, match="got others: mask"):
        batch.prepare(files["source"], target, settings, chunks=CHUNKS, mask=files["mask"])


def test_masks_that_do_not_fit_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    """Before anything is written: a mask of another shape, one without a network, a network that is no file."""
    target, settings = str(tmp_path / "a.zarr"), {"bpv": 2, "segmentation": files["network"], **FAST}
    np.save(tmp_path / "short.npy", np.zeros((6, 16, 23), bool))
    with pytest.raises(ConfigError, match=r"shape \(6, 16, 24\), got \(6, 16, 23\)"):
        batch.prepare(files["source"], target, settings, mask=str(tmp_path / "short.npy"))
    with pytest.raises(ConfigError, match="add --segmentation"):
        batch.prepare(files["source"], target, {"bpv": 2}, mask=files["mask"])
    with pytest.raises(ConfigError, match=r"save it with torch.export"):
        batch.prepare(files["source"], target, {"bpv": 2, "segmentation": segmenters.threshold_at_zero})
    assert not (tmp_path / "a.zarr").exists()


def test_on_the_command_line(files: dict[str, str], tmp_path: Path) -> None:
    """`plan --segmentation --dice-weight --mask` plans that; `encode` alone takes no mask."""
    options = ["--segmentation", files["network"], "--dice-weight", "2", "--mask", files["mask"]]
    assert cli.main(["plan", files["source"], str(tmp_path / "a.zarr"), *options]) == 0
    plan = store.load_plan(str(tmp_path / "a.zarr"))
    assert (plan.config.dice_weight, plan.mask, plan.segmentation) == (2, files["mask"], files["network"])
    assert cli.main(["encode", files["source"], str(tmp_path / "b.zarr"), *options]) == 2
