"""The source, the target and the state folder of a plan, opened by path or URL."""

import json
import os
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec import io
from inr_codec.batch.plan import ODD, Plan, check_inner
from inr_codec.codec import INRCodec
from inr_codec.errors import ConfigError
from inr_codec.io.ome_zarr import Image, image_of
from inr_codec.io.record import Record, named
from inr_codec.io.zarr_arrays import volume_of
from inr_codec.runtime.caches import kept
from inr_codec.stores.folders import SCRATCH, Folder, check_within, is_url, open_folder
from inr_codec.targets import VIEW, local_path, place_of, split_view

PLAN, BUDGET = "plan.json", "budget.npy"
METADATA = ("zarr.json", ".zarray", ".zgroup")


def split_target(target: str) -> tuple[str, str]:
    """The store of a target and the path in it: ("brain.zarr", "a/0") of "brain.zarr/a/0"."""
    parts = target.rstrip("/").split("/")
    for k, part in enumerate(parts):
        if part.endswith(".zarr"):
            return "/".join(parts[: k + 1]), "/".join(parts[k + 1 :])
    return target.rstrip("/"), ""


def state_of(target: str) -> str:
    """The folder beside a store that holds the plan of a target and the records of its chunks."""
    root, inner = split_target(target)
    return f"{root}.batch/{inner}".rstrip("/")


def state_folder(target: str) -> Folder:
    """The state folder of a target."""
    return open_folder(state_of(target))


def array_path(plan: Plan) -> str:
    """The path or URL of the array of a plan."""
    return "/".join(filter(None, (plan.target.rstrip("/"), plan.array)))


def array_folder(plan: Plan) -> Folder:
    """The folder of the array's keys; temporary files of local ones go to the state folder.

    ConfigError where a link leads from the target to another place.
    """
    root = array_path(plan)
    if not is_url(root):
        check_within(root, plan.target)
    return open_folder(root, f"{state_of(plan.target)}/{SCRATCH}")


def load_plan(target: str) -> Plan:
    """The plan of a target; ConfigError where there is none, or a damaged one.

    The target is the one that is asked for, wherever it was when it was planned: stores may be moved, and nothing that
    a plan says can lead to another one.
    """
    text = state_folder(target).read(PLAN)
    if text is None:
        raise ConfigError(f"expected a plan in {state_of(target)!r}, found none: run inr-codec plan SOURCE {target}")
    return replace(Plan.from_json(text), target=absolute(target))


def absolute(path: str) -> str:
    """A path that means the same in every folder, of a file:// URL too; other URLs as they are."""
    path = local_path(path)
    return path if is_url(path) else os.path.abspath(path)


def save_budget(plan: Plan, allowed: Any) -> None:
    """Write the bytes that each chunk may take: a npy file, and its CRC-32 (4 bytes, little-endian) after it."""
    out = BytesIO()
    np.save(out, np.asarray(allowed, np.uint32))
    data = out.getvalue()
    state_folder(plan.target).write(BUDGET, data + zlib.crc32(data).to_bytes(4, "little"))


def load_budget(plan: Plan) -> NDArray[np.uint32] | None:
    """Bytes that each chunk may take, by number; None where no budget has been made, or it is damaged."""
    data = state_folder(plan.target).read(BUDGET)
    if data is None:
        return None
    if zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        return None
    try:
        budget = np.load(BytesIO(data[:-4]))
    except (ValueError, EOFError, OSError):  # a file of somebody else, under a checksum that holds
        return None
    return budget if budget.shape == (plan.count,) and budget.dtype == np.uint32 else None


@kept(4)
def open_source(path: str, marks: str) -> Any:
    """The array at a path or URL, once for a process and the marks of its files (any text that changes with them).

    Anything that io.load opens, or one zarr array behind a URL.
    """
    return open_volume(path).array


def open_volume(path: str) -> io.Volume:
    """An array and what belongs to it, of a view of a source too. ConfigError for what cannot be opened."""
    source, view = split_view(path)
    if view is not None:
        level = view_of(source).levels[int(view or 0)]
        return io.Volume(level.array, Record(named(level.names or ())), level.attributes)
    volume = _opened(local_path(path))
    if volume.axes is None and hasattr(volume.array, "metadata"):
        names = _ome_axes(local_path(path), volume.array.ndim)
        volume = replace(volume, record=replace(volume.record, axes=named(names)))
    return volume


def _opened(path: str) -> io.Volume:
    if not is_url(path):
        try:
            return io.load(path)
        except FileNotFoundError:
            if Path(path).is_dir() and not any(Path(path, name).exists() for name in METADATA):
                raise ConfigError(
                    f"expected a volume, found a folder that is no zarr array or group at {path!r}: name a file, or "
                    "a folder of TIFF or DICOM files"
                ) from None
            raise
    import zarr

    place_of(path)
    try:
        array: Any = zarr.open_array(path, mode="r")
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"expected a zarr array behind {path!r}, got {type(error).__name__} ({said}): check the address and access"
        ) from error
    return volume_of(array)


def _ome_axes(path: str, ndim: int) -> tuple[str, ...]:
    """Names of the axes of an array in an OME-Zarr group, by the group's multiscales (0.4 keeps them nowhere else)."""
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(path.rstrip("/").rpartition("/")[0], mode="r").attrs)
        axes = attributes.get("ome", attributes)["multiscales"][0]["axes"]
        names = tuple(str(axis["name"] if isinstance(axis, dict) else axis) for axis in axes)
    except Exception:  # in no group, or in one of another kind; or whatever a file system behind a URL raises
        return ()
    return names if len(names) == ndim else ()


