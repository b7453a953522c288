"""The streams of a plan's chunks under its keys, and where those of a shard wait until all of them are there."""

from inr_codec.batch.plan import Plan
from inr_codec.batch.promises import beyond, same_kind
from inr_codec.decoding.inspection import inspect
from inr_codec.errors import CorruptChunk, UnsupportedFormat
from inr_codec.stores import shard_index
from inr_codec.stores.folders import Folder

SPOOL = "spool"


def pack_shard(plan: Plan, streams: dict[int, bytes]) -> bytes:
    """A shard of the streams of its chunks by number; chunks without one read as the fill value."""
    return shard_index.pack_shard({_inside(plan, n): stream for n, stream in streams.items()}, _per_shard(plan))


def unpack_shard(plan: Plan, job: int, data: bytes) -> dict[int, bytes]:
    """The streams in a shard by number of the chunk; CorruptChunk where the index is damaged or points outside."""
    streams = shard_index.unpack_shard(data, _per_shard(plan))
    return {n: streams[_inside(plan, n)] for n in plan.chunks_of_job(job) if _inside(plan, n) in streams}


def stored_stream(plan: Plan, target: Folder, n: int) -> bytes | None:
    """The stream of a chunk in the store; None where there is none. CorruptChunk for a damaged shard."""
    job = plan.job_of(n)
    data = target.read(plan.key_of_job(job))
    if data is None or plan.shards is None:
        return data
    return unpack_shard(plan, job, data).get(n)


def valid(plan: Plan, stream: bytes | None) -> bool:
    """Whether bytes are a whole stream of a chunk of this array, as true as its settings ask for."""
    if stream is None:
        return False
    try:
        told = inspect(stream)
    except (CorruptChunk, UnsupportedFormat):
        return False
    return told.shape == plan.chunks and same_kind(told, plan.dtype, plan.chunks) and beyond(told, plan.config) is None


def index_bytes(plan: Plan) -> int:
    """Bytes of the index of a shard; 0 where there are none."""
    return 0 if plan.shards is None else shard_index.index_bytes(_per_shard(plan))


def spooled(plan: Plan, job: int, n: int) -> str:
    """Where the stream of a chunk waits for the others of its shard, in the state folder."""
    return f"{SPOOL}/{job}/{n}"


def _per_shard(plan: Plan) -> tuple[int, ...]:
    return tuple(shard // chunk for shard, chunk in zip(plan.shards or plan.chunks, plan.chunks))


def _inside(plan: Plan, n: int) -> tuple[int, ...]:
    return tuple(i % per for i, per in zip(plan.index_of(n), _per_shard(plan)))
