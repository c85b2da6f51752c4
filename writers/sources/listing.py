"""A list of images as CSV or as JSON lines: path, identity, box, landmarks."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from frl.errors import SourceError, blame_machine
from writers.sources.annotations import Face, candidates, numbered, parse_face
from writers.sources.files import read_file
from writers.sources.source import Candidate, Entry

COLUMNS = ("path", "identity", "x", "y", "w", "h")


@dataclass(frozen=True)
class ListedFiles:
    """The store of the images that a list names, by paths that are absolute or relative to the list's folder.

    Attributes:
        location: the list.
    """

    location: str

    def read(self, place: str) -> bytes:
        """The file's bytes; see ``Store``."""
        return read_file(os.path.join(os.path.dirname(self.location), place))


@dataclass(frozen=True)
class Listing:
    """The faces of a list: one a line.

    A CSV has a header with ``path`` and any of ``identity`` and ``x, y, w, h`` (pixels). A line of JSON is an object
    with ``path`` and any of ``identity``, ``box`` and ``points`` (see ``parse_face``). A line that cannot be understood
    is rejected, as is one whose file is absent.

    Attributes:
        store: where the images are.
    """

    store: ListedFiles

    def candidates(self) -> Iterator[Candidate]:
        """List the faces by line; see ``Source``."""
        lines = self._csv() if self.store.location.lower().endswith(".csv") else self._json()
        times: Counter[str] = Counter()  # a photograph may be listed once for each of its faces
        try:
            for number, (path, face) in enumerate(lines, 1):
                entry = Entry(path or f"(line {number})", path, None if path else "it names no file")
                times[entry.path] += 1
                for candidate in candidates(entry, [face]):
                    yield candidate._replace(name=numbered(candidate.name, times[entry.path]))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            blame_machine(error, f"reading {self.store.location}")
            raise SourceError(self.store.location, f"cannot be read ({error})", "Give CSV or JSON lines.") from error

    def _csv(self) -> Iterator[tuple[str, Face]]:
        with open(self.store.location, newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            header = next(rows, [])
            boxed = [column in header for column in "xywh"]
            if "path" not in header or set(header) - set(COLUMNS) or any(boxed) != all(boxed):
                remedy = "Give path, and any of identity and x,y,w,h."
                raise SourceError(self.store.location, f"its columns are {','.join(header)}", remedy)
            for row in filter(None, rows):
                cells = dict(zip(header, row, strict=False))
                if len(row) == len(header):
                    box = [cells[column] for column in "xywh"] if all(boxed) and any(map(cells.get, "xywh")) else None
                    face = parse_face({"identity": cells.get("identity") or None, "box": box})
                else:
                    face = Face(fault=f"{len(row)} cells instead of {len(header)}")
                yield cells.get("path", ""), face

    def _json(self) -> Iterator[tuple[str, Face]]:
        with open(self.store.location, encoding="utf-8-sig") as stream:
            for line in filter(str.strip, stream):
                try:
                    record = json.loads(line)
                    path = record["path"]
                except (ValueError, KeyError, TypeError, RecursionError):
                    record, path = None, None
                if isinstance(path, str):
                    yield path, parse_face(record)
                else:
                    yield "", Face()
