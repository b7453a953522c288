"""What is to be done: the chunks of an array, the jobs they form, and what decides their bytes. Pure: no file is read.

A chunk has a number, its place in C order on the grid of chunks. A job writes one key: a chunk, or a shard of chunks.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import ceil, prod
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from inr_codec.config import Config, make_config
from inr_codec.content_names import Reference
from inr_codec.efforts import EFFORTS
from inr_codec.errors import ConfigError
from inr_codec.runtime.limits import encoding_bytes
from inr_codec.stores.chunk_shape import chunk_shape

VERSION = 1
BATCH_SECONDS = 60
"""Seconds of work in one task: long against a scheduler's milliseconds, short against a worker's life."""
MAX_BATCH = 4096
GPU_NETWORKS = 1024
"""Networks that fill a GPU. A guess, not measured."""
NETWORKS_PER_CHUNK = 8
"""Blocks that are fitted at a time for one chunk, roughly."""

Index = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """An array to be encoded. Sides are in voxels; `chunks` are the inner ones where there are shards.

    source, target: paths or URLs. array: path of the array in the target, "" where the target is the array itself.
    source_group: the OME-Zarr group that the source is the finest level of. settings: options of INRCodec. per_chunk:
    every chunk keeps the target for itself; otherwise ratio and bpv hold for the array. separator: between the numbers
    in a key of zarr format 2. segmentation: file of the network that the settings name by its hash. mask: an array of
    labels beside the source, of its shape. marks: of the files of source and mask (see `source`). id: made with the
    plan, another one for each.
    """

    source: str
    target: str
    array: str
    shape: Index
    dtype: str
    chunks: Index
    shards: Index | None
    zarr_format: Literal[2, 3]
    settings: dict[str, Any]
    per_chunk: bool = False
    separator: Literal[".", "/"] = "."
    source_group: str | None = None
    segmentation: str | None = None
    mask: str | None = None
    axes: tuple[str, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        check_inner(self.array)
        if self.separator not in (".", "/") or self.zarr_format not in (2, 3):
            raise ConfigError(
                f"expected zarr format 2 or 3 with '.' or '/' in its keys, got format {self.zarr_format!r} with "
                f"{self.separator!r}: change --zarr-format"
            )
        if not self.shape or 0 in self.shape or len(self.chunks) != len(self.shape) or min(self.chunks) < 1:
            raise ConfigError(
                f"expected an array of 1 axis or more with a chunk side for each, got shape {self.shape!r} and chunks "
                f"{self.chunks!r}: change --chunks"
            )
        if self.shards is None:
            return
        fits = len(self.shards) == len(self.chunks) and not any(s % c for s, c in zip(self.shards, self.chunks))
        if not fits or self.zarr_format == 2:
            raise ConfigError(
                f"expected shards of whole chunks {self.chunks!r} in zarr format 3, got {self.shards!r} in format "
                f"{self.zarr_format}: change --shards"
            )

    @cached_property
    def config(self) -> Config:
        """The settings, which were checked when the plan was made; they know where the network is that they name."""
        settings = dict(self.settings)
        if self.segmentation is not None:
            settings["segmentation"] = Reference(settings["segmentation"], Path(self.segmentation))
        return make_config(settings, stored=True)

    @cached_property
    def fill_value(self) -> float:
        """What chunks are padded with: NaN for floats, else 0."""
        return float("nan") if np.dtype(self.dtype).kind == "f" else 0

    @cached_property
    def grid(self) -> Index:
        """Number of chunks along each axis."""
        return tuple(ceil(side / chunk) for side, chunk in zip(self.shape, self.chunks))

    @cached_property
    def count(self) -> int:
        """Number of chunks."""
        return prod(self.grid)

    @cached_property
    def outer_grid(self) -> Index:
        """Number of keys along each axis."""
        return tuple(ceil(side / outer) for side, outer in zip(self.shape, self.shards or self.chunks))

    @cached_property
    def jobs(self) -> int:
        """Number of keys."""
        return prod(self.outer_grid)

    def budget_of(self, n: int) -> int | None:
        """Bytes of chunk n where every chunk has its own: by its voxels that exist; None without ratio= and bpv=."""
        voxels = self.voxels_of(n)
        return self.config.budget(voxels * np.dtype(self.dtype).itemsize, voxels) if self.per_chunk else None

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def total_bytes(self) -> int | None:
        """Bytes that all streams together may take; None where every chunk has its own target."""
        return None if self.per_chunk else self.config.budget(self.nbytes, prod(self.shape))

    @cached_property
    def recipe_hash(self) -> str:
        """SHA-256 of all that decides the bytes; a plan with another hash must not continue this one."""
        decides = ("source", "shape", "dtype", "chunks", "shards", "zarr_format", "per_chunk")
        settings = {k: float(v) if type(v) is int else v for k, v in self.config.to_dict().items()}
        recipe = {name: getattr(self, name) for name in decides} | {"settings": settings}
        if self.mask is not None:
            recipe["mask"] = self.mask
        return hashlib.sha256(json.dumps([VERSION, recipe], sort_keys=True).encode()).hexdigest()

    def index_of(self, n: int) -> Index:
        """Place of chunk n on the grid."""
        return _unravel(n, self.grid)

    def number_of(self, index: Index) -> int:
        """Number of the chunk at a place."""
        return int(np.ravel_multi_index(index, self.grid))

    def region_of(self, n: int) -> tuple[slice, ...]:
        """Voxels of the array that chunk n holds (an edge chunk is larger than that)."""
        return tuple(
            slice(i * chunk, min((i + 1) * chunk, side))
            for i, chunk, side in zip(self.index_of(n), self.chunks, self.shape)
        )

    def voxels_of(self, n: int) -> int:
        """Voxels of the array in chunk n."""
        return prod(part.stop - part.start for part in self.region_of(n))

    def chunks_of_job(self, job: int) -> list[int]:
        """Numbers of the chunks that a job writes, in C order."""
        if self.shards is None:
            return [job]
        per = tuple(shard // chunk for shard, chunk in zip(self.shards, self.chunks))
        first = tuple(i * n for i, n in zip(_unravel(job, self.outer_grid), per))
        inside = tuple(min(n, side - start) for n, side, start in zip(per, self.grid, first))
        return [self.number_of(tuple(a + b for a, b in zip(first, inner))) for inner in np.ndindex(inside)]

    def job_of(self, n: int) -> int:
        """The job that writes chunk n."""
        if self.shards is None:
            return n
        place = tuple(i * c // s for i, c, s in zip(self.index_of(n), self.chunks, self.shards))
        return int(np.ravel_multi_index(place, self.outer_grid))

    def key_of_job(self, job: int) -> str:
        """The key that a job writes, relative to the array."""
        place = [str(i) for i in _unravel(job, self.outer_grid)]
        if self.zarr_format == 3:
            return "/".join(["c", *place])
        return self.separator.join(place)

    def to_json(self) -> str:
        """Plain JSON, with the hash of the recipe for whoever looks."""
        return json.dumps({"version": VERSION, "recipe_hash": self.recipe_hash} | asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Plan":
        """A plan from `to_json()`; ConfigError for one of another version, and for one that is damaged."""
        try:
            data = json.loads(text)
            version = data.pop("version")
        except (*ODD, RecursionError) as error:
            raise _damaged(error) from None
        if version != VERSION:
            raise ConfigError(f"expected a plan of version {VERSION}, got {version!r:.60}: plan again with --overwrite")
        try:
            recipe_hash = data.pop("recipe_hash")
            for name in ("shape", "chunks", "shards", "axes"):
                data[name] = None if data[name] is None else tuple(data[name])
            plan = cls(**data)
            plan.check_types()
            same = recipe_hash == plan.recipe_hash
        except ODD as error:
            raise _damaged(error) from None
        if not same:
            raise _damaged("its hash does not fit")
        return plan

    def check_types(self) -> None:
        """ValueError or TypeError where a field is not what its type says: JSON may hold anything."""
        texts = [self.source, self.target, self.array, self.dtype, self.id]
        texts += [text for text in (self.source_group, self.segmentation, self.mask) if text is not None]
        sides = [*self.shape, *self.chunks, *(self.shards or ())]
        tables: list[Any] = [self.settings, self.attributes, self.marks]
        sound = (
            all(isinstance(text, str) for text in texts)
            and all(type(side) is int and 0 < side < 2**48 for side in sides)
            and all(isinstance(table, dict) for table in tables)
            and isinstance(self.per_chunk, bool)
            and (self.axes is None or all(isinstance(name, str | None) for name in self.axes))
            and prod(self.shape) < 2**60
            and np.dtype(self.dtype).kind in "biufc"
        )
        if not sound:
            raise ValueError("a field is of another type")


ODD = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""Errors of taking apart JSON that is not what was written."""


