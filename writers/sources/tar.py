"""Tars of images as stores: plain ones are read at any place, compressed ones from front to back.

Nothing is unpacked to the disk, so no member can write anywhere, whatever it calls itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from frl.images.names import is_image, path_aside
from frl.stored_file import MEMORY
from writers.sources.files import read_at
from writers.sources.skipped import NO_IMAGE, Skipped
from writers.sources.source import Entry, nothing
from writers.sources.tar_members import Member, TarFile, members


class TarPlace(NamedTuple):
    """Where an image lies; the places of some tars ascend from the first to the last.

    Attributes:
        tar: number of the tar.
        offset: of the image's first byte, after decompression.
        nbytes: its size.
    """

    tar: int
    offset: int
    nbytes: int


@dataclass(frozen=True)
class _Tars:
    """Tars that are listed by reading their headers once.

    Attributes:
        location: the tar, or what stands for all of them: their folder, a pattern.
        paths: the tars.
        skipped: what else was found when they were listed last.
    """

    location: str
    paths: tuple[str, ...]
    skipped: Skipped = field(default_factory=Skipped, compare=False)

    def members(self, wanted: Callable[[Member], bool]) -> Iterator[tuple[TarPlace, Member]]:
        """All files of all tars in their order, and each tar's end where it is damaged.

        Args:
            wanted: whether the data of a member are. Paths in several tars begin with the tar's own.

        Raises:
            SourceError: if a tar cannot be read or is none.
        """
        folder = os.path.commonpath(self.paths)
        for number, path in enumerate(self.paths):
            prefix = f"{os.path.relpath(path, folder)}/" if len(self.paths) > 1 else ""
            with TarFile(path) as file:
                for member in members(file, wanted):
                    place = TarPlace(number, member.offset, member.nbytes)
                    yield place, member._replace(path=prefix + member.path)

    def entries(self, is_read: Callable[[str], bool] = nothing) -> Iterator[Entry]:
        """The images, and what is wrong with the archive; see ``Tree``."""
        self.skipped.clear()
        for place, member in self.members(wanted=lambda member: False):
            if (member.alarming or not is_read(member.path)) and self.lists(member):
                yield Entry(member.path, place, member.fault)

    def lists(self, member: Member) -> bool:
        """Whether a member is listed: it is an image, or its fault is the archive's. If not, it is counted."""
        if member.alarming or shows_image(member):
            return True
        self.skipped.add(path_aside(member.path) or NO_IMAGE, member.path)
        return False


def shows_image(member: Member) -> bool:
    """Whether a member is an image, and no part of its path is hidden or a thumbnail's."""
    return path_aside(member.path) is None and is_image(member.path, member.head)


class Tars(_Tars):
    """Plain tars: each image can be read by itself."""

    def read(self, place: TarPlace) -> bytes:
        """The image's bytes, in one read; see ``Store``."""
        return read_at(self.paths[place.tar], place.offset, place.nbytes)


class CompressedTars(_Tars):
    """Tars of which at least one is compressed: they are read from front to back, once to list, once to write."""

    def contents(self) -> Iterator[tuple[TarPlace, bytes]]:
        """The images' bytes in the archives' order; see ``Stream``."""
        for place, member in self.members(wanted=shows_image):
            if member.data is not None:
                yield place, member.data


def open_tars(location: str, paths: tuple[str, ...]) -> Tars | CompressedTars:
    """The store of some tars.

    Raises:
        SourceError: if one cannot be opened.
    """
    kind: type[Tars] | type[CompressedTars] = Tars
    for path in paths:
        with TarFile(path) as file:
            kind = CompressedTars if file.compressed or path.startswith(MEMORY) else kind
    return kind(location, paths)
