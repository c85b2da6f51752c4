"""Configurations as JSON, and back, those of earlier versions too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from frl.config.objective import ObjectiveConfig
from frl.errors import ConfigError

RENAMED = {"min_spread": "min_feature_std", "min_prototypes_used": "min_used"}  # options of the alarm
OF_THE_OBJECTIVE = ("hidden_dim", "feature_dim", "prototypes")  # options that were the model's in version 0.1


def as_dict(value: Any) -> Any:
    """A configuration as JSON-ready values: paths become strings, tuples lists, an objective says its name."""
    if isinstance(value, ObjectiveConfig):
        return {"name": value.name, **_fields(value)}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, dict):
        return {key: as_dict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: as_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(kind: Any, saved: Any) -> Any:
    """The inverse of `as_dict`: a configuration of the type ``kind`` from its JSON.

    Raises:
        ConfigError: if it names an option that ``kind`` does not have, or an objective that nobody has defined.
    """
    if get_origin(kind) is Annotated:
        return from_dict(get_args(kind)[0], saved)
    if kind is ObjectiveConfig:
        saved = dict(saved)
        return from_dict(_objective(saved.pop("name")), saved)
    if get_origin(kind) in (Union, UnionType) and saved is not None:
        structured = (part for part in get_args(kind) if part is Path or dataclasses.is_dataclass(part))
        return from_dict(next(structured, None), saved)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        types = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        for name in saved.keys() - types.keys():
            raise ConfigError(name, "is an option that this version does not know", "Use the frl that wrote it.")
        return kind(**{name: from_dict(types[name], value) for name, value in saved.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        parts = parts[:1] * len(saved) if Ellipsis in parts else parts
        return tuple(from_dict(part, value) for part, value in zip(parts, saved, strict=True))
    return Path(saved) if kind is Path and saved is not None else saved


def _objective(name: str) -> type[ObjectiveConfig]:
    if name not in ObjectiveConfig.known:
        known = ", ".join(sorted(ObjectiveConfig.known))
        raise ConfigError(
            "objective", f"{name!r} is none that is defined ({known})", "Say where it is: --objective mine.py:MyConfig."
        )
    return ObjectiveConfig.known[name]


def upgraded(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a run's configuration in today's words, whichever version wrote it."""
    config = {**saved}
    if "health" in config:
        config["health"] = {RENAMED.get(name, name): value for name, value in config["health"].items()}
    if "swav" in config:
        config["model"] = {**config["model"]}
        moved = {name: config["model"].pop(name) for name in OF_THE_OBJECTIVE}
        config["objective"] = {"name": "swav", **moved, **config.pop("swav")}
    return config
