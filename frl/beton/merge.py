"""Join the shards of one data set by copying their pages; every image is compared with its checksum on the way."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from frl.beton.counts import Counted, add_up
from frl.beton.manifest import (
    Claim,
    Manifest,
    SampleLine,
    SampleLines,
    fingerprint,
    home_of,
    manifest_path,
    rejects_path,
    samples_path,
)
from frl.beton.reader import Beton
from frl.beton.samples import lines_fault, targets_fault
from frl.beton.schema import Schema
from frl.beton.shard import Shard
from frl.beton.validation import FETCH_AGAIN
from frl.beton.writer import PAGE_SIZE, BetonWriter
from frl.errors import BetonError, ConfigError

COPY_BYTES = 1 << 20
Paths = Sequence[str | os.PathLike[str]] | str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file to be joined with others.

    Attributes:
        page_size: of its pages in bytes; None where it has none, for no image of it was good enough.
    """

    path: Path
    shard: Shard
    page_size: int | None
    manifest: Manifest

    @property
    def recipe(self) -> dict[str, object]:
        """What all parts of one data set have in common."""
        settings = {key: value for key, value in self.manifest.settings.items() if key != "shard"}
        page_size = {} if self.page_size is None else {"page size": self.page_size}
        return {"shards": self.shard.total, **page_size, "writer": self.manifest.writer, **settings}


def merge(paths: Paths, out: str | os.PathLike[str], *, overwrite: bool = False) -> Manifest:
    """Write the samples of all shards into one file: the content of an unsharded run, in its order.

    Where the shards were written without copies of one image, copies of the same bytes in different shards are left out
    too, all but the first. Memory is taken for the metadata of one shard at a time.

    Args:
        paths: the files that ``frl write --shard I/N`` wrote for I from 1 to N, in any order.
        out: the file to write.
        overwrite: whether an existing one is replaced.

    Returns:
        the manifest of the new file. What the shards counted is added up, less what was of copies left out, which are
        counted as duplicates. Where a shard does not say of which samples it counted something, and copies of it are
        left out, the name of that count says that they are included.

    Raises:
        BetonError: naming the shard that is damaged.
        ConfigError: the files are not the shards of one data set.
        WriteError: the file cannot be written.
    """
    out = Path(out)
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    if out.resolve() in {path.resolve() for path in given}:
        raise ConfigError("--out", f"{out} is one of the shards", "Give another name.")
    parts = sorted(map(_open_part, given), key=lambda part: part.shard.number)
    _check_set(parts)
    writer = BetonWriter(
        out,
        capacity=max(1, sum(part.manifest.samples for part in parts)),  # without any, the writer says why
        page_size=next((part.page_size for part in parts if part.page_size is not None), PAGE_SIZE),
        labels=parts[0].manifest.identities,
        settings={**parts[0].manifest.settings, "shard": None},
        overwrite=overwrite,
        joins=parts[0].manifest.joins,  # each shard's command lists all images
        targets=parts[0].manifest.targets,
    )
    with writer, _Originals(parts[0].manifest.settings) as originals:
        counted = []
        for part in parts:
            copies: list[Copy] = []
            if part.manifest.samples:
                with Beton(part.path) as beton:
                    copies = _copy_pages(beton, part.manifest, writer, originals)
            _copy_rejects(part, writer)
            counted.append(
                Counted(
                    counts=part.manifest.counts,
                    samples=part.manifest.samples,
                    copies=len(copies),
                    unknown=sum(copy.label < 0 for copy in copies),
                    contradictions=sum(copy.contradiction is not None for copy in copies),
                )
            )
        writer.counts.update(add_up(counted))
    merged = Manifest.load(out)
    assert merged is not None, "the writer has published it"
    return merged


def _open_part(path: Path) -> Part:
    empty = _empty_manifest(path)
    if empty is not None:
        return Part(path=path, shard=_shard_of(path, empty), page_size=None, manifest=empty)
    with Beton(path) as beton:
        manifest = beton.manifest
        if manifest is None:
            cause = f"there is no {manifest_path(beton.home).name} beside it"
            _refuse(path, cause, "Copy it from where the shard was written")
        return Part(path=path, shard=_shard_of(path, manifest), page_size=beton.page_size, manifest=manifest)


