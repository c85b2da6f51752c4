"""A list of images as a table or as JSON lines: path, identity, box, landmarks."""

from __future__ import annotations

import csv
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from json import JSONDecodeError
from typing import Any

import numpy as np

from frl import store
from frl.beton.targets import Kind, TargetSpec
from frl.delimited import rows_of
from frl.errors import SourceError, blame_machine
from frl.images.names import suffix_of
from frl.images.places import IN_SHARES, are_shares
from writers.sources.annotations import (
    KEYS,
    Face,
    candidate,
    five_points,
    load_json,
    parse_face,
    refuse_shares,
)
from writers.sources.files import is_file, open_list_text, read_file
from writers.sources.misplaced import FIRST, refuse_wrong_paths
from writers.sources.source import Candidate, Entry
from writers.sources.targets import IDENTITY, Reading, Wanted, read_csv_targets, read_json_targets
from writers.sources.units import flat_points, refuse_units
from writers.sources.unread import Unread

COLUMNS = ("identity", "x", "y", "w", "h")
FORMS = {".csv": True, ".tsv": True, ".jsonl": False}
"""Whether a list is a table, by its suffix."""
PATHS = ("path", "image")
"""The columns that may name the file; the first that is there does."""
CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class ListedFiles:
    """The store of the images that a list names, by paths that are absolute or relative to the list's folder.

    Attributes:
        location: the list.
    """

    location: str

    def read(self, place: str) -> bytes:
        """The file's bytes; see ``Store``."""
        if store.address(place):
            return read_file(place)
        return read_file(os.path.join(os.path.dirname(self.location), place))


