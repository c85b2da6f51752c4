"""Labeled Faces in the Wild (Huang et al., 2007): ``NAME/NAME_0001.jpg``, unpacked or in its tgz."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from writers.sources.annotations import Face, candidates
from writers.sources.bucket import Bucket
from writers.sources.directory import Directory
from writers.sources.labels import person
from writers.sources.source import Candidate
from writers.sources.tar import CompressedTars, Tars

NAMED = re.compile(r"(?:.*/)?([^/]+)_\d{4}\.[^./]+")
FOLDER = re.compile(r"(?:.*/)?([^/]+)/[^/]+")


@dataclass(frozen=True)
class LFW:
    """Images that say in their names who is on them; others are of the person their folder names.

    Attributes:
        store: the folder or the tar.
    """

    store: Directory | Bucket | Tars | CompressedTars

    def candidates(self) -> Iterator[Candidate]:
        """List the images by path, or in the tar's order; see ``Source``."""
        for entry in self.store.entries():
            match = NAMED.fullmatch(entry.path) or FOLDER.fullmatch(entry.path)
            yield from candidates(entry, [Face(identity=person(match[1] if match else None))])
