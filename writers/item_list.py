"""The items in the order of the file: a list that lies on the disk, so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from frl.errors import SourceError
from frl.images.formats import DECODED
from writers.config import WriteConfig
from writers.items import Item, list_items
from writers.sources import Candidate, Source
from writers.sources.skipped import total

BLOCK = 4096
"""Items read at a time."""

CACHE_KB = 1 << 14
"""Memory of the database; the rest lies in the system's folder for temporary files, or in SQLITE_TMPDIR."""


CHOSEN = """
CREATE TABLE sorted AS SELECT item FROM (
    SELECT item, key, rowid AS place,
        DENSE_RANK() OVER (ORDER BY person) AS drawn,
        ROW_NUMBER() OVER (PARTITION BY person ORDER BY key, rowid) AS number
    FROM listed WHERE person IS NOT NULL
) WHERE drawn <= ifnull(:people, drawn) AND number <= ifnull(:images, number) ORDER BY key, place
"""
"""The first so many images of the first so many people."""


class ItemList(Sequence[Item]):
    """Items ``first`` to ``stop`` of a table that ``sort_items`` made; slices share it."""

    def __init__(self, database: sqlite3.Connection, first: int, stop: int) -> None:
        self._database = database
        self._first = first
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._first

    def __iter__(self) -> Iterator[Item]:
        for first in range(self._first, self._stop, BLOCK):
            yield from self._read(first, min(first + BLOCK, self._stop))

    def rows(self) -> Iterator[bytes]:
        """What the list holds of the items, equal for equal lists, in blocks."""
        query = "SELECT item FROM sorted WHERE rowid BETWEEN ? AND ?"
        for first in range(self._first, self._stop, BLOCK):
            found = self._database.execute(query, (first + 1, min(first + BLOCK, self._stop)))
            yield b"".join(row[0] for row in found)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> ItemList: ...
    def __getitem__(self, index: int | slice) -> Item | ItemList:
        chosen = range(self._first, self._stop)[index]
        if isinstance(chosen, range):
            if chosen.step != 1:
                raise ValueError("a list on the disk has no steps")
            return ItemList(self._database, chosen.start, max(chosen.start, chosen.stop))
        return self._read(chosen, chosen + 1)[0]

    def _read(self, first: int, stop: int) -> list[Item]:
        """Some items. One of the same name as the one before gets a fault: an archive may hold a path twice."""
        query = "SELECT item FROM sorted WHERE rowid BETWEEN ? AND ?"
        items = [_unpack(row[0]) for row in self._database.execute(query, (max(first, 1), stop))]
        if first > 0:
            before, *items = items
        else:
            before = None
        read = []
        for item in items:
            namesake = (
                before is not None and before.source == item.source and before.candidate.name == item.candidate.name
            )
            before = item
            read.append(_refused(item) if namesake else item)
        return read


def choose(sources: dict[str, Source], config: WriteConfig, check: Callable[[], None] = lambda: None) -> ItemList:
    """The items to write, in the order of the file.

    They are sorted by a hash of the seed and their name, so their order depends on no generator, nor on other items;
    people are drawn by a hash of the seed and theirs.

    Args:
        sources: by name.
        config: the options.
        check: called for every item; may raise, to stop.

    Raises:
        SourceError: if a source cannot be listed, or there is no image.
    """

    def key(item: Item) -> bytes:
        check()
        return _draw(f"{config.seed}/{item.source}/{item.candidate.name}")

    def person(item: Item) -> bytes | None:
        return None if item.identity is None else _draw(f"{config.seed}/{item.identity}")

    listed = list_items(sources, merge=config.merge_identities)
    if config.identities is None and config.per_identity is None:
        items = sort_items(listed, key)
    else:
        items = sort_items(listed, key, Subset(person, config.identities, config.per_identity))
        if not items:
            where = " ".join(config.sources)
            raise SourceError(where, "no image says who is on it", "Leave out --identities and --per-identity.")
    if not items:
        where = " ".join(config.sources) or "SOURCE"
        skipped = total(source.store for source in sources.values())
        cause = f"no image found, but {skipped}" if skipped else "no image found"
        raise SourceError(where, cause, f"Give folders or archives of images ({', '.join(DECODED)}).")
    return items[: config.limit]


class Subset(NamedTuple):
    """Which items stay: some images of some people.

    Attributes:
        person: a number for the person on an item, by which people are drawn, or None where there is nobody's name.
        people: how many people stay; None: all.
        images: how many images of each stay; None: all.
    """

    person: Callable[[Item], bytes | None]
    people: int | None
    images: int | None


def _draw(text: str) -> bytes:
    return hashlib.blake2b(os.fsencode(text), digest_size=8).digest()


def _pack(item: Item) -> bytes:
    """An item without data, in plain tuples: what finds its classes by name takes twice as long both ways."""
    return pickle.dumps((item.source, tuple(item.candidate), item.identity), pickle.HIGHEST_PROTOCOL)


def _unpack(row: bytes) -> Item:
    source, candidate, identity = pickle.loads(row)
    return Item(source, Candidate(*candidate), identity)


def _refused(item: Item) -> Item:
    fault = "the source holds another of this name"
    return item._replace(candidate=item.candidate._replace(fault=fault), identity=None)


def sort_items(items: Iterable[Item], key: Callable[[Item], bytes], subset: Subset | None = None) -> ItemList:
    """Sort items by a key, on the disk; those of equal keys stay as they came.

    Args:
        items: to sort.
        key: of an item.
        subset: which of them stay; None: all. Of people and of images of a person, the first in order do.
    """
    database = sqlite3.connect("", isolation_level=None)  # without a name: gone when it is closed
    for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
        database.execute(f"PRAGMA {setting}")
    database.execute("CREATE TABLE listed (key BLOB, person BLOB, item BLOB)")
    database.execute("BEGIN")
    rows = ((key(item), subset and subset.person(item), _pack(item)) for item in items)
    database.executemany("INSERT INTO listed VALUES (?, ?, ?)", rows)
    database.execute("COMMIT")
    if subset is None:
        database.execute("CREATE TABLE sorted AS SELECT item FROM listed ORDER BY key, rowid")
    else:
        database.execute(CHOSEN, {"people": subset.people, "images": subset.images})
    (count,) = database.execute("SELECT count(*) FROM sorted").fetchone()
    database.execute("DROP TABLE listed")
    return ItemList(database, 0, count)
