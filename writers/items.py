"""What there is to write, in the order of the file, and who is on it."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from frl.errors import SourceError
from writers.config import WriteConfig
from writers.sources import Candidate, Source


class Item(NamedTuple):
    """A candidate and the name of its source."""

    source: str
    candidate: Candidate

    @property
    def name(self) -> str:
        """What to call it in messages and in the sidecars; bytes of a file name that are no UTF-8 are escaped."""
        return os.fsencode(f"{self.source}/{self.candidate.name}").decode(errors="backslashreplace")

    @property
    def identity(self) -> str | None:
        """Who it is: people of two sources are never merged, whatever their names."""
        return None if self.candidate.identity is None else f"{self.source}/{self.candidate.identity}"


def choose(sources: dict[str, Source], config: WriteConfig) -> list[Item]:
    """The items to write, in the order of the file.

    They are sorted by a hash of the seed and their name, so their order depends on no generator, nor on other items.

    Raises:
        SourceError: if a source cannot be listed, or there is no image.
    """

    def key(item: Item) -> bytes:
        return hashlib.blake2b(
            os.fsencode(f"{config.seed}/{item.source}/{item.candidate.name}"), digest_size=8
        ).digest()

    items = [Item(name, candidate) for name, source in sources.items() for candidate in source.candidates()]
    if not items:
        where = " ".join(config.sources) or "SOURCE"
        raise SourceError(where, "no image found", "Give folders of .jpg, .png, .webp, .bmp or .tif.")
    items.sort(key=key)
    return items[: config.limit]


def label_identities(items: list[Item]) -> dict[str, int]:
    """The label of each identity, counted in sorted order."""
    identities = {item.identity for item in items if item.identity is not None}
    return {identity: label for label, identity in enumerate(sorted(identities))}
