"""Configurations as JSON, and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from frl.errors import ConfigError


def as_dict(config: Any) -> dict[str, Any]:
    """A JSON-ready dictionary of a configuration: paths become strings, tuples become lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def from_dict(kind: Any, saved: Any) -> Any:
    """The inverse of `as_dict`: a configuration of the type ``kind`` from its JSON.

    Raises:
        ConfigError: if it names an option that ``kind`` does not have.
    """
    if get_origin(kind) is Annotated:
        return from_dict(get_args(kind)[0], saved)
    if get_origin(kind) in (Union, UnionType) and saved is not None:
        structured = (part for part in get_args(kind) if part is Path or dataclasses.is_dataclass(part))
        return from_dict(next(structured, None), saved)
    if dataclasses.is_dataclass(kind):
        types = get_type_hints(kind, include_extras=True)
        for name in saved.keys() - types.keys():
            raise ConfigError(name, "is an option that this version does not know", "Use the frl that wrote it.")
        return kind(**{name: from_dict(types[name], value) for name, value in saved.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        parts = parts[:1] * len(saved) if Ellipsis in parts else parts
        return tuple(from_dict(part, value) for part, value in zip(parts, saved, strict=True))
    return Path(saved) if kind is Path and saved is not None else saved
