"""``NAME=VALUE`` on the command line: several of them behind one option."""

from __future__ import annotations

from collections.abc import Iterable

from frl.errors import ConfigError


def pairs(given: Iterable[str], option: str, example: str) -> dict[str, str]:
    """The values by their names, in the order in which they are given.

    Args:
        given: each ``NAME=VALUE``; the name is a word of letters, digits and underscores.
        option: whose they are, such as ``--set``.
        example: one of them, for the error.

    Raises:
        ConfigError: one has no name or no value, or two have the same name.
    """
    found: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not name.isidentifier() or not value:
            raise ConfigError(option, f"{text!r} is not NAME=VALUE", f"Give e.g. {option} {example}.")
        if name in found:
            raise ConfigError(option, f"{name} is given twice ({found[name]}, {value})", "Give it once.")
        found[name] = value
    return found
