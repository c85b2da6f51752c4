"""What there is to write, and who is on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from writers.sources import Candidate, Source


class Item(NamedTuple):
    """A candidate among those of other sources.

    Attributes:
        source: name of its source; empty where the candidates' own names say where they came from.
        candidate: the face.
        identity: who it is, in a name that parts the people of different sources, or None.
        data: the encoded image if it came out of a stream; else None, and the worker reads it.
    """

    source: str
    candidate: Candidate
    identity: str | None
    data: bytes | None = None

    def __reduce__(self) -> tuple[Callable[..., Item], tuple[object, ...]]:
        """In plain tuples: what finds its classes by name takes twice as long both ways."""
        return _rebuild, (self.source, tuple(self.candidate), self.identity, self.data)

    @property
    def name(self) -> str:
        """What to call it in messages and in the sidecars; bytes of a file name that are no UTF-8 are escaped."""
        name = within(self.source, self.candidate.name)
        return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")

    def names(self, faces: int) -> list[str]:
        """What to call the faces found on it: its own name if there is one, else photo#1.jpg, photo#2.jpg, ..."""
        if faces == 1:
            return [self.name]
        stem, suffix = os.path.splitext(self.name)
        return [f"{stem}#{number}{suffix}" for number in range(1, faces + 1)]


def _rebuild(source: str, candidate: tuple[Any, ...], identity: str | None, data: bytes | None) -> Item:
    return Item(source, Candidate(*candidate), identity, data)


def within(source: str, name: str) -> str:
    """A name in a source, as one of all sources."""
    return f"{source}/{name}" if source else name


def list_items(sources: dict[str, Source], *, merge: bool) -> Iterator[Item]:
    """All candidates of all sources; people of different sources are different, unless they are to be merged.

    Raises:
        SourceError: if a source cannot be listed.
    """
    for name, source in sources.items():
        identities: dict[str, str] = {}  # one string for all images of a person
        for candidate in source.candidates():
            who = candidate.identity
            identity = who if who is None or merge else identities.setdefault(who, within(name, who))
            yield Item(name, candidate, identity)


def label_identities(items: Sequence[Item]) -> dict[str, int]:
    """The label of each identity, counted in sorted order."""
    identities = {item.identity for item in items if item.identity is not None}
    return {identity: label for label, identity in enumerate(sorted(identities))}


def name_work(rows: Iterable[bytes], labels: dict[str, int], settings: dict[str, object]) -> str:
    """A name for the work of writing the items of ``rows``, so that a run resumes what the same command began, only."""
    digest = hashlib.sha256(repr((settings, list(labels))).encode(errors="surrogateescape"))
    for row in rows:
        digest.update(row)
    return digest.hexdigest()
