"""The shape of the code: functions that can be read at one sitting and called without counting arguments."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "inr_codec"
MOST_LINES, MOST_PARAMETERS = 60, 8
KERNELS = {"kernel", "inner", "in_vectors", "jit", "njit"}
"""Decorators of what is compiled: a loop that fills registers is not cut in two for the reader's sake."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_kernel(function: Function, decorators: set[str] = KERNELS) -> bool:
    """Whether numba, Triton or LLVM compiles a function."""
    called = [node.func if isinstance(node, ast.Call) else node for node in function.decorator_list]
    return any(ast.unparse(node).rpartition(".")[2] in decorators for node in called)


def functions(node: ast.AST) -> Iterator[Function]:
    """All Python functions in a tree; those within a kernel are part of it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            if is_kernel(child):
                continue
            yield child
        yield from functions(child)


def parameters(function: Function) -> int:
    """Parameters of a function but for its options, which have a default and can only be given by name."""
    given = function.args
    needed = [default is None for default in given.kw_defaults]
    return len(given.posonlyargs) + len(given.args) + sum(needed)


def too_large(source: str) -> list[str]:
    """Names of the functions of a source that are too long or take too much."""
    return [
        f"{function.name}: {function.end_lineno - function.lineno + 1} lines, {parameters(function)} parameters"
        for function in functions(ast.parse(source))
        if function.end_lineno - function.lineno >= MOST_LINES or parameters(function) > MOST_PARAMETERS
    ]


def test_no_function_is_too_long_or_takes_too_much() -> None:
    """No function of the package has more than 60 lines or more than 8 parameters, except kernels."""
    found = {str(path.relative_to(PACKAGE)): too_large(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    assert {name: large for name, large in found.items() if large} == {}


def test_every_kernel_says_what_it_takes() -> None:
    """Every kernel has a docstring, as its arguments have no types; for code in vectors the kernel has it."""
    silent = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function) and is_kernel(node, KERNELS - {"in_vectors"}) and not ast.get_docstring(node)
    ]
    assert silent == []


def test_what_is_too_large_is_found() -> None:
    """61 lines are too many and 9 parameters are; options do not count, nor do kernels and what is within them."""
    long = "def long():\n" + "    pass\n" * 60
    wide = "def wide(a, b, c, d, e, f, g, h, i): pass\n"
    assert too_large(long) == ["long: 61 lines, 0 parameters"]
    assert too_large("class A:\n    " + wide) == ["wide: 1 lines, 9 parameters"]
    assert too_large("def outer():\n    " + wide.replace("i)", "*, i)")) == ["wide: 1 lines, 9 parameters"]
    for small in (long[:-9], wide.replace(", i", ""), wide.replace("i)", "*, i=1, j=2, **k)")):
        assert too_large(small) == []
    for decorator in ("kernel()", "kernel(fastmath=True)", "inner()", "in_vectors", "triton.jit", "numba.njit"):
        assert too_large(f"@{decorator}\n{long}") == too_large(f"@{decorator}\ndef f():\n    {wide}") == []
    assert too_large(f"@property\n{long}") != []
