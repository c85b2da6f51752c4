"""The options of a command: the common ones first, all of them with ``--help-all``.

A command's options are the fields of a dataclass, from which tyro makes its parser. What is told here is read off the
same fields: their names, their types, their defaults, and the docstrings below them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

Config = TypeVar("Config")

HELP, ALL = ("-h", "--help"), "--help-all"
WIDTH = 100
INDENT = 28


class Option(NamedTuple):
    """An option of a command.

    Attributes:
        flag: as it is typed.
        takes: what follows it: a kind of value, words to choose from; empty for a switch.
        words: those to choose from.
        help: its docstring.
        default: in words.
    """

    flag: str
    takes: str
    words: tuple[str, ...]
    help: str
    default: str


def parse(
    kind: type[Config],
    arguments: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    common: Sequence[str],
    default: Config | None = None,
    takes: str = "",
) -> Config:
    """``tyro.cli``, but that ``--help`` shows the common options, and ``--help-all`` all of them in groups.

    Args:
        kind: the options, a dataclass.
        arguments: of the command line; None: those of this process.
        prog: what the command is called.
        description: what it does; lines that are indented stay as they are.
        common: flags, in the order in which they are shown.
        default: values of options that are not given; None: those of ``kind``.
        takes: what it takes besides options, for the first line of the short help.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(argument in HELP for argument in arguments):
        print(short_help(kind if default is None else default, f"{prog} {takes}".rstrip(), description, common))
        raise SystemExit(0)
    arguments = ["--help" if argument == ALL else argument for argument in arguments]
    given: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(kind, args=arguments, prog=prog, description=description, **given)


def short_help(config: Any, prog: str, description: str, common: Sequence[str]) -> str:
    """The help with the common options alone."""
    options = {option.flag: option for option in options_of(config)}
    parts = (part if part.startswith(" ") else textwrap.fill(part, WIDTH) for part in description.split("\n\n"))
    lines = [f"usage: {prog} [OPTIONS]", "", "\n\n".join(parts), "", "options:"]
    for flag in common:
        lines += _described(options[flag])
    groups = sorted({flag.removeprefix("--").partition(".")[0] for flag in options if "." in flag})
    others = f"{len(options) - len(common)} other options"
    lines += ["", f"{ALL} lists all, with {others}{', in groups: ' + ', '.join(groups) if groups else ''}."]
    return "\n".join(lines)


def _described(option: Option) -> Iterator[str]:
    head = f"  {option.flag} {option.takes}".rstrip()
    told = option.help + (f" (default: {option.default})" if option.default else "")
    wrapped = textwrap.wrap(told, WIDTH - INDENT) or [""]
    if len(head) < INDENT - 1:
        yield f"{head:<{INDENT}}{wrapped.pop(0)}"
    else:
        yield head
    yield from (" " * INDENT + line for line in wrapped)


def options_of(config: Any, prefix: str = "--") -> Iterator[Option]:
    """The options that tyro makes of a dataclass or of an instance of it, whose values are the defaults."""
    kind = config if isinstance(config, type) else type(config)
    hints, told = get_type_hints(kind, include_extras=True), docstrings(kind)
    for field in dataclasses.fields(kind):
        value = _default(field) if isinstance(config, type) else getattr(config, field.name)
        hint, notes = _plain(hints[field.name])
        name = next((note.name for note in notes if getattr(note, "name", None) is not None), field.name)
        if tyro.conf.Positional in notes or tyro.conf.Suppress in notes:
            continue
        if dataclasses.is_dataclass(value):
            yield from options_of(value, prefix + (f"{name}." if name else ""))
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for number, part in enumerate(value):
                yield from options_of(part, f"{prefix}{name}.{number}.")
        elif not any(map(dataclasses.is_dataclass, (hint, *get_args(hint)[:1]))):  # of none the line has no options
            flag = f"{prefix}{name}".replace("_", "-")
            words = tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()
            yield Option(flag, _takes(hint), words, told.get(field.name, ""), _in_words(value))


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _plain(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without None and annotations, and the annotations."""
    if get_origin(hint) is Annotated:
        kind, notes = _plain(get_args(hint)[0])
        return kind, (*hint.__metadata__, *notes)
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return _plain(kinds[0]) if len(kinds) == 1 else (hint, ())
    return hint, ()


def _takes(hint: Any) -> str:
    if hint is bool:
        return ""
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    if get_origin(hint) is tuple:
        parts = [_takes(part) for part in get_args(hint) if part is not Ellipsis]
        return f"{parts[0]} [...]" if Ellipsis in get_args(hint) else " ".join(parts)
    return {int: "INT", float: "NUMBER", str: "TEXT"}.get(hint, "PATH" if hint is Path else "VALUE")


def _in_words(value: Any) -> str:
    if value is dataclasses.MISSING or value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@functools.cache
def docstrings(kind: type) -> dict[str, str]:
    """What stands below each field of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            found |= dict(fields_in(body))
    return found


def fields_in(body: ast.AST) -> Iterator[tuple[str, str]]:
    """The names of the fields of a class in its syntax tree, and what stands below each."""
    statements = list(getattr(body, "body", ()))
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        told = following.value if isinstance(following, ast.Expr) else None
        text = told.value if isinstance(told, ast.Constant) and isinstance(told.value, str) else ""
        yield statement.target.id, " ".join(text.split())
