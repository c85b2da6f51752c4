"""What lies among the images and is none: every file is listed as an image, or counted here with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from frl.images.names import suffix_of

NO_IMAGE = "no images"
UNREADABLE = "cannot be read"
SPECIAL = "no regular files"
OUTSIDE = "outside of train/, val/ and test/"
"""Images beside the splits, where a source has such."""


class Skipped:
    """Counts files and folders that are not listed, by the reason why."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()

    def clear(self) -> None:
        """Begin anew."""
        self._reasons.clear()
        self._suffixes.clear()

    def add(self, reason: str, path: str) -> None:
        """Take in a file or a folder."""
        self._reasons[reason] += 1
        if reason == NO_IMAGE:
            self._suffixes[suffix_of(path) or "no suffix"] += 1

    def counts(self) -> dict[str, int]:
        """How many there are, by reason; no images by suffix as well, as far as these are few."""
        found = dict(self._reasons)
        if NO_IMAGE in found:
            most = ", ".join(f"{suffix} {count:,}" for suffix, count in self._suffixes.most_common(5))
            found[f"{NO_IMAGE} ({most}{', ...' if len(self._suffixes) > 5 else ''})"] = found.pop(NO_IMAGE)
        return found

    def update(self, other: Skipped) -> None:
        """Take in what another has counted."""
        self._reasons.update(other._reasons)
        self._suffixes.update(other._suffixes)

    def __str__(self) -> str:
        return "; ".join(f"{count:,} {reason}" for reason, count in self.counts().items())

    def __bool__(self) -> bool:
        return bool(self._reasons)


def total(stores: Iterable[object]) -> Skipped:
    """What was skipped when these stores were listed last; those without folders or archives skip nothing."""
    found = Skipped()
    for store in stores:
        if isinstance(skipped := getattr(store, "skipped", None), Skipped):
            found.update(skipped)
    return found
