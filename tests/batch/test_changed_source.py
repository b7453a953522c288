"""A source that is not what was planned any more is refused where its values were used, and told of elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field

from inr_codec import batch
from inr_codec.batch import store
from inr_codec.batch.verify import verify
from inr_codec.errors import ConfigError

SHAPE, CHUNKS = (8, 32, 32), (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::FutureWarning")


def write(path: Path, values: np.ndarray) -> str:
    """The values as a source of the kind that the name tells, whatever was there before; its path or URL."""
    if path.suffix == ".npy":
        np.save(path.with_suffix(".new.npy"), values)
        os.replace(path.with_suffix(".new.npy"), path)
        return str(path)
    place = str(path) if path.suffix == ".zarr" else f"memory://changed/{path.name}.zarr"
    zarr.create_array(place, data=values, chunks=CHUNKS, overwrite=True)
    return place


NAMES = ["a.npy", "a.zarr", "a.memory"]


@pytest.mark.parametrize("name", NAMES)
def test_other_values_between_the_passes_are_refused(name: str, tmp_path: Path) -> None:
    """One voxel of the last chunk has changed after it was measured, or after it was encoded: the next pass, and the
    same command again, name the chunk; --force goes on and --overwrite begins anew."""
    values, target = field(SHAPE, np.uint16), str(tmp_path / "t.zarr")
    source = write(tmp_path / name, values)
    batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    batch.measure(target, batch.Here(1))
    values[-1, -1, -1] += 1
    write(tmp_path / name, values)
    with pytest.raises(ConfigError, match=r"other values in chunk 3"):
        batch.encode(target, batch.Here(1))
    with pytest.raises(ConfigError, match=r"other values in chunk 3"):
        batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS, force=True)
    assert verify(target, against=values, sample=1).wrong == 0
    values[0, 0, 0] += 1
    write(tmp_path / name, values)
    with pytest.raises(ConfigError, match=r"other values in chunk 0"):
        batch.encode(target, batch.Here(1))
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS, overwrite=True)
    assert verify(target, against=values, sample=1).wrong == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change", [lambda values: values.astype(np.float32), lambda values: values[:, :16]], ids=["dtype", "shape"]
)
def test_another_dtype_or_shape_is_refused(name: str, change: Callable[..., Any], tmp_path: Path) -> None:
    """By every step that reads the source, instead of values that are cast or padded in silence."""
    values, target = field(SHAPE, np.uint16), str(tmp_path / "t.zarr")
    source = write(tmp_path / name, values)
    batch.prepare(source, target, SETTINGS, chunks=CHUNKS)
    write(tmp_path / name, change(values))
    for step in (batch.measure, batch.encode_array):
        with pytest.raises(ConfigError, match=r"changed|begun with"):
            step(target, batch.Here(1)) if step is batch.measure else step(source, target, SETTINGS, chunks=CHUNKS)
    assert not (Path(target) / "c").exists()


def test_a_source_that_is_only_newer_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same values with other times, a copy or a repaired file: work goes on, says so once, and keeps its chunks."""
    values, target = field(SHAPE, np.uint16), str(tmp_path / "t.zarr")
    source = write(tmp_path / "a.npy", values)
    done = batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    keys = {file: file.stat().st_mtime_ns for file in Path(target, "c").rglob("*") if file.is_file()}
    os.utime(source, ns=(1, 1))
    assert batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)["bytes"] == done["bytes"]
    assert "4 chunks that were used hold the same values" in caplog.text
    caplog.clear()
    batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    assert "values" not in caplog.text
    assert keys == {file: file.stat().st_mtime_ns for file in keys}


def test_a_mask_is_watched_too(tmp_path: Path) -> None:
    """Its marks are part of the plan."""
    values, target = field(SHAPE, np.uint16), str(tmp_path / "t.zarr")
    plan = batch.prepare(write(tmp_path / "a.npy", values), target, SETTINGS, chunks=CHUNKS)
    assert plan.marks["files"] == 1 and plan == store.load_plan(target)
    again = batch.prepare(plan.source, target, SETTINGS, chunks=CHUNKS)
    assert again.marks == plan.marks
    write(tmp_path / "a.npy", values[::-1])
    changed = batch.prepare(plan.source, target, SETTINGS, chunks=CHUNKS, force=True)
    assert changed.marks != plan.marks and changed.id != plan.id
