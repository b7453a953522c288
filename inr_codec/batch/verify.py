"""Verification of a store: checksum and structure of every chunk, and the error of a sample against the source.

Any array that this codec wrote will do. Where a manifest lies beside it, a chunk that is not stored must be recorded as
empty; without a manifest it counts as empty, nothing but the fill value.
"""

import math
import zlib
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_codec.batch.manifest import MANIFEST, read_manifest
from inr_codec.batch.promises import beyond, counted_bytes, same_kind, too_many
from inr_codec.batch.store import PLAN, load_plan, state_folder
from inr_codec.decoding.inspection import Inspection, inspect
from inr_codec.errors import ConfigError, CorruptChunk, InrCodecError
from inr_codec.progress import Progress
from inr_codec.stores.encoded_chunks import codec_of, streams_of_key
from inr_codec.stores.folders import open_folder
from inr_codec.stores.total import Total, mean_square

TOLERANCE = 0.05
"""dB that a chunk may be further from the source than it says: decoders differ a little between machines."""
LISTED = 100
"""Problems that are kept; the others are counted."""
AHEAD = 4
"""Keys that wait for each thread."""

Index = tuple[int, ...]


@dataclass
class Verification:
    """What was found in an array. psnr: recorded in each chunk, inf where it is exact; measured: of the sample.

    missed: streams that take more bytes than were asked for and say why, by the reason. recorded, sample: of all
    chunks, and of the sample against the source, together. problems: (key, chunk, what is wrong), the first of `wrong`.
    """

    chunks: int = 0
    stored: int = 0
    bytes: int = 0
    missing: int = 0
    corrupt: int = 0
    far: int = 0
    beyond: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    psnr: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    recorded: Total = field(default_factory=Total)
    sample: Total = field(default_factory=Total)
    problems: list[tuple[str, Index, str]] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """Chunks that are missing, corrupt, further from the source than they say, or that break what the array says.

        beyond: of max_error=, lossless=, psnr= or a number of bytes.
        """
        return self.missing + self.corrupt + self.far + self.beyond

    def note(self, key: str, chunk: Index, what: str) -> None:
        """Keep a problem while there is room."""
        if len(self.problems) < LISTED:
            self.problems.append((key, chunk, what))


def arrays_of(target: str) -> dict[str, Any]:
    """The arrays that this codec wrote at a path or URL, by their path inside: "" for the array itself.

    Raises ConfigError where there are none.
    """
    import zarr

    try:
        node: Any = zarr.open(target, mode="r")
    except FileNotFoundError:
        raise ConfigError(f"expected a zarr array or group, found none at {target!r}: check the path") from None
    arrays = {"": node} if isinstance(node, zarr.Array) else dict(node.members(max_depth=None))
    ours = {name: a for name, a in sorted(arrays.items()) if isinstance(a, zarr.Array) and codec_of(a.metadata)}
    if not ours:
        raise ConfigError(f"expected an array that inr_codec wrote, got none in {target!r}: nothing to check")
    return ours


