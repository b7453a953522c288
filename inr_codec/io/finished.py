"""Files and folders that have their name only once they are complete."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, getpid, replace
from os.path import lexists
from pathlib import Path

from inr_codec.targets import check_replaced


@contextmanager
def finished(path: str | PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends, and goes away when the block fails.

    Raises FileExistsError where `path` exists and `overwrite` is false or it is not of the kind that may be replaced
    (`targets`), FileNotFoundError where its folder does not.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected a folder to write to, found none at {str(path.parent)!r}: create it first")
    if lexists(path):
        if not overwrite:
            raise FileExistsError(
                f"expected a new path, found something at {str(path)!r}: choose another or --overwrite it"
            )
        check_replaced(path)
    part = path.with_name(f".part-{getpid()}-{path.name}")
    try:
        yield part
        if path.is_dir():
            if part.is_file():
                raise FileExistsError(f"expected a file to replace, found a folder at {str(path)!r}: choose another")
            check_replaced(path)
            remove(path)
        replace(part, path)
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Delete a file or a folder of our own, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