def _empty_manifest(path: Path) -> Manifest | None:
    """The manifest of a shard without samples, which is a header alone; None: it has some, or is not there."""
    if not path.is_file() or (manifest := Manifest.load(path)) is None or manifest.samples:
        return None
    with open(path, "rb") as file:
        found = fingerprint(file.fileno(), [(0, os.fstat(file.fileno()).st_size)])
    if found != manifest.fingerprint:
        _refuse(path, f"it differs from {manifest_path(home_of(path)).name}, which states that it holds no samples")
    return manifest


def _shard_of(path: Path, manifest: Manifest) -> Shard:
    if not manifest.settings.get("shard"):
        raise ConfigError(path, "is no shard", "Merge what frl write --shard I/N wrote; give others to frl write.")
    return Shard.parse(manifest.settings["shard"])


def _check_set(parts: Sequence[Part]) -> None:
    """Refuse what are not all the shards of one data set, each once."""
    if not parts:
        raise ConfigError("SHARDS", "no shard was given", "Give all files of frl write --shard I/N.")
    first = next((part for part in parts if part.page_size is not None), parts[0])
    for before, part in zip(parts, parts[1:], strict=False):
        if before.shard == part.shard:
            raise ConfigError(part.path, f"is shard {part.shard}, as {before.path} is", "Give each shard once.")
    for part in parts:
        for key, value in part.recipe.items():
            if first.recipe.get(key) != value:
                cause = f"was written with {key} = {value}, {first.path} with {first.recipe.get(key)}"
                raise ConfigError(part.path, cause, "Merge the shards of one command.")
        if part.manifest.targets != first.manifest.targets:
            cause = f"holds other targets than {first.path}"
            raise ConfigError(part.path, cause, "Write all shards from the same, unchanged sources.")
        if part.manifest.identities != first.manifest.identities:
            cause = f"knows other identities than {first.path}"
            raise ConfigError(part.path, cause, "Write all shards from the same, unchanged sources.")
    _check_sources(parts)
    missing = set(range(1, first.shard.total + 1)) - {part.shard.number for part in parts}
    if missing:
        numbers = ", ".join(map(str, sorted(missing)))
        raise ConfigError("SHARDS", f"of {first.shard.total} shards these are missing: {numbers}", "Give them all.")


