"""Find the image files below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from frl.errors import SourceError, is_fault_of_machine
from frl.images.formats import HEAD
from frl.images.names import aside, claims_image, claims_note, is_image
from writers.reject import Reject
from writers.sources.files import read_head, read_local
from writers.sources.skipped import NO_IMAGE, SPECIAL, UNREADABLE, Skipped
from writers.sources.source import Entry, nothing


def entries(folder: str | Path, skipped: Skipped | None = None) -> list[os.DirEntry[str]]:
    """What is in ``folder``, by name, without what is hidden or a thumbnail; that is counted by ``skipped``.

    Raises:
        SourceError: if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(folder, f"cannot be listed ({error.strerror})", "Check path and permissions.") from error
    kept = []
    for entry in found:
        if reason := aside(entry.name):
            if skipped is not None:
                skipped.add(reason, entry.name)
        else:
            kept.append(entry)
    return kept


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one.

    One that leads to itself or where nobody may look is none: who reads it says what is wrong with it.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if is_fault_of_machine(error):
            raise
        return False


def shows_image(entry: os.DirEntry[str], skipped: Skipped | None = None) -> bool:
    """Whether an entry is to be listed, by its suffix or else by its content; if not, ``skipped`` counts it."""
    if is_folder(entry):
        return False
    if claims_image(entry.name):
        return True
    try:
        head = b"" if claims_note(entry.name) else read_head(entry.path, HEAD)
        reason = None if is_image(entry.name, head) else NO_IMAGE
    except Reject:
        reason = SPECIAL
    except OSError:
        reason = UNREADABLE
    if reason and skipped is not None:
        skipped.add(reason, entry.name)
    return reason is None


@dataclass(frozen=True)
class Directory:
    """A folder, as a store of the images below it.

    Attributes:
        location: its absolute path.
        skipped: what else was found when it was listed last.
    """

    location: str
    skipped: Skipped = field(default_factory=Skipped, compare=False)

    def entries(self, is_read: Callable[[str], bool] = nothing) -> Iterator[Entry]:
        """The images by path; see ``Tree``."""
        self.skipped.clear()
        yield from self.below("", is_read)

    def below(self, folder: str, is_read: Callable[[str], bool] = nothing) -> Iterator[Entry]:
        """The images at any depth of a folder in this one, with their paths in this one; links are followed.

        Args:
            folder: its path in this one.
            is_read: see ``Tree``.

        Raises:
            SourceError: if a folder cannot be listed, or a link leads back to one that contains it.
        """
        for path, entry in self._files(folder, self.skipped):
            if not is_read(path) and shows_image(entry, self.skipped):
                yield Entry(path, path)

    def paths(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        """The paths of other files, found as the images are; raises like ``below``."""
        yield from (path for path, _ in self._files("") if wanted(path))

    def _files(
        self, folder: str, skipped: Skipped | None = None, ancestors: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        here = os.path.join(self.location, folder)
        above = ancestors or (os.path.realpath(here),)
        prefix = os.path.join(folder, "") if folder else ""
        for entry in entries(here, skipped):
            path = prefix + entry.name
            if not is_folder(entry):
                yield path, entry
                continue
            # Where a folder really is takes a look at every part of its path; only a link leads anywhere else.
            place = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
            if place in above:
                raise SourceError(entry.path, "a link leads back to a folder that contains it", "Remove the link.")
            yield from self._files(path, skipped, (*above, place))

    def read(self, place: str) -> bytes:
        """The file's bytes; see ``Store``."""
        return read_local(os.path.join(self.location, place))
