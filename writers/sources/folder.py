"""A folder of face images without identities, such as crops of Flickr photographs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from writers.sources.boxes import read_boxes
from writers.sources.source import Box, Candidate
from writers.sources.walk import image_paths


@dataclass(frozen=True)
class Folder:
    """Every image below ``location``, at any depth.

    Attributes:
        location: the folder.
        table: a CSV of boxes whose NAME_ID is the image's path without its suffix, or None.
    """

    location: str
    table: Path | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the images by path; see ``Source``."""
        boxes: Mapping[str, Box] = read_boxes(self.table) if self.table else {}
        for path in image_paths(self.location):
            yield Candidate(path, None, boxes.get(os.path.splitext(path)[0]))

    def read(self, candidate: Candidate) -> bytes:
        """The file's bytes; see ``Source``."""
        with open(os.path.join(self.location, candidate.name), "rb") as stream:
            return stream.read()
