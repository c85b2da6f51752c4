"""Photographs at any depth, such as a collection from Flickr, or crops: none, one or several faces are on each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from writers.sources.annotations import Face, candidates
from writers.sources.bucket import Bucket
from writers.sources.directory import Directory
from writers.sources.join import Table
from writers.sources.sidecars import Sidecars, is_sidecar
from writers.sources.source import Candidate, Entry, nothing
from writers.sources.tar import CompressedTars, Tars


@dataclass(frozen=True)
class Flickr:
    """Photographs of a folder or a tar; each annotated face of one is a candidate.

    A photograph of which nothing is known is one candidate, the whole of it, to be searched for faces. One that is
    known to show none is rejected.

    Attributes:
        store: the folder or the tar.
        boxes: a table of boxes whose NAME_ID is the photograph's path without its suffix, one line a face; or None:
            the annotations of ``ID.jpg`` are in ``ID.faces.json`` beside it, if there is one (see ``Sidecars``).
        guessed: whether nobody said what kind of source it is: its folders may have been meant for people.
    """

    store: Directory | Bucket | Tars | CompressedTars
    boxes: Table[Face] | None = None
    guessed: bool = False
    _folders: set[str] = field(default_factory=set, compare=False, repr=False)
    _loose: list[str] = field(default_factory=list, compare=False, repr=False)

    def candidates(self) -> Iterator[Candidate]:
        """List the faces by photograph; see ``Source``."""
        self._folders.clear()
        self._loose.clear()
        if self.boxes is None:
            beside = self._sidecars.table.join(self.store.location)
            for entry in self._entries(is_sidecar):
                yield from candidates(entry, self._sidecars.faces(entry, beside))
            return
        table = self.boxes.join(self.store.location)
        for entry in self._entries(nothing):
            stem = os.path.splitext(entry.path)[0]
            yield from candidates(entry, () if entry.fault else table.rows(stem, entry.path))

    def _entries(self, is_read: Callable[[str], bool]) -> Iterator[Entry]:
        """The photographs; the folders they lie in, and the first that lies in none, are kept in mind."""
        for entry in self.store.entries(is_read):
            folder, slash, _ = entry.path.partition("/")
            if slash:
                self._folders.add(folder)
            elif not self._loose:
                self._loose.append(entry.path)
            yield entry

    def tables(self) -> Iterator[Table]:
        """The table, or the annotations beside the photographs if there are any; see ``Tabled``."""
        if self.boxes is not None:
            yield self.boxes
        elif self._sidecars.table.rows:
            yield self._sidecars.table

    def remarks(self) -> Iterator[str]:
        """What the annotations beside the photographs say that is not read, and folders that look like people's; see
        ``Remarking``.
        """
        if self.guessed and self._folders and self._loose:
            count = len(self._folders)
            what = f"{count:,} folders of images are" if count > 1 else "a folder of images is"
            where = self.store.location
            yield (
                f"{where}: {what} not taken for people, for {self._loose[0]} lies beside: give vggface2:{where} to "
                "take them so"
            )
        yield from self._sidecars.unread.remarks()

    @cached_property
    def _sidecars(self) -> Sidecars:
        return Sidecars(self.store)
