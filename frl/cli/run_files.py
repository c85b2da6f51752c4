"""``--config FILE`` and ``--print-config``: a run's options as YAML or JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from frl.config import RunConfig, as_dict, upgraded
from frl.config.override import with_options
from frl.errors import ConfigError

OPTION, PRINT = "--config", "--print-config"


def with_file(config: RunConfig, path: Path) -> RunConfig:
    """``config`` with the options that a file names: the ``config.json`` of a run, or YAML.

    Raises:
        ConfigError: if it cannot be read, is neither, or names what is no option.
    """
    try:
        return with_options(config, upgraded(_read(path)))
    except ConfigError as error:
        if error.subject.startswith(OPTION):
            raise
        raise error.within(path) from error


def as_yaml(config: RunConfig) -> str:
    """All options of a run, as ``with_file`` reads them."""
    return yaml.safe_dump(as_dict(config), sort_keys=False, width=120, default_flow_style=None)


def taken_out(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """The values of an option, ``--name VALUE`` or ``--name=VALUE``, and all other arguments.

    Raises:
        ConfigError: if it is given twice, or without a value.
    """
    values, others, waiting = [], [], iter(arguments)
    for argument in waiting:
        name, given, value = argument.partition("=")
        if name != option:
            others.append(argument)
            continue
        value = value if given else next(waiting, "")
        if not value or value.startswith("--"):
            raise ConfigError(option, "is given without a value", "Name it behind the option.")
        values.append(value)
    if len(values) > 1:
        raise ConfigError(option, f"is given {len(values)} times ({', '.join(values)})", "Give it once.")
    return values, others


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            found = json.loads(text, object_pairs_hook=_once)
        else:
            found = yaml.load(text, _Loader)
    except FileNotFoundError as error:
        raise ConfigError(OPTION, f"{path}: no such file", "Check the path.") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{OPTION} {path}", f"cannot be read ({reason})", "Give YAML, or a run's config.json."
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{OPTION} {path}", "names no options", "Give lines such as seed: 1, or a run's config.json.")
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose keys are all different.

    Raises:
        ValueError: if one comes twice, of which only the last would count.
    """
    names = [name for name, _ in pairs]
    if twice := {str(name) for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))} is there twice")
    return dict(pairs)


class _Loader(yaml.SafeLoader):
    """Plain values, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        pairs = [(self.construct_object(key, True), value) for key, value in node.value]
        names = [repr(name) for name, _ in pairs]
        if len(set(names)) < len(names):
            raise yaml.MarkedYAMLError(problem="a key is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
