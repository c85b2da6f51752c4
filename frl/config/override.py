"""Options by name over a configuration: from a file, or as keyword arguments of Python.

A section's options are a mapping, or names with dots: ``{"optim": {"lr": 0.1}}`` is ``{"optim.lr": 0.1}``. What the
command line calls without its section's name has none here, too: ``data``, ``engine``.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from frl.config.objective import ObjectiveConfig
from frl.errors import ConfigError

Config = TypeVar("Config")

SWITCH = {True: "on", False: "off"}
"""What YAML takes for a boolean where an option has a word of its own."""


def with_options(config: Config, options: Mapping[str, Any]) -> Config:
    """A copy of ``config``, a dataclass, with the options that are named.

    Raises:
        ConfigError: if one has no such name, or a value of another type.
    """
    return _replaced(config, options, "")


def made(kind: type[Config], options: Mapping[str, Any]) -> Config:
    """A configuration of the type ``kind``, its defaults but for the options that are named.

    Raises:
        ConfigError: as ``with_options``; or if one without a default is not named.
    """
    types, given = _types(kind), dict(_spelled(options))
    needed = [field.name for field in dataclasses.fields(kind) if _has_no_default(field)]  # type: ignore[arg-type]
    for name in needed:
        if name not in given:
            raise ConfigError(name, "is not given, and has no default", f"Name it: {name}=...")
    start = kind(**{name: fitted(types[name], given.pop(name), name) for name in needed})
    return with_options(start, given)


def fitted(kind: Any, value: Any, option: str) -> Any:
    """A value as the type ``kind`` wants it: lists as tuples, strings as paths, numbers that YAML took for text.

    Raises:
        ConfigError: naming the option, if it is of another type.
    """
    if get_origin(kind) is Annotated:
        return fitted(get_args(kind)[0], value, option)
    if get_origin(kind) in (Union, UnionType):
        return _of_union(get_args(kind), value, option)
    if isinstance(kind, type) and issubclass(kind, ObjectiveConfig):
        return _objective(None, value, option)
    if dataclasses.is_dataclass(kind):
        if isinstance(value, Mapping):
            return made(kind, value)  # type: ignore[arg-type]
        return value if isinstance(value, kind) else _refuse(option, value, "a section of options")  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, option)
    if get_origin(kind) is Literal:
        word = SWITCH.get(value, value) if isinstance(value, bool) else value
        return (
            word if word in get_args(kind) else _refuse(option, value, f"one of {', '.join(map(str, get_args(kind)))}")
        )
    if kind is Path:
        return Path(value) if isinstance(value, (str, os.PathLike)) else _refuse(option, value, "a path")
    return _plain(kind, value, option)


def _replaced(config: Any, options: Mapping[str, Any], prefix: str) -> Any:
    types, own = _types(type(config)), {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in _spelled(options):
        head, dot, rest = name.partition(".")
        section = _section_of(config, head, value)
        if dot and dataclasses.is_dataclass(getattr(config, head, None)):
            nested.setdefault(head, {})[rest] = value
        elif section is not None:
            nested.setdefault(section, {})[name] = value
        elif dot or head not in types:
            raise _unknown(config, f"{prefix}{name}")
        elif isinstance(getattr(config, head), ObjectiveConfig):
            own[head] = _objective(getattr(config, head), value, f"{prefix}{head}")
        elif dataclasses.is_dataclass(getattr(config, head)) and isinstance(value, Mapping):
            nested.setdefault(head, {}).update(value)
        else:
            own[head] = fitted(types[head], value, f"{prefix}{head}")
    for section, inner in nested.items():
        before = own.get(section, getattr(config, section))
        own[section] = (
            _objective(before, inner, f"{prefix}{section}")
            if isinstance(before, ObjectiveConfig)
            else _replaced(before, inner, f"{prefix}{section}.")
        )
    return dataclasses.replace(config, **own)


def _spelled(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options with the names of their fields; dashes are the command line's."""
    return ((str(name).replace("-", "_"), value) for name, value in options.items())


def _section_of(config: Any, name: str, value: Any) -> str | None:
    """The section without a name of its own on the command line that has an option of this name, if it is meant."""
    if isinstance(value, Mapping) or dataclasses.is_dataclass(value):
        return None
    for section in _nameless(type(config)):
        if name in _types(type(getattr(config, section))):
            return section
    return None


def _nameless(kind: type) -> Iterator[str]:
    """The sections whose options the command line shows without the section's name."""
    for name, hint in _types(kind).items():
        if get_origin(hint) is Annotated and any(getattr(note, "name", None) == "" for note in hint.__metadata__):
            yield name


def _types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _objective(before: ObjectiveConfig | None, value: Any, option: str) -> ObjectiveConfig:
    """Another objective by its name, or by a mapping with it; without a name in it, options of the one before."""
    if isinstance(value, ObjectiveConfig):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return _refuse(option, value, "the name of an objective, or its options")
    name = value.get("name", before.name if before else None)
    if name not in ObjectiveConfig.known:
        known = ", ".join(sorted(ObjectiveConfig.known))
        raise ConfigError(option, f"there is no objective {name!r}", f"Known are {known}.")
    start = before if before is not None and before.name == name else ObjectiveConfig.known[name]()
    return _replaced(start, {key: item for key, item in value.items() if key != "name"}, f"{option}.")


def _of_union(kinds: tuple[Any, ...], value: Any, option: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not NoneType:
            try:
                return fitted(kind, value, option)
            except ConfigError as error:
                errors.append(error)
    raise errors[0]


def _tuple(parts: tuple[Any, ...], value: Any, option: str) -> tuple[Any, ...]:
    several = value if isinstance(value, (list, tuple)) else (value,)
    if Ellipsis in parts:
        parts = parts[:1] * len(several)
    if len(parts) != len(several):
        return _refuse(option, value, f"{len(parts)} values")
    return tuple(fitted(part, item, option) for part, item in zip(parts, several, strict=True))


def _plain(kind: Any, value: Any, option: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as a text
        except (TypeError, ValueError):
            return _refuse(option, value, "a number")
    if kind is int:
        whole = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return int(value) if whole and int(value) == value else _refuse(option, value, "a whole number")
    if kind in (bool, str):
        return (
            value if isinstance(value, kind) else _refuse(option, value, {bool: "true or false", str: "a text"}[kind])
        )
    return value


def _refuse(option: str, value: Any, wanted: str) -> Any:
    raise ConfigError(option, f"{value!r} is not {wanted}", "Correct the value.")


def _unknown(config: Any, name: str) -> ConfigError:
    names = list(_names(config))
    meant = get_close_matches(name, names, 1) or [other for other in names if other.endswith(f".{name}")][:1]
    remedy = f"Is {meant[0]} meant?" if meant else f"Its options are {', '.join(names)}."
    return ConfigError(name, "is no option", remedy)


def _names(config: Any, prefix: str = "") -> Iterator[str]:
    """The names of all options, as ``with_options`` takes them."""
    nameless = set(_nameless(type(config)))
    for name in _types(type(config)):
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            yield from _names(value, prefix if name in nameless else f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
