"""Tables that say something of images, joined with them: every row and every image that finds no partner is counted."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from frl.errors import SourceError

Row = TypeVar("Row")

EXAMPLES = 3
"""Names shown of each side."""

REMEMBERED = 1000
"""Images without a row that are remembered, to find out why there is none."""

COMPARED = 100_000
"""Rows that are compared with them for that."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """How a table and the images met.

    Attributes:
        table: which.
        rows: how many it has.
        used: how many of them fit an image.
        images: how many were looked up in it.
        without: how many of them have no row.
        unused_names: some rows that fit no image.
        lone_images: some images without a row, by the names that their rows would have.
        reason: why they probably do not fit, or None.
    """

    table: str
    rows: int
    used: int
    images: int
    without: int
    unused_names: tuple[str, ...] = ()
    lone_images: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every row and every image has its partner."""
        return self.used == self.rows and not self.without

    def check(self, remedy: str) -> None:
        """Refuse a table that is of no use.

        Raises:
            SourceError: if there are images, and no row fits one.
        """
        if self.used or not self.images:
            return
        if not self.rows:
            raise SourceError(self.table, "holds no row", remedy)
        cause = (
            f"none of its {self.rows:,} rows ({_listed(self.unused_names)}) fits any of the {self.images:,} images "
            f"({_listed(self.lone_images)})"
        )
        raise SourceError(self.table, f"{cause}; {self.reason}" if self.reason else cause, remedy)

    def __str__(self) -> str:
        said = f"{self.table}: {self.used:,} of {self.rows:,} rows used"
        if self.unused_names:
            said += f", not {_listed(self.unused_names)}{', ...' if self.rows - self.used > EXAMPLES else ''}"
        said += f"; {self.without:,} of {self.images:,} images without a row"
        if self.lone_images:
            said += f" ({_listed(self.lone_images)}{', ...' if self.without > EXAMPLES else ''})"
        return f"{said}; {self.reason}" if self.reason else said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


class Table(Generic[Row]):
    """Rows about images.

    Args:
        name: what to call it in messages: its path.
        rows: by the name of the image that they are about; several where it shows several faces.
        remedy: how names have to look.
    """

    def __init__(self, name: str, rows: Mapping[str, tuple[Row, ...]], remedy: str) -> None:
        self.name = name
        self.rows = rows
        self.remedy = remedy
        self._joins: dict[str, Join[Row]] = {}

    def join(self, location: str) -> Join[Row]:
        """Begin to look up the images of a source, by its location; what an earlier listing of it counted goes."""
        self._joins[location] = join = Join(self, location)
        return join

    def refuse_others(self, key: str, location: str, path: str) -> None:
        """Look whether a row is another image's already: nobody could tell whose it is in truth.

        Raises:
            SourceError: if it is.
        """
        for place, join in self._joins.items():
            owner = join.owners.get(key)
            if owner is not None and (place, owner) != (location, path):
                cause = f"its row {key} fits two images, {place}/{owner} and {location}/{path}"
                raise SourceError(self.name, cause, "Rename one of them, or write them by commands of their own.")

    def account(self) -> Account:
        """How it met the images of all sources."""
        joins = list(self._joins.values())
        unused = [key for key in self.rows if not any(key in join.owners for join in joins)]
        lone = list(islice((name for join in joins for name in join.lone), REMEMBERED))
        total = sum(map(len, self.rows.values()))
        return Account(
            table=self.name,
            rows=total,
            used=total - sum(len(self.rows[key]) for key in unused),
            images=sum(join.images for join in joins),
            without=sum(join.without for join in joins),
            unused_names=tuple(unused[:EXAMPLES]),
            lone_images=tuple(lone[:EXAMPLES]),
            reason=likely_reason(unused, lone),
        )


