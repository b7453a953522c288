"""Compiled kernels never outlive the sources they were made of."""

from inr_codec import tiles
from inr_codec.kernels import DIGEST, kernel


def test_cached_kernels_depend_on_the_whole_package() -> None:
    """The stamp that numba compares before it uses a cached kernel holds the hash of all sources."""
    assert DIGEST in tiles.affine._cache._cache_file._source_stamp


def test_kernels_are_compiled_functions() -> None:
    """The decorator gives what numba.njit gives."""

    @kernel()
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(21) == 42
