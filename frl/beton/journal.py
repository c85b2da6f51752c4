"""How far a writer had come, so that a later run goes on from there when it was killed.

The journal is a text file beside the partial ones. Its first line names the work; each further line describes a
moment at which everything before it was on the disk. What a line claims is checked before it is trusted.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frl.beton.partial import PartialFile

LINE_HEAD = 9
"""Bytes of a line before its content: crc32 of the content in hex, and a space."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A moment of writing. Sizes are in bytes; checksums cover everything from the beginning up to here.

    Attributes:
        done: tasks whose outcome is in the files.
        samples: samples in the file.
        rejected: images left out.
        lines_size: of the lines about the samples.
        rejects_size: of the lines about the images left out.
        records_crc, allocations_crc, rejects_crc: crc32 of the metadata, the allocation table and the rejects.
        content_sha256: digest of images, labels and names (``ContentHash``).
        counts: what the caller counted.
    """

    done: int
    samples: int
    rejected: int
    lines_size: int
    rejects_size: int
    records_crc: int
    allocations_crc: int
    rejects_crc: int
    content_sha256: str
    counts: dict[str, int]


class Journal:
    """The entries of one work.

    Args:
        file: opened so that it keeps what an earlier run left.
        work: a name of what is written; the entries of any other work are dropped.

    Attributes:
        entries: what is left of this work.
        dropped: tasks that were done of another one.
    """

    def __init__(self, file: PartialFile, work: str) -> None:
        self._file = file
        lines = list(_sound_lines(file.read_at(file.size, 0)))
        self.dropped = 0
        if not lines or json.loads(lines[0][LINE_HEAD:]) != {"work": work}:
            self.dropped = json.loads(lines[-1][LINE_HEAD:])["done"] if len(lines) > 1 else 0
            file.truncate(0)
            lines = [self._append({"work": work})]
        self._lines = lines
        self.entries = [Entry(**json.loads(line[LINE_HEAD:])) for line in lines[1:]]

    def cut(self, entries: int) -> None:
        """Keep only so many entries, the oldest."""
        del self._lines[1 + entries :], self.entries[entries:]
        self._file.truncate(sum(map(len, self._lines)))

    def append(self, entry: Entry) -> None:
        """Add an entry, and wait until the disk has it."""
        self._lines.append(self._append(dataclasses.asdict(entry)))
        self.entries.append(entry)
        self._file.sync()

    def _append(self, content: dict[str, Any]) -> bytes:
        text = json.dumps(content).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        self._file.append(line)
        return line


def _sound_lines(data: bytes) -> Iterator[bytes]:
    """The lines up to the first that is torn or damaged."""
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n") or line[:LINE_HEAD] != b"%08x " % zlib.crc32(line[LINE_HEAD:-1]):
            return
        yield line
