"""Writing a ``.beton``: streaming, in constant memory, and never visible before it is complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from frl import __version__
from frl.beton.layout import (
    ALLOCATION,
    FIELD,
    HEADER,
    MAX_PIXELS,
    MAX_SIDE,
    VERSION,
    Field,
    FieldType,
    ImageMode,
    align_up,
    is_page_size,
    metadata_start,
    record_dtype,
)
from frl.beton.manifest import (
    Manifest,
    SampleLine,
    fingerprint,
    manifest_path,
    rejects_path,
    samples_path,
    tsv_line,
)
from frl.beton.partial import PartialFile, sync_folder
from frl.errors import WriteError

FIELDS = (Field(name="image", type_id=FieldType.IMAGE), Field(name="label", type_id=FieldType.INT))
RECORD = record_dtype(FIELDS)
BLOCK = 4096
COPY_BYTES = 1 << 20


class BetonWriter:
    """Writes encoded JPEGs, one after the other, into a ``.beton`` and the files beside it.

    Everything goes to temporary files beside the target. When the ``with`` block ends well they are flushed to disk
    and renamed, the ``.beton`` last; when it ends with an exception they are removed, and a target that was there
    stays. After a kill at any moment the target is absent, the old one, or complete.

    Args:
        path: the file to write.
        capacity: the most samples that will be appended; room for their metadata is kept free (24 bytes each).
        page_size: bytes per page, a power of two from 2 MiB to 2 GiB; no image may be larger.
        labels: name of each label, for the manifest.
        settings: how the data set was made, for the manifest; JSON-ready.
        overwrite: whether an existing target is replaced.

    Raises:
        WriteError: here, by ``append`` and at the end of the block: what could not be written, and why.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        capacity: int,
        page_size: int = 8 << 20,
        labels: Sequence[str] | None = None,
        settings: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.samples = 0
        self.rejected = 0
        self._capacity = capacity
        self._page_size = page_size
        self._labels = tuple(labels) if labels is not None else None
        self._settings = settings or {}
        self._overwrite = overwrite
        if capacity < 1:
            raise WriteError(self.path, f"a capacity of {capacity} has no room for samples", "Give some images.")
        if not is_page_size(page_size):
            raise WriteError(
                self.path, f"{page_size} bytes is no page size", "Use a power of two from 2097152 to 2147483648."
            )
        json.dumps(self._settings)  # Fails now rather than after hours of writing.
        self._open_files = contextlib.ExitStack()
        self._records = np.zeros(BLOCK, RECORD)
        self._allocations = np.zeros(BLOCK, ALLOCATION)
        self._lines_digest = hashlib.sha256()
        self._first_reason = ""

    def __enter__(self) -> Self:
        self._refuse_existing()
        with self._errors(), contextlib.ExitStack() as stack:
            self._beton = self._partial(stack, self.path)
            self._lines = self._partial(stack, samples_path(self.path))
            self._rejects = self._partial(stack, rejects_path(self.path))
            self._manifest = self._partial(stack, manifest_path(self.path))
            # Kept apart because the table must end the file; it has no name that could be left behind.
            self._table = stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent, buffering=0))
            self._position = align_up(metadata_start(len(FIELDS)) + self._capacity * RECORD.itemsize, self._page_size)
            self._open_files = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._open_files, self._errors():
            if kind is None:
                self._finish()

    def append(self, encoded: bytes | memoryview, height: int, width: int, label: int, name: str) -> None:
        """Add one sample. A refused one leaves no trace, so the caller may go on.

        Args:
            encoded: the JPEG, already checked by the caller.
            height, width: its size in pixels.
            label: index of its identity, -1 where unknown.
            name: where it came from.

        Raises:
            WriteError: the image does not fit into the format, or the disk took no more.
        """
        nbytes = len(encoded)
        self._check_sample(nbytes, height, width, label, name)
        start, stop = self._position, self._position + nbytes
        if start // self._page_size != (stop - 1) // self._page_size:
            start = align_up(start, self._page_size)
        with self._errors():
            self._beton.write_at(encoded, start)
            line = SampleLine(crc32=zlib.crc32(encoded), label=label, name=name).encode()
            self._lines.append(line)
            self._lines_digest.update(line)
            row = self.samples % BLOCK
            self._records[row] = ((ImageMode.JPG, width, height, start), label)
            self._allocations[row] = (self.samples, start, nbytes)
            self._position = start + nbytes
            self.samples += 1
            if row == BLOCK - 1:
                self._flush_rows(BLOCK)

    def reject(self, name: str, reason: str) -> None:
        """Note an image that was left out, and why."""
        self.rejected += 1
        self._first_reason = self._first_reason or f"{name}: {reason}"
        with self._errors():
            self._rejects.append(tsv_line(name, reason))

    def _check_sample(self, nbytes: int, height: int, width: int, label: int, name: str) -> None:
        if self.samples == self._capacity:
            raise WriteError(name, f"{self.path} has room for {self._capacity} samples only", "Raise the capacity.")
        if not 0 < nbytes <= self._page_size:
            remedy = "Leave it out, shrink it, or raise the page size."
            raise WriteError(name, f"has {nbytes} bytes, outside 1 to the page size {self._page_size}", remedy)
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
            raise WriteError(name, f"has {height} x {width} pixels, not 1 to {MAX_PIXELS}", "Shrink it.")
        if not -1 <= label < (len(self._labels) if self._labels is not None else 1 << 63):
            raise WriteError(name, f"has the label {label}, which names no identity", "Use -1 where it is unknown.")

    def _refuse_existing(self) -> None:
        if not self._overwrite and self.path.exists():
            raise WriteError(self.path, "exists already", "Give another name, or ask for it to be overwritten.")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell what an OSError means for the user."""
        try:
            yield
        except OSError as error:
            cause = f"could not be written ({error.strerror or error})"
            full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
            remedy = "Free space or write to another disk." if full else "Check the folder and its permissions."
            raise WriteError(self.path, cause, f"{remedy} The temporary files were removed.") from error

    @staticmethod
    def _partial(stack: contextlib.ExitStack, final: Path) -> PartialFile:
        file = PartialFile(final)
        stack.callback(file.discard)
        return file

    def _flush_rows(self, count: int) -> None:
        """Write the newest ``count`` records and allocations."""
        first = self.samples - count
        offset = metadata_start(len(FIELDS)) + first * RECORD.itemsize
        self._beton.write_at(self._records[:count].tobytes(), offset)
        self._table.write(self._allocations[:count].tobytes())

    def _finish(self) -> None:
        if self.samples == 0:
            cause = "no image was good enough to be written"
            raise WriteError(self.path, cause, f"First of {self.rejected} rejected: {self._first_reason or 'none'}.")
        self._flush_rows(self.samples % BLOCK)
        table_start = self._position
        self._copy_table()
        self._write_head(table_start)
        manifest = self._describe(table_start)
        self._manifest.append(manifest.to_json().encode())
        for file in (self._beton, self._lines, self._rejects, self._manifest):
            file.sync()
        self._publish()

    def _copy_table(self) -> None:
        self._table.seek(0)
        while block := self._table.read(COPY_BYTES):
            self._beton.append(block)

    def _write_head(self, table_start: int) -> None:
        header = np.array((VERSION, len(FIELDS), self._page_size, self.samples, table_start), HEADER)
        fields = np.zeros(len(FIELDS), FIELD)
        for row, field in zip(fields, FIELDS, strict=True):
            row["type_id"] = field.type_id
            row["name"][: len(field.name)] = np.frombuffer(field.name.encode("ascii"), np.uint8)
        self._beton.write_at(header.tobytes() + fields.tobytes(), 0)

    def _describe(self, table_start: int) -> Manifest:
        records_stop = metadata_start(len(FIELDS)) + self.samples * RECORD.itemsize
        return Manifest(
            samples=self.samples,
            bytes=self._beton.size,
            fingerprint=fingerprint(self._beton.fileno(), [(0, records_stop), (table_start, self._beton.size)]),
            samples_sha256=self._lines_digest.hexdigest(),
            rejected=self.rejected,
            identities=self._labels,
            settings=self._settings,
            writer=f"frl {__version__}",
        )

    def _publish(self) -> None:
        """Give every file its name, such that no ``.beton`` ever stands beside another one's manifest."""
        self._refuse_existing()
        folder = self.path.parent
        if self._overwrite:
            self.path.unlink(missing_ok=True)
            sync_folder(folder)
        for sidecar in (self._lines, self._rejects, self._manifest):
            sidecar.publish()
        sync_folder(folder)
        self._beton.publish()
        sync_folder(folder)
