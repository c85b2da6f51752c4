"""Go through one tar, plain or compressed, from its first block to its last (POSIX.1-2008, pax; GNU's long names).

Python's ``tarfile`` ends quietly at damage, as if the archive ended there. Here a member that is cut off is named,
members behind a damaged header are found again, and an archive that has no end says so. Links are not followed, and
members whose paths lead out of the archive are refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from frl import store
from frl.content import in_place_of
from frl.errors import SourceError
from frl.images.formats import HEAD
from frl.images.names import claims_image
from writers.sources.files import too_large

BLOCK = 512
"""Headers and data fill whole blocks of so many bytes."""

COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""How files that begin with these bytes are decompressed."""

DECOMPRESSED = 1 << 16
"""Bytes decompressed at a time."""

LARGEST_EXTENSION = 1 << 16
"""Bytes of an extended header, which holds little but a path; more is damage."""

HEADER = struct.Struct("100s24x12s12x8sc100x8s80x155s12x")
"""Name, size, checksum, type, magic and version, and prefix in a block (POSIX.1-2008, ustar)."""

MAGICS = (b"ustar\x0000", b"ustar  \0")
"""Of POSIX and of GNU."""

END = "(end of archive)"
"""The path under which an archive's own damage is listed."""

PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENSIONS = (*PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""Types of the headers whose data say more about the members that follow."""


class Member(NamedTuple):
    """A file in a tar, or the tar's end.

    Attributes:
        path: within the archive.
        offset: of its first byte, after decompression.
        nbytes: its size.
        fault: why it cannot be used, or None.
        alarming: whether the fault is the archive's: it is damaged, or it means harm.
        head: its first bytes, if its path does not claim that it is an image.
        data: its bytes, if they were asked for and there is no fault.
    """

    path: str
    offset: int
    nbytes: int
    fault: str | None = None
    alarming: bool = False
    head: bytes = b""
    data: bytes | None = None


class TarFile:
    """A tar that is read forwards.

    Attributes:
        path: the file.
        compressed: whether it is.
        position: bytes read and skipped, after decompression.
        damage: why decompression ended early, if it did.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.position = 0
        self.damage: str | None = None

    def __enter__(self) -> Self:
        try:
            self._raw = _open(self.path)
            self._size = self._raw.seek(0, os.SEEK_END)
            self._raw.seek(0)
            head = self._raw.read(6)
            self._raw.seek(0)
        except OSError as error:
            raise SourceError(self.path, f"cannot be read ({error.strerror})", "Check path and permissions.") from error
        opener = next((opener for magic, opener in COMPRESSIONS.items() if head.startswith(magic)), None)
        self._file: IO[bytes] = opener(self._raw) if opener else self._raw
        self.compressed = opener is not None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def read(self, nbytes: int) -> bytes:
        """The next bytes; fewer at the end, or where the compressed data are damaged."""
        parts = []
        while nbytes and (part := self._some(min(nbytes, DECOMPRESSED) if self.compressed else nbytes)):
            parts.append(part)
            nbytes -= len(part)
            self.position += len(part)
        return b"".join(parts)

    def skip(self, nbytes: int) -> bool:
        """Go past the next bytes; whether there were so many."""
        if not self.compressed:
            there = min(nbytes, max(0, self._size - self.position))
            self._file.seek(there, os.SEEK_CUR)
            self.position += there
            return there == nbytes
        while nbytes and (part := self.read(min(nbytes, DECOMPRESSED))):
            nbytes -= len(part)
        return nbytes == 0

    def _some(self, nbytes: int) -> bytes:
        """At most so many bytes. What was decompressed before the damage is delivered first."""
        if not self.compressed:
            return self._file.read(nbytes)
        if self.damage:
            return b""
        try:
            return self._file.read1(nbytes)  # type: ignore[attr-defined]
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            self.damage = str(error)
        except OSError as error:
            if error.errno is not None:  # the disk's, not the decompressor's
                raise
            self.damage = str(error)
        return b""


def _open(path: str) -> IO[bytes]:
    if address := store.address(path):
        return io.BufferedReader(store.Reader(address))
    return open(path, "rb", buffering=0)


def members(file: TarFile, wanted: Callable[[Member], bool]) -> Iterator[Member]:
    """The files in an open tar, and its end if something is wrong with that. Directories are left out.

    Args:
        file: at its beginning.
        wanted: whether the data of a member are; the others' are skipped.

    Raises:
        SourceError: if it is no tar at all.
    """
    extension: dict[str, str] = {}
    damaged, ended, cut = 0, False, False
    while len(block := file.read(BLOCK)) == BLOCK:
        if ended := not any(block):
            continue
        member = None if extension else _plain_file(block, file.position)
        if member is None:
            header = _parse(block)
            if header is None:
                if file.position == BLOCK:
                    break
                damaged += 1
                continue
            if header.type in EXTENSIONS:
                extension |= _extension(header.type, file.read(header.size))
                file.skip(-header.size % BLOCK)
                continue
            member, extension = _describe(header, extension, file.position), {}
            if header.isdir():
                continue
        known = 0 if member.fault or claims_image(member.path) else min(HEAD, member.nbytes)
        member = member._replace(head=file.read(known))
        if member.fault or not wanted(member):
            cut = not file.skip(member.nbytes - len(member.head))
        else:
            member = member._replace(data=member.head + file.read(member.nbytes - len(member.head)))
            cut = len(member.data or b"") < member.nbytes
        if cut:
            member = member._replace(fault="the archive ends within it", alarming=True, data=None)
        file.skip(-member.nbytes % BLOCK)
        yield member
    if file.position <= BLOCK and not ended:
        cause = f"cannot be decompressed ({file.damage})" if file.damage else "is no tar"
        remedy = "Give a .tar, .tar.gz, .tar.bz2 or .tar.xz, or fetch it again."
        raise SourceError(file.path, *(in_place_of("tar", Path(file.path), "gzip", "bzip2", "xz") or (cause, remedy)))
    if fault := _end_fault(file.damage, damaged, unfinished=not (ended or cut)):
        yield Member(END, file.position, 0, fault, alarming=True)


def _plain_file(block: bytes, offset: int) -> Member | None:
    """The regular file of an ordinary header, as ``_describe`` would; None of any other, which is for ``tarfile``.

    Most members are such, and ``tarfile`` takes several times as long for them.
    """
    name, size, checksum, kind, magic, prefix = HEADER.unpack(block)
    if kind != tarfile.REGTYPE or magic not in MAGICS:
        return None
    try:
        nbytes, stated = int(size.rstrip(b" \0"), 8), int(checksum.rstrip(b" \0"), 8)
    except ValueError:
        return None
    if nbytes < 0 or stated != sum(block) - sum(block[148:156]) + 8 * ord(" "):  # its own bytes count as spaces
        return None
    name, prefix = name.partition(b"\0")[0], prefix.partition(b"\0")[0]
    path = (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")
    if path.startswith("/") or ".." in path or path != posixpath.normpath(path):
        return None
    return Member(path, offset, nbytes, too_large(nbytes))


def _parse(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block, or None if it is damaged."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    if header.size < 0 or (header.type in EXTENSIONS and header.size > LARGEST_EXTENSION):
        return None
    return header


def _extension(kind: bytes, data: bytes) -> dict[str, str]:
    """What an extended header says of the next member, as far as it can be read: path, size, GNU.sparse.*."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    records: dict[str, str] = {}
    while kind in PAX and (match := re.match(rb"(\d{1,9}) ([^=]+)=", data)):
        length = int(match[1])
        key, value = match[2], data[match.end() : length - 1]
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[max(length, match.end()) :]
    return records


def _describe(header: tarfile.TarInfo, extension: dict[str, str], offset: int) -> Member:
    """What a header and the extended headers before it say."""
    path = extension.get("path", header.name)
    size = extension.get("size", "")
    nbytes = int(size) if re.fullmatch("[0-9]{1,18}", size) else header.size
    if not header.isreg() and header.type in tarfile.SUPPORTED_TYPES:
        nbytes = 0  # as links and directories say sizes that are not there
    member = Member(posixpath.normpath(path), offset, nbytes)
    if path.startswith("/") or ".." in path.split("/"):
        return member._replace(path=path, fault="its path leads out of the archive", alarming=True)
    if header.issym() or header.islnk():
        return member._replace(fault=f"a link to {header.linkname!r}: links in archives are not followed")
    if not header.isreg() or header.issparse() or any(key.startswith("GNU.sparse") for key in extension):
        return member._replace(fault="no regular file")
    return member._replace(fault=too_large(nbytes))


def _end_fault(damage: str | None, damaged_blocks: int, *, unfinished: bool) -> str | None:
    """What is wrong with an archive as a whole, beyond a member that is cut off."""
    causes = []
    if damage:
        causes.append(f"cannot be decompressed to its end ({damage})")
    elif unfinished:
        causes.append("it has no end mark: the rest is missing")
    if damaged_blocks:
        causes.append(f"{damaged_blocks:,} damaged blocks, and what they held, are lost")
    return "; ".join(causes) or None
