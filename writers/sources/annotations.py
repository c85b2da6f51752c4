"""What is known of the faces in a photograph: from tables as VGGFace2 publishes them, or from JSON."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from os.path import splitext
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

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
    targets: Mapping[str, array[float] | array[int]] | None = None


def candidates(entry: Entry, faces: Sequence[Face], identity: str | None = None) -> Iterator[Candidate]:
    """The candidates of one photograph: one a face; the photograph itself if nothing is known of its faces.

    Args:
        entry: the photograph.
        faces: what is known. The first has the photograph's name, the others ``photo#2.jpg``, ``photo#3.jpg``, ...
        identity: who is on it, where the faces do not say so themselves.
    """
    for number, face in enumerate(faces or [Face()], 1):
        name = numbered(entry.path, number)
        if fault := entry.fault or face.fault:
            yield Candidate(name, entry.place, fault=fault)
        else:
            yield Candidate(name, entry.place, face.identity or identity, face.box, face.points, None, face.targets)


def numbered(path: str, number: int) -> str:
    """The name of a face of a photograph, counted from 1; the first keeps the photograph's."""
    stem, suffix = splitext(path)
    return path if number == 1 else f"{stem}#{number}{suffix}"


def parse_face(record: object) -> Face:
    """A face as JSON says it; what cannot be understood becomes its fault.

    Args:
        record: an object that may have ``identity`` (a string or a number), ``box`` (left, top, width, height) and
            ``points`` (pairs of x and y, all in pixels), or the points alone. Without a box, that of the points counts;
            5 points (eyes, nose, mouth corners) or the 68 of 300-W also tell where the eyes are.
    """
    try:
        known: Mapping[str, Any] = {"points": record} if isinstance(record, list) else record  # type: ignore[assignment]
        identity, numbers, pairs = known.get("identity"), known.get("box"), known.get("points")
        points = [(float(x), float(y)) for x, y in pairs or []]
        if numbers is None and points:
            left, top = (min(axis) for axis in zip(*points, strict=True))
            right, bottom = (max(axis) for axis in zip(*points, strict=True))
            numbers = left, top, right - left, bottom - top
        box, fault = make_box(numbers) if numbers is not None else (None, None)
    except (AttributeError, TypeError, ValueError):
        return Face(fault="its annotation is none of identity, box [x, y, w, h] and points [[x, y], ...]")
    return Face(None if identity is None else str(identity), box, five_points(points), fault)


def five_points(points: Sequence[tuple[float, float]]) -> array[float] | None:
    """Eyes, nose tip and mouth corners of 5 points or of the 68 of 300-W (Sagonas et al., 2013); None of others."""
    if len(points) == 68:
        parts = points[36:42], points[42:48], points[30:31], points[48:49], points[54:55]
        points = [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]
    return array("f", chain.from_iterable(points)) if len(points) == 5 else None


def make_box(numbers: Iterable[float]) -> tuple[Box | None, str | None]:
    """A box of left, top, width and height, or the reason why they are none.

    Raises:
        TypeError, ValueError: if they are not four numbers.
    """
    left, top, width, height = map(float, numbers)
    box = Box(left, top, width, height)
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
