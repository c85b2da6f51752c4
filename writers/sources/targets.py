"""Targets in lists: which columns of a CSV, or keys of JSON lines, are landmarks, poses, classes or visibility.

Three things tell, the first that speaks of a name wins: the command line (``--targets``), a description beside the list
(``faces.targets.json`` beside ``faces.csv``, in the form of a manifest's ``targets``), and the names themselves:
``x0,y0,x1,y1,...`` of a CSV, or ``landmarks`` of JSON, are landmarks.
"""

from __future__ import annotations

import json
import math
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from frl.beton.target_list import columns_of
from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError, SourceError
from writers.reject import Reject
from writers.sources.files import is_file, read_file
from writers.sources.labels import person, tidy

AXES = {"xy": 2, "xyz": 3}
LANDMARKS = "landmarks"
IDENTITY = "identity"
"""Asked for like a target: who is on the image, where the column is called otherwise."""

WORDS = {**{kind.value: kind for kind in Kind}, "classes": Kind.CLASS, "number": Kind.VECTOR, "numbers": Kind.VECTOR}
"""The kinds by their own names, and as people call them."""

HOW = "Give NAME, NAME:KIND or NAME:KIND=COLUMN,FIRST:LAST,...; the kinds are " + ", ".join(WORDS) + "."

DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
FEW = 4
"""Of so many different texts one that is no number does not make them classes."""

LOOKED_AT = 1000
"""Lines of JSON among which one must have landmarks, if nobody asks for them: a list is not read twice for nothing."""

Record = Mapping[str, Any]


class Wanted(NamedTuple):
    """A target that the command line asks for.

    Attributes:
        name: what the file will call it.
        kind: what it is; None: as it looks.
        columns: columns, ``FIRST:LAST`` for several in a row, or keys of JSON (``pose.yaw`` for one within another).
    """

    name: str
    kind: Kind | None
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """The target meant by ``NAME[:KIND][=COLUMN,FIRST:LAST,...]``; without columns, that of its name.

        Raises:
            ConfigError: it has another form.
        """
        found = re.fullmatch(r"(\w+)(?::(\w+))?(?:=(.+))?", text)
        if not found or found[2] not in (None, *WORDS):
            raise ConfigError("--targets", f"{text!r} names no target", HOW)
        columns = tuple(column.strip() for column in (found[3] or found[1]).split(","))
        try:
            if found[1] != IDENTITY:
                TargetSpec(name=found[1], kind=Kind.VECTOR)
            elif len(columns) > 1 or found[2]:
                raise ValueError(f"{text!r} is no single column of names")
        except ValueError as error:
            raise ConfigError("--targets", str(error), "Use another name, as in NAME=COLUMN.") from None
        return cls(found[1], WORDS[found[2]] if found[2] else None, columns)


class Reading(NamedTuple):
    """How a target is read off a line.

    Attributes:
        spec: what it is.
        keys: where its numbers are.
        unknown: how often each text stands there that is taken for nothing, as "None" is, though it may be a class.
    """

    spec: TargetSpec
    keys: tuple[str, ...]
    unknown: Mapping[str, int] = {}

    def value(self, record: Record) -> array[float] | array[int] | None:
        """The numbers of a line, flat, or None where it has none.

        Raises:
            ValueError: they are not what the target should be.
        """
        given = [_look_up(record, key) for key in self.keys]
        if all(map(self._is_unknown, given)):
            return None
        flat = self._plain(given) or [self._number(part) for part in self._flatten(given)]
        if len(flat) != math.prod(self.spec.shape):
            raise ValueError(f"its {self.spec.name} has {len(flat)} numbers, not {math.prod(self.spec.shape)}")
        self.spec.encode(np.reshape(flat, self.spec.shape))
        return array("d" if self.spec.dtype.kind == "f" else "q", flat)

    def _plain(self, given: Sequence[Any]) -> list[float] | None:
        """The numbers where each key holds one, and all are known, as almost always: several times as fast."""
        try:
            return list(map(float, given)) if self.spec.dtype.kind == "f" else None
        except (TypeError, ValueError):
            return None

    def _flatten(self, given: object) -> Iterator[object]:
        if isinstance(given, Mapping):
            if unknown := given.keys() - set(self.spec.names):
                raise ValueError(f"its {self.spec.name} has {sorted(unknown)[0]!r}, which the first one has not")
            yield from (given.get(name) for name in self.spec.names)
        elif isinstance(given, (list, tuple)):
            for part in given:
                yield from self._flatten(part)
        else:
            yield given

    def _number(self, given: Any) -> float:
        names = self._classes
        if self._is_unknown(given):
            return math.nan if self.spec.dtype.kind == "f" else -1
        name = _class_name(given)
        if name is not None and name in names:
            return names.index(name)
        try:
            number = float(given)
            if self.spec.dtype.kind == "f":
                return number
            # Where a class is called by a number, another number is no index: nobody could tell which is meant.
            if number == int(number) and not (names and (isinstance(given, bool) or any(map(_is_number, names)))):
                return int(number)
        except (TypeError, ValueError, OverflowError):
            pass
        raise ValueError(f"its {self.spec.name} {given!r} is no {self.spec.kind}" + (f" of {names}" if names else ""))

    @property
    def _classes(self) -> tuple[str, ...]:
        """The names of the classes, of which a sample has one."""
        return self.spec.names if self.spec.kind == Kind.CLASS and not self.spec.shape else ()

    def _is_unknown(self, given: object) -> bool:
        """Whether nothing is said; of a class, also by what programs write where nothing is known."""
        if _is_absent(given):
            return True
        return self.spec.kind == Kind.CLASS and given not in self._classes and _is_nobody(given)

    def remarks(self, location: str) -> Iterator[str]:
        """A line, if texts were taken for nothing; see ``Remarking``."""
        if self.unknown:
            said = ", ".join(f"{text} ({count:,})" for text, count in self.unknown.items())
            beside = os.path.basename(os.path.splitext(location)[0]) + ".targets.json"
            yield f"{location}: {said} of {self.spec.name} taken as unknown; if it is a class, name it in {beside}"