def _check_sources(parts: Sequence[Part]) -> None:
    """Refuse shards of lists that differ: each is a part of another whole, so that images are missing or come twice."""
    known = [part for part in parts if part.manifest.listed is not None]  # older versions did not note it
    for part in known:
        if part.manifest.listed != known[0].manifest.listed:
            cause = f"was written from other sources or tables than {known[0].path}: some were changed in between"
            remedy = "Delete the shards, and write them again from sources and tables that stay as they are."
            raise ConfigError(part.path, cause, remedy)


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A sample that is left out.

    Attributes:
        original: the name of the sample whose bytes it has.
        label: of its identity.
        contradiction: in words, what keeps both from being true; None: nothing does.
    """

    original: str
    label: int
    contradiction: str | None

    def __str__(self) -> str:
        return self.contradiction or f"the same bytes as {self.original}"


class _Originals:
    """The images copied so far, in a temporary database, so that memory does not grow with them.

    Args:
        settings: how the shards were made; they say whether copies are left out at all.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._wanted = settings.get("curate", {}).get("dedupe", "none") != "none"

    def __enter__(self) -> Self:
        self._images = sqlite3.connect("", isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF"):
            self._images.execute(f"PRAGMA {setting}")
        columns = "digest BLOB PRIMARY KEY, name TEXT, label INTEGER, targets INTEGER"
        self._images.execute(f"CREATE TABLE images ({columns}) WITHOUT ROWID")
        self._images.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._images.close()

    def find(self, encoded: np.ndarray, line: SampleLine) -> Copy | None:
        """What ``encoded`` is a copy of; None: it is the first of its kind, and noted with its line."""
        if not self._wanted:
            return None
        digest = hashlib.blake2b(encoded.data, digest_size=16).digest()
        found = self._images.execute("SELECT name, label, targets FROM images WHERE digest = ?", [digest]).fetchone()
        if found is None:
            self._images.execute("INSERT INTO images VALUES (?, ?, ?, ?)", [digest, line.name, *line.claim])
            return None
        original, *claim = found
        return Copy(
            original=original, label=line.label, contradiction=line.claim.contradiction(original, Claim(*claim))
        )


def _copy_pages(beton: Beton, manifest: Manifest, writer: BetonWriter, originals: _Originals) -> list[Copy]:
    """Copy a shard page by page, checking each image before it is noted; the copies that are left out."""
    if (beton.pointers[1:] <= beton.pointers[:-1]).any():
        _refuse(beton.path, "its images do not lie in the order of its samples: another program wrote it")
    pages = beton.pointers // np.uint64(beton.page_size)
    bounds = [0, *(np.flatnonzero(np.diff(pages)) + 1).tolist(), len(beton)]
    copies: list[Copy] = []
    lines, schema = iter(_trusted_lines(beton, manifest)), Schema(beton.targets)
    for first, stop in zip(bounds, bounds[1:], strict=False):
        start = int(pages[first]) * beton.page_size
        page = beton.data[start : int(beton.pointers[stop - 1] + beton.nbytes[stop - 1]) + schema.tail]
        kept = []
        for i in range(first, stop):
            if (line := next(lines, None)) is None:
                _refuse(beton.path, f"{samples_path(beton.home).name} has {i} lines for {len(beton)} samples")
            encoded = beton.encoded(i)
            if zlib.crc32(encoded.data) != line.crc32:
                _refuse(beton.path, f"{beton.name(i)}: its bytes differ from their checksum")
            if line.label != beton.labels[i]:
                _refuse(beton.path, f"{beton.name(i)}: its label is {beton.labels[i]}, in its line {line.label}")
            if fault := targets_fault(beton, i, line):
                _refuse(beton.path, fault)
            values = beton.target_bytes(i)
            behind = beton.data[int(beton.pointers[i]) + len(encoded) :][: schema.tail]
            if behind.tobytes() != schema.arrays(values):
                _refuse(beton.path, f"{beton.name(i)}: its targets do not lie behind it: another program wrote it")
            if copy := originals.find(encoded, line):
                writer.reject(line.name, str(copy))
                copies.append(copy)
            else:
                offset = int(beton.pointers[i]) - start
                kept.append((offset, len(encoded), int(beton.heights[i]), int(beton.widths[i]), line, values))
        if kept:
            writer.append_page(page, kept)
    return copies


def _trusted_lines(beton: Beton, manifest: Manifest) -> SampleLines:
    """The lines about the samples, whose digest the manifest holds."""
    if fault := lines_fault(beton, manifest):
        _refuse(beton.path, fault)
    return SampleLines(samples_path(beton.home))


def _copy_rejects(part: Part, writer: BetonWriter) -> None:
    path, before = rejects_path(home_of(part.path)), writer.rejected
    if part.manifest.rejected == 0 and not path.exists():
        return
    try:
        with open(path, "rb") as file:
            while block := file.read(COPY_BYTES):
                writer.copy_rejects(block)
    except OSError as error:
        _refuse(part.path, f"{path.name} cannot be read ({error.strerror})")
    if writer.rejected - before != part.manifest.rejected:
        found, stated = writer.rejected - before, part.manifest.rejected
        _refuse(part.path, f"{path.name} has {found} lines, {manifest_path(home_of(part.path)).name} states {stated}")


def _refuse(path: Path, cause: str, remedy: str = FETCH_AGAIN) -> NoReturn:
    raise BetonError(path, cause, f"{remedy}.")
