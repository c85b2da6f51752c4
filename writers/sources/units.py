"""Points of a list that are no pixels: one line may leave it open, all of them together do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from frl.beton.targets import Kind
from frl.errors import SourceError
from frl.images.places import FARTHEST, IN_SHARES
from writers.sources.targets import Reading, Record

REMEDY = (
    "Give pixels: multiply shares from 0 to 1 by the image's width and height; to those from -1 to 1 add 1, and "
    "multiply them by half of the width and height."
)


def refuse_units(
    location: str, readings: Iterable[Reading], records: Callable[[], Iterable[tuple[int, Record]]]
) -> None:
    """Refuse a list that gives points as shares of the image. Of one in pixels, little more than a line is read.

    Args:
        location: the list.
        readings: how its targets are read.
        records: its lines and their numbers, from the first, as often as called.

    Raises:
        SourceError: if all numbers of a target's points are as small as shares, and not all are whole.
    """
    for reading in readings:
        if reading.spec.kind == Kind.POINTS and (line := _first_in_shares(reading, records())) is not None:
            cause = f"its {reading.spec.name} are {IN_SHARES}: no line has one beyond {FARTHEST}"
            raise SourceError(f"{location}, line {line}", cause, REMEDY)


def flat_points(reading: Reading, value: Sequence[float]) -> list[float]:
    """The known numbers of x and y."""
    return list(filter(math.isfinite, np.reshape(value, reading.spec.shape)[:, :2].ravel().tolist()))


def _first_in_shares(reading: Reading, records: Iterable[tuple[int, Record]]) -> int | None:
    """The first line that holds a fraction, if none holds a number that is too large for shares."""
    first = None
    for line, record in records:
        try:
            value = reading.value(record)
        except ValueError:  # its own fault, which rejects it
            continue
        numbers = [] if value is None else flat_points(reading, value)
        if any(abs(number) > FARTHEST for number in numbers):
            return None
        if first is None and not all(map(float.is_integer, numbers)):
            first = line
    return first
