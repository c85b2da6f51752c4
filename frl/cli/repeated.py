"""Options that a command line gives twice: of two values one would be lost without a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from frl.errors import ConfigError

REPEATABLE = ("--licence", "--set")
"""Options that are given once for each value."""


def require_once(arguments: Sequence[str]) -> None:
    """Refuse an option that is given again with another value; the same value twice loses nothing.

    Args:
        arguments: of a command.

    Raises:
        ConfigError: naming the option and what it is given.
    """
    given: dict[str, list[tuple[str, ...]]] = {}
    for option, values in _options(arguments):
        given.setdefault(option, []).append(values)
    for option, found in given.items():
        if len(set(found)) > 1 and option not in REPEATABLE:
            shown = ", ".join(" ".join(values) or "without a value" for values in found)
            remedy = f"Give it once; where it takes several values, behind each other: {option} A B."
            raise ConfigError(option, f"is given {len(found)} times ({shown})", remedy)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each option with what stands behind it; ``--no-x`` is the option ``--x`` with another value."""
    for place, argument in enumerate(arguments):
        if argument == "--":
            return
        if not argument.startswith("--"):
            continue
        name, equals, value = argument.partition("=")
        head, dot, last = name.removeprefix("--").replace("_", "-").rpartition(".")
        behind = takewhile(lambda word: not word.startswith("--"), arguments[place + 1 :])
        values = (value,) if equals else ("no",) if last.startswith("no-") else tuple(behind)
        yield f"--{head}{dot}{last.removeprefix('no-')}", values
