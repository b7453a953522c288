"""Folders of keys, local or behind a URL, written atomically.

A local key is written to a temporary file, flushed to the disk and renamed; elsewhere it is a single put. So a key is
there as a whole or not at all.
"""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol
from uuid import uuid4

from inr_codec.errors import ConfigError

TRIES = 5
"""How often a folder is deleted while somebody still writes to it."""
SCRATCH = "tmp"
"""Folder of temporary files, inside the root unless another one is given."""


class Folder(Protocol):
    """Keys below one place. Names are relative, with slashes."""

    root: str

    def read(self, name: str) -> bytes | None:
        """The bytes of a key; None where there is none."""

    def write(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """Write a key, of one piece or of many; whoever reads sees all of it or what was there before."""

    def size(self, name: str) -> int | None:
        """Bytes of a key; None where there is none."""

    def names(self, prefix: str) -> list[str]:
        """Keys directly in a folder below this one ("": in this one), in order of their names."""

    def delete(self, name: str) -> None:
        """Delete a key, or a folder and all that is in it; no error where there is none."""


class LocalFolder:
    """A folder of this machine or of a shared file system; temporary files go to `scratch`, on the same one."""

    def __init__(self, root: str, scratch: str | None = None) -> None:
        self.root = root
        self._scratch = Path(scratch or Path(root, SCRATCH))

    def read(self, name: str) -> bytes | None:
        """See Folder."""
        try:
            return Path(self.root, name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """See Folder. OSError where the disk is full; the temporary file goes away."""
        path, part = Path(self.root, name), self._scratch / uuid4().hex
        check_within(path.parent, self.root)
        check_within(self._scratch, self._scratch.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._scratch.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        """See Folder."""
        try:
            return os.stat(os.path.join(self.root, name)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, prefix: str) -> list[str]:
        """See Folder."""
        path = Path(self.root, prefix)
        return sorted(_below(prefix, entry.name) for entry in path.iterdir()) if path.is_dir() else []

    def delete(self, name: str) -> None:
        """See Folder."""
        path = Path(self.root, name)
        check_within(path.parent if name else path, self.root)
        if path.is_dir() and not (name and path.is_symlink()):
            for left in reversed(range(TRIES)):
                try:
                    shutil.rmtree(path)
                    return
                except FileNotFoundError:
                    return
                except OSError as error:  # somebody has just written a key
                    if error.errno != errno.ENOTEMPTY or not left:
                        raise
        else:
            path.unlink(missing_ok=True)


class RemoteFolder:
    """A folder behind a URL that fsspec opens: s3://, gs://, abfs://, memory://."""

    def __init__(self, root: str) -> None:
        import fsspec

        self.root = root
        self._files, self._path = fsspec.core.url_to_fs(root)

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}" if name else self._path

    def read(self, name: str) -> bytes | None:
        """See Folder."""
        try:
            return bytes(self._files.cat_file(self._at(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """See Folder."""
        self._files.pipe_file(self._at(name), data if isinstance(data, bytes) else b"".join(data))

    def size(self, name: str) -> int | None:
        """See Folder."""
        try:
            return int(self._files.size(self._at(name)))
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> list[str]:
        """See Folder."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._at(prefix), detail=False)
        except FileNotFoundError:
            return []
        return sorted(_below(prefix, PurePosixPath(name).name) for name in found)

    def delete(self, name: str) -> None:
        """See Folder."""
        if self._files.exists(self._at(name)):
            self._files.rm(self._at(name), recursive=True)


def _below(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def check_within(path: str | Path, root: str | Path) -> None:
    """ConfigError where a local path leads out of a folder, by a link or by its name."""
    real, inside = os.path.realpath(path), os.path.realpath(root)
    if real != inside and not real.startswith(inside.rstrip(os.sep) + os.sep):
        raise ConfigError(f"expected {str(path)!r} in {str(root)!r}, it leads to {real!r}: remove the link")


def is_url(path: str) -> bool:
    """Whether a path names another place than a local file system."""
    return "://" in path


def open_folder(root: str, scratch: str | None = None) -> Folder:
    """The folder at a path or URL."""
    return RemoteFolder(root) if is_url(root) else LocalFolder(root, scratch)
