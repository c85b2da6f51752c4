"""What a source holds beside its images but frl does not read: the user may have meant it to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

SHOWN = 8
"""Names shown, the most frequent first."""


class Unread:
    """Counts the keys of JSON objects that are not read.

    Args:
        where: what to call the objects.
        read: the keys that are.
    """

    def __init__(self, where: str, read: tuple[str, ...]) -> None:
        self._where = where
        self._read = read
        self._keys: Counter[str] = Counter()

    def note(self, record: object) -> None:
        """Look at an object; other things have no keys."""
        if isinstance(record, dict):
            self._keys.update(record.keys() - self._read)

    def remarks(self) -> Iterator[str]:
        """A line, if there is something to say."""
        if self._keys:
            names = [f"{key} ({count:,})" for key, count in self._keys.most_common(SHOWN)]
            rest = ", ..." if len(self._keys) > SHOWN else ""
            yield f"{self._where}: {', '.join(names)}{rest} not read; {', '.join(self._read)} are"


@runtime_checkable
class Remarking(Protocol):
    """A source that says what it did not read."""

    def remarks(self) -> Iterator[str]:
        """Lines for the user, once the source is listed."""
        ...