def verify(
    target: str,
    *,
    array: str = "",
    against: Any = None,
    sample: float = 0.01,
    workers: int = 2,
    seed: int = 0,
    bar: Progress | None = None,
) -> Verification:
    """Check every chunk of the array `array` in `target`, and a sample of them against a source of the same shape.

    Every stream must be sound, that of the manifest (where there is one), and keep what the array's metadata ask for.

    target: path or URL. against: an array to be indexed. sample: share of the chunks that are decoded and compared, at
    least one. workers: threads. Raises ConfigError where shapes differ.
    """
    opened = arrays_of(target)[array]
    if against is not None and tuple(against.shape) != opened.shape:
        raise ConfigError(f"expected a source of shape {opened.shape!r}, got {tuple(against.shape)!r}: give its source")
    grid = tuple(-(-n // c) for n, c in zip(opened.shape, opened.chunks))
    check = _Check(opened, "/".join(filter(None, (target.rstrip("/"), array))), grid, _known(target, array, grid))
    if against is not None:
        check.source, picks = against, np.random.default_rng(seed).random(grid)
        check.sampled = picks <= max(sample, float(picks.min()))
    outer = opened.shards or opened.chunks
    counts = tuple(-(-n // side) for n, side in zip(opened.shape, outer))
    found, counted = Verification(chunks=math.prod(grid)), 0
    with ThreadPoolExecutor(workers) as pool:
        keys = np.ndindex(*counts)
        running = {pool.submit(check.key, key) for key in islice(keys, AHEAD * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(check.key, key) for key in islice(keys, len(done))}
            for future in done:
                for result in future.result():
                    _add(found, result)
                    counted += 0 if result.told is None else counted_bytes(result.told)
                    if bar is not None:
                        bar.step(result.voxels)
    voxels = math.prod(opened.shape)
    most = check.config.budget(voxels * opened.dtype.itemsize, voxels)
    if check.known is None and most is not None and too_many(counted, most, found.stored):
        found.beyond += 1
        found.note("all keys", (), f"{counted:,} bytes where the array's metadata allow {most:,}")
    found.problems.sort()
    return found


@dataclass
class _Result:
    """Of one chunk. mse: mean squared error as recorded. span: max - min that its PSNR refers to, where that is known.

    sampled: mean square, voxels, least, greatest and PSNR against the source.
    """

    key: str
    chunk: Index
    voxels: int
    told: Inspection | None = None
    mse: float | None = None
    span: float | None = None
    problem: tuple[str, str] | None = None
    sampled: tuple[float, int, float, float, float] | None = None


def _add(found: Verification, result: _Result) -> None:
    told = result.told
    if told is not None:
        found.stored += 1
        found.bytes += told.bytes
        found.recorded.add(result.mse, result.voxels, told.lo, told.hi)
        found.missed.update(told.missed)
        if told.psnr is not None:
            found.psnr.append(told.psnr)
    if result.sampled is not None:
        mse, voxels, low, high, psnr = result.sampled
        found.sample.add(mse, voxels, low, high)
        found.measured.append(psnr)
    if result.problem is not None:
        kind, what = result.problem
        setattr(found, kind, getattr(found, kind) + 1)
        found.note(result.key, result.chunk, what)


@dataclass(frozen=True)
class _Known:
    """What a manifest says of the chunks: which are nothing but the fill value, and mean squared errors (or NaN).

    crc, budget: CRC-32 of streams and bytes that they may take, -1 where there are none.
    """

    empty: NDArray[np.bool_]
    mse: NDArray[np.float64]
    crc: NDArray[np.int64]
    budget: NDArray[np.int64]


def _known(target: str, array: str, grid: Index) -> _Known | None:
    """What the manifest of this array says; None where there is none. Further levels of a group have their own."""
    root = target.rstrip("/")
    for name, inner in ((root, array), (f"{root}/{array}".rstrip("/"), "")):
        if state_folder(name).size(PLAN) is not None and (plan := load_plan(name)).array == inner:
            break
    else:
        return None
    if plan.grid != grid:
        return None
    empty, mse = np.zeros(plan.count, bool), np.full(plan.count, np.nan)
    crc, budget = np.full(plan.count, -1), np.full(plan.count, -1)
    if state_folder(name).size(MANIFEST) is None:
        return None
    for record in read_manifest(name):
        n = record["n"]
        empty[n] = record["state"] == "empty"
        mse[n] = math.nan if record["mse"] is None else record["mse"]
        if record["state"] == "done":
            crc[n] = -1 if record.get("crc") is None else record["crc"]
            budget[n] = next((given for given in (record["budget"], plan.budget_of(n)) if given is not None), -1)
    return _Known(*(values.reshape(grid) for values in (empty, mse, crc, budget)))


class _Check:
    """The check of the chunks under one key of an array."""

    def __init__(self, array: Any, path: str, grid: Index, known: _Known | None) -> None:
        self.array, self.grid, self.known = array, grid, known
        self.config = codec_of(array.metadata).config
        self.folder = open_folder(path)
        self.source: Any = None
        self.sampled: NDArray[np.bool_] | None = None

    def key(self, index: Index) -> list[_Result]:
        """The results of all chunks of a key that lie in the array."""
        array, key = self.array, self.array.metadata.encode_chunk_key(index)
        per = tuple(o // c for o, c in zip(array.shards or array.chunks, array.chunks))
        inside = [range(i * n, min((i + 1) * n, side)) for i, n, side in zip(index, per, self.grid)]
        chunks = [tuple(place) for place in np.array(np.meshgrid(*inside, indexing="ij")).reshape(len(per), -1).T]
        data = self.folder.read(key)
        try:
            streams = {} if data is None else dict(streams_of_key(array, index, data))
        except CorruptChunk as error:
            return [_Result(key, c, self.voxels(c), problem=("corrupt", str(error))) for c in chunks]
        return [self.chunk(key, tuple(map(int, chunk)), streams.get(tuple(map(int, chunk)))) for chunk in chunks]

    def region(self, chunk: Index) -> tuple[slice, ...]:
        return tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(chunk, self.array.chunks, self.array.shape))

    def voxels(self, chunk: Index) -> int:
        return math.prod(part.stop - part.start for part in self.region(chunk))

    def chunk(self, key: str, chunk: Index, stream: bytes | None) -> _Result:
        """One chunk: is it there, is its stream sound, is it as close to the source as it says."""
        result = _Result(key, chunk, self.voxels(chunk))
        if stream is None:
            if self.known is not None and not self.known.empty[chunk]:
                result.problem = ("missing", "the manifest knows more than the fill value of it")
                return result
        else:
            try:
                result.told = inspect(stream)
                self.fits(result.told)
                self.is_the_one(chunk, stream)
                lo, hi = result.told.lo, result.told.hi
                result.mse = mean_square(result.told.psnr, lo, hi)
                if result.mse is None and self.known is not None and not math.isnan(self.known.mse[chunk]):
                    result.mse = float(self.known.mse[chunk])
                result.span = None if lo is None or hi is None or lo == hi else hi - lo
            except InrCodecError as error:
                result.told, result.problem = None, ("corrupt", str(error))
                return result
            if (broken := self.breaks(chunk, result.told)) is not None:
                result.problem = ("beyond", f"its stream {broken}")
                return result
        if self.sampled is not None and self.sampled[chunk]:
            self.compare(result)
        return result

    def fits(self, told: Inspection) -> None:
        """CorruptChunk for a sound stream of another array."""
        if not same_kind(told, self.array.dtype, self.array.chunks):
            wanted, got = f"{self.array.dtype} {self.array.chunks}", f"{told.dtype} {told.shape}"
            raise CorruptChunk(f"expected a chunk of {wanted}, got {got}: the chunk belongs to another array")

    def is_the_one(self, chunk: Index, stream: bytes) -> None:
        """CorruptChunk for a sound stream that is not the one of the manifest."""
        if self.known is None:
            return
        if self.known.empty[chunk]:
            raise CorruptChunk("expected no stream where the manifest says that all is the fill value, got one")
        if self.known.crc[chunk] not in (-1, zlib.crc32(stream)):
            raise CorruptChunk("expected the stream of the manifest, got another one: it was written anew since")

    def breaks(self, chunk: Index, told: Inspection) -> str | None:
        """What a stream breaks of what the array's metadata, or its budget in the manifest, ask for."""
        if self.known is not None and self.known.budget[chunk] >= 0:
            budget = int(self.known.budget[chunk])
            if too_many(counted_bytes(told), budget):
                return f"has {told.bytes:,} bytes where the manifest allows {budget:,}"
        return beyond(told, self.config)

    def compare(self, result: _Result) -> None:
        """Decode the chunk as a reader does, and measure it over the voxels that are finite in the source."""
        region = self.region(result.chunk)
        source = np.asarray(self.source[region])
        try:
            decoded = np.asarray(self.array[region])
        except InrCodecError as error:
            result.problem = ("corrupt", str(error))
            return
        recorded = math.inf if result.told is None else result.told.psnr
        seen = np.isfinite(source) if source.dtype.kind in "fc" else np.ones(source.shape, bool)
        if recorded == math.inf or source.dtype.kind not in "iuf" or not seen.any():
            same = (source == decoded) | ((source != source) & (decoded != decoded))
            result.sampled = (0.0, 0, math.inf, -math.inf, math.inf)
            if not same.all():
                count = int(np.count_nonzero(~same))
                result.problem = ("far", f"{count:,} voxels differ from the source where all should be exact")
            return
        values = source[seen].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            squares = float(np.square(decoded[seen].astype(np.float64) - values).sum())
        low, high = float(values.min()), float(values.max())
        span = high - low if result.span is None else result.span
        psnr = math.inf if squares == 0 else 20 * math.log10(span) - 10 * math.log10(squares / values.size)
        result.sampled = (squares / values.size, values.size, low, high, psnr)
        if recorded is not None and not psnr > recorded - TOLERANCE:
            result.problem = ("far", f"{psnr:.2f} dB from the source, recorded {recorded:.2f} dB")
