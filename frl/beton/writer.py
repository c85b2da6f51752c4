"""Writing a ``.beton``: streaming, in constant memory, and never visible before it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from frl import __version__
from frl.beton.journal import Journal
from frl.beton.layout import ALLOCATION, HEADER, MAX_PIXELS, MAX_SIDE, VERSION, align_up, field_row, is_page_size
from frl.beton.ledger import BLOCK, Files, Ledger, first_page, place
from frl.beton.manifest import (
    Manifest,
    SampleLine,
    SampleLines,
    fingerprint,
    manifest_path,
    rejects_path,
    samples_path,
    tsv_line,
)
from frl.beton.partial import PartialFile
from frl.beton.schema import Schema
from frl.beton.targets import TargetSpec, encode_all
from frl.errors import NO_ROOM, REMEDIES, WriteError
from frl.files import InUseError, fsync_folder

COPY_BYTES = 1 << 20

PAGE_SIZE = 8 << 20
"""Bytes per page, where nobody asks for another: some hundreds of faces."""

WRITER = f"frl {__version__}"
"""What a manifest says of who wrote its file."""

COMMIT_SECONDS = 10.0
"""Work that a kill may cost; more often, waiting for the disk would slow the writer."""


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """See to it that no file is replaced unasked.

    Raises:
        WriteError: if there is one, and ``overwrite`` is not set.
    """
    if not overwrite and path.exists():
        raise WriteError(path, "exists already", "Give another name, or --overwrite.")


class BetonWriter:
    """Writes encoded JPEGs, one after the other, into a ``.beton`` and the files beside it.

    Everything goes to temporary files beside the target. When the ``with`` block ends well they are flushed to disk
    and renamed, the ``.beton`` last; when it ends with an exception they are removed, and a target that was there
    stays. After a kill at any moment the target is absent, the old one, or complete.

    Long work can be resumed: give it a name, and call ``commit`` after each task. What was committed outlives a kill,
    and any exception but that of a full disk. A writer of the same work then begins with it, after checking every byte.

    Args:
        path: the file to write.
        capacity: the most samples that will be appended; room for their metadata is kept free (24 bytes each, and 8
            for each target).
        page_size: bytes per page, a power of two from 2 MiB to 2 GiB; no image may be larger.
        labels: name of each label, for the manifest.
        settings: how the data set was made, for the manifest; JSON-ready.
        overwrite: whether an existing target is replaced.
        work: names what is written, so that only the same work is resumed; None: nothing is.
        joins: how tables met the images, for the manifest; JSON-ready.
        targets: what is stored of each sample beside image and label.
        empty: whether a file without samples is written: no reader takes it, but merging its shards does.
        listed: of a shard, a digest of all of which it is a part, for the manifest.

    Attributes:
        samples, rejected: how many there are up to now.
        done: tasks done up to now, by ``commit``; those of an earlier run included.
        lost: why tasks that an earlier run had done are done again, in words; None: there are none.
        counts: what the caller counts, for the manifest; it survives with the committed work.

    Raises:
        WriteError: here, by ``append`` and at the end of the block: what could not be written, and why.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        capacity: int,
        page_size: int = PAGE_SIZE,
        labels: Sequence[str] | None = None,
        settings: dict[str, Any] | None = None,
        overwrite: bool = False,
        work: str | None = None,
        joins: Sequence[dict[str, Any]] = (),
        targets: Sequence[TargetSpec] = (),
        empty: bool = False,
        listed: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.done = 0
        self.lost: str | None = None
        self.counts: Counter[str] = Counter()
        self._capacity = capacity
        self._page_size = page_size
        self._labels = tuple(labels) if labels is not None else None
        self._settings = settings or {}
        self._overwrite = overwrite
        self._work = work
        self._joins = tuple(joins)
        self._empty = empty
        self._listed = listed
        if capacity < 1:
            raise WriteError(self.path, f"a capacity of {capacity} has no room for samples", "Give some images.")
        if not is_page_size(page_size):
            raise WriteError(
                self.path, f"{page_size} bytes is no page size", "Use a power of two from 2097152 to 2147483648."
            )
        json.dumps(self._settings)  # Fails now rather than after hours of writing.
        try:
            self._schema = Schema(tuple(targets))
        except ValueError as error:
            raise WriteError(self.path, str(error), "Give each target a name of its own.") from None
        self._position = first_page(self._schema, capacity, page_size)
        self._committed_at = time.monotonic()
        self._files: list[PartialFile] = []
        self._journal: Journal | None = None
        self._disk_full = False

    @property
    def samples(self) -> int:
        """Samples appended up to now."""
        return self._ledger.sums.samples

    @property
    def rejected(self) -> int:
        """Images left out up to now."""
        return self._ledger.sums.rejected

    def __enter__(self) -> Self:
        refuse_existing(self.path, overwrite=self._overwrite)
        try:
            with self._errors():
                self._open()
        except BaseException as error:
            self._let_go(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with self._errors():
                    self._finish()
        except BaseException as failure:
            self._let_go(failure)
            raise
        self._let_go(error)

    def append(
        self,
        encoded: bytes | memoryview,
        height: int,
        width: int,
        label: int,
        name: str,
        targets: Mapping[str, ArrayLike] | None = None,
        sha256: bytes | None = None,
    ) -> None:
        """Add one sample. A refused one leaves no trace, so the caller may go on.

        Args:
            encoded: the JPEG, already checked by the caller.
            height, width: its size in pixels.
            label: index of its identity, -1 where unknown.
            name: where it came from.
            targets: what is known of it, by the names of the file's targets.
            sha256: the digest of the JPEG, if the caller has it.

        Raises:
            WriteError: the image or a target does not fit into the format, or the disk took no more.
        """
        nbytes = len(encoded)
        self._check_sample(nbytes, height, width, label, name)
        try:
            values = encode_all(self._schema.targets, targets) if self._schema.targets or targets else ()
        except ValueError as error:
            raise WriteError(name, str(error), "Mend it, or leave it out: what is unknown is marked so.") from None
        start = place(self._position, nbytes + self._schema.tail, self._page_size)
        targets_crc32 = zlib.crc32(b"".join(values)) if values else None
        line = SampleLine(crc32=zlib.crc32(encoded), label=label, name=name, targets_crc32=targets_crc32)
        arrays = self._schema.arrays(values) if values else b""
        try:  # without ``_errors``, which costs as much as a checksum
            self._beton.write_at(encoded, start)
            if arrays:
                self._beton.write_at(arrays, start + nbytes)
            self._ledger.add(start, nbytes, sha256 or hashlib.sha256(encoded).digest(), height, width, line, values)
        except OSError as error:
            raise self._explained(error) from error
        self._position = start + nbytes + len(arrays)

    def append_page(
        self, page: np.ndarray, samples: Iterable[tuple[int, int, int, int, SampleLine, tuple[bytes, ...]]]
    ) -> None:
        """Add samples that lie on one page of another file of the same page size, by copying the page.

        Args:
            page: (n,) uint8, from its beginning to the end of its last sample; the arrays of each lie behind its image.
            samples: of each, the image's offset in the page, its size in bytes, height, width and line, and the stored
                bytes of the targets.

        Raises:
            WriteError: a sample does not fit into this file, or the disk took no more.
        """
        start = align_up(self._position, self._page_size)
        with self._errors():
            self._beton.write_at(page.data, start)
            for offset, nbytes, height, width, line, values in samples:
                self._check_sample(nbytes, height, width, line.label, line.name)
                digest = hashlib.sha256(page[offset : offset + nbytes].data).digest()
                self._ledger.add(start + offset, nbytes, digest, height, width, line, values)
        self._position = start + len(page)

    def reject(self, name: str, reason: str) -> None:
        """Note an image that was left out, and why."""
        with self._errors():
            self._ledger.add_rejects(tsv_line(name, reason))

    def copy_rejects(self, lines: bytes) -> None:
        """Note images that were left out of another file, by whole lines of its sidecar."""
        with self._errors():
            self._ledger.add_rejects(lines)

    def stored(self) -> Iterator[tuple[bytes, SampleLine]]:
        """The images in the file up to now and their lines, in order.

        Whatever the caller remembers from one task to another, it can learn again from these when work is resumed.
        """
        with self._errors():
            self._ledger.flush()
            self._lines.flush()
        lines, entries = iter(SampleLines(self._lines.path)), self._schema.entries
        for first in range(0, self.samples * entries, BLOCK * entries):
            rows = self._table.read_at(BLOCK * entries * ALLOCATION.itemsize, first * ALLOCATION.itemsize)
            for _, start, nbytes in np.frombuffer(rows, ALLOCATION)[::entries].tolist():
                yield self._beton.read_at(nbytes, start), next(lines)

    def commit(self, done: int) -> None:
        """Say that so many tasks are done with, so that a later run need not do them again.

        Args:
            done: tasks from the first on whose samples and rejects are all in the file.
        """
        self.done = done
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Wait until the disk has what was committed: nothing of it will have to be done again."""
        if self._journal is None or self.done == (self._journal.entries[-1].done if self._journal.entries else 0):
            return
        with self._errors():
            self._ledger.flush()
            for file in (self._beton, self._table, self._lines, self._rejects):
                file.sync()
            self._journal.append(self._ledger.sums.entry(self.done, dict(self.counts)))
        self._committed_at = time.monotonic()

    def forget(self) -> None:
        """Have nothing of the work kept for a later run: it turned out to be of no use."""
        self._journal = None

    def _open(self) -> None:
        """Open the temporary files, and take over what can be resumed."""
        keep = self._work is not None
        self._beton = self._partial(self.path, keep)
        self._lines = self._partial(samples_path(self.path), keep)
        self._rejects = self._partial(rejects_path(self.path), keep)
        # Kept apart until the end, for the table must end the file.
        self._table = self._partial(self.path.with_name(self.path.name + ".table"), keep)
        self._manifest = self._partial(manifest_path(self.path))
        self._ledger = Ledger(Files(self._beton, self._table, self._lines, self._rejects), self._schema, self._labels)
        if self._work is None:
            return
        file = self._partial(self.path.with_name(self.path.name + ".journal"), keep)
        targets = f" {self._schema.targets}" if self._schema.targets else ""
        journal = self._journal = Journal(file, f"{__version__} {self._work}{targets}")
        done = journal.entries[-1].done if journal.entries else 0
        journal.cut(self._ledger.restore(journal.entries))
        fsync_folder(self.path.parent)
        if journal.entries:
            self.done = journal.entries[-1].done
            self.counts.update(journal.entries[-1].counts)
            self._position = max(self._position, self._ledger.sums.data_stop)
        if journal.dropped:
            cause = "they are of other options, of other images, or of another version of frl"
            self.lost = f"{journal.dropped:,} done before are done again: {cause}"
        elif done > self.done:
            self.lost = f"{done - self.done:,} done before are done again: what was kept of them is damaged"

    def _check_sample(self, nbytes: int, height: int, width: int, label: int, name: str) -> None:
        if self.samples == self._capacity:
            raise WriteError(name, f"{self.path} has room for {self._capacity} samples only", "Raise the capacity.")
        if not 0 < nbytes <= self._page_size - self._schema.tail:
            remedy = "Leave it out, shrink it, or raise the page size."
            beside = f" less {self._schema.tail} of targets" if self._schema.tail else ""
            raise WriteError(name, f"has {nbytes} bytes, outside 1 to the page size {self._page_size}{beside}", remedy)
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
            raise WriteError(name, f"has {height} x {width} pixels, not 1 to {MAX_PIXELS}", "Shrink it.")
        if not -1 <= label < (len(self._labels) if self._labels is not None else 1 << 63):
            raise WriteError(name, f"has the label {label}, which names no identity", "Use -1 where it is unknown.")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell what an OSError means for the user."""
        try:
            yield
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> WriteError:
        self._disk_full = error.errno in NO_ROOM
        if isinstance(error, InUseError):
            return WriteError(self.path, f"could not be written ({error})", error.remedy)
        remedy = REMEDIES.get(error.errno or 0, "Check the folder and its permissions")
        return WriteError(self.path, f"could not be written ({error.strerror or error})", f"{remedy}.")

    def _let_go(self, error: BaseException | None) -> None:
        """Remove the temporary files; but after an error keep those that can be resumed, unless the disk is full."""
        committed = self._journal.entries if self._journal is not None else []
        keep = error is not None and committed and not self._disk_full
        for file in self._files:
            file.close() if keep else file.discard()
        if error is not None and keep:
            error.add_note(f"The same command goes on after the {committed[-1].done:,} images that are done.")
        elif error is not None and committed:
            error.add_note("The temporary files were removed, so the same command begins anew.")

    def _partial(self, final: Path, keep: bool = False) -> PartialFile:
        file = PartialFile(final, keep=keep)
        self._files.append(file)
        return file

    def _finish(self) -> None:
        if self.samples == 0 and not self._empty:
            first = self._rejects.read_at(COPY_BYTES, 0).split(b"\n")[0].decode(errors="replace") or "none"
            cause = "no image was good enough to be written"
            raise WriteError(self.path, cause, f"First of {self.rejected} rejected: {first.replace(chr(9), ': ')}.")
        self._ledger.flush()
        table_start = self._position
        self._copy_table()
        self._write_head(table_start)
        manifest = self._describe(table_start)
        self._manifest.append(manifest.to_json().encode())
        for file in (self._beton, self._lines, self._rejects, self._manifest):
            file.sync()
        self._publish()

    def _copy_table(self) -> None:
        for offset in range(0, self._table.size, COPY_BYTES):
            self._beton.append(self._table.read_at(COPY_BYTES, offset))

    def _write_head(self, table_start: int) -> None:
        fields = self._schema.fields
        header = np.array((VERSION, len(fields), self._page_size, self.samples, table_start), HEADER)
        self._beton.write_at(header.tobytes() + b"".join(field_row(field).tobytes() for field in fields), 0)

    def _describe(self, table_start: int) -> Manifest:
        records_stop = self._schema.records_start + self.samples * self._schema.record.itemsize
        return Manifest(
            samples=self.samples,
            bytes=self._beton.size,
            fingerprint=fingerprint(self._beton.fileno(), [(0, records_stop), (table_start, self._beton.size)]),
            samples_sha256=self._ledger.sums.lines_digest.hexdigest(),
            rejected=self.rejected,
            identities=self._labels,
            settings=self._settings,
            writer=WRITER,
            content_sha256=self._ledger.sums.content.hexdigest(),
            counts=dict(self.counts),
            joins=self._joins,
            targets=self._schema.targets,
            known={spec.name: self._ledger.sums.known[spec.name] for spec in self._schema.targets},
            listed=self._listed,
        )

    def _publish(self) -> None:
        """Give every file its name, such that no ``.beton`` ever stands beside another one's manifest."""
        refuse_existing(self.path, overwrite=self._overwrite)
        folder = self.path.parent
        if self._overwrite:
            self.path.unlink(missing_ok=True)
            fsync_folder(folder)
        if self.rejected == 0:  # a list of rejects is there only where something was rejected
            self._rejects.discard()
            self._rejects.final.unlink(missing_ok=True)
        for sidecar in (self._lines, *([self._rejects] if self.rejected else []), self._manifest):
            sidecar.publish()
        fsync_folder(folder)
        self._beton.publish()
        fsync_folder(folder)
