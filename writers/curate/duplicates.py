"""Which faces are in the file already, whatever source they came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from frl.beton.manifest import Claim, SampleLine
from frl.images.turbojpeg import JpegDecoder
from writers.curate.fingerprint import Fingerprint, Fingerprints
from writers.reject import Reason, Reject

if TYPE_CHECKING:
    from writers.curate.near import NearIndex
    from writers.image.crop import Face

CACHE_KB = 1 << 14
"""Memory of the database; what does not fit lies in the system's folder for temporary files."""

DIGEST_BYTES = 16
"""What is kept of a digest: among a billion faces, two different ones have the same with a chance of 1 in 10^21."""


NOTHING = Claim()


class Duplicates:
    """The faces kept so far. The names and digests lie in a temporary database on the disk, so memory does not grow
    with them; the index of perceptual hashes takes 100 to 130 bytes a face. A context manager.

    Faces must come in the order of the file: the first of several copies stays. A face is compared with those that
    stayed, not with those that went, so a chain of ever less similar pictures is not followed.
    """

    def __enter__(self) -> Self:
        self._near: NearIndex | None = None
        self._count = 0
        self._kept = sqlite3.connect("", isolation_level=None)  # without a name: gone when it is closed
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
            self._kept.execute(f"PRAGMA {setting}")
        columns = "number INTEGER PRIMARY KEY, digest BLOB UNIQUE, name TEXT, label INTEGER, targets INTEGER"
        self._kept.execute(f"CREATE TABLE kept ({columns})")
        self._kept.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()

    def restore(self, kind: Literal["none", "exact", "near"], stored: Iterable[tuple[bytes, SampleLine]]) -> None:
        """Take in the samples that an earlier run has written."""
        fingerprint, jpegs = Fingerprints(kind), JpegDecoder()
        for data, line in stored:
            grey = jpegs.decode_grey(data) if fingerprint.needs_pixels else None
            if (found := fingerprint(data, grey)) is not None:
                self.refuse(line.name, found, line.claim)

    def sift(self, name: str, face: Face | Reject, claim: Callable[[Face], Claim]) -> Face | Reject:
        """The same face if it is new, else why it is left out. ``claim``: gives what is said of it."""
        if isinstance(face, Reject) or face.fingerprint is None:
            return face
        return self.refuse(name, face.fingerprint, claim(face)) or face

    def refuse(self, name: str, fingerprint: Fingerprint, claim: Claim = NOTHING) -> Reject | None:
        """Why a face is left out: it is a copy of one that was kept, which is named. None: it is new, and kept."""
        digest = fingerprint.digest[:DIGEST_BYTES]
        if fingerprint.look is None and self._keep(digest, name, claim):  # in one statement, for most faces are new
            return None
        if copy := self._find("digest", digest):
            if why := claim.contradiction(*copy):
                return Reject(why, Reason.CONTRADICTION)
            return Reject(f"the same bytes as {copy[0]}", Reason.DUPLICATE)
        if fingerprint.look is not None:
            if near := self._find("number", self._near_index().find(fingerprint.look)):
                if why := claim.contradiction(*near):
                    return Reject(why, Reason.CONTRADICTION)
                return Reject(f"looks like {near[0]}", Reason.NEAR_DUPLICATE)
            self._near_index().add(fingerprint.look)
        self._keep(digest, name, claim)
        return None

    def _find(self, column: Literal["digest", "number"], value: bytes | int | None) -> tuple[str, Claim] | None:
        """The name of a face that was kept, and what is said of it."""
        row = self._kept.execute(f"SELECT name, label, targets FROM kept WHERE {column} = ?", (value,)).fetchone()
        return (row[0], Claim(*row[1:])) if row else None

    def _keep(self, digest: bytes, name: str, claim: Claim) -> bool:
        """Note a face, if there is none of its digest."""
        row = (self._count, digest, name, *claim)
        new = self._kept.execute("INSERT OR IGNORE INTO kept VALUES (?, ?, ?, ?, ?)", row).rowcount
        self._count += new
        return bool(new)

    def _near_index(self) -> NearIndex:
        if self._near is None:
            from writers.curate.near import NearIndex  # numba, which nothing else here needs

            self._near = NearIndex()
        return self._near
