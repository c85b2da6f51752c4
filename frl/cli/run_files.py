"""``--config FILE`` and ``--print-config``: a run's options as YAML or JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from frl.config import RunConfig, as_dict, upgraded
from frl.config.documents import read_document
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
    if not path.exists():
        raise ConfigError(OPTION, f"{path}: no such file", "Check the path.")
    found = read_document(path, f"{OPTION} {path}", "Give YAML, or a run's config.json.")
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{OPTION} {path}", "names no options", "Give lines such as seed: 1, or a run's config.json.")
    return found
