"""Points of faces in a CSV: ``image,x0,y0,x1,y1,...`` in pixels; the centre of the upright image's first is (0, 0)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from frl.delimited import rows_of
from frl.errors import SourceError, blame_machine
from frl.images.places import FARTHEST, IN_SHARES, are_shares

REMEDY = "Give a CSV with the columns image,x0,y0,x1,y1,..."


def read_points(path: Path) -> dict[str, NDArray[np.float64]]:
    """The points ``(n, 2)`` of each image by its path without suffix; all lines have the same number of them.

    Raises:
        SourceError: if it cannot be read, has other columns, names an image twice, or a line is broken or in shares of
            the image.
    """
    found: dict[str, NDArray[np.float64]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = rows_of(stream)
            header = [name.strip() for name in next(rows, [])]
            count = (len(header) - 1) // 2
            wanted = [f"{axis}{number}" for number in range(count) for axis in "xy"]
            if header[:1] not in (["image"], ["path"]) or not count or header[1:] != wanted:
                raise SourceError(path, f"its columns are {', '.join(header[:5])}, ...", REMEDY)
            for row in filter(None, rows):
                where = f"{path}, line {rows.line_num}"
                try:
                    name = stem(row[0])
                    points = np.array([float(number) for number in row[1:]])
                    if len(row) != len(header) or not np.isfinite(points).all():
                        raise ValueError
                except ValueError:
                    cause = f"is not an image and {2 * count} numbers: {', '.join(row[:4])}, ..."
                    raise SourceError(where, cause, REMEDY) from None
                if are_shares(points.tolist(), -FARTHEST, FARTHEST):
                    raise SourceError(where, f"its points are {IN_SHARES}", "Multiply them by its width and height.")
                if name in found:
                    raise SourceError(where, f"names {row[0]} a second time", "Remove one of the lines.")
                found[name] = points.reshape(-1, 2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"cannot be read ({error})", REMEDY) from error
    return found


def join_points(
    points: dict[str, NDArray[np.float64]], names: Sequence[str], where: object
) -> list[NDArray[np.float64] | None]:
    """The points of each image; None of those that have none.

    Raises:
        SourceError: if no image has any.
    """
    joined = [points.get(stem(name)) for name in names]
    if all(one is None for one in joined):
        cause = f"names none of the {len(names):,} images, such as {names[0]}; its first is {next(iter(points), '-')}"
        raise SourceError(where, cause, "Its paths begin in the folder of images.")
    return joined


def unused_rows(points: dict[str, NDArray[np.float64]], names: Sequence[str], where: object) -> list[str]:
    """A line if rows of a table fit none of the images that are shown; it may know of more, or be of others."""
    known = set(map(stem, names))
    others = [name for name in points if name not in known]
    if not others:
        return []
    return [f"{where}: {len(others):,} of {len(points):,} rows fit no image that is compared, such as {others[0]}"]


def stem(name: str) -> str:
    """A path without its suffix, with slashes; raises ValueError where it names no file."""
    return str(PurePosixPath(name.strip().replace("\\", "/")).with_suffix(""))
