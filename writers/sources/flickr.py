"""Whole photographs, such as a collection from Flickr: several faces may be on one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from writers.reject import Reject
from writers.sources.annotations import Face, candidates, parse_face, read_boxes
from writers.sources.directory import Directory
from writers.sources.files import read_file
from writers.sources.source import Candidate
from writers.sources.tar import CompressedTars, Tars


@dataclass(frozen=True)
class Flickr:
    """Photographs at any depth of a folder or a tar; each annotated face of one is a candidate.

    A photograph of which nothing is known is one candidate, the whole of it, to be searched for faces. One that is
    known to show none is rejected.

    Attributes:
        store: the folder or the tar.
        table: a CSV of boxes whose NAME_ID is the photograph's path without its suffix, one line a face; or None:
            the annotations of ``ID.jpg`` are in ``ID.faces.json`` beside it (see ``parse_face``), if there is one.
    """

    store: Directory | Tars | CompressedTars
    table: Path | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the faces by photograph; see ``Source``."""
        table = read_boxes(self.table) if self.table else None
        for entry in self.store.entries():
            stem = os.path.splitext(entry.path)[0]
            faces = self._beside(stem) if table is None else table.get(stem, ())
            yield from candidates(entry, faces)

    def _beside(self, stem: str) -> Sequence[Face]:
        """The faces in the file beside a photograph."""
        path = os.path.join(self.store.location, f"{stem}.faces.json")
        if not os.path.exists(path):  # as always in a tar
            return ()
        try:
            records = json.loads(read_file(path))
            faces = [parse_face(record) for record in records]
        except (Reject, ValueError, TypeError, RecursionError) as error:
            return [Face(fault=f"its annotations {os.path.basename(path)} cannot be read ({error})")]
        return faces or [Face(fault=f"{os.path.basename(path)} says that no face is on it")]
