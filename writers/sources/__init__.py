"""Where faces come from. A new kind of source is one module with a ``Source``, and one line in ``KINDS``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from frl.errors import SourceError
from writers.sources.folder import Folder
from writers.sources.source import Box, Candidate, Source
from writers.sources.vggface2 import VGGFace2, has_identity_folders

__all__ = ["KINDS", "Box", "Candidate", "Folder", "Source", "VGGFace2", "open_source", "open_sources"]

KINDS: dict[str, Callable[[str, Path | None], Source]] = {
    "vggface2": VGGFace2,
    "folder": Folder,
    "flickr": Folder,
}


def open_source(text: str, table: Path | None = None) -> Source:
    """The source meant by ``text``: ``KIND:PATH``, or a path whose layout says which kind it is.

    Args:
        text: as on the command line.
        table: a CSV of face boxes, or None.

    Raises:
        SourceError: if it is not there.
    """
    kind, colon, path = text.partition(":")
    if not colon or kind not in KINDS:
        kind, path = "", text
    if not os.path.exists(path):
        raise SourceError(text, "is not there", f"Give a folder of images, or KIND:PATH (KIND: {', '.join(KINDS)}).")
    location = os.path.abspath(path)
    kind = kind or ("vggface2" if has_identity_folders(location) else "folder")
    return KINDS[kind](location, table)


def open_sources(texts: Sequence[str], table: Path | None = None) -> dict[str, Source]:
    """Sources by a short name that is theirs alone: the end of the path, as long as it takes to tell them apart.

    Raises:
        SourceError: if one is not there, or is given twice.
    """
    sources = [open_source(text, table) for text in texts]
    paths = [Path(source.location).parts for source in sources]
    if len(set(paths)) < len(paths):
        raise SourceError(" ".join(texts), "a source is given twice", "Name each folder once.")
    parts = 1
    while len({path[-parts:] for path in paths}) < len(paths):
        parts += 1
    return {"/".join(path[-parts:]): source for path, source in zip(paths, sources, strict=True)}
