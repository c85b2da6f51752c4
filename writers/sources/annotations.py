"""What is known of the faces in a photograph: boxes and landmarks, from tables as VGGFace2 publishes them."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from os.path import splitext
from pathlib import Path
from typing import NamedTuple

from frl.errors import SourceError
from writers.sources.source import Box, Candidate, Entry

BOX_COLUMNS = ("NAME_ID", "X", "Y", "W", "H")
LANDMARK_COLUMNS = ("NAME_ID", *(f"P{i}{axis}" for i in range(1, 6) for axis in "XY"))


class Face(NamedTuple):
    """One face of a photograph; the fields are those of ``Candidate``."""

    identity: str | None = None
    box: Box | None = None
    points: array[float] | None = None
    fault: str | None = None


def candidates(entry: Entry, faces: Sequence[Face], identity: str | None = None) -> Iterator[Candidate]:
    """The candidates of one photograph: one a face; the photograph itself if nothing is known of its faces.

    Args:
        entry: the photograph.
        faces: what is known. Several faces are named ``photo#1.jpg``, ``photo#2.jpg``, ...
        identity: who is on it, where the faces do not say so themselves.
    """
    stem, suffix = splitext(entry.path)
    for number, face in enumerate(faces or [Face()], 1):
        name = entry.path if len(faces) < 2 else f"{stem}#{number}{suffix}"
        if fault := entry.fault or face.fault:
            yield Candidate(name, entry.place, fault=fault)
        else:
            yield Candidate(name, entry.place, face.identity or identity, face.box, face.points)


def make_box(numbers: Iterable[float]) -> tuple[Box | None, str | None]:
    """A box of left, top, width and height, or the reason why they are none."""
    box = Box(*map(float, numbers))
    if not all(map(math.isfinite, box)):
        return None, f"its box {tuple(box)} is not finite"
    if box.width <= 0 or box.height <= 0:
        return None, f"its box {tuple(box)} has no area"
    return box, None


def read_boxes(table: Path) -> dict[str, tuple[Face, ...]]:
    """Read a CSV with the columns NAME_ID, X, Y, W, H (pixels) into faces by name, such as ``n000002/0001_01``.

    A box without an area becomes the fault of its face.

    Raises:
        SourceError: if the table is absent, has other columns, or holds a row that cannot be parsed.
    """
    faces: dict[str, tuple[Face, ...]] = {}
    for name, numbers in _rows(table, BOX_COLUMNS):
        box, fault = make_box(numbers)
        faces[name] = (*faces.get(name, ()), Face(box=box, fault=fault))
    return faces


def read_landmarks(table: Path) -> dict[str, array[float]]:
    """Read a CSV with the columns NAME_ID, P1X, P1Y, ..., P5X, P5Y (pixels) into landmarks by name.

    Raises:
        SourceError: as ``read_boxes``.
    """
    return {name: array("f", numbers) for name, numbers in _rows(table, LANDMARK_COLUMNS)}


def with_landmarks(faces: Sequence[Face], points: array[float] | None) -> Sequence[Face]:
    """The faces with the points of a table that knows one face a photograph."""
    if points is None or len(faces) > 1:
        return faces
    return [(faces[0] if faces else Face())._replace(points=points)]


def _rows(table: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[float]]]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            header = tuple(next(rows, ()))
            if header != columns:
                raise SourceError(table, f"its columns are {header}", f"Give a CSV with {', '.join(columns)}.")
            for row in filter(None, rows):
                try:
                    name, *numbers = row
                    if len(row) != len(columns):
                        raise ValueError
                    yield name, [float(number) for number in numbers]
                except ValueError:
                    where, remedy = f"{table}, line {rows.line_num}", f"Give {', '.join(columns)}."
                    raise SourceError(where, f"{row} is no row of it", remedy) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(table, f"cannot be read ({error})", "Give a CSV as VGGFace2 publishes them.") from error