def stated_beside(location: str) -> tuple[TargetSpec, ...]:
    """What the description beside a list says, if there is one.

    Raises:
        SourceError: it cannot be understood.
    """
    path = os.path.splitext(location)[0] + ".targets.json"
    if not (is_file(path) or os.path.exists(path)):
        return ()
    try:
        return tuple(map(TargetSpec.from_json, json.loads(read_file(path))))
    except (Reject, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        remedy = 'Give [{"name": ..., "kind": ..., "shape": [...]}, ...], or remove it.'
        raise SourceError(path, f"does not describe targets ({error})", remedy) from error


def read_csv_targets(
    location: str, header: Sequence[str], wanted: Sequence[Wanted], records: Callable[[], Iterator[Record]]
) -> tuple[Reading, ...]:
    """How the targets of a CSV are read.

    Args:
        location: the list.
        header: its columns.
        wanted: what the command line asks for; what has no column here is left to other lists.
        records: its lines, from the first, as often as called.

    Raises:
        SourceError: a target has some of its columns but not all, or cannot be understood.
    """
    readings = []
    asked = {target.name for target in wanted}
    for target in wanted:
        keys = tuple(_expand(target.columns, header))
        if _are_there(location, target.name, keys, header):
            readings.append(_describe(location, target, keys, records))
    for spec in stated_beside(location):
        keys = columns_of(spec)
        if spec.name not in asked and _are_there(location, spec.name, keys, header):
            asked.add(spec.name)
            readings.append(Reading(spec, keys))
    if LANDMARKS not in asked and (keys := _landmark_columns(header)):
        readings.append(_describe(location, Wanted(LANDMARKS, Kind.POINTS, keys), keys, records))
    return tuple(readings)


def read_json_targets(
    location: str, wanted: Sequence[Wanted], records: Callable[[], Iterator[Record]]
) -> tuple[Reading, ...]:
    """How the targets of JSON lines are read; see ``read_csv_targets``."""
    stated = stated_beside(location)
    asked = {target.name for target in wanted}
    readings = [Reading(spec, (spec.name,)) for spec in stated if spec.name not in asked]
    asked |= {spec.name for spec in stated}
    for target in wanted:
        if _is_known(target, records()):
            readings.append(_describe(location, target, target.columns, records))
    by_name = Wanted(LANDMARKS, Kind.POINTS, (LANDMARKS,))
    if LANDMARKS not in asked and _is_known(by_name, islice(records(), LOOKED_AT)):
        readings.append(_describe(location, by_name, by_name.columns, records))
    return tuple(readings)


def _describe(location: str, target: Wanted, keys: tuple[str, ...], records: Callable[[], Iterator[Record]]) -> Reading:
    """What a target is, by its columns and its first known value."""
    known = (v for v in (_values(record, keys) for record in records()) if not all(map(_says_nothing, v)))
    first = next(known, [None] * len(keys))
    value = first[0] if len(keys) == 1 else first
    kind = target.kind or _guess(keys, value)
    unknown: Counter[str] = Counter()
    try:
        names, shape = _names_and_shape(kind, keys, value)
        if kind == Kind.CLASS and shape == () and not _is_number(value):
            names, unknown = _named_classes(_look_up(record, keys[0]) for record in records())
            if target.kind is None:
                _refuse_numbers(location, target.name, names)
        return Reading(TargetSpec(name=target.name, kind=kind, shape=shape, names=names), keys, unknown)
    except ValueError as error:
        raise SourceError(location, f"its {target.name} is no {kind} ({error})", HOW) from None


def _refuse_numbers(location: str, name: str, classes: Sequence[str]) -> None:
    """Refuse classes that nobody asked for, nearly all of which are numbers: a cell that is none would make them such.

    Raises:
        SourceError: naming a cell that is no number.
    """
    odd = [text for text in classes if not _is_number(text)]
    commas = [text for text in odd if DECIMAL_COMMA.fullmatch(text)]
    if len(odd) - len(commas) > len(classes) // FEW:
        return
    shown = commas[0] if commas else odd[0]
    mend = f"Write {shown.replace(',', '.')}" if commas else "Leave a cell empty where nothing is known"
    cause = f"its {name} seems to be numbers, but {shown!r} is none"
    raise SourceError(location, cause, f"{mend}; or, if these are classes, say --targets {name}:class.")


def _named_classes(given: Iterable[object]) -> tuple[tuple[str, ...], Counter[str]]:
    """The classes that lines name, in sorted order; and what else they say that is taken for nothing."""
    names: set[str] = set()
    unknown: Counter[str] = Counter()
    for value in given:
        if not _is_nobody(value):
            names.update(filter(None, [_class_name(value)]))
        elif not _is_absent(value):
            unknown[str(value)] += 1
    return tuple(sorted(names)), unknown


def _names_and_shape(kind: Kind, keys: Sequence[str], value: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What the entries are called and how they are arranged, by the keys or, of one key, by the value."""
    if len(keys) > 1:
        axes = _axes(keys) or 2
        if kind != Kind.POINTS:
            return () if kind == Kind.VISIBILITY else tuple(keys), (len(keys),)
        if len(keys) % axes:
            raise ValueError(f"{len(keys)} columns are no x and y of each")
        return (), (len(keys) // axes, axes)
    if isinstance(value, Mapping):
        return tuple(sorted(value)), (len(value),)
    shape: tuple[int, ...] = np.asarray(value, object).shape if isinstance(value, (list, tuple)) else ()
    return (), shape


def _guess(keys: Sequence[str], value: Any) -> Kind:
    """The kind that a target looks like: numbers are a vector, a text is a class, pairs are points."""
    if len(keys) > 1:
        return Kind.POINTS if _axes(keys) else Kind.VECTOR
    shape = np.asarray(value, object).shape if isinstance(value, (list, tuple)) else ()
    if len(shape) == 2 and shape[1] in AXES.values():
        return Kind.POINTS
    if len(shape) == 1 and all(isinstance(part, bool) for part in value):
        return Kind.VISIBILITY
    return Kind.CLASS if isinstance(value, str) and not _is_number(value) else Kind.VECTOR


def _axes(keys: Sequence[str]) -> int | None:
    """2 if the names of columns end in x, y, x, y, ... but for digits; 3 if there is a z; None if neither."""
    letters = "".join(re.sub(r"[\d_]", "", key.lower())[-1:] for key in keys)
    for axes, count in AXES.items():
        if letters == axes * (len(keys) // count):
            return count
    return None


def _landmark_columns(header: Sequence[str]) -> tuple[str, ...]:
    """``x0,y0,...`` or ``x0,y0,z0,...`` as far as they are there; empty if they are not."""
    axes = next((axes for axes in ("xyz", "xy") if {f"{axis}0" for axis in axes} <= set(header)), "")
    points = 0
    while axes and {f"{axis}{points}" for axis in axes} <= set(header):
        points += 1
    return tuple(f"{axis}{i}" for i in range(points) for axis in axes)


def _expand(columns: Sequence[str], header: Sequence[str]) -> Iterator[str]:
    """Columns with those from FIRST to LAST in the place of ``FIRST:LAST``."""
    for column in columns:
        first, colon, last = column.partition(":")
        if colon and column not in header and first in header and last in header:
            yield from header[header.index(first) : header.index(last) + 1]
        elif colon and column not in header:
            yield from (first, last)
        else:
            yield column


def _are_there(location: str, name: str, keys: Sequence[str], header: Sequence[str]) -> bool:
    lacking = [key for key in keys if key not in header]
    if lacking and len(lacking) < len(keys):
        cause = f"of the columns of {name} it lacks {', '.join(lacking[:4])}"
        raise SourceError(location, cause, "Name columns that it has, or add these.")
    return bool(keys) and not lacking


def _is_known(target: Wanted, records: Iterable[Record]) -> bool:
    """Whether any line has a value."""
    return any(not all(map(_is_absent, _values(record, target.columns))) for record in records)


def _values(record: Record, keys: Sequence[str]) -> list[Any]:
    return [_look_up(record, key) for key in keys]


def _look_up(record: Record, key: str) -> Any:
    """What stands under a key, or under ``outer.inner``; None where nothing does."""
    if key in record:
        return record[key]
    found: Any = record
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _is_absent(value: object) -> bool:
    return value is None or value == ""


def _is_nobody(value: object) -> bool:
    """Whether it is what programs write where nothing is known; see ``writers.sources.labels``."""
    try:
        return person(value) is None
    except ValueError:
        return False


def _says_nothing(value: Any) -> bool:
    """Whether it does not tell what a target is. A number does, -1 too: that is a class that is unknown."""
    return _is_nobody(value) and not (_is_number(value) and math.isfinite(float(value)))


def _class_name(value: object) -> str | None:
    """What a class is called: a text, or a whole number in digits; None of what is no name."""
    try:
        return tidy(value) if isinstance(value, str) else person(value)
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
