"""Face crops without identities, or whole photographs, at any depth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from writers.sources.annotations import candidates, read_boxes
from writers.sources.directory import Directory
from writers.sources.source import Candidate
from writers.sources.tar import CompressedTars, Tars


@dataclass(frozen=True)
class Folder:
    """Every image of a folder or a tar.

    Attributes:
        store: the folder or the tar.
        table: a CSV of boxes whose NAME_ID is the image's path without its suffix, or None.
    """

    store: Directory | Tars | CompressedTars
    table: Path | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the images by path, or in the tar's order; see ``Source``."""
        faces = read_boxes(self.table) if self.table else {}
        for entry in self.store.entries():
            yield from candidates(entry, faces.get(os.path.splitext(entry.path)[0], ()))
