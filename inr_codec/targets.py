"""What may be written where. Whatever this package writes or replaces is asked for here first.

A target is never a source, never holds one and never lies in an array. What is there already is replaced only where the
user says so, and only if it is of the target's own kind and holds nothing else: a folder that is one zarr array (or a
group of the arrays that were planned with it), a volume of the format that its suffix names, a page, a picture or a
prior of this package. Paths are compared as places: links, `..`, `file://` and other spellings of URLs do not matter.
"""

import json
import os
import posixpath
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from inr_codec.errors import ConfigError

PAGE_MARK = '<meta name="generator" content="inr_codec">'
"""In the head of every page that this package writes."""
PICTURE_MARK = "inr_codec"
"""The PNG text `Software` of every picture that this package writes."""
VIEW = "#ome"
"""After the path of a source: the OME-Zarr image that is made of it, and `/LEVEL` of that."""
HEAD_BYTES = 4096
"""Bytes of a file that tell its kind."""
ARRAY_FILES = frozenset({"zarr.json", ".zarray", ".zattrs", ".zmetadata"})
GROUP_FILES = frozenset({"zarr.json", ".zgroup", ".zattrs", ".zmetadata"})
KEY = re.compile(r"(c|\d+)([./]\d+)*")
"""Keys of chunks and shards in both zarr formats, and the folders that they lie in."""
PARTIAL = re.compile(r"(.*/)?[^/]*\.[0-9a-f]{32}\.partial")
"""What an interrupted process leaves where zarr was writing a key."""
FOREIGN_SUFFIX = re.compile(r"\.(npy|npz|tiff?|nii|gz|nrrd|nhdr|hdr|img|h5|hdf5?|mrc|dcm|czi|lif|png|zip|n5)$", re.I)
"""Names that promise another format than zarr, even within a group."""


def _nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def _nifti_gz(head: bytes) -> bool:
    try:
        return _nifti(zlib.decompressobj(31).decompress(head, 512))
    except zlib.error:
        return False


OURS: dict[str, Callable[[bytes], bool]] = {
    "page": lambda head: PAGE_MARK.encode() in head,
    "picture": lambda head: head.startswith(b"\x89PNG") and b"tEXtSoftware\0" + PICTURE_MARK.encode() in head,
    "prior": lambda head: head.startswith(b"SU5SU"),  # base64 of its magic
}
"""Whether a file begins as one of this package's kinds does."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
KINDS: dict[str, Callable[[bytes], bool]] = {
    ".npy": lambda head: head.startswith(b"\x93NUMPY"),
    ".tif": lambda head: head.startswith(_TIFF),
    ".tiff": lambda head: head.startswith(_TIFF),
    ".nii": _nifti,
    ".nii.gz": _nifti_gz,
    ".nrrd": lambda head: head.startswith(b"NRRD"),
    ".mrc": lambda head: head[208:211] == b"MAP",
}
"""Whether a file begins as its suffix promises."""


@dataclass(frozen=True)
class Place:
    """Where a path or URL leads: a real path of this machine, or a path in a file system of fsspec."""

    path: str
    files: Any = None

    def walk(self) -> Iterator[str]:
        """Every file below, and every empty folder, relative; links are not followed."""
        if self.files is not None:
            self.files.invalidate_cache()
            base = self.path.rstrip("/") + "/"
            yield from (f"/{name.lstrip('/')}".partition(f"/{base.lstrip('/')}")[2] for name in self.files.find(base))
            return
        for folder, folders, names in os.walk(self.path):
            inside = os.path.relpath(folder, self.path)
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in (*names, *links) or ([""] if not folders and inside != "." else []):
                yield posixpath.normpath(posixpath.join(inside, name))

    def read(self, name: str = "", size: int | None = None) -> bytes | None:
        """The first `size` bytes of a file below, or of this one; None where there is none."""
        path = posixpath.join(self.path, name) if name else self.path
        try:
            if self.files is not None:
                return bytes(self.files.cat_file(path, end=size))
            with open(path, "rb") as file:
                return file.read(-1 if size is None else size)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def exists(self) -> bool:
        """Whether there is anything, a link that leads nowhere too."""
        return bool(self.files.exists(self.path)) if self.files is not None else os.path.lexists(self.path)

    def is_folder(self) -> bool:
        """Whether it holds others."""
        return bool(self.files.isdir(self.path)) if self.files is not None else os.path.isdir(self.path)

    def is_array(self) -> bool:
        """Whether a zarr array is here, of either format."""
        if self.read(".zarray") is not None:
            return True
        try:
            node = json.loads(self.read("zarr.json") or b"null")
        except ValueError:
            return False
        return isinstance(node, dict) and node.get("node_type") == "array"

    def line(self) -> Iterator["Place"]:
        """This place and all that it lies in, outwards."""
        here = self.path
        while True:
            yield Place(here, self.files)
            outer = posixpath.dirname(here.rstrip("/")) if self.files is not None else os.path.dirname(here)
            if outer in (here, ""):
                return
            here = outer

    def same(self, other: "Place") -> bool:
        """Whether both are one place, by whatever names."""
        if type(self.files) is not type(other.files):
            return False
        if self.path == other.path:
            return True
        try:
            return self.files is None and os.path.samefile(self.path, other.path)
        except OSError:
            return False

    def within(self, other: "Place") -> bool:
        """Whether this place is the other one or lies in it."""
        return any(place.same(other) for place in self.line())


def local_path(path: str) -> str:
    """The path that a file:// URL means (percent signs as they are, if there is such a file); others as they are."""
    scheme, separator, rest = path.partition("://")
    if not separator or scheme.lower() not in ("file", "local"):
        return path
    rest = rest[len("localhost") :] if rest.startswith("localhost/") else rest
    decoded = unquote(rest)
    return os.path.abspath(decoded if os.path.lexists(decoded) and not os.path.lexists(rest) else rest)


