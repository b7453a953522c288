"""Rows of measurements: how one is made, and a file that holds them after each."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.harness.data import thresholds
from benchmarks.harness.environment import environment
from benchmarks.harness.measures import measure
from inr_codec.progress import duration


class Results:
    """A JSON file of rows, written anew whenever something is added, and the lines that tell of it."""

    def __init__(self, path: Path, jobs: int) -> None:
        self._path, self._jobs, self._done, self._begin = path, jobs, 0, time.monotonic()
        self._content: dict[str, Any] = {"environment": environment(), "rows": [], "unreachable": [], "skipped": []}
        self._streams = path.parent / "streams"
        self._streams.mkdir(parents=True, exist_ok=True)

    def skip(self, codec: str, family: str, reason: str) -> None:
        """A codec is not run."""
        self._content["skipped"].append({"codec": codec, "family": family, "skipped": reason})
        self._write(f"{codec}: {reason}")

    def add(self, rows: list[dict]) -> None:
        """A job is done: its rows, and those of ratios that its codec does not reach (with `reason`).

        Streams that rows carry go to the folder `streams`, which is not committed, for the pictures.
        """
        self._done += 1
        for row in rows:
            stream = row.pop("stream", None)
            if stream is not None:
                stream_path(self._streams, row).write_bytes(stream)
            self._content["unreachable" if "reason" in row else "rows"].append(short(row))
        told = " ".join(f"{row['psnr']:.2f}" if "psnr" in row else "-" for row in rows)
        self._write(f"{rows[0]['volume']}, {rows[0]['codec']}: {told} dB" if rows else "nothing")

    def _write(self, line: str) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self._content, indent=1))
        part.replace(self._path)
        elapsed = time.monotonic() - self._begin
        left = f", about {duration(elapsed / self._done * (self._jobs - self._done))} left" if self._done else ""
        print(f"  {self._done}/{self._jobs} after {duration(elapsed)}{left}: {line}", flush=True)


def stream_path(folder: Path, row: dict) -> Path:
    """Where the stream of a row is kept (of several seeds: of the last)."""
    return folder / f"{row['volume']}, {row['codec']}, {row['target_ratio']:g}x"


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Its result, wall seconds and processor seconds of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def measured(chunk: NDArray, decoded: NDArray, n_bytes: int, seconds: tuple[float, float, float]) -> dict:
    """What differs from stream to stream; seconds: to encode, to decode, of processors to encode."""
    return {
        "bytes": n_bytes,
        "ratio": chunk.nbytes / n_bytes,
        "bpv": 8 * n_bytes / chunk.size,
        **measure(chunk, decoded, thresholds(chunk)),
        "encode_s": seconds[0],
        "decode_s": seconds[1],
        "processor_s": seconds[2],
    }


def row(volume: str, chunk: NDArray, target: float, codec: str, family: str, settings: str, **more: Any) -> dict:
    """A row: what was coded by what, and `more`: quality, interpolated, seed and what `measured` gives, or a reason."""
    head = {"volume": volume, "shape": list(chunk.shape), "dtype": str(chunk.dtype), "codec": codec, "family": family}
    fixed = {"settings": settings, "target_ratio": target, "quality": None, "interpolated": False, "seed": 0}
    return head | fixed | more


def between(a: dict, b: dict, share: float) -> dict:
    """What `measured` gave at two sizes, interpolated: sizes in their logarithm, everything else linearly along it."""
    mixed: dict[str, Any] = {}
    for name, value in a.items():
        if isinstance(value, dict):
            mixed[name] = between(value, b[name], share)
        elif name in ("bytes", "ratio", "bpv"):
            mixed[name] = math.exp(math.log(value) * (1 - share) + math.log(b[name]) * share)
        else:
            mixed[name] = value * (1 - share) + b[name] * share
    return mixed | ({"bytes": round(mixed["bytes"])} if "bytes" in mixed else {})


def short(value: Any) -> Any:
    """With five significant digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {name: short(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [short(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
