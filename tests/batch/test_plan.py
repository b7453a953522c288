"""Plans, without a file: jobs and chunks cover the array once, whatever the shards, parts and batches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_codec.batch.plan import Plan, batch_size, batches, clipped, together
from inr_codec.errors import ConfigError

SIDES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=4)


def plan_of(shape: Any, chunks: Any, shards: Any = None, **more: Any) -> Plan:
    """A plan of an array that does not exist."""
    options = {"zarr_format": 3, "settings": {"ratio": 10}, "dtype": "<u2"} | more
    return Plan(source="s", target="t", array="", shape=shape, chunks=chunks, shards=shards, **options)


@given(SIDES, st.booleans())
def test_jobs_cover_the_array_once(sides: list[tuple[int, int, int]], sharded: bool) -> None:
    """Every voxel is in the region of one chunk and every chunk in one job, which knows it."""
    shape = tuple(side for side, _, _ in sides)
    wanted = tuple(chunk for _, chunk, _ in sides)
    shards = tuple(min(side, chunk) * per for side, chunk, per in sides) if sharded else None
    plan = plan_of(shape, *clipped(shape, wanted, shards))
    seen = np.zeros(shape, int)
    for n in range(plan.count):
        seen[plan.region_of(n)] += 1
        assert plan.number_of(plan.index_of(n)) == n and n in plan.chunks_of_job(plan.job_of(n))
    assert (seen == 1).all() and sum(map(plan.voxels_of, range(plan.count))) == seen.size
    assert sorted(n for job in range(plan.jobs) for n in plan.chunks_of_job(job)) == list(range(plan.count))
    assert len({plan.key_of_job(job) for job in range(plan.jobs)}) == plan.jobs
    assert Plan.from_json(plan.to_json()) == plan


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 9), st.integers(1, 5))
def test_batches_share_out_what_is_to_do(todo: list[bool], size: int, parts: int) -> None:
    """All parts together have every job that is to be done, once, in batches that are not too long."""
    cut = [batch for k in range(parts) for batch in batches(np.array(todo, bool), size, k + 1, parts)]
    assert sorted(job for batch in cut for job in batch) == [k for k, wanted in enumerate(todo) if wanted]
    assert all(1 <= len(batch) <= size for batch in cut)


def test_batches_fit_the_memory_and_fill_a_gpu() -> None:
    """Never more chunks at a time than memory allows, a core has one, a GPU many; a batch is whole rounds of them."""
    plan = plan_of((640, 1280, 1280), (64, 128, 128))
    assert together(plan, 1e9, 16) < together(plan, 4e9, 16) <= together(plan, 64e9, 16) == 16
    assert together(plan, 1.0, 16) == 1
    assert together(plan, 1e12, 2, gpu=True) > 64
    assert batch_size(plan, 7) % 7 == 0
    small = plan_of((640, 1280, 1280), (32, 32, 32))
    assert batch_size(small, 2) > batch_size(plan, 2)
    assert batch_size(plan_of((640, 1280, 1280), (32, 32, 32), (640, 1280, 1280)), 2) == 1


@pytest.mark.parametrize(
    ("change", "same"),
    [({"target": "u"}, True), ({"settings": {"ratio": 10.0}}, True), ({"settings": {"ratio": 11}}, False)]
    + [({"source": "r"}, False), ({"chunks": (4, 8)}, False), ({"per_chunk": True}, False), ({"dtype": "<u1"}, False)],
)
def test_the_hash_is_of_what_decides_the_bytes(change: dict[str, Any], same: bool) -> None:
    """Whatever changes a stream changes the hash of the recipe, and nothing else does."""
    first = {"source": "s", "target": "t", "array": "", "shape": (9, 9), "chunks": (8, 8), "shards": None}
    first |= {"zarr_format": 3, "settings": {"ratio": 10}, "dtype": "<u2"}
    assert (Plan(**first | change).recipe_hash == Plan(**first).recipe_hash) == same


@pytest.mark.parametrize(
    ("shape", "chunks", "shards", "zarr_format"),
    [
        ((), (), None, 3),
        ((9,), (4, 4), None, 3),
        ((9, 0), (4, 4), None, 3),
        ((9,), (4,), (6,), 3),
        ((9,), (4,), (8,), 2),
    ],
)
def test_what_cannot_be_planned_is_refused(shape: Any, chunks: Any, shards: Any, zarr_format: int) -> None:
    """ConfigError for arrays without axes or voxels, sides that do not match, shards of broken chunks or format 2."""
    with pytest.raises(ConfigError, match="change --"):
        plan_of(shape, chunks, shards, zarr_format=zarr_format)
