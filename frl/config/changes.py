"""The options in which a run may differ from the checkpoint that it goes on from (``--allow-changes``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from frl.config.check import require

OF_THE_DATA = ("data.fingerprint", "data.samples")
"""What a refusal names of the data that is no option."""


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings under their names with dots."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return values


def may_change(option: str, allowed: Collection[str]) -> bool:
    """Whether an option is one of those named, or lies in a section that is; in the spelling of either."""
    names = [name.replace("-", "_") for name in allowed]
    return any(option == name or option.startswith(f"{name}.") for name in names)


def check_changes(allowed: Collection[str], config: Mapping[str, Any]) -> None:
    """Refuse a name in ``allowed`` that is no option or section of ``config``, a run's as JSON.

    Raises:
        ConfigError: with the name that may be meant.
    """
    known = [*flat(config), *OF_THE_DATA]
    sections = sorted({option.partition(".")[0] for option in known})
    for name in allowed:
        if not any(may_change(option, [name]) for option in known):
            near = get_close_matches(name, [*known, *sections], 1)
            meant = near or [option for option in known if option.endswith(f".{name}")]
            remedy = f"Is {meant[0]} meant?" if meant else "Name it as the refusal does: optim.lr, say."
            require(False, "allow-changes", f"{name!r} is no option of this run", remedy)