def split_part(path: str) -> tuple[str, str | None]:
    """A file and the part of it that is named, ("scan.tif", "1") of "scan.tif:1"; None where none is."""
    path = local_path(path)
    file, colon, part = path.rpartition(":")
    if not colon or "://" in path or os.path.lexists(path) or not os.path.exists(file):
        return path, None
    return file, part


def split_view(path: str) -> tuple[str, str | None]:
    """A source and the view of it that is named, ("scan.tif", "2") of "scan.tif#ome/2", and "" of "scan.tif#ome"."""
    source, mark, level = path.rpartition(VIEW)
    if not mark or (level and not re.fullmatch(r"/\d+", level)) or os.path.lexists(local_path(path)):
        return path, None
    return source, level.removeprefix("/")


def place_of(path: str) -> Place:
    """Where a path or URL leads; of a chained URL (`simplecache::s3://...`) what it ends in, of a part its file."""
    path = split_part(split_view(path)[0].rpartition("::")[2])[0]
    if "://" not in path:
        return Place(os.path.realpath(path))
    try:
        from fsspec.core import url_to_fs

        files, inside = url_to_fs(path)
    except (ImportError, ValueError) as error:
        scheme, said = path.partition("://")[0], " ".join(str(error).split())
        raise ConfigError(
            f"expected a URL that fsspec opens, got {path!r} ({said}): install fsspec and what it needs for {scheme}"
        ) from error
    return Place(posixpath.normpath(inside), files)


def check_array_target(
    target: str, sources: Iterable[str] = (), *, overwrite: bool = False, arrays: Iterable[str] | None = None
) -> None:
    """Whether a zarr array may be written at a path or URL; `arrays` are those that a target of several consists of.

    Without them, those of the OME-Zarr image that stands there, or the target itself.

    Raises ConfigError for a target that is, holds or lies in a source, or lies in an array; FileExistsError where
    something is there that may not be replaced.
    """
    place = check_apart(target, sources)
    if os.path.lexists(local_path(target).rstrip("/")) or place.exists():
        if not overwrite:
            raise FileExistsError(
                f"expected a new path, found something at {target!r}: choose another or --overwrite it"
            )
        check_array_replaced(target, arrays)


def check_file_target(
    target: str, sources: Iterable[str] = (), *, overwrite: bool = False, kind: str | None = None
) -> None:
    """Whether a file may be written at a path, one of OURS or the one that its suffix names. Raises what
    `check_array_target` does."""
    check_apart(target, sources)
    if "://" not in target and os.path.lexists(target):
        if not overwrite:
            raise FileExistsError(
                f"expected a new path, found something at {target!r}: choose another or --overwrite it"
            )
        check_file_replaced(target, kind)


def check_apart(target: str, sources: Iterable[str]) -> Place:
    """The place of a target that is apart from all sources and lies in no array; ConfigError for any other."""
    if "::" in target or target.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"expected a target that can be written to, got {target!r}: write to a folder of this machine"
        )
    place = place_of(target)
    for source in sources:
        one = place_of(source)
        if one.within(place) or (place.within(one) and one.is_folder()):
            raise ConfigError(
                f"expected a source outside of the target, and a target outside of the source, got {source!r} for "
                f"{target!r}: choose another target"
            )
    for outer in list(place.line())[1:]:
        if outer.is_array():
            raise ConfigError(
                f"expected a target outside of any zarr array, got {target!r} in the array {outer.path!r}: choose "
                "another target"
            )
    return place


