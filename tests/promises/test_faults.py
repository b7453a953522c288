"""Threads, forks, spawned processes, interrupts and long runs: the bytes and the store stay what they were."""

import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from samples import FAST, field

from inr_codec import INRCodec, INRSerializer, decode
from inr_codec.runtime.threads import cancelled, parallel_map

LONG = bool(os.environ.get("INR_CODEC_SOAK"))
"""Set by `make soak`: 64 threads and 10,000 cycles of encoding and decoding in the place of 12 and 60."""
THREADS = 64 if LONG else 12
CYCLES = 10_000 if LONG else 60
SHAPE = (8, 12, 10)
OPTIONS = {"ratio": 12, "layers": "network", "partition": "equal", "max_blocks": 8, **FAST}


def test_readers_and_writers_of_one_array(tmp_path: Path) -> None:
    """Threads that write chunks again while others read them: every read is one of the two whole chunks."""
    values = [field((8 * 6, 12, 10), seed=seed) for seed in (0, 1)]
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=values[0].shape,
        chunks=SHAPE,
        dtype="f4",
        serializer=INRSerializer(**OPTIONS),
        compressors=None,
    )
    known: list[list[np.ndarray]] = []
    for whole in values:
        array[...] = whole
        known.append([array[8 * n : 8 * n + 8] for n in range(6)])
    stop = threading.Event()

    def write(n: int) -> int:
        for turn in range(THREADS // 2):
            array[8 * n : 8 * n + 8] = values[turn % 2][8 * n : 8 * n + 8]
        return n

    def read(n: int) -> bool:
        seen = True
        while seen and not stop.is_set():
            found = array[8 * n : 8 * n + 8]
            seen = any(np.array_equal(found, whole[n]) for whole in known)
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        readers = [pool.submit(read, n % 6) for n in range(THREADS - 6)]
        try:
            assert list(pool.map(write, range(6))) == list(range(6))
        finally:
            stop.set()
        assert all(reader.result() for reader in readers)


def digest_in_child(name: str) -> bytes:
    """What another process encodes and decodes."""
    data = INRCodec(**OPTIONS).encode(field(SHAPE))
    return data + decode(data).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_encode_what_the_parent_does(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children forked while threads of the parent encode, and spawned ones, give the parent's bytes."""
    monkeypatch.setenv("INR_CODEC_THREADS", "2")
    expected = digest_in_child("parent")
    busy = threading.Event()

    def work() -> None:
        while not busy.is_set():
            assert digest_in_child("thread") == expected

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map_async(digest_in_child, "ab").get(120) == [expected] * 2
    finally:
        busy.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_interrupted_write_leaves_the_chunk_before(zarr_format: int, tmp_path: Path) -> None:
    """A write whose encoding ends early, here as the network that it is given runs out of memory, changes no byte."""
    import segmenters  # torch: not for the spawned processes, which import this module

    options = OPTIONS | {"segmentation": segmenters.runs_out_above_100, "steps": 20}
    way = {"compressors": INRCodec(**options)} if zarr_format == 2 else {"serializer": INRSerializer(**options)}
    way |= {} if zarr_format == 2 else {"compressors": None}
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=SHAPE, chunks=SHAPE, dtype="f4", zarr_format=zarr_format, **way
    )
    array[...] = field(SHAPE)
    before = {path: path.read_bytes() for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()}
    with pytest.raises(MemoryError):
        array[...] = field(SHAPE, seed=1) + 100
    assert {path: path.read_bytes() for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_chunks(tmp_path: Path) -> None:
    """A process killed while it writes the same chunks again and again leaves chunks that decode."""
    script = f"""
import numpy as np, zarr
from inr_codec import INRSerializer
array = zarr.create_array({str(tmp_path / "a.zarr")!r}, shape=(16, 12, 10), chunks={SHAPE}, dtype="f4",
                          serializer=INRSerializer(**{OPTIONS}), compressors=None)
rng = np.random.default_rng(0)
while True:
    array[...] = rng.normal(size=(16, 12, 10))
    print(flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline()
        child.kill()
    chunks = [path for path in (tmp_path / "a.zarr" / "c").rglob("*") if path.is_file() and path.name.isdigit()]
    assert len(chunks) == 2
    assert all(decode(path.read_bytes()).shape == SHAPE for path in chunks)


def test_an_interrupt_ends_what_all_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt reaches the caller of work on several threads, and jobs that ask are told to stop."""
    monkeypatch.setenv("INR_CODEC_THREADS", "2")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    told = []

    def work(number: int) -> None:
        if number == 0:
            time.sleep(0.3)  # until the caller waits: CPython's pool loses a thread that is interrupted while it starts
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        while not cancelled():
            time.sleep(0.001)
        told.append(number)

    try:
        with pytest.raises(KeyboardInterrupt):
            parallel_map(work, range(20))
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 in told and len(told) < 20


@pytest.mark.slow
def test_encode_can_be_interrupted() -> None:
    """SIGINT while a long fit runs ends the process with KeyboardInterrupt, long before the fit would have ended."""
    script = """
import signal, numpy as np
from inr_codec import INRCodec
signal.signal(signal.SIGINT, signal.default_int_handler)
INRCodec(ratio=20, layers="network", steps=200).encode(np.random.default_rng(0).normal(size=(8, 16, 16)).astype("f4"))
print("now", flush=True)
INRCodec(ratio=20, layers="network", steps=10**8).encode(np.random.default_rng(0).normal(size=(32, 64, 64)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        time.sleep(1)
        child.send_signal(2)
        _, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    assert errors.strip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_bytes_do_not_depend_on_threads(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams with every layer that the encoder may choose, bounds too."""
    values = field((12, 24, 20), noise=0.2)
    bounded = {"max_error": 3.0, "effort": "fast"}
    for options in ({"ratio": 12} | FAST, bounded, {"ratio": 20, "architecture": "nerf"} | FAST):
        codec = INRCodec(**options)
        monkeypatch.setenv("INR_CODEC_THREADS", "3")
        expected = codec.encode(values)
        monkeypatch.setenv("INR_CODEC_THREADS", threads)
        assert codec.encode(values) == expected


def resident() -> int:
    """Bytes that the process has touched at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
def test_memory_does_not_grow() -> None:
    """Cycles of encoding, decoding in whole and in part, and refusing: after the first ones the peak stays."""
    quick = FAST | {"steps": 20}
    network = INRCodec(ratio=12, layers="network", partition="none", **quick)
    bounds = [INRCodec(max_error=2.0, effort="fast"), INRCodec(max_error=9.0, effort="fast"), INRCodec(lossless=True)]
    codecs = [network, *bounds] * 5  # cheap ones mostly
    codecs.append(INRCodec(ratio=30, **quick))

    def cycle(n: int) -> None:
        codec = codecs[n % len(codecs)]
        data = codec.encode(field((8, 8, 10), seed=n))
        codec.decode(data)
        decode(data, selection=np.s_[n % 8])
        with pytest.raises(ValueError, match="expected"):
            decode(data[:-1])

    for n in range(CYCLES // 3):
        cycle(n)
    gc.collect()
    before = resident()
    for n in range(CYCLES // 3, CYCLES):
        cycle(n)
    grown = resident() - before
    print(f"{CYCLES} cycles: the peak of {before >> 10} KiB grew by {grown >> 10} KiB")
    assert grown < 8 << 20


WAYS = {
    "codec": "INRCodec(**OPTIONS).encode(values)",
    "format-2": "zarr.create_array({where!r}, data=values, zarr_format=2, compressors=INRCodec(**OPTIONS))",
    "format-3": "zarr.create_array({where!r}, data=values, chunks=(16, 64, 64), serializer=INRSerializer(**OPTIONS), "
    "compressors=None)",
    "dask": "dask.compute(*[dask.delayed(INRCodec(**OPTIONS).encode)(values) for _ in range(3)], scheduler='threads')",
}
"""Ways to a fit of hours."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(threading, "_register_atexit"), reason="Python tells nobody that it ends")
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_ends_the_process_soon(way: str, tmp_path: Path) -> None:
    """SIGINT while chunks are encoded, on whoever's threads: the process has ended after the seconds that are allowed.

    Two seconds of CPU, by the process's own count: a busy machine may take longer on the clock.
    """
    script = f"""
import os, signal, threading, time
import numpy as np, zarr, dask
from inr_codec import INRCodec, INRSerializer
signal.signal(signal.SIGINT, signal.default_int_handler)
OPTIONS = dict(ratio=20, layers="network", partition="equal", allocation="equal", max_blocks=8, steps=10**8)
values = np.random.default_rng(0).normal(size=(32, 64, 64)).astype("f4")
INRCodec(**OPTIONS | dict(steps=20)).encode(values)
print("now", flush=True)
def interrupt():
    time.sleep(3)
    print(sum(os.times()[:2]), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
{WAYS[way].format(where=str(tmp_path / "a.zarr"))}
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "KeyboardInterrupt" in done.stderr and done.returncode != 0
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent - float(done.stdout.split()[-1]) < 2.0 * (os.cpu_count() or 1)
