"""What is known of the faces in a photograph: from tables as VGGFace2 publishes them, or from JSON."""

from __future__ import annotations

import csv
import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from os.path import splitext
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from frl.delimited import rows_of
from frl.errors import SourceError, blame_machine
from frl.images.names import raw_fault
from frl.images.places import FARTHEST, IN_SHARES, are_shares
from writers.sources.files import open_list_text
from writers.sources.join import Table
from writers.sources.labels import person
from writers.sources.source import Box, Candidate, Entry

BOX_COLUMNS = ("NAME_ID", "X", "Y", "W", "H")
LANDMARK_COLUMNS = ("NAME_ID", *(f"P{i}{axis}" for i in range(1, 6) for axis in "XY"))

KEYS = ("identity", "box", "points")
"""What is read of a face in JSON."""

BOX_HINT = "Give left, top, width and height in pixels."
NAME_HINT = "NAME_ID is the image's path below its source without the suffix, for VGGFace2 identity/image."

NUMBERED = re.compile(r".*#\d+")
"""The stem of a name that could be that of a further face."""


class Face(NamedTuple):
    """One face of a photograph; the fields are those of ``Candidate``."""

    identity: str | None = None
    box: Box | None = None
    points: array[float] | None = None
    fault: str | None = None
    targets: Mapping[str, array[float] | array[int]] | None = None


UNKNOWN = (Face(),)
"""What is known of a photograph of which nothing is."""


def candidates(entry: Entry, faces: Sequence[Face], identity: str | None = None) -> Iterator[Candidate]:
    """The candidates of one photograph: one a face; the photograph itself if nothing is known of its faces.

    Args:
        entry: the photograph.
        faces: what is known. The first has the photograph's name, the others ``photo#2.jpg``, ``photo#3.jpg``, ...
        identity: who is on it, where the faces do not say so themselves. Of several faces nobody knows whose it is.
    """
    for number, face in enumerate(faces or UNKNOWN, 1):
        yield candidate(entry, face, number, identity if len(faces) < 2 else None)


def candidate(entry: Entry, face: Face, number: int = 1, identity: str | None = None) -> Candidate:
    """The candidate of one face of a photograph, which are counted from 1."""
    name = numbered(entry.path, number)
    fault = entry.fault or raw_fault(entry.path) or face.fault
    if not fault and identity and face.identity and identity != face.identity:
        fault = f"its labels contradict each other: {identity} and {face.identity}"
    if fault:
        return Candidate(name, entry.place, fault=fault)
    return Candidate(name, entry.place, face.identity or identity, face.box, face.points, None, face.targets)


def numbered(path: str, number: int) -> str:
    """The name of a face of a photograph, counted from 1; no other photograph's face has it.

    The first keeps the photograph's own name, unless that looks like a further face of another: the first face of
    ``photo#2.jpg`` is ``photo#2#1.jpg``.
    """
    if number == 1 and "#" not in path:
        return path
    stem, suffix = splitext(path)
    return path if number == 1 and not NUMBERED.fullmatch(stem) else f"{stem}#{number}{suffix}"


def load_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: if it is none, or says something twice, of which Python would keep the last.
        RecursionError: if it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it says {twice!r} twice")
    return known


def parse_face(record: object) -> Face:
    """A face as JSON says it; what cannot be understood becomes its fault.

    Args:
        record: an object that may have ``identity`` (a string or a number), ``box`` (left, top, width, height) and
            ``points`` (pairs of x and y, all in pixels), or the points alone. Without a box, that of the points counts;
            5 points (eyes, nose, mouth corners) or the 68 of 300-W also tell where the eyes are.
    """
    try:
        known: Mapping[str, Any] = {"points": record} if isinstance(record, list) else record  # type: ignore[assignment]
        said, numbers, pairs = known.get("identity"), known.get("box"), known.get("points")
        points = [(_number(x), _number(y)) for x, y in pairs or []]
        if not isinstance(numbers, list | tuple | None) or isinstance(pairs, str | dict):
            raise TypeError
        if numbers is None and points:
            left, top = (min(axis) for axis in zip(*points, strict=True))
            right, bottom = (max(axis) for axis in zip(*points, strict=True))
            numbers = left, top, right - left, bottom - top
        box, fault = make_box(numbers) if numbers is not None else (None, None)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return Face(fault="its annotation is none of identity, box [x, y, w, h] and points [[x, y], ...]")
    try:
        identity = person(said)
    except ValueError as error:
        return Face(fault=str(error))
    return Face(identity, box, five_points(points), fault or points_fault(points))


