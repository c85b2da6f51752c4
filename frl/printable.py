"""Text made fit for a terminal: names of files and people may hold escape sequences, and lists may be long."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

HARMFUL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode that steer a terminal, reorder what is shown, or cannot be shown or encoded at all."""


def printable(text: object) -> str:
    r"""The text on one line, with ``\x1b`` and its like in place of characters that would not show as themselves.

    Bytes of file names that are no UTF-8, which Python holds as surrogates, become ``\xe9`` as well.
    """
    said = str(text)
    return said if said.isascii() and said.isprintable() else "".join(map(_shown, said))


def printable_lines(text: object) -> str:
    """The same of a text of several lines: its line breaks stay."""
    return "\n".join(map(printable, str(text).split("\n")))


def abridged(names: Sequence[object], most: int = 5) -> str:
    """The first names of a list, and how many more there are; nothing of an empty one."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _shown(character: str) -> str:
    if unicodedata.category(character) not in HARMFUL:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that could not be decoded (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
