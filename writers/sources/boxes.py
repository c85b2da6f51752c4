"""Face boxes in a table, as VGGFace2 publishes them (``loose_bb_train.csv``)."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from frl.errors import SourceError
from writers.sources.source import Box

COLUMNS = ("NAME_ID", "X", "Y", "W", "H")


def read_boxes(table: Path) -> dict[str, Box]:
    """Read a CSV with the columns NAME_ID, X, Y, W, H (pixels) into boxes by name, such as ``n000002/0001_01``.

    Raises:
        SourceError: if the table is absent, has other columns, or holds a row that is no box.
    """
    try:
        with open(table, newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            header = tuple(next(rows, ()))
            if header != COLUMNS:
                raise SourceError(table, f"its columns are {header}", f"Give a CSV with {', '.join(COLUMNS)}.")
            return dict(_parse(table, rows.line_num, row) for row in rows if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(table, f"cannot be read ({error})", "Give a CSV of face boxes.") from error


def _parse(table: Path, line: int, row: list[str]) -> tuple[str, Box]:
    try:
        name, left, top, width, height = row
        box = Box(float(left), float(top), float(width), float(height))
    except ValueError as error:
        raise SourceError(f"{table}, line {line}", f"{row} is no box", "Give NAME_ID, X, Y, W, H.") from error
    if not all(map(math.isfinite, box)) or box.width <= 0 or box.height <= 0:
        raise SourceError(f"{table}, line {line}", f"{row} is no box", "Width and height must be positive.")
    return name, box
