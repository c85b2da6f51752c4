"""Files of object stores and web servers: ``s3://``, ``gs://``, ``https://`` and whatever else fsspec knows.

Everything is read by ranges whose length is checked. What fails is tried again for a while, then it is an error that
names the address. Who one is and where the store lies are fsspec's settings and the store's own (``AWS_PROFILE``,
``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``).
"""

from __future__ import annotations

import glob
import inspect
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from frl.errors import StoreChanged, StoreError
from frl.files import fsync_folder

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
WAITS_S = (0.2, 0.5, 1, 2, 4, 8)
"""Seconds before each further try: a quarter of a minute in all."""
CONNECT_S, ANSWER_S = 10, 30
"""Seconds that a store may take to accept a connection, and to go on with an answer."""
PART = 8 << 20
"""Bytes asked for at a time."""
AT_ONCE = 8
"""Parts underway at a time."""

Result = TypeVar("Result")


class State(NamedTuple):
    """By what a file is known to be the one of before: its size in bytes, and what the store calls this version."""

    size: int
    version: str


class Listed(NamedTuple):
    """A file below an address: its path from there, and its size in bytes."""

    path: str
    size: int


def address(path: object) -> str | None:
    """The address that a path means, None of a path of this machine. ``Path`` makes ``s3:/a`` of ``s3://a``."""
    slashes = "/{1,2}" if isinstance(path, os.PathLike) else "//"
    found = re.fullmatch(rf"([a-z][a-z0-9+.-]+):{slashes}([^/].*)", str(path), re.DOTALL)
    return f"{found[1]}://{found[2]}" if found else None


def name_of(where: str) -> str:
    """The last part of an address."""
    return where.rstrip("/").rpartition("/")[2]


def state(where: str) -> State:
    """What the store says of a file now.

    Raises:
        StoreError: if it is not there, may not be read, or the store does not answer.
    """
    info = _patiently(where, "be looked at", lambda: _looked_at(where))
    if info.get("type") == "directory" or info.get("size") is None:
        raise StoreError(where, "is no file whose size the store tells", "Give the address of a file.")
    versions = ("ETag", "etag", "md5Hash", "LastModified", "Last-Modified", "mtime", "created")
    return State(int(info["size"]), str(next((info[key] for key in versions if info.get(key)), "")))


def is_file(where: str) -> bool:
    """Whether there is a file; raises like ``state`` if that cannot be known."""
    info = _info(where)
    return info is not None and info.get("type") == "file"


def matches(pattern: str) -> list[str]:
    """The addresses that a pattern with ``*`` and ``?`` means, sorted; raises like ``state``."""
    if not glob.has_magic(pattern):
        return [pattern] if _info(pattern) else []
    protocol = pattern.partition("://")[0]
    found = _patiently(pattern, "be listed", lambda: _system(pattern).glob(pattern))
    return sorted(_absolute(protocol, path) for path in found)


def _info(where: str) -> dict[str, Any] | None:
    """What the store says of a file or folder, None where there is none. ``isfile`` takes trouble for absence."""

    def once() -> dict[str, Any] | None:
        try:
            return _looked_at(where)
        except FileNotFoundError:
            return None

    return _patiently(where, "be looked at", once)


def _looked_at(where: str) -> dict[str, Any]:
    """What the store says of a file or folder.

    Of a web server fsspec says that a file is not there whatever became of the question.

    Raises:
        FileNotFoundError: if there is none.
        PermissionError: if that may not be asked.
        OSError: if there was no answer; it can be asked again.
    """
    try:
        return _system(where).info(where)
    except FileNotFoundError as error:
        why = error.__cause__
        if not isinstance(why, (TimeoutError, ConnectionError)) and not type(why).__module__.startswith("aiohttp"):
            raise
        status = getattr(why, "status", None)
        if status in (404, 410):
            raise
        reason = f"it answers {status}" if status else str(why) or type(why).__name__
        raise PermissionError(reason) if status in (401, 403) else OSError(reason) from why


def listing(where: str) -> Iterator[Listed]:
    """All files below an address, by path; raises like ``state``."""
    system = _system(where)
    root = system._strip_protocol(where).rstrip("/")
    found = _patiently(where, "be listed", lambda: system.find(where, detail=True))
    for path in sorted(found):
        if found[path].get("type") != "directory":
            yield Listed(path.removeprefix(root).lstrip("/"), int(found[path].get("size") or 0))


