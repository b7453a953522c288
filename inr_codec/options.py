"""What is known of an option, and what follows from it: the limits that are checked, docstrings, tables.

`Config` is a dataclass whose fields have an `Option` each as metadata. The functions here work on any such dataclass
and know no option by name.
"""

import textwrap
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from inr_codec.errors import ConfigError

NAME_WIDTH, LINE_WIDTH = 16, 112
"""Characters of the names' column in a docstring, and of a whole line."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A context in which an option would do nothing; `holds` says whether a resolved recipe is such a context.

    The message says "beside {beside}, {why}" and what to do: the advice.
    """

    beside: str
    why: str
    holds: Callable[[Any], bool]
    advice: str = "leave one of the two out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is known of one option beside its name, type and default.

    group: the heading that it is listed under. text: what it means. limits: least and greatest number. multiple: what
    numbers must be multiples of, as others would be rounded. chosen: what is taken where None is the default; up to a
    semicolon a Python literal, or words. values: what may be given, where type and limits do not tell. unread: contexts
    in which it would do nothing. common: whether most people need it. flag: whether the command line has an option of
    its name.
    """

    group: str
    text: str
    limits: tuple[float, float] | None = None
    multiple: int = 1
    chosen: str = ""
    values: str = ""
    unread: tuple[Unread, ...] = ()
    common: bool = False
    flag: bool = False


def about(group: str, text: str, **known: Any) -> dict[str, Option]:
    """The metadata of a field: an Option of these arguments."""
    return {"option": Option(group=group, text=text, **known)}


def options_of(config: Any) -> dict[str, Option]:
    """What is known of every field of such a dataclass, by name."""
    return {found.name: found.metadata["option"] for found in fields(config)}


def given(config: Any) -> dict[str, Any]:
    """The values of an object of such a dataclass that are not the defaults, by name."""
    values = {found.name: (getattr(config, found.name), found.default) for found in fields(config)}
    return {name: value for name, (value, default) in values.items() if value != default}


def kind_of(annotation: Any) -> Any:
    """The type of values other than None; None where there are several."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 else None


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values that a Literal (or None) lists; () for any other type."""
    kind = kind_of(annotation)
    return get_args(kind) if get_origin(kind) is Literal else ()


def check_values(config: Any) -> None:
    """ConfigError for the first value outside of its limits or choices. None is good where it is the default."""
    for found in fields(config):
        value, limits, choices = getattr(config, found.name), found.metadata["option"].limits, choices_of(found.type)
        if value is None and found.default is None:
            continue
        if limits is not None:
            _check_number(found.name, value, *limits, whole=kind_of(found.type) is int)
        elif choices and value not in choices:
            named = ", ".join(map(repr, choices))
            raise ConfigError(f"expected {found.name} to be one of {named}, got {value!r:.80}: choose one of them")


def _check_number(name: str, value: Any, low: float, high: float, *, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high  # NaN is not
    if not good:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"expected {name} to be {kind} between {low:g} and {high:g}, got {value!r:.80}: change it")


def check_use(config: Any, resolved: Any) -> None:
    """ConfigError for the first option that was given and would do nothing, or would be rounded.

    config: as it was given; resolved: with everything filled in that it implies.
    """
    options = options_of(config)
    for name, value in given(config).items():
        for context in options[name].unread:
            if context.holds(resolved):
                wanted = f"no {name}= beside {context.beside}, {context.why}"
                raise ConfigError(f"expected {wanted}, got {value!r:.60}: {context.advice}")
        multiple = options[name].multiple
        if multiple > 1 and value % multiple:
            near = round(value / multiple) * multiple
            raise ConfigError(
                f"expected {name} to be a multiple of {multiple}, got {value!r}: give {near}, the nearest"
            )


def grouped(config: Any) -> dict[str, list[tuple[Field[Any], Option]]]:
    """All fields and options by their groups."""
    groups: dict[str, list[tuple[Field[Any], Option]]] = {}
    for found in fields(config):
        option = found.metadata["option"]
        groups.setdefault(option.group, []).append((found, option))
    return groups


def listing(config: Any) -> str:
    """Every option, what it is and what it may be, by groups: the lines of a docstring."""
    lines: list[str] = []
    for group, members in grouped(config).items():
        lines.append(f"{group}:")
        for found, option in members:
            text = option.text + ("" if option.limits is None else f" ({option.values or _range(option)})")
            text += f". Default: {option.chosen}" if option.chosen else ""
            first, rest = f"    {found.name:<{NAME_WIDTH}}", " " * (4 + NAME_WIDTH)
            lines += textwrap.wrap(text, LINE_WIDTH, initial_indent=first, subsequent_indent=rest)
    return "\n".join(lines)


def explain(owner: Any, config: Any) -> None:
    """Put the listing in the place of "{options}" in the docstring of a class or function, indented as that is."""
    before, _, after = (owner.__doc__ or "").partition("{options}")
    indent = " " * (len(before) - len(before.rstrip(" ")))
    owner.__doc__ = before + textwrap.indent(listing(config), indent).lstrip() + after


def table(config: Any, *, common: bool = False) -> str:
    """The common options as one markdown table, or all of them as one for each group, with a heading."""
    head = ["option", "values", "default", "what it is", "refused beside"]
    groups = grouped(config)
    if common:
        members = [member for group in groups.values() for member in group if member[1].common]
        return _markdown(head[:-1], [_row(*member)[:-1] for member in members])
    tables = {group: _markdown(head, [_row(*member) for member in members]) for group, members in groups.items()}
    return "\n\n".join(f"### {group}\n\n{rows}" for group, rows in tables.items())


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(found: Field[Any], option: Option) -> list[str]:
    """Name, values, default, meaning, and where it is refused."""
    choices = ", ".join(f'`"{choice}"`' for choice in choices_of(found.type))
    values = option.values or choices or (_range(option) if option.limits else "`True`, `False`")
    default = option.chosen if found.default is None else f"`{found.default!r}`".replace("'", '"')
    beside = "; ".join(context.beside for context in option.unread)
    return [f"`{found.name}`", values, default, option.text, beside]


def _range(option: Option) -> str:
    assert option.limits is not None
    low, high = (f"{limit:,.15g}" for limit in option.limits)
    return f"{low} to {high}" + (f", multiples of {option.multiple}" if option.multiple > 1 else "")