def check_array_name(target: str) -> None:
    """ConfigError for a target whose name promises anything but zarr."""
    *outer, name = local_path(target).rstrip("/").split("/")
    stem, dot, _ = name.rpartition(".")
    in_store = any(part.lower().endswith(".zarr") for part in outer)
    if name.lower().endswith(".zarr") or not dot or not stem:
        return
    if not in_store or FOREIGN_SUFFIX.search(name):
        stem = FOREIGN_SUFFIX.sub("", stem) if stem.lower().endswith(".nii") else stem
        zarr = "/".join([*outer, stem if in_store else f"{stem}.zarr"])
        raise ConfigError(
            f"expected a target NAME.zarr or NAME.zarr/ARRAY, got {target!r}: encode to {zarr!r}, and for a file of "
            "another format run inr-codec decode on that"
        )


def check_array_replaced(path: str, arrays: Iterable[str] | None = None) -> None:
    """FileExistsError for anything but a folder that consists of zarr arrays at these paths in it ("": itself).

    arrays: default those of the OME-Zarr image that it is, with its labels, or the folder itself.
    """
    known = sorted(arrays_of_image(place_of(path)) if arrays is None else arrays, key=len, reverse=True)
    local = local_path(path).rstrip("/")
    if "://" not in local and os.path.islink(local):
        raise _kept(path, f"a link to {os.path.realpath(local)!r}", "name what it leads to")
    place = place_of(path)
    if not all(Place(posixpath.join(place.path, name), place.files).is_array() for name in known):
        raise _kept(path, "no zarr array" if place.is_folder() else "a file that is no zarr array")
    for name in place.walk():
        if not (PARTIAL.fullmatch(name) or any(_belongs(name, array) for array in known)):
            raise _kept(path, f"{name!r} in it, which is no part of the array")


def arrays_of_image(place: Place, inner: str = "") -> list[str]:
    """Paths of the levels of the OME-Zarr image at a place, and of its labels; [""] where there is none."""
    here = Place(posixpath.join(place.path, inner) if inner else place.path, place.files)
    ome = _ome(here)
    found = [posixpath.join(inner, path) for path in _paths(ome)]
    if not inner:
        labels = Place(posixpath.join(place.path, "labels"), place.files)
        names = _ome(labels).get("labels")
        for name in names if isinstance(names, list) else []:
            if isinstance(name, str) and name and not {"", ".", ".."} & set(name.split("/")):
                found += arrays_of_image(place, f"labels/{name}")
    return found or ([] if inner else [""])


def _ome(place: Place) -> dict[str, Any]:
    """The OME metadata of a group, of either version."""
    try:
        node = json.loads(place.read("zarr.json") or b"null")
        told = node["attributes"]["ome"] if node else json.loads(place.read(".zattrs") or b"{}")
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _paths(ome: dict[str, Any]) -> list[str]:
    try:
        paths = [str(one["path"]) for one in ome["multiscales"][0]["datasets"]]
    except (KeyError, IndexError, TypeError):
        return []
    return [path for path in paths if path and not {"", ".", ".."} & set(path.split("/"))]


def _belongs(name: str, array: str) -> bool:
    """Whether a file is one of an array at a path of a store, or of the groups that the array lies in."""
    if not array or name.startswith(f"{array}/"):
        inside = name[len(array) + 1 :] if array else name
        return inside in ARRAY_FILES or KEY.fullmatch(inside) is not None
    folder, _, file = name.rpartition("/")
    return file in GROUP_FILES and (not folder or array.startswith(f"{folder}/"))


def check_file_replaced(path: str | os.PathLike[str], kind: str | None = None) -> None:
    """FileExistsError for anything but an empty file, or one of a kind (default: as its name says, or any of OURS)."""
    told = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(told.st_mode):
        raise _kept(path, f"a link to {os.path.realpath(path)!r}", "name what it leads to")
    if not stat.S_ISREG(told.st_mode):
        raise _kept(path, "a folder" if stat.S_ISDIR(told.st_mode) else "no ordinary file")
    head = Place(os.fspath(path)).read(size=HEAD_BYTES)
    suffix = max((suffix for suffix in KINDS if os.fspath(path).lower().endswith(suffix)), key=len, default=None)
    known = [OURS[kind]] if kind else [KINDS[suffix]] if suffix else OURS.values()
    if head and not any(begins(head) for begins in known):
        raise _kept(path, "a file that it did not write" if kind or not suffix else f"a file that is no {suffix}")


def check_replaced(path: str | os.PathLike[str]) -> None:
    """`check_array_replaced` for a folder whose name promises no file, `check_file_replaced` for anything else."""
    name = os.fspath(path)
    if os.path.isdir(name) and not name.lower().endswith(tuple(KINDS)):
        check_array_replaced(name)
    else:
        check_file_replaced(name)


def _kept(
    path: str | os.PathLike[str], found: str, what: str = "choose another target, or delete it yourself"
) -> FileExistsError:
    return FileExistsError(
        f"expected to replace nothing but what inr_codec writes, found {found} at {os.fspath(path)!r}: {what}"
    )
