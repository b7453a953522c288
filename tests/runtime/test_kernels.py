"""Compiled kernels never outlive the sources they were made of."""

from pathlib import Path

from inr_codec.engines.fused import evaluate, tiles
from inr_codec.runtime import kernels
from inr_codec.runtime.kernels import digest, inner, kernel


def test_cached_kernels_depend_on_what_their_module_imports() -> None:
    """The stamp that numba compares before it uses a cached kernel holds the hash of its module and its imports."""
    assert digest(Path(tiles.__file__)) in tiles.affine._cache._cache_file._source_stamp
    assert Path(tiles.__file__) in kernels._imported(Path(evaluate.__file__))


def test_a_change_of_an_import_of_an_import_changes_the_digest(tmp_path, monkeypatch) -> None:
    """a imports b, b imports c in all three spellings; an edit of c renews a, an edit of an unrelated d does not."""
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path)
    (tmp_path / "part").mkdir()
    for name, text in {
        "a": "from inr_codec.part.b import (\n    one,\n    two,\n)\n",
        "part/b": "def one():\n    from inr_codec import c\n",
        "c": "three = 3\n",
        "d": "four = 4\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)

    def fresh() -> str:
        for cached in (kernels._imported, kernels._sources, digest):
            cached.cache_clear()
        return digest(tmp_path / "a.py")

    try:
        before = fresh()
        (tmp_path / "d.py").write_text("four = 5\n")
        assert fresh() == before
        (tmp_path / "c.py").write_text("three = 4\n")
        assert fresh() != before
    finally:
        for cached in (kernels._imported, kernels._sources, digest):
            cached.cache_clear()


def test_kernels_are_compiled_functions() -> None:
    """The decorator gives what numba.njit gives."""

    @kernel()
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(21) == 42


def test_inner_functions_are_plain_python_outside_of_kernels() -> None:
    """What a kernel calls gives the same from Python, where nothing is compiled."""

    @inner()
    def halves(x):  # type: ignore[no-untyped-def]
        return x // 2

    @kernel()
    def run(x):  # type: ignore[no-untyped-def]
        return halves(x)

    assert run(-7) == halves(-7) == -4
    assert not hasattr(halves, "py_func")
