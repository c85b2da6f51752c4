"""Files of YAML or JSON that people write: plain values, and no key twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from frl.errors import ConfigError


def read_document(path: Path, subject: str, remedy: str) -> Any:
    """What a file holds: of JSON if its name ends so, else of YAML.

    Args:
        path: of the file.
        subject: what an error is about.
        remedy: what the file should be.

    Raises:
        ConfigError: if it cannot be read, is neither, or has a key twice, of which only the last would count.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_once)
        return yaml.load(text, _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(subject, f"cannot be read ({reason})", remedy) from error


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