def _number(said: Any) -> float:
    """A number, or text that says one; true and false are none, whatever Python thinks."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise TypeError
    return float(said)


def points_fault(points: Sequence[tuple[float, float]]) -> str | None:
    """Why landmarks cannot be used, or None."""
    numbers = list(chain.from_iterable(points))
    if not all(map(math.isfinite, numbers)):
        return "its points are not finite"
    return f"its points are {IN_SHARES}" if len(points) > 1 and are_shares(numbers, -FARTHEST, FARTHEST) else None


def five_points(points: Sequence[tuple[float, float]]) -> array[float] | None:
    """Eyes, nose tip and mouth corners of 5 points or of the 68 of 300-W (Sagonas et al., 2013); None of others."""
    if len(points) == 68:
        parts = points[36:42], points[42:48], points[30:31], points[48:49], points[54:55]
        points = [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]
    return array("f", chain.from_iterable(points)) if len(points) == 5 else None


LARGEST_SHARE = 2.0
"""Sides and places of a box in shares are no larger: it reaches over the border by less than the image's side."""

LEAST_SIDE = 4.0
"""A box of fewer pixels a side shows no face: it is in another unit, or a slip."""


def make_box(numbers: Sequence[Any]) -> tuple[Box | None, str | None]:
    """A box of left, top, width and height, or the reason why they are none.

    Raises:
        TypeError, ValueError: if they are not four numbers.
    """
    left, top, width, height = map(_number, numbers)
    box = Box(left, top, width, height)
    if not all(map(math.isfinite, box)):
        return None, f"its box {tuple(box)} is not finite"
    if box.width <= 0 or box.height <= 0:
        return None, f"its box {tuple(box)} has no area"
    if are_shares(box, -LARGEST_SHARE, LARGEST_SHARE):
        return None, f"its box {tuple(box)} is in {IN_SHARES}"
    if min(box.width, box.height) < LEAST_SIDE:
        return None, f"its box {tuple(box)} is fewer than {LEAST_SIDE:.0f} pixels wide or high"
    return box, None


def refuse_shares(where: str, fault: str | None) -> None:
    """Refuse a table at the first line that gives shares of an image instead of pixels: its other lines will, too.

    Raises:
        SourceError: naming the line, if the fault is of this kind.
    """
    if fault and fault.endswith(IN_SHARES):
        remedy = f"{BOX_HINT} Multiply them by the image's width and height."
        raise SourceError(where, fault, remedy)


def read_boxes(*paths: Path) -> Table[Face]:
    """Read CSVs with the columns NAME_ID, X, Y, W, H (pixels) into faces by name, such as ``n000002/0001_01``.

    A box without an area becomes the fault of its face.

    Raises:
        SourceError: if a table is absent, has other columns, holds a row that cannot be parsed or is in shares of the
            image, or says otherwise of an image than an earlier table does.
    """
    faces: dict[str, tuple[Face, ...]] = {}
    for path in paths:
        found: dict[str, tuple[Face, ...]] = {}
        for line, name, numbers in _rows(path, BOX_COLUMNS):
            box, fault = make_box(numbers)
            refuse_shares(f"{path}, line {line}", fault)
            found[name] = (*found.get(name, ()), Face(box=box, fault=fault))
        _refuse_difference(path, faces, found)
        faces |= found
    return Table(", ".join(map(str, paths)), faces, NAME_HINT)


def read_landmarks(*paths: Path) -> Table[array[float]]:
    """Read CSVs with the columns NAME_ID, P1X, P1Y, ..., P5X, P5Y (pixels) into landmarks by name.

    Raises:
        SourceError: as ``read_boxes``; also if one has no number, or a name stands there twice with other points.
    """
    points: dict[str, tuple[array[float], ...]] = {}
    for path in paths:
        for line, name, numbers in _rows(path, LANDMARK_COLUMNS):
            where = f"{path}, line {line}"
            if fault := points_fault(list(zip(numbers[::2], numbers[1::2], strict=True))):
                refuse_shares(where, fault)
                raise SourceError(where, fault, "Give five points in pixels, or remove the line.")
            found = {name: (array("f", numbers),)}
            _refuse_difference(where, points, found)
            points |= found
    return Table(", ".join(map(str, paths)), points, NAME_HINT)


def _refuse_difference(where: object, known: Mapping[str, object], found: Mapping[str, object]) -> None:
    """Refuse to overwrite what is known of an image."""
    name = next((name for name in found if name in known and known[name] != found[name]), None)
    if name is not None:
        raise SourceError(where, f"says otherwise of {name} than a line before it or another table", "Remove one.")


def _rows(table: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, str, list[float]]]:
    """The line, the name and the numbers of each row."""
    try:
        with open_list_text(table) as stream:
            rows = rows_of(stream)
            header = tuple(next(rows, ()))
            if header != columns:
                raise SourceError(table, f"its columns are {header}", f"Give a CSV with {', '.join(columns)}.")
            for row in filter(None, rows):
                try:
                    name, *numbers = row
                    if len(row) != len(columns):
                        raise ValueError
                    yield rows.line_num, name, [float(number) for number in numbers]
                except ValueError:
                    where, remedy = f"{table}, line {rows.line_num}", f"Give {', '.join(columns)}."
                    raise SourceError(where, f"{row} is no row of it", remedy) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        blame_machine(error, f"reading {table}")
        raise SourceError(table, f"cannot be read ({error})", "Give a CSV as VGGFace2 publishes them.") from error