class Join(Generic[Row]):
    """A table and the images of one source.

    Attributes:
        owners: the path of the image of each row that fits one.
        images: how many were looked up.
        without: how many of them have no row.
        lone: the names of some of these.
    """

    def __init__(self, table: Table[Row], location: str) -> None:
        self.owners: dict[str, str] = {}
        self.images = 0
        self.without = 0
        self.lone: list[str] = []
        self._table = table
        self._location = location

    def rows(self, key: str, path: str) -> tuple[Row, ...]:
        """The rows of an image.

        Args:
            key: the name that its rows have.
            path: its path in its source.

        Raises:
            SourceError: if they are another image's already.
        """
        self.images += 1
        rows = self._table.rows.get(key, ())
        if rows:
            self._table.refuse_others(key, self._location, path)
            self.owners[key] = path
        else:
            self.without += 1
            if len(self.lone) < REMEMBERED:
                self.lone.append(key)
        return rows


@runtime_checkable
class Tabled(Protocol):
    """A source that joins its images with tables."""

    def tables(self) -> Iterator[Accountable]:
        """The tables; those without rows and those that were not asked for are left out."""
        ...


class Accountable(Protocol):
    """What can give an account of itself: ``Table``, or a source whose labels lie among its images."""

    @property
    def remedy(self) -> str:
        """What to do where nothing fits."""
        ...

    def account(self) -> Account:
        """How rows and images met."""
        ...


def accounts(sources: Iterable[object]) -> list[Account]:
    """The accounts of all tables, once all sources are listed.

    Raises:
        SourceError: naming the first of which no row fits an image.
    """
    tables = {id(table): table for source in sources if isinstance(source, Tabled) for table in source.tables()}
    found = [(table.account(), table.remedy) for table in tables.values()]
    for account, remedy in found:
        account.check(remedy)
    return [account for account, _ in found]


class _Difference(NamedTuple):
    """A way in which names that mean the same may differ: what it is called, and what undoes it."""

    name: str
    undo: Callable[[str], str]


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix[1:].isalpha() else name


DIFFERENCES = (
    _Difference("backslashes", lambda name: name.replace("\\", "/")),
    _Difference("spaces or quotes around it", lambda name: name.strip(" \t'\"")),
    _Difference("its suffix", _without_suffix),
    _Difference("another way to write accents", lambda name: unicodedata.normalize("NFC", name)),
    _Difference("capitals", str.casefold),
)


def _plain(name: str, but: _Difference | None = None) -> str:
    for difference in DIFFERENCES:
        name = name if difference is but else difference.undo(name)
    return name


def likely_reason(rows: Iterable[str], images: Iterable[str]) -> str | None:
    """Why rows and images that have no partners probably do not fit, shown by a pair that means the same, or None.

    Args:
        rows: the names of the rows.
        images: the names that rows would need to have; some are enough.
    """
    wanted = {_plain(image): image for image in images}
    ends: dict[str, str] = {}
    for plain, image in wanted.items():
        for end in _ends(plain):
            ends.setdefault(end, image)
    for row in islice(rows, COMPARED if wanted else 0):
        plain = _plain(row)
        partner = next((wanted[end] for end in (plain, *_ends(plain)) if end in wanted), None) or ends.get(plain)
        if partner is not None and partner != row:
            return f"{row} would fit {partner} but for {_explain(row, partner)}"
    return None


def _ends(name: str) -> Iterator[str]:
    """What is left of a path without its first folders, longest first."""
    while "/" in name:
        _, _, name = name.partition("/")
        yield name


def _meet(row: str, image: str) -> bool:
    return row == image or row in _ends(image) or image in _ends(row)


def _explain(row: str, image: str) -> str:
    """Which differences keep the two from meeting."""
    needed = [d.name for d in DIFFERENCES if not _meet(_plain(row, but=d), _plain(image, but=d))]
    longer = len(_plain(row)) - len(_plain(image))
    if longer:
        needed.append("the folder in front" if longer > 0 else "the folder that is missing in front")
    return " and ".join(needed) or "its spelling"
