"""What predictions say of faces, in the units in which people read it: as columns of a table, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from frl.errors import ConfigError
from frl.tasks.registry import Classes, Numbers, Points, SupervisedTask

DOT, TEXT, BACKGROUND = (60, 255, 90), (255, 255, 255), (0, 0, 0)
COLUMNS = 8
"""Faces in a row of a contact sheet at most."""


class Said(NamedTuple):
    """What is said of N faces.

    Attributes:
        columns: by name, ``(N,)`` numbers or texts.
        points: ``(N, n, 2)`` in pixels of the image that a network saw; None where no points are said.
        lines: of each face what a picture of it says.
    """

    columns: dict[str, NDArray[Any]]
    points: NDArray[np.float64] | None
    lines: list[str]


def said(task: SupervisedTask, predicted: NDArray[Any], sides: NDArray[np.float64]) -> Said:
    """The meaning of predictions ``(N, K)``.

    Points become the columns ``x0, y0, x1, ...`` (and ``z0``), classes the name of the likeliest and the probability of
    each, numbers themselves under their names. What training knew nothing of has no column.

    Args:
        task: whose predictions they are.
        predicted: ``(N, K)``.
        sides: ``(N, 2)``, width and height of the images in pixels, in which points are said.

    Raises:
        ConfigError: nobody knows what this task's numbers mean.
    """
    if isinstance(task, Points):
        points = task.decode(predicted, sides)
        names = [f"{axis}{i}" for i in range(task.count) for axis in "xyz"[: task.axes]]
        flat = points.reshape(len(points), len(names))
        return Said(_learned(names, flat, task.unknown), points[..., :2], [""] * len(points))
    if isinstance(task, Classes):
        exponentials = np.exp(predicted - predicted.max(axis=1, keepdims=True))
        shares = exponentials / exponentials.sum(axis=1, keepdims=True)
        likeliest = np.array(task.classes)[shares.argmax(axis=1)]
        columns = {task.field: likeliest} | {f"p_{name}": p for name, p in zip(task.classes, shares.T, strict=True)}
        lines = [f"{name} {share:.0%}" for name, share in zip(likeliest, shares.max(axis=1), strict=True)]
        return Said(columns, None, lines)
    if isinstance(task, Numbers):
        columns = _learned(task.entries, task.decode(predicted), task.unknown)
        rows = zip(*columns.values(), strict=True)
        lines = [" ".join(f"{name} {x:.2f}" for name, x in zip(columns, row, strict=True)) for row in rows]
        return Said(columns, None, lines)
    raise ConfigError(f"the task {task.name}", "nobody knows how to write what it says", "Use its decode() in Python.")


def _learned(names: Sequence[str], numbers: NDArray[Any], unknown: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The columns of ``(N, K)`` by their names, but for the unknown ones."""
    columns = enumerate(zip(names, numbers.T, strict=True))
    return dict(column for index, column in columns if index not in unknown)


def contact_sheet(
    images: Sequence[NDArray[np.uint8]], found: Said, sides: NDArray[np.float64], tile: int = 192
) -> NDArray[np.uint8]:
    """Faces with what is said of them, as one picture ``(height, width, 3)`` uint8 RGB.

    Args:
        images: of the first faces, square, uint8 RGB.
        found: what is said; points in pixels of images of ``sides``.
        sides: ``(N, 2)``.
        tile: side of a face on the sheet, in pixels.
    """
    tiles = [_tile(image, found, sides, index, tile) for index, image in enumerate(images)]
    across = min(COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[first : first + across]) for first in range(0, len(tiles), across)])


def _tile(image: NDArray[np.uint8], found: Said, sides: NDArray[np.float64], index: int, tile: int) -> Any:
    picture = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA if len(image) > tile else cv2.INTER_CUBIC)
    if found.points is not None:
        places = (found.points[index] + 0.5) * tile / sides[index] - 0.5
        for place in places[np.isfinite(places).all(axis=1)]:
            cv2.circle(picture, np.round(place).astype(int).tolist(), max(1, tile // 96), DOT, -1, cv2.LINE_AA)
    for row, words in enumerate(_wrapped(found.lines[index])):
        at = (4, tile - 6 - 14 * row)
        for colour, thickness in ((BACKGROUND, 3), (TEXT, 1)):
            cv2.putText(picture, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
    return picture


def _wrapped(line: str, width: int = 24, most: int = 6) -> list[str]:
    """The words of a line in rows of a tile, the last row first."""
    rows: list[str] = []
    for word in line.split():
        if rows and len(rows[-1]) + 1 + len(word) <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows[:most][::-1]