def _damaged(why: object) -> ConfigError:
    return ConfigError(
        f"expected a plan, got a damaged one ({why!s:.80}): run inr-codec plan or encode with the settings that it was "
        "begun with, which makes it again, or begin anew with --overwrite"
    )


def check_inner(path: str) -> None:
    """ConfigError for a path of an array in a group that leads out of it; "" is the group itself."""
    leads_out = any(part in ("", ".", "..") or "\\" in part or ":" in part for part in path.split("/"))
    if path and leads_out:
        raise ConfigError(f"expected the path of an array inside of a group, got {path!r}: name the array itself")


def _unravel(n: int, grid: Index) -> Index:
    return tuple(int(i) for i in np.unravel_index(n, grid))


def clipped(
    shape: Index, chunks: Index | None, shards: Index | None, axes: Sequence[str | None] | None = None
) -> tuple[Index, Index | None]:
    """Sides of chunks, chosen by the axes where none are given, and of shards; no longer than what they lie in."""
    if chunks is None:
        chunks = chunk_shape(shape, axes, shards=shards).sides
    chunks = tuple(min(side, chunk) for side, chunk in zip(shape, chunks)) + chunks[len(shape) :]
    if shards is not None:
        most = tuple(ceil(side / chunk) * chunk for side, chunk in zip(shape, chunks))
        shards = tuple(min(side, shard) for side, shard in zip(most, shards)) + shards[len(shape) :]
    return chunks, shards


