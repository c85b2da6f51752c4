"""Where faces come from. A new kind of source is one module with a ``Source``, and one line in ``KINDS``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from frl.errors import SourceError
from writers.sources.directory import Directory
from writers.sources.folder import Folder
from writers.sources.source import Box, Candidate, Reject, Source, Store, Stream
from writers.sources.tar import CompressedTars, Tars, open_tars
from writers.sources.vggface2 import VGGFace2, has_identity_folders

__all__ = [
    "KINDS",
    "Box",
    "Candidate",
    "Folder",
    "Reject",
    "Source",
    "Store",
    "Stream",
    "VGGFace2",
    "help_on_kinds",
    "open_source",
    "open_sources",
]


class Kind(NamedTuple):
    """A kind of source: how it is opened, by its path and a table of boxes, and what it looks like."""

    open: Callable[[str, Path | None], Source]
    layout: str


def open_tree(path: str) -> Directory | Tars | CompressedTars:
    """The store of the images in a folder or a tar."""
    return Directory(path) if os.path.isdir(path) else open_tars(path, (path,))


KINDS = {
    "vggface2": Kind(
        lambda path, table: VGGFace2(open_tree(path), table),
        "one folder per identity, in train/ and test/ or not; or the original .tar.gz",
    ),
    "folder": Kind(lambda path, table: Folder(open_tree(path), table), "face crops at any depth, or a tar of them"),
    "flickr": Kind(lambda path, table: Folder(open_tree(path), table), "photographs at any depth, or a tar of them"),
}


def help_on_kinds() -> str:
    """A line for each kind, indented."""
    width = max(map(len, KINDS))
    return "\n".join(f"    {name:<{width}}  {kind.layout}" for name, kind in KINDS.items())


def open_source(text: str, table: Path | None = None) -> Source:
    """The source meant by ``text``: ``KIND:PATH``, or a path whose layout says which kind it is.

    Args:
        text: as on the command line.
        table: a CSV of face boxes, or None.

    Raises:
        SourceError: if it is not there, or is no such source.
    """
    kind, colon, path = text.partition(":")
    if not colon or kind not in KINDS:
        kind, path = "", text
    if not os.path.exists(path):
        raise SourceError(text, "is not there", f"Give a folder of images, or KIND:PATH (KIND: {', '.join(KINDS)}).")
    location = os.path.abspath(path)
    return KINDS[kind or guess_kind(location)].open(location, table)


def guess_kind(location: str) -> str:
    """The kind of source that a path looks like.

    Raises:
        SourceError: if it cannot be listed.
    """
    if os.path.isdir(location):
        return "vggface2" if has_identity_folders(location) else "folder"
    first = next(open_tars(location, (location,)).entries(), None)
    return "vggface2" if first and "/" in first.path else "folder"


def open_sources(texts: Sequence[str], table: Path | None = None) -> dict[str, Source]:
    """Sources by a short name that is theirs alone: the end of the path, as long as it takes to tell them apart.

    Raises:
        SourceError: if one is not there, or is given twice.
    """
    sources = [open_source(text, table) for text in texts]
    paths = [Path(source.store.location).parts for source in sources]
    if len(set(paths)) < len(paths):
        raise SourceError(" ".join(texts), "a source is given twice", "Name each once.")
    parts = 1
    while len({path[-parts:] for path in paths}) < len(paths):
        parts += 1
    return {"/".join(path[-parts:]): source for path, source in zip(paths, sources, strict=True)}
