"""Image files below an address of an object store, read one by one where they are; nothing is copied first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from frl import store
from frl.images.formats import HEAD
from frl.images.names import SPLITS, claims_image, claims_note, is_image, path_aside
from frl.stored_file import MEMORY
from writers.reject import Reject
from writers.sources.files import read_at, read_file, too_large
from writers.sources.skipped import NO_IMAGE, OUTSIDE, Skipped
from writers.sources.source import Entry, nothing
from writers.sources.tar_members import Member


@dataclass(frozen=True)
class Bucket:
    """The files below an address, as a store.

    Attributes:
        location: the address.
        skipped: what else was found when it was listed last.
    """

    location: str
    skipped: Skipped = field(default_factory=Skipped, compare=False)

    def entries(self, is_read: Callable[[str], bool] = nothing) -> Iterator[Entry]:
        """The images by path; see ``Tree``."""
        self.skipped.clear()
        for number, found in enumerate(store.listing(self.location)):
            if is_read(found.path) and path_aside(found.path) is None:
                continue
            if self._shows_image(found):
                yield Entry(found.path, self._place(number, found.path))
            else:
                self.skipped.add(path_aside(found.path) or NO_IMAGE, found.path)

    def members(self, wanted: Callable[[Member], bool]) -> Iterator[tuple[object, Member]]:
        """All files, as those of a tar; the data of those that are wanted.

        Raises:
            StoreError: if the store does not give them.
        """
        for number, found in enumerate(store.listing(self.location)):
            member = Member(found.path, 0, found.size, too_large(found.size))
            if wanted(member) and not member.fault:
                member = member._replace(data=store.read(self._address(found.path), 0, found.size))
            yield self._place(number, found.path), member

    def read(self, place: str) -> bytes:
        """The file's bytes; see ``Store``."""
        return read_file(self._address(place))

    def _place(self, number: int, path: str) -> object:
        return path

    def _address(self, path: str) -> str:
        return f"{self.location.rstrip('/')}/{path}"

    def _shows_image(self, found: store.Listed) -> bool:
        """As in folders: by the suffix, or else by the first bytes."""
        if path_aside(found.path) is not None:
            return False
        if claims_image(found.path) or claims_note(found.path):
            return claims_image(found.path)
        try:
            return is_image(found.path, read_at(self._address(found.path), 0, min(HEAD, found.size)))
        except (Reject, OSError):
            return False


class MemoryBucket(Bucket):
    """The files of a store that lies in this process: a stream, for worker processes do not see them."""

    read = None  # type: ignore[assignment]

    def _place(self, number: int, path: str) -> object:
        return (0, number)

    def contents(self) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """The images' bytes in the order of their paths; see ``Stream``."""
        for number, found in enumerate(store.listing(self.location)):
            if self._shows_image(found):
                yield (0, number), store.read(self._address(found.path), 0, found.size)


def open_bucket(location: str) -> Bucket:
    """The store of the files below an address."""
    return MemoryBucket(location) if location.startswith(MEMORY) else Bucket(location)


def bucket_images(bucket: Bucket, is_read: Callable[[str], bool] = nothing) -> Iterator[tuple[Entry, str | None, str]]:
    """The images of identity folders: entry, identity and path below the identity, as those of a folder."""
    listed = list(bucket.entries(is_read))
    has_splits = any(entry.path.startswith(tuple(f"{split}/" for split in SPLITS)) for entry in listed)
    for entry in listed:
        split, slash, rest = entry.path.partition("/")
        if has_splits and split not in SPLITS:
            bucket.skipped.add(OUTSIDE, entry.path)
            continue
        path = rest if has_splits and slash else entry.path
        identity, slash, below = path.partition("/")
        yield (entry, identity, below) if slash else (entry, None, path)


def looks_like_identities(location: str) -> bool:
    """Whether the files below an address look like identity folders: splits, or folders and no image beside them."""
    paths = [found.path for found in store.listing(location) if path_aside(found.path) is None]
    if any(path.partition("/")[0] in SPLITS and "/" in path for path in paths):
        return True
    return any("/" in path for path in paths) and not any(claims_image(path) for path in paths if "/" not in path)