def together(plan: Plan, memory: float, threads: int, gpu: bool = False) -> int:
    """How many chunks a process encodes at once: one per core (enough to fill a GPU), limited by `memory` bytes."""
    room = int(memory / encoding_bytes(prod(plan.chunks)))
    return max(1, min(room, ceil(GPU_NETWORKS / NETWORKS_PER_CHUNK) if gpu else threads))


def batch_size(plan: Plan, at_a_time: int) -> int:
    """Jobs in one task: about BATCH_SECONDS of work, in whole rounds of `at_a_time` chunks."""
    chunks = BATCH_SECONDS * at_a_time * EFFORTS[plan.config.effort].voxels_per_second / prod(plan.chunks)
    rounds = max(1, round(chunks / at_a_time))
    per_job = prod(plan.shards or plan.chunks) // prod(plan.chunks)
    return min(max(1, rounds * at_a_time // per_job), MAX_BATCH)


def batches(todo: NDArray[np.bool_], size: int, part: int = 1, parts: int = 1) -> Iterator[list[int]]:
    """Batches of at most `size` jobs: those of part `part` of `parts` (counted from 1) with todo[job].

    A part takes every `parts`-th job: full and empty regions are shared evenly, whatever is done already.
    """
    jobs = np.flatnonzero(todo)
    jobs = jobs[jobs % parts == part - 1]
    for first in range(0, len(jobs), size):
        yield jobs[first : first + size].tolist()
