"""A list of images as CSV or as JSON lines: path, identity, box, landmarks."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import JSONDecodeError

from frl.errors import SourceError
from writers.sources.annotations import KEYS, Face, candidate, load_json, parse_face, refuse_shares
from writers.sources.files import read_file
from writers.sources.source import Candidate, Entry
from writers.sources.unread import Unread

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
    _unread: list[Unread] = field(default_factory=list, compare=False, repr=False)

    def candidates(self) -> Iterator[Candidate]:
        """List the faces by line; see ``Source``."""
        lines = self._csv() if self.store.location.lower().endswith(".csv") else self._json()
        times: Counter[str] = Counter()  # a photograph may be listed once for each of its faces
        known: dict[int, str | None] = {}  # who is on a face of a photograph, by a hash of both
        try:
            for number, (line, path, face) in enumerate(lines, 1):
                refuse_shares(f"{self.store.location}, line {line}", face.fault)
                if path and not face.fault:
                    face = _unless_known(path, face, known)
                entry = Entry(path or f"(line {number})", path, None if path else face.fault or "it names no file")
                times[entry.path] += 1
                yield candidate(entry, face, times[entry.path])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(self.store.location, f"cannot be read ({error})", "Give CSV or JSON lines.") from error

    def remarks(self) -> Iterator[str]:
        """What the lines of JSON say that is not read; see ``Remarking``."""
        for unread in self._unread:
            yield from unread.remarks()

    def _csv(self) -> Iterator[tuple[int, str, Face]]:
        """Line, path and face."""
        with open(self.store.location, newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            header = next(rows, [])
            boxed = [column in header for column in "xywh"]
            unknown = set(header) - set(COLUMNS) or len(set(header)) < len(header)
            if "path" not in header or unknown or any(boxed) != all(boxed):
                remedy = "Give path, and any of identity and x,y,w,h."
                raise SourceError(self.store.location, f"its columns are {','.join(header)}", remedy)
            for row in filter(None, rows):
                cells = dict(zip(header, row, strict=False))
                if len(row) == len(header):
                    box = [cells[column] for column in "xywh"] if all(boxed) and any(map(cells.get, "xywh")) else None
                    face = parse_face({"identity": cells.get("identity") or None, "box": box})
                else:
                    face = Face(fault=f"{len(row)} cells instead of {len(header)}")
                yield rows.line_num, cells.get("path", ""), face

    def _json(self) -> Iterator[tuple[int, str, Face]]:
        """Line, path and face."""
        unread = Unread(self.store.location, ("path", *KEYS))
        self._unread[:] = [unread]
        with open(self.store.location, encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                record, path, fault = None, None, None
                try:
                    record = load_json(line)
                    path = record["path"]
                except (JSONDecodeError, KeyError, TypeError, RecursionError):
                    pass  # it names no file
                except ValueError as error:
                    fault = str(error)
                if isinstance(path, str):
                    unread.note(record)
                    yield number, path, parse_face(record)
                else:
                    yield number, "", Face(fault=fault)


def _unless_known(path: str, face: Face, known: dict[int, str | None]) -> Face:
    """The face, or its fault if a line before says otherwise of who it is."""
    key = hash((os.path.normpath(path), face.box))
    if key in known and known[key] != face.identity:
        who = "nobody" if known[key] is None else known[key]
        return Face(fault=f"a line before says otherwise of the same face: {who}, this one {face.identity or 'nobody'}")
    known.setdefault(key, face.identity)
    return face
