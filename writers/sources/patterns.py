"""Patterns that stand for many files: ``faces-{000..099}.tar``, ``{a,b}.tar``, ``faces-*.tar``."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator

from frl.errors import SourceError

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST_FILES = 1_000_000


def has_pattern(path: str) -> bool:
    """Whether a path has braces, or what ``glob`` expands."""
    return bool(BRACES.search(path)) or glob.has_magic(path)


def expand_braces(pattern: str) -> Iterator[str]:
    """All texts that a pattern with ``{a,b}`` and ``{08..11}`` stands for, in its order, as the shell expands them.

    Raises:
        SourceError: if a range means more than a million.
    """
    match = BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    head, tail = pattern[: match.start()], pattern[match.end() :]
    if span := RANGE.fullmatch(match[1]):
        first, last = int(span[1]), int(span[2])
        if abs(last - first) >= MOST_FILES:
            raise SourceError(pattern, f"means more than {MOST_FILES:,} files", "Give a shorter range.")
        padded = any(len(text) > 1 and text[0] == "0" for text in span.groups())
        width = max(map(len, span.groups())) if padded else 0
        step = 1 if first <= last else -1
        parts = [f"{number:0{width}}" for number in range(first, last + step, step)]
    else:
        parts = match[1].split(",")
    for part in parts:
        yield from expand_braces(head + part + tail)
