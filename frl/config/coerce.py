"""Values in a handier form than a field's type says, as callers of Python write them."""

from __future__ import annotations

import os
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from frl.errors import ConfigError


def coerce(config: Any) -> None:
    """Give the fields of a frozen dataclass the values that their types mean; to call in ``__post_init__``.

    A string becomes a path where a path is meant; a single path or string becomes a tuple of one where several are
    meant, and a list a tuple.

    Raises:
        ConfigError: if a path is wanted and something else was given.
    """
    for name, kind in _kinds(type(config)).items():
        value = getattr(config, name)
        fitting = _fitting(name, kind, value)
        if fitting is not value:
            object.__setattr__(config, name, fitting)


def _kinds(kind: type) -> dict[str, Any]:
    return {name: _plain(hint) for name, hint in get_type_hints(kind).items()}


def _plain(hint: Any) -> Any:
    """A type without its annotations and without None."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        (*others,) = (part for part in get_args(hint) if part is not type(None))
        return _plain(others[0]) if len(others) == 1 else hint
    return hint


def _fitting(name: str, kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if kind is Path:
        return value if isinstance(value, Path) else _path(name, value)
    if get_origin(kind) is not tuple:
        return value
    part = get_args(kind)[0]
    if part in (Path, str) and isinstance(value, (str, os.PathLike)):
        value = (value,)
    if part is Path and not (isinstance(value, tuple) and all(isinstance(item, Path) for item in value)):
        return tuple(_fitting(name, Path, item) for item in value)
    return tuple(value) if isinstance(value, list) else value


def _path(name: str, value: Any) -> Path:
    try:
        return Path(value)
    except TypeError as error:
        cause = f"{value!r} is no path"
        raise ConfigError(f"--{name.replace('_', '-')}", cause, "Give a string or a Path.") from error