def view_of(source: str) -> Image:
    """The OME-Zarr image that is made of a source."""
    return image_of(open_volume(source), os.path.basename(source.rstrip("/")).partition(".")[0])


def as_image(source: str, target: str, ome: bool = False) -> str:
    """A source as the OME-Zarr image that is made of it, where that is asked for or the target's name promises it."""
    wanted = ome or target.rstrip("/").lower().endswith(".ome.zarr")
    return f"{source}{VIEW}" if wanted and finest_level(source) is None else source


def check_voxels(array: Any, path: str, kinds: str = "biufc") -> None:
    """ConfigError for an array without voxels, or of anything but one value a voxel of these kinds of dtype."""
    dtype, shape = array.dtype, tuple(array.shape)
    fields = getattr(dtype, "names", None)
    if fields:
        raise ConfigError(
            f"expected one number a voxel in {path!r}, got the fields {', '.join(fields)}: encode each as a volume of "
            "its own, or as one more axis"
        )
    if getattr(dtype, "kind", "O") not in kinds:
        real = "" if "c" in kinds else "real "
        raise ConfigError(f"expected an array of {real}numbers in {path!r}, got {dtype!r}: convert it, or name another")
    if not shape or 0 in shape:
        raise ConfigError(f"expected voxels along 1 axis or more in {path!r}, got the shape {shape!r}: name another")


def finest_level(path: str) -> str | None:
    """Path of the finest level in an OME-Zarr group (0.4 and 0.5), or in a view; None for anything else."""
    if (view := split_view(path)[1]) is not None:
        return None if view else "0"
    if not is_url(path) and not any(Path(path, name).exists() for name in METADATA):
        return None
    import zarr

    try:
        node = zarr.open(path, mode="r")
    except Exception as error:
        raise ConfigError(
            f"expected a zarr array or group at {path!r}, got {type(error).__name__} ({' '.join(str(error).split())}): "
            "check the address and access"
        ) from error
    if not isinstance(node, zarr.Group):
        return None
    attributes: dict[str, Any] = dict(node.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        return None
    finest = str(scales[0]["datasets"][0]["path"])
    check_inner(finest)
    return finest


def create_target(plan: Plan) -> None:
    """The empty array of a plan, and the groups that it lies in; what is there already stays."""
    import zarr

    root, inner = split_target(array_path(plan))
    if inner and open_folder(root).size("zarr.json") is None and open_folder(root).size(".zgroup") is None:
        zarr.open_group(root, mode="a", zarr_format=plan.zarr_format)
    if array_folder(plan).size("zarr.json") is None and array_folder(plan).size(".zarray") is None:
        new_array(plan, f"{root}/{inner}".rstrip("/"))


def written_array(plan: Plan) -> Any:
    """The target of a plan, to be changed; ConfigError where there is none."""
    import zarr

    try:
        return zarr.open_array(array_path(plan), mode="r+")
    except FileNotFoundError:
        raise ConfigError(
            f"expected an array at {array_path(plan)!r}, found none: plan it again with --overwrite"
        ) from None


def described_array(plan: Plan, *, stored: bool = False) -> dict[str, Any]:
    """The metadata of the array that a plan makes, or those that are `stored` at its target; {} where none are.

    Without attributes, which others may write as well.
    """
    name = "zarr.json" if plan.zarr_format == 3 else ".zarray"
    if stored:
        text = array_folder(plan).read(name)
    else:
        from zarr.storage import MemoryStore

        kept: dict[str, Any] = {}
        new_array(plan, MemoryStore(kept))
        text = kept[name].to_bytes()
    try:
        told = json.loads(text or b"{}")
        told.pop("attributes", None)
    except ODD:
        return {}
    return dict(told)


def tell_settings(plan: Plan) -> None:
    """Make the metadata of an array that is there tell the settings of this plan, with which it is to go on."""
    name, folder = "zarr.json" if plan.zarr_format == 3 else ".zarray", array_folder(plan)
    wanted = described_array(plan)
    if described_array(plan, stored=True) != wanted:
        told = json.loads(folder.read(name) or b"{}")
        folder.write(name, json.dumps(told | wanted, indent=2).encode())


def new_array(plan: Plan, path: Any) -> Any:
    """An empty encoded zarr array with the names and attributes of its source, as xarray reads them."""
    import zarr

    from inr_codec.serializer import INRSerializer

    attributes, options = dict(plan.attributes), dict[str, Any]()
    if plan.zarr_format == 3:
        options |= {"serializer": INRSerializer(**plan.settings), "compressors": None, "dimension_names": plan.axes}
        options["shards"] = plan.shards
    else:
        options["compressors"] = INRCodec(**plan.settings)
        options["chunk_key_encoding"] = {"name": "v2", "separator": plan.separator}
        if plan.axes:
            attributes["_ARRAY_DIMENSIONS"] = list(plan.axes)
    return zarr.create_array(
        path,
        shape=plan.shape,
        dtype=np.dtype(plan.dtype),
        chunks=plan.chunks,
        zarr_format=plan.zarr_format,
        attributes=attributes,
        fill_value=plan.fill_value,
        **options,
    )