def read(where: str, offset: int = 0, nbytes: int | None = None, *, absent: bool = True) -> bytes:
    """Some bytes of a file; all of it from ``offset`` on without ``nbytes``.

    Args:
        where: its address.
        offset, nbytes: which bytes.
        absent: whether the caller handles files that are not there or not allowed; else these are a ``StoreError``.

    Raises:
        FileNotFoundError, PermissionError: as the store says.
        StoreError: if it does not give them, after several tries.
    """
    system = _system(where)
    whole = _of_whole_files(where.partition("://")[0]) if nbytes is None else {}

    def once() -> bytes:
        if nbytes is None:
            return system.cat_file(where, start=offset or None, **whole)
        data = system.cat_file(where, start=offset, end=offset + nbytes)
        if len(data) != nbytes:
            raise OSError(f"{len(data):,} bytes came instead of {nbytes:,}")
        return data

    return _patiently(where, "be read", once, absent=absent) if nbytes != 0 else b""


class Reader(io.RawIOBase):
    """A file of a store as Python's are: read forwards for the most part, part by part.

    Args:
        where: its address.

    Raises:
        StoreError: if it is not there.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.state = state(where)
        self._position = 0
        self._first = 0
        self._data = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; nothing is fetched."""
        self._position = offset + (0, self._position, self.state.size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, no further than to the end of the part that is here."""
        ahead = self._position - self._first
        if not 0 <= ahead < len(self._data):
            nbytes = max(0, min(PART, self.state.size - self._position))
            self._data, self._first, ahead = read(self.where, self._position, nbytes), self._position, 0
        part = self._data[ahead : ahead + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def open_text(where: str) -> io.TextIOWrapper:
    """A text of a store, in UTF-8, with or without a mark of its order of bytes; raises like ``Reader``."""
    return io.TextIOWrapper(io.BufferedReader(Reader(where)), encoding="utf-8-sig", newline="")


def download(where: str, target: Path, known: State | None = None) -> State:
    """Copy a file to this machine, by parts in parallel; it appears under its name when it is complete.

    What a killed download had fetched is used again by the next, unless the store's file has changed since.

    Args:
        where: its address.
        target: what it is to be.
        known: what the store has just said of it; None: it is asked.

    Returns:
        the state of the store's file that was copied.

    Raises:
        StoreError: if it cannot be read, or changes meanwhile.
        OSError: if the disk fails.
    """
    before = state(where) if known is None else known
    partial, journal = target.with_name(f".{target.name}.download"), target.with_name(f".{target.name}.download.parts")
    done = _resumed(journal, before, partial)
    missing = [part for part in _parts(0, before.size) if part[0] not in done]
    with open(partial, "r+b" if partial.exists() else "w+b") as file, open(journal, "a") as log:
        file.truncate(before.size)
        for first in _copied(where, missing, file.fileno()):
            log.write(f"{first}\n")
            log.flush()
        os.fsync(file.fileno())
    try:
        require_same(where, before)
    except StoreChanged:
        journal.unlink()
        partial.unlink()
        raise
    os.replace(partial, target)
    journal.unlink()
    fsync_folder(target.parent)
    return before


def copy_range(where: str, start: int, stop: int, file: BinaryIO) -> None:
    """Copy the bytes from ``start`` to ``stop`` to the same places of an open file of this machine, by parts.

    Raises:
        StoreError: if the store does not give them.
        OSError: if the disk fails.
    """
    for _ in _copied(where, _parts(start, stop), file.fileno()):
        pass


def _parts(start: int, stop: int) -> list[tuple[int, int]]:
    """Where each part of a range begins, and its size."""
    return [(first, min(PART, stop - first)) for first in range(start, stop, PART)]


def _copied(where: str, parts: Sequence[tuple[int, int]], file: int) -> Iterator[int]:
    """Where each part begins, in their order, when it has been copied to its place in a file; several at a time."""

    def fetch(part: tuple[int, int]) -> int:
        first, nbytes = part
        data = read(where, first, nbytes, absent=False)
        while data:
            written = os.pwrite(file, data, first)
            data, first = data[written:], first + written
        return part[0]

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from pool.map(fetch, parts)
    finally:
        pool.shutdown(cancel_futures=True)  # else every other part would try its patience, too


def require_same(where: str, known: State) -> None:
    """See to it that a file is still the one that it was.

    Raises:
        StoreChanged: if it is another.
        StoreError: as ``state``.
    """
    if state(where) != known:
        raise StoreChanged(where, "has changed while it was read", "Run the command again when nobody writes it.")


def _resumed(journal: Path, now: State, partial: Path) -> set[int]:
    """Which parts an earlier download of the same version has left; begins anew if there was none."""
    head = json.dumps([*now, PART])
    try:
        lines = journal.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        lines = []
    if partial.is_file() and lines and lines[0] == head + "\n":
        return {int(line) for line in lines[1:] if re.fullmatch(r"\d+\n", line)}
    partial.unlink(missing_ok=True)
    journal.write_text(head + "\n")
    return set()


def upload(path: Path, where: str) -> None:
    """Copy a file of this machine to a store, where it is seen when it is complete; large ones travel in parts.

    Raises:
        StoreError: if the store does not take it, after several tries.
    """
    size = path.stat().st_size

    def once() -> None:
        _system(where).put_file(str(path), where)
        if (there := state(where).size) != size:
            raise OSError(f"{there:,} bytes arrived instead of {size:,}")

    _patiently(where, "be written", once)


def remove(where: str) -> None:
    """Remove a file that may not be there; raises like ``upload``."""

    def once() -> None:
        with suppress(FileNotFoundError):
            _system(where).rm_file(where)

    if is_file(where):
        _patiently(where, "be removed", once)


def _patiently(where: str, doing: str, once: Callable[[], Result], *, absent: bool = False) -> Result:
    """The result of an exchange that may fail for a while.

    Args:
        where: with what.
        doing: what cannot be done with it, for the error.
        once: the exchange.
        absent: whether the caller handles files that are not there.
    """
    for wait in (*WAITS_S, None):
        try:
            return once()
        except (FileNotFoundError, PermissionError) as error:
            if absent:
                raise
            known = isinstance(error, FileNotFoundError)
            cause = "is not there" if known else f"may not {doing} ({error})"
            remedy = "Check the address." if known else "Check the store's keys and rights (AWS_PROFILE, for example)."
            raise StoreError(where, cause, remedy) from error
        except NotImplementedError as error:
            raise StoreError(where, f"cannot {doing}: such stores do not do that", "Use another.") from error
        except (StoreError, MemoryError):
            raise
        except Exception as error:
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                raise StoreError(where, f"may not {doing} ({error})", "Give the store's keys.") from error
            if wait is None:
                cause = f"cannot {doing} ({' '.join(str(error).split()) or type(error).__name__})"
                remedy = f"It was tried {len(WAITS_S) + 1} times. Check the network, then run the command again."
                raise StoreError(where, cause, remedy) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _absolute(protocol: str, path: str) -> str:
    return path if "://" in path else f"{protocol}://{path.lstrip('/')}"


def _system(where: str) -> Any:
    return _of_protocol(where.partition("://")[0])


@cache
def _of_protocol(protocol: str) -> Any:
    """The client of a kind of store, one a process.

    Raises:
        StoreError: if fsspec knows none, or its package is not installed.
    """
    subject, package = f"{protocol}://", PACKAGES.get(protocol, "s3fs")
    try:
        import fsspec
    except ImportError as error:
        raise StoreError(subject, "fsspec is not installed", f"Run pip install {package}.") from error
    try:
        return _without_own_tries(fsspec.filesystem(protocol, use_listings_cache=False, **_timeouts(protocol)))
    except ImportError as error:
        raise StoreError(
            subject, f"needs a package that is not installed ({error})", f"pip install {package}"
        ) from error
    except ValueError as error:
        raise StoreError(subject, f"is no kind of store ({error})", "Use s3://, gs:// or https://.") from error


@cache
def _of_whole_files(protocol: str) -> dict[str, int]:
    """Options by which a client asks for a whole file at once.

    s3fs, since 2025, asks for the size of every file first, to read a large one by parts.
    """
    client = _of_protocol(protocol)
    options = inspect.signature(getattr(client, "_cat_file", client.cat_file)).parameters
    return {"max_concurrency": 1} if "max_concurrency" in options else {}


def _timeouts(protocol: str) -> dict[str, Any]:
    """What keeps a client from waiting for ever, and S3's from trying for minutes before we hear of it."""
    if PACKAGES.get(protocol) != "s3fs":
        return {}
    retries = {"total_max_attempts": 1, "mode": "standard"}
    return {"config_kwargs": {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "retries": retries}}


def _without_own_tries(system: Any) -> Any:
    """The client of S3 tries by itself, too; here it is told by us, who know what may be tried again."""
    if hasattr(system, "retries"):
        system.retries = 1
    return system
