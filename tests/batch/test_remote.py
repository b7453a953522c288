"""Sources behind HTTP and targets in S3 for real: a server of this process answers."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from samples import FAST, field

from inr_codec import batch
from inr_codec.batch import store
from inr_codec.errors import ConfigError, IncompleteArray

CHUNKS = (8, 16, 16)
SETTINGS: dict[str, Any] = {"ratio": 20, **FAST}


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A zarr array of some chunks, one of which is empty."""
    values = field((16, 16, 32), np.uint16)
    values[:8, :, :16] = 0
    zarr.create_array(tmp_path / "volume.zarr", data=values, chunks=CHUNKS, compressors=None, fill_value=0)
    return tmp_path / "volume.zarr"


@pytest.fixture
def served(volume: Path) -> Iterator[str]:
    """The URL of the folder of that array."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(volume.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def keys(root: str) -> dict[str, bytes | None]:
    """The chunks of an array, wherever it lies."""
    folder = store.open_folder(root)
    return {key: folder.read(key) for key in ("c/0/0/0", "c/0/0/1", "c/1/0/0", "c/1/0/1")}


def encoded(volume: Path, tmp_path: Path) -> dict[str, bytes | None]:
    """What a local source gives in a local target."""
    batch.encode_array(str(volume), str(tmp_path / "local.zarr"), SETTINGS, chunks=CHUNKS)
    return keys(str(tmp_path / "local.zarr"))


def test_a_source_behind_http_gives_what_a_local_one_gives(volume: Path, served: str, tmp_path: Path) -> None:
    """The same streams; a rerun has nothing to do; a source that has changed meanwhile is refused."""
    source, target = f"{served}/volume.zarr", str(tmp_path / "a.zarr")
    done = batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    assert (done["failed"], done["empty"]) == (0, 1)
    assert keys(target) == encoded(volume, tmp_path)
    assert batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)["bytes"] == done["bytes"]
    changed = zarr.open_array(volume)
    changed[:] = np.asarray(changed[:]) // 2
    with pytest.raises(ConfigError, match="source"):
        batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)


def test_nothing_is_written_behind_http(volume: Path, served: str) -> None:
    """A target there is refused before anything is done."""
    with pytest.raises(ConfigError, match="http"):
        batch.encode_array(str(volume), f"{served}/target.zarr", SETTINGS, chunks=CHUNKS)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket of a server of this process."""
    server_of = pytest.importorskip("moto.server", reason="needs moto, flask and flask-cors, to play S3")
    s3fs = pytest.importorskip("s3fs")
    server = server_of.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anybody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("volumes")
    yield "s3://volumes"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
def test_a_target_in_s3_holds_what_a_local_one_holds(volume: Path, bucket: str, tmp_path: Path) -> None:
    """Source and target in S3: the same streams; a chunk that is gone or cut is noticed and comes back."""
    expected = encoded(volume, tmp_path)
    source, target = f"{bucket}/volume.zarr", f"{bucket}/a.zarr"
    files = store.open_folder(source)
    for path in volume.rglob("*"):
        if path.is_file():
            files.write(str(path.relative_to(volume)), path.read_bytes())
    done = batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)
    assert (done["failed"], done["empty"]) == (0, 1)
    assert keys(target) == expected
    there = store.open_folder(target)
    there.delete("c/0/0/1")
    there.write("c/1/0/0", (expected["c/1/0/0"] or b"")[:-7])
    with pytest.raises(IncompleteArray, match="2 failed"):
        batch.finish(target)
    assert batch.encode_array(source, target, SETTINGS, chunks=CHUNKS)["failed"] == 0
    assert keys(target) == expected
