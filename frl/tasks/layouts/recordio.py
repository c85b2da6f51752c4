"""Training sets of insightface: ``train.rec`` with ``train.idx``, which are MXNet's RecordIO; read without MXNet.

A record (dmlc-core's ``recordio.h``) is one part, or several: a magic number, a word whose lower 29 bits are the part's
length and whose upper 3 say which part it is (0 all, 1 the first, 2 one between, 3 the last), the part, and zeros up to
a multiple of 4 bytes. A record is cut where its data have the magic number at a multiple of 4: that is left out, and
comes back when the parts are joined. All integers are little-endian.

The data are a header (u32 flag, f32 label, u64 id, u64 id2), ``flag`` further labels as f32, and the encoded image. A
record 0 without an image has two labels: the first record of the identities, which are no images either, and their end.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError, blame_machine

MAGIC = 0xCED7230A
LENGTH = (1 << 29) - 1
WHOLE, FIRST, BETWEEN, LAST = range(4)
PART = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")

MOST_LABELS = 1 << 16
"""Labels that a header may announce."""

REMEDY = "Fetch the file again; train.idx must be of the same set as train.rec."


class BrokenRecord(Exception):
    """What is wrong with a record."""


class Header(NamedTuple):
    """What a record says before its image.

    Attributes:
        labels: one or more; the first is the identity.
        nbytes: of the header with its labels.
        image_nbytes: of the image.
    """

    labels: tuple[float, ...]
    nbytes: int
    image_nbytes: int


class RecordFile:
    """The records of a ``.rec`` by the byte at which they begin; read in any order, by several threads at a time.

    Args:
        path: the ``.rec``.

    Raises:
        SourceError: if it cannot be opened or is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_file():
            raise SourceError(self.path, "is no regular file", "Give insightface's train.rec.")
        try:
            self._file: BinaryIO = open(self.path, "rb", buffering=0)  # noqa: SIM115, it lives as long as this does
        except OSError as error:
            blame_machine(error, f"opening {self.path}")
            raise SourceError(self.path, f"cannot be opened: {error.strerror}", REMEDY) from error
        self._nbytes = os.fstat(self._file.fileno()).st_size
        if self._bytes(0, 4) != struct.pack("<I", MAGIC):
            raise SourceError(self.path, "does not begin as a RecordIO file does", "Give insightface's train.rec.")

    @cached_property
    def index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the records, ascending, and where each begins: of the ``.idx`` beside, or of the file itself.

        Raises:
            SourceError: if the index breaks its format, naming the line, or the file does where there is none.
        """
        path = self.path.with_suffix(".idx")
        if not path.exists():
            places = np.array(array("q", self.scan()), np.int64)
            return np.arange(len(places)), places
        numbers, begins = array("q"), array("q")
        try:
            with open(path, encoding="ascii") as lines:
                for line in lines:
                    number, _, begin = line.rstrip("\n").partition("\t")
                    if not (number.isdigit() and begin.isdigit()) or int(begin) >= self._nbytes:
                        where, cause = f"{path}, line {len(numbers) + 1}", f"{line.strip()!r} is no 'number<TAB>byte'"
                        raise SourceError(where, f"{cause} within the {self._nbytes:,} bytes of the records", REMEDY)
                    numbers.append(int(number))
                    begins.append(int(begin))
        except (OSError, UnicodeDecodeError) as error:
            blame_machine(error, f"reading {path}")
            raise SourceError(path, f"cannot be read ({error})", REMEDY) from error
        unique, first = np.unique(np.array(numbers, np.int64), return_index=True)
        if len(unique) < max(1, len(numbers)):
            raise SourceError(path, f"{len(numbers):,} lines list {len(unique):,} records", REMEDY)
        return unique, np.array(begins, np.int64)[first]

    def images(self) -> Iterator[tuple[int, int]]:
        """Number and beginning of each record that is an image, in ascending order of the numbers.

        Raises:
            SourceError: if the first record cannot be understood.
        """
        numbers, begins = self.index
        try:
            header = self.header(int(begins[0]))
        except BrokenRecord as error:
            raise SourceError(self.path, f"its first record cannot be read ({error})", REMEDY) from error
        first, end = (0, len(numbers)) if header.image_nbytes else np.searchsorted(numbers, (1, header.labels[0]))
        if not header.image_nbytes and (numbers[0] != 0 or not 1 < header.labels[0] <= numbers[-1] + 1):
            cause = f"its first record says that the images end at {header.labels[0]:g}, of {len(numbers):,} records"
            raise SourceError(self.path, cause, REMEDY)
        yield from zip(numbers[first:end].tolist(), begins[first:end].tolist(), strict=True)

    def scan(self) -> Iterator[int]:
        """Where each record begins, found by going from one to the next.

        Raises:
            SourceError: at the first that is no record.
        """
        place = 0
        while place < self._nbytes:
            begin, kind = place, FIRST
            while kind not in (WHOLE, LAST):
                try:
                    kind, length = self._part(place)
                except BrokenRecord as error:
                    raise SourceError(self.path, f"at byte {place:,}: {error}", "Fetch the file again.") from error
                place += PART.size + -(-length // 4) * 4
            yield begin

    def header(self, begin: int) -> Header:
        """What a record says before its image; reads no image.

        Raises:
            BrokenRecord: if it is none.
        """
        kind, length = self._part(begin)
        data = self._bytes(begin + PART.size, min(length, HEADER.size + 8))
        labels = HEADER.unpack_from(data)[0] if len(data) >= HEADER.size else 0
        if kind == WHOLE and HEADER.size + 4 * labels <= len(data):
            return unpack_header(data, length)
        return unpack_header(data := self.record(begin), len(data))

    def image(self, begin: int) -> bytes:
        """The encoded image of a record.

        Raises:
            BrokenRecord: if it is damaged.
        """
        data = self.record(begin)
        return data[unpack_header(data, len(data)).nbytes :]

    def record(self, begin: int) -> bytes:
        """The data of a record, its parts joined; raises like ``image``."""
        place, parts, kind = begin, list[bytes](), FIRST
        while kind not in (WHOLE, LAST):
            kind, length = self._part(place)
            if (kind in (WHOLE, FIRST)) != (not parts):
                raise BrokenRecord("its parts are out of order")
            parts.append(self._bytes(place + PART.size, length))
            if len(parts[-1]) < length:
                raise BrokenRecord("the file ends within it")
            place += PART.size + -(-length // 4) * 4
        return struct.pack("<I", MAGIC).join(parts)

    def _part(self, place: int) -> tuple[int, int]:
        """Which part begins at a place, and its length."""
        head = self._bytes(place, PART.size)
        if len(head) < PART.size:
            raise BrokenRecord("the file ends within a record")
        magic, word = PART.unpack(head)
        if magic != MAGIC or word >> 29 > LAST:
            raise BrokenRecord("no record begins there")
        return word >> 29, word & LENGTH

    def _bytes(self, place: int, nbytes: int) -> bytes:
        return os.pread(self._file.fileno(), nbytes, place)


def unpack_header(data: bytes, nbytes: int) -> Header:
    """The header at the beginning of a record.

    Args:
        data: the record's first bytes.
        nbytes: of the whole record.

    Raises:
        BrokenRecord: if it is cut off, or its labels are no finite numbers.
    """
    if len(data) < HEADER.size:
        raise BrokenRecord(f"its {len(data)} bytes hold no header")
    count, label, _, _ = HEADER.unpack_from(data)
    end = HEADER.size + 4 * count
    if count > MOST_LABELS or len(data) < end:
        raise BrokenRecord(f"its header announces {count:,} labels, more than it has")
    labels = struct.unpack_from(f"<{count}f", data, HEADER.size) if count else (label,)
    if not np.isfinite(labels).all():
        raise BrokenRecord(f"its label is {labels[0]}")
    return Header(labels, end, nbytes - end)
