"""Find the image files below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from frl.errors import SourceError
from writers.sources.files import read_file
from writers.sources.source import Entry

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in ``folder``, by name, without hidden entries.

    Raises:
        SourceError: if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as listing:
            return sorted((e for e in listing if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise SourceError(folder, f"cannot be listed ({error.strerror})", "Check path and permissions.") from error


def has_image_suffix(path: str) -> bool:
    """Whether a path claims by its suffix to be an image."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_visible_image(path: str) -> bool:
    """Whether a path in an archive claims to be an image, and no part of it is hidden."""
    return has_image_suffix(path) and not any(part.startswith(".") for part in path.split("/"))


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether an entry claims to be an image; a link that leads nowhere counts, to be noticed later."""
    return has_image_suffix(entry.name) and not entry.is_dir()


def image_paths(folder: str | Path) -> Iterator[str]:
    """Paths of the images below ``folder``, relative to it, at any depth, in sorted order, links followed.

    Raises:
        SourceError: if a folder cannot be listed, or a link leads back to one that contains it.
    """
    yield from file_paths(folder, is_image)


def file_paths(folder: str | Path, wanted: Callable[[os.DirEntry[str]], bool]) -> Iterator[str]:
    """Paths of other files, found as ``image_paths`` finds the images."""
    yield from _walk(str(folder), wanted, prefix="", ancestors=())


def _walk(
    folder: str, wanted: Callable[[os.DirEntry[str]], bool], prefix: str, ancestors: tuple[str, ...]
) -> Iterator[str]:
    place = os.path.realpath(folder)
    if place in ancestors:
        raise SourceError(folder, "a link leads back to a folder that contains it", "Remove the link.")
    for entry in entries(folder):
        if entry.is_dir():
            yield from _walk(entry.path, wanted, f"{prefix}{entry.name}/", (*ancestors, place))
        elif wanted(entry):
            yield prefix + entry.name


@dataclass(frozen=True)
class Directory:
    """A folder, as a store of the images below it.

    Attributes:
        location: its absolute path.
    """

    location: str

    def entries(self) -> Iterator[Entry]:
        """The images by path; see ``Tree``."""
        for path in image_paths(self.location):
            yield Entry(path, path)

    def read(self, place: str) -> bytes:
        """The file's bytes; see ``Store``."""
        return read_file(os.path.join(self.location, place))
