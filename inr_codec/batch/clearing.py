"""The place of a target: whether a plan may be begun or continued there, and what goes when it begins anew.

What is deleted is the arrays of the old plan (or one zarr array that has no plan) and, beside the store, the files that
a plan consists of. Whatever else lies there keeps the target from being replaced.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from inr_codec import targets
from inr_codec.batch.manifest import JOURNAL, MANIFEST, MEASURES, SUMMARY
from inr_codec.batch.owners import FOLDER as OWNERS
from inr_codec.batch.plan import Plan
from inr_codec.batch.shards import SPOOL
from inr_codec.batch.store import BUDGET, PLAN, array_path, load_plan, split_target, state_folder, state_of
from inr_codec.errors import ConfigError
from inr_codec.stores.encoded_chunks import codec_of
from inr_codec.stores.folders import SCRATCH, is_url, open_folder
from inr_codec.targets import GROUP_FILES, Place, place_of

STATE = (SCRATCH, SPOOL, JOURNAL, MEASURES, BUDGET, MANIFEST, SUMMARY, PLAN)
"""What a state folder holds, beside the folder of those who work on it."""

TEMPORARY = re.compile(r"[0-9a-f]{32}|")
"""Files that an interrupted process leaves in the folder for them."""


def check_target(plan: Plan, overwrite: bool) -> None:
    """Whether a plan may be written at its target, over what is there already with `overwrite`.

    Raises ConfigError for a target that is, holds or lies in a source, or lies in another array; FileExistsError where
    something is there that is not ours to write to.
    """
    sources = [plan.source_group or plan.source, *filter(None, (plan.mask, plan.segmentation))]
    targets.check_array_name(plan.target)
    targets.check_apart(plan.target, sources)
    _check_state(plan.target)
    old = plan_at(plan.target)
    damaged = old is None and state_folder(plan.target).size(PLAN) is not None
    if old is None and not damaged and not overwrite and place_of(plan.target).exists():
        raise FileExistsError(
            f"expected a new path, found something at {plan.target!r} without a plan beside it: choose another or "
            "--overwrite it"
        )
    if old is None:
        targets.check_array_target(plan.target, overwrite=overwrite or damaged)
    elif overwrite and place_of(plan.target).exists():
        _check_planned(plan.target, old)
    root = os.path.dirname(os.path.abspath(split_target(plan.target)[0]))
    if not is_url(plan.target) and not os.path.isdir(root):
        raise FileNotFoundError(f"expected a folder to write to, found none at {root!r}: create it first")


def plan_at(target: str) -> Plan | None:
    """The plan beside a target; None where there is none, or a damaged one."""
    if state_folder(target).size(PLAN) is not None:
        with suppress(ConfigError):
            return load_plan(target)
    return None


def clear(target: str) -> None:
    """Delete what `check_target` has allowed to be replaced; who is at work stays to be known.

    Plans go first: from then on no task of theirs writes. Then keys, so that the rest is known for what it is.
    """
    old, place = plan_at(target), place_of(target)
    levels = [] if old is None else _levels(target, old)
    if place.exists():
        if old is None:
            targets.check_array_replaced(target)
        else:
            _check_planned(target, old)
    for level in ("", *levels):
        state_folder(f"{target.rstrip('/')}/{level}".rstrip("/")).delete(PLAN)
    if place.exists():
        folder = open_folder(target)
        for name in sorted(folder.names(""), key=lambda name: name in targets.ARRAY_FILES | GROUP_FILES):
            folder.delete(name)
        folder.delete("")
    _delete_states(target, levels)


def forget(target: str) -> None:
    """Delete the plan of a target, with those of its levels, and what was recorded under it; nothing else there."""
    old = plan_at(target)
    if old is not None:
        _delete_states(target, _levels(target, old))


def _delete_states(target: str, levels: list[str]) -> None:
    for one in [*(f"{target.rstrip('/')}/{level}" for level in sorted(levels, key=len, reverse=True)), target]:
        folder = open_folder(state_of(one))
        for name in STATE:
            folder.delete(name)
        outer = folder.root
        while not is_url(outer) and len(outer) >= len(state_of(split_target(target)[0])):
            with suppress(OSError):  # something else is in it
                os.rmdir(outer)
            outer = os.path.dirname(outer)


@contextmanager
def undone(target: str) -> Iterator[None]:
    """Where the block fails, what it has written at a new target goes, and groups that were made for it."""
    root = split_target(target)[0]
    were = {path: place_of(path).exists() for path in (root, target)}
    planned = plan_at(target) is not None
    try:
        yield
    except BaseException:
        if not planned and not were[target]:
            open_folder(target).delete("")
            old = plan_at(target)
            _delete_states(target, [] if old is None else _levels(target, old))
            if not were[root]:
                drop_group(root)
        raise


def drop_group(path: str) -> None:
    """Delete a zarr group that holds nothing."""
    place = place_of(path)
    if place.exists() and all(name in GROUP_FILES for name in place.walk()):
        open_folder(path).delete("")


def _check_state(target: str) -> None:
    """FileExistsError where the folder for the plan is there, without a sound plan, and holds what no plan leaves."""
    place = place_of(state_of(target))
    if not place.exists() or plan_at(target) is not None:
        return
    names = list(place.walk())
    lone = {name.partition("/")[0] for name in names} <= {PLAN, SCRATCH, OWNERS} and not place_of(target).exists()
    for name in names:
        top, _, rest = name.partition("/")
        if top not in (*STATE, OWNERS) or (top == SCRATCH and not TEMPORARY.fullmatch(rest)) or (lone and name == PLAN):
            raise FileExistsError(
                f"expected a free place for the plan, found {name!r} of something else in {state_of(target)!r}: choose "
                "another target"
            )


def _check_planned(target: str, plan: Plan) -> None:
    """FileExistsError unless a target consists of what its plan says."""
    arrays = {plan.array, *_levels(target, plan)}
    place = place_of(target)
    there = [name for name in arrays if Place(f"{place.path}/{name}".rstrip("/"), place.files).is_array()]
    if there or set(place.walk()) - GROUP_FILES:
        targets.check_array_replaced(target, there or arrays)


def _levels(target: str, plan: Plan) -> list[str]:
    """Paths of the further levels of an OME-Zarr group that were planned with a target."""
    if plan.source_group is None:
        return []
    found = [name.removesuffix(f"/{PLAN}") for name in place_of(state_of(target)).walk() if name.endswith(f"/{PLAN}")]
    plans: dict[str, Any] = {level: plan_at(f"{target.rstrip('/')}/{level}") for level in found}
    group = f"{plan.source_group.rstrip('/')}/"
    return [level for level, one in plans.items() if one is not None and one.source.startswith(group)]


def check_continued(plan: Plan) -> None:
    """FileExistsError where another array than that of the plan stands at its place."""
    import zarr

    place = place_of(array_path(plan))
    if not place.exists():
        return
    if place.is_array():
        array: Any = zarr.open_array(array_path(plan), mode="r")
        wanted = (plan.shape, plan.chunks, plan.shards, np.dtype(plan.dtype).newbyteorder("="), plan.zarr_format)
        dtype, zarr_format = array.dtype.newbyteorder("="), array.metadata.zarr_format
        if codec_of(array.metadata) and wanted == (array.shape, array.chunks, array.shards, dtype, zarr_format):
            return
    elif all(targets.KEY.fullmatch(name) for name in place.walk()):  # its metadata are made again
        return
    raise FileExistsError(
        f"expected the array that the plan in {state_of(plan.target)!r} describes, found something else at "
        f"{array_path(plan)!r}: choose another target, or move one of them away"
    )
