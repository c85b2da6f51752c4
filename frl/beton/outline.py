"""What a ``.beton`` of an object store says of its samples: everything but their data, which stay where they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from frl import store
from frl.beton.manifest import manifest_path
from frl.beton.reader import Beton
from frl.beton.validation import parse
from frl.errors import BetonError
from frl.stored_file import StoredFile

HEAD = 1 << 20
"""Bytes fetched first: more than the header and the longest field table."""


def fetch_outline(file: StoredFile) -> Beton:
    """Fetch header, fields, metadata, allocation table and manifest, once, and check them as those of a file on a disk.

    They are laid into a file of the same size whose rest is a hole, which takes no room; it has left its folder when
    this returns. ``encoded`` and the arrays of ``target`` are zeros here: the tables tell where in the store they are.

    Raises:
        BetonError: the file is truncated or damaged, disagrees with its manifest, or is none.
        StoreError: the store does not give it.
        OSError: the disk of the folder for temporary files fails.
    """
    with TemporaryDirectory(prefix="frl-") as folder:
        copy = Path(folder) / store.name_of(file.where)
        beside = store.address(manifest_path(file.where))
        if beside is not None and store.is_file(beside):
            manifest_path(copy).write_bytes(store.read(beside, absent=False))
        try:
            _copy_tables(file, copy)
            return Beton(copy)
        except BetonError as error:
            file.confirm()
            subject = file.where if error.subject == str(copy) else beside or file.where
            raise BetonError(subject, error.cause, error.remedy) from error


def _copy_tables(file: StoredFile, copy: Path) -> None:
    size = file.state.size
    with open(copy, "w+b") as target:
        target.truncate(size)
        head = min(size, HEAD)
        store.copy_range(file.where, 0, head, target)
        if not head:
            return
        with suppress(BetonError):  # who opens it says more of it
            contents = parse(copy, np.memmap(copy, np.uint8, "r"))
            store.copy_range(file.where, head, contents.data_start, target)
            store.copy_range(file.where, max(head, contents.table_start), size, target)
