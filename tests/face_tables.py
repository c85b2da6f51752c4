"""Tables of boxes and landmarks as users have them."""

from __future__ import annotations

import csv
from pathlib import Path

LANDMARKS = ["NAME_ID", *(f"P{i}{axis}" for i in range(1, 6) for axis in "XY")]


def write_csv(path: Path, *rows: list[object]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def boxes(path: Path, names: list[str]) -> Path:
    """The same box for each name."""
    return write_csv(path, ["NAME_ID", "X", "Y", "W", "H"], *([name, 10, 10, 30, 30] for name in names))
