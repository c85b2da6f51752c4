"""What a writer notes about its samples: metadata, allocation table and lines, with running checksums over them."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import NamedTuple

import numpy as np

from frl.beton.journal import Entry
from frl.beton.layout import ALLOCATION, align_up
from frl.beton.manifest import ContentHash, SampleLine
from frl.beton.partial import PartialFile
from frl.beton.schema import Schema

BLOCK = 4096

ALLOCATION_ROW = Struct("<QQQ")
"""``ALLOCATION`` without numpy, which takes as long for one row as for a hundred."""


def first_page(schema: Schema, capacity: int, page_size: int) -> int:
    """Where the first page begins, in bytes, in a file with room for the metadata of so many samples."""
    return align_up(schema.records_start + capacity * schema.record.itemsize, page_size)


def place(position: int, nbytes: int, page_size: int) -> int:
    """Where a sample of so many bytes, its targets included, is put that follows ``position``: none is on two pages."""
    fits = position // page_size == (position + nbytes - 1) // page_size
    return position if fits else align_up(position, page_size)


class Files(NamedTuple):
    """The unfinished files: pages with the metadata before them, the allocation table, and both kinds of lines."""

    beton: PartialFile
    table: PartialFile
    lines: PartialFile
    rejects: PartialFile


@dataclass(kw_only=True)
class Sums:
    """How much was noted, and checksums over it; see ``Entry``.

    Attributes:
        data_stop: where the newest sample ends in the file; 0 before the first.
        lines_digest: of the lines about the samples.
        known: by target, the samples of which it is known.
    """

    content: ContentHash
    samples: int = 0
    rejected: int = 0
    data_stop: int = 0
    lines_size: int = 0
    rejects_size: int = 0
    records_crc: int = 0
    allocations_crc: int = 0
    rejects_crc: int = 0
    lines_digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    known: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Sums:
        """Sums that go on from here by themselves."""
        content, digest = self.content.copy(), self.lines_digest.copy()
        return replace(self, content=content, lines_digest=digest, known=self.known.copy())

    def add_sample(
        self, schema: Schema, stop: int, image_sha256: bytes, line: bytes, values: Sequence[bytes] = ()
    ) -> None:
        """Take in an image by its digest, where it ends, its line and the stored bytes of its targets."""
        self.samples += 1
        self.data_stop = stop + schema.tail
        for spec, value in zip(schema.targets, values, strict=True):
            self.known[spec.name] += spec.knows(value)
        self.lines_size += len(line)
        self.lines_digest.update(line)
        self.content.add(image_sha256, line, b"".join(values))

    def add_rows(self, records: bytes, allocations: bytes) -> None:
        """Take in rows of the metadata and of the allocation table."""
        self.records_crc = zlib.crc32(records, self.records_crc)
        self.allocations_crc = zlib.crc32(allocations, self.allocations_crc)

    def add_rejects(self, lines: bytes) -> None:
        """Take in lines about images left out."""
        self.rejected += lines.count(b"\n")
        self.rejects_size += len(lines)
        self.rejects_crc = zlib.crc32(lines, self.rejects_crc)

    def entry(self, done: int, counts: dict[str, int]) -> Entry:
        """What the journal says of this moment."""
        return Entry(
            done=done,
            samples=self.samples,
            rejected=self.rejected,
            lines_size=self.lines_size,
            rejects_size=self.rejects_size,
            records_crc=self.records_crc,
            allocations_crc=self.allocations_crc,
            rejects_crc=self.rejects_crc,
            content_sha256=self.content.hexdigest(),
            counts=counts,
        )


class Ledger:
    """Notes samples and rejects in the unfinished files, what is noted of samples in blocks.

    Args:
        files: where to; empty, or left by an earlier run for ``restore``.
        schema: what is noted of a sample.
        identities: name of each label, or None.
    """

    def __init__(self, files: Files, schema: Schema, identities: tuple[str, ...] | None) -> None:
        self.sums = Sums(content=ContentHash(identities, schema.targets))
        self._files = files
        self._schema = schema
        self._records: list[bytes] = []
        self._allocations: list[bytes] = []
        self._lines: list[bytes] = []

    def add(
        self,
        start: int,
        nbytes: int,
        image_sha256: bytes,
        height: int,
        width: int,
        line: SampleLine,
        values: Sequence[bytes] = (),
    ) -> None:
        """Note a sample whose image lies at ``start``, and the arrays among its targets right behind it."""
        pieces = self._schema.pieces(start, nbytes)
        self._records.append(self._schema.row(pieces, height, width, line.label, values))
        self._allocations.extend(ALLOCATION_ROW.pack(self.sums.samples, *piece) for piece in pieces)
        text = line.encode()
        self._lines.append(text)
        self.sums.add_sample(self._schema, start + nbytes, image_sha256, text, values)
        if len(self._records) == BLOCK:
            self.flush()

    def add_rejects(self, lines: bytes) -> None:
        """Note images left out, by their lines."""
        self._files.rejects.append(lines)
        self.sums.add_rejects(lines)

    def flush(self) -> None:
        """Write the rows and lines that are held back."""
        records, allocations = b"".join(self._records), b"".join(self._allocations)
        first = self.sums.samples - len(self._records)
        self._files.beton.write_at(records, self._schema.records_start + first * self._schema.record.itemsize)
        self._files.table.append(allocations)
        self._files.lines.append(b"".join(self._lines))
        self.sums.add_rows(records, allocations)
        for held in (self._records, self._allocations, self._lines):
            held.clear()

    def restore(self, entries: list[Entry]) -> int:
        """Take over what an earlier run noted, as far as every byte of it is as its journal says.

        Returns:
            how many of the entries hold; the files are cut to the last of these.
        """
        sound = 0
        for entry in entries:
            extended = _replay(self._files, self._schema, self.sums, entry)
            if extended is None:
                break
            self.sums, sound = extended, sound + 1
        self._files.beton.truncate(self.sums.data_stop)
        self._files.table.truncate(self.sums.samples * self._schema.entries * ALLOCATION.itemsize)
        self._files.lines.truncate(self.sums.lines_size)
        self._files.rejects.truncate(self.sums.rejects_size)
        return sound


def _replay(files: Files, schema: Schema, before: Sums, entry: Entry) -> Sums | None:
    """The sums at an entry, from the bytes in the files, or None if they are not those of the entry."""
    sums = before.copy()
    count, first = entry.samples - sums.samples, sums.samples
    row, rows = schema.record.itemsize, schema.entries * ALLOCATION.itemsize
    records = files.beton.read_at(count * row, schema.records_start + first * row)
    allocations = files.table.read_at(count * rows, first * rows)
    sums.add_rows(records, allocations)
    sums.add_rejects(files.rejects.read_at(entry.rejects_size - sums.rejects_size, sums.rejects_size))
    if (sums.records_crc, sums.allocations_crc) != (entry.records_crc, entry.allocations_crc):
        return None  # so that no size in the table has to be trusted
    lines = files.lines.read_at(entry.lines_size - sums.lines_size, sums.lines_size).splitlines(keepends=True)
    images = np.frombuffer(allocations, ALLOCATION)[:: schema.entries].tolist()
    for record, (_, start, nbytes), line in zip(np.frombuffer(records, schema.record), images, lines, strict=False):
        data = files.beton.read_at(nbytes + schema.tail, start)
        digest = hashlib.sha256(data[:nbytes]).digest()
        sums.add_sample(schema, start + nbytes, digest, line, schema.values(record, data[nbytes:]))
    return sums if sums.entry(entry.done, entry.counts) == entry else None