@dataclass(frozen=True)
class Listing:
    """The faces of a list: one a line.

    A table (see ``rows_of``) has a header with ``path`` (or ``image``) and any of ``identity`` and ``x, y, w, h``
    (pixels). A line of JSON is an object with ``path`` and any of ``identity``, ``box`` and ``points`` (see
    ``parse_face``). Either may have targets (see ``writers.sources.targets``). A line that cannot be understood is
    rejected, as is one whose file is absent.

    Attributes:
        store: where the images are.
        wanted: the targets that the command line asks for.
        who: the column or the key that says who is on an image.
    """

    store: ListedFiles
    wanted: tuple[Wanted, ...] = ()
    who: str = IDENTITY
    _unread: list[Unread] = field(default_factory=list, compare=False, repr=False)
    _extra: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """See ``TargetSource``."""
        return tuple(reading.spec for reading in self._readings)

    @property
    def names_people(self) -> bool:
        """Whether any line, or the header of a table, has what says who is on an image."""
        with self._blaming_the_list():
            if self._is_table:
                return self.who in self._header
            return any(record is not None and self.who in record for _, record, _ in self._records())

    @cached_property
    def _is_table(self) -> bool:
        """Whether it is a table, by its suffix or, of others, by its content: a line of JSON begins with a brace."""
        if (suffix := suffix_of(self.store.location)) in FORMS:
            return FORMS[suffix]
        with open_list_text(self.store.location) as stream:
            first = next((line for line in stream if not line.isspace()), "")
        return not first.lstrip().startswith("{")

    @cached_property
    def _header(self) -> list[str]:
        """The columns of a table."""
        with open_list_text(self.store.location) as stream:
            return next(rows_of(stream), [])

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        """How the targets are read; a text is looked for in all lines, for it is one of as many classes."""
        location = self.store.location
        with self._blaming_the_list():
            if self._is_table:
                found = read_csv_targets(location, self._header, self.wanted, self._said)
            else:
                found = read_json_targets(location, self.wanted, self._said)
            refuse_units(location, found, self._lines)
            return found

    def candidates(self) -> Iterator[Candidate]:
        """List the faces by line; see ``Source``."""
        times: Counter[str] = Counter()  # a photograph may be listed once for each of its faces
        known: dict[int, tuple[str | None, bytes]] = {}  # what was said of a face, by a hash of photograph and box
        names = [reading.spec.name for reading in self._readings]
        first: list[str] = []
        with self._blaming_the_list():
            lines = self._rows() if self._is_table else self._json()
            for number, (line, path, face) in enumerate(lines, 1):
                refuse_shares(f"{self.store.location}, line {line}", face.fault)
                if fault := _unnameable(path):
                    path, face = "", Face(fault=fault)
                if path and not face.fault:
                    face = _unless_known(path, face, names, known)
                entry = Entry(path or f"(line {number})", path, None if path else face.fault or "it names no file")
                times[entry.path] += 1
                if len(first) < FIRST:
                    first.append(path)
                yield candidate(entry, face, times[entry.path])
        refuse_wrong_paths(self.store.location, first)

    @contextmanager
    def _blaming_the_list(self) -> Iterator[None]:
        """Name the list where it cannot be read.

        Raises:
            SourceError: of what is raised within.
        """
        try:
            yield
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            blame_machine(error, f"reading {self.store.location}")
            remedy = "Give CSV, TSV or JSON lines, in UTF-8."
            raise SourceError(self.store.location, f"cannot be read ({error})", remedy) from error

    def remarks(self) -> Iterator[str]:
        """What the list says that is not read, and what was taken for nothing; see ``Remarking``."""
        if self._extra:
            yield f"{self.store.location}: not used: the columns {_shorten(self._extra)}"
        for unread in self._unread:
            yield from unread.remarks()
        for reading in self._readings:
            yield from reading.remarks(self.store.location)

    def _rows(self) -> Iterator[tuple[int, str, Face]]:
        """Line, path and face."""
        with open_list_text(self.store.location) as stream:
            rows = rows_of(stream)
            header = next(rows, [])
            path = next((name for name in PATHS if name in header), None)
            boxed = [column in header for column in "xywh"]
            used = {path, self.who, *COLUMNS[1:], *(key for reading in self._readings for key in reading.keys)}
            extra = [column for column in header if column not in used]
            twice = len(set(header)) < len(header)
            if path is None or twice or (extra and not self.wanted) or any(boxed) != all(boxed):
                remedy = "Give path, and any of identity and x,y,w,h; --targets NAME=COLUMN takes others."
                raise SourceError(self.store.location, f"its columns are {_shorten(header)}", remedy)
            self._extra[:] = extra
            for row in filter(None, rows):
                cells = dict(zip(header, row, strict=False))
                if len(row) == len(header):
                    box = [cells[column] for column in "xywh"] if all(boxed) and any(map(cells.get, "xywh")) else None
                    face = self._complete(parse_face({"identity": cells.get(self.who) or None, "box": box}), cells)
                else:
                    face = Face(fault=f"{len(row)} cells instead of {len(header)}")
                yield rows.line_num, cells.get(path, ""), face

    def _json(self) -> Iterator[tuple[int, str, Face]]:
        """Line, path and face."""
        taken = {key.partition(".")[0] for reading in self._readings for key in reading.keys}
        unread = Unread(self.store.location, ("path", self.who, *KEYS[1:], *sorted(taken)))
        self._unread[:] = [unread]
        for number, record, fault in self._records():
            if record is not None:
                unread.note(record)
                yield (
                    number,
                    record["path"],
                    self._complete(parse_face({**record, IDENTITY: record.get(self.who)}), record),
                )
            else:
                yield number, "", Face(fault=fault)

    def _said(self) -> Iterator[Mapping[str, Any]]:
        """What the lines say, by column or by key."""
        return (record for _, record in self._lines())

    def _lines(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The number of each line, and what it says."""
        if not self._is_table:
            yield from ((number, record) for number, record, _ in self._records() if record)
            return
        with open_list_text(self.store.location) as stream:
            rows = rows_of(stream)
            header = next(rows, [])
            yield from ((rows.line_num, dict(zip(header, row, strict=False))) for row in rows if row)

    def _records(self) -> Iterator[tuple[int, dict[str, Any] | None, str | None]]:
        """The number of each line of JSON, and what it says; or None for one that names no file, and why."""
        with open_list_text(self.store.location) as stream:
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
                yield number, record if isinstance(path, str) else None, fault

    def _complete(self, face: Face, record: Mapping[str, Any]) -> Face:
        """The face with its targets; landmarks that tell where the eyes are do so here, too."""
        if face.fault or not self._readings:
            return face
        try:
            values = {reading.spec.name: reading.value(record) for reading in self._readings}
        except ValueError as error:
            return Face(fault=str(error))
        targets = {name: value for name, value in values.items() if value is not None}
        points = face.points
        if name := self._in_shares(targets):
            return Face(fault=f"its {name} are {IN_SHARES}")
        for reading in self._readings:
            if points is None and reading.spec.kind == Kind.POINTS and reading.spec.name in targets:
                flat = np.reshape(targets[reading.spec.name], reading.spec.shape)
                points = five_points(flat[:, :2].tolist()) if np.isfinite(flat).all() else None
        return face._replace(points=points, targets=targets or None)

    def _in_shares(self, targets: Mapping[str, Sequence[float]]) -> str | None:
        """The name of points that are given as shares of the image."""
        for reading in self._readings:
            if reading.spec.kind == Kind.POINTS and reading.spec.name in targets:
                known = flat_points(reading, targets[reading.spec.name])
                if len(known) > 2 and are_shares(known):
                    return reading.spec.name
        return None


def open_list(path: str) -> Listing:
    """The source of a list.

    Raises:
        SourceError: if it is no regular file. A pipe gives its lines but once, to whoever reads first.
    """
    if not is_file(path):
        raise SourceError(path, "is no regular file", "Write the list to one: it is read more than once.")
    return Listing(ListedFiles(path))


def _unless_known(path: str, face: Face, names: Sequence[str], known: dict[int, tuple[str | None, bytes]]) -> Face:
    """The face, or its fault if a line before says otherwise of who it is, or of a target.

    Args:
        path: of its photograph.
        face: what this line says.
        names: of the targets.
        known: of the lines before, by face, who it is and ``_checksums``; the face is added.
    """
    key, sums = hash((os.path.normpath(path), face.box)), _checksums(face, names)
    who, before = known.setdefault(key, (face.identity, sums))
    if who != face.identity:
        otherwise = f"{'nobody' if who is None else who}, this one {face.identity or 'nobody'}"
    elif before != sums:
        parts = [slice(at, at + CHECKSUM_BYTES) for at in range(0, len(sums), CHECKSUM_BYTES)]
        otherwise = ", ".join(name for name, part in zip(names, parts, strict=True) if sums[part] != before[part])
    else:
        return face
    return Face(fault=f"a line before says otherwise of the same face: {otherwise}")


def _checksums(face: Face, names: Sequence[str]) -> bytes:
    """What is said of each target in four bytes, for it is kept of every line; equal where nothing is known."""
    said = face.targets or {}
    return b"".join(
        zlib.crc32(said[name].tobytes() if name in said else b"").to_bytes(CHECKSUM_BYTES) for name in names
    )


def _unnameable(path: str) -> str | None:
    """Why no file can have a path, or None: nor may a sample be called so."""
    try:
        return f"a zero byte is in its path {path!r}" if b"\0" in os.fsencode(path) else None
    except UnicodeEncodeError:
        return f"half of a character is in its path {path!r}"


def _shorten(columns: Sequence[str]) -> str:
    """Columns for a message: not all of hundreds, and not all of a text that is no header."""
    shown = [name if len(name) <= 40 else f"{name[:37]}..." for name in columns[:12]]
    return ",".join(shown if len(columns) <= 12 else [*shown[:11], "..."])
