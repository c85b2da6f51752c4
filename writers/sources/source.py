"""What a source of faces is: a layout, which lists candidates, over a store, which holds their bytes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

from frl.beton.targets import TargetSpec
from frl.stored_file import StoredFile


class Box(NamedTuple):
    """A face in its upright image, in pixels; it may reach over the border."""

    left: float
    top: float
    width: float
    height: float


class Candidate(NamedTuple):
    """A face that may become a sample. A tuple, for lists of millions of them are held in memory.

    Attributes:
        name: unique within the source; a path relative to its root, say. Several faces of a photo share a place.
        place: where the store finds the bytes; only the store knows what it means.
        identity: who it is, or None.
        box: where the face is, or None for the whole image.
        points: x and y of its eyes, its nose tip and the corners of its mouth, those on the image's left first: ten
            numbers in pixels of the upright image, or None.
        fault: why it must be rejected, if the listing showed it already.
        targets: what the source's ``targets`` are of this face, by name, flat; points in pixels of the upright image,
            the centre of whose first pixel is (0, 0). What is not named is unknown.
    """

    name: str
    place: Any = None
    identity: str | None = None
    box: Box | None = None
    points: array[float] | None = None
    fault: str | None = None
    targets: Mapping[str, array[float] | array[int]] | None = None


class Store(Protocol):
    """Encoded images by their place, in any order.

    Worker processes receive it pickled, so it holds paths rather than open files.
    """

    @property
    def location(self) -> str:
        """Where it is: an absolute path."""
        ...

    def read(self, place: Any) -> bytes:
        """One encoded image.

        Raises:
            Reject: if this image is absent or damaged.
            OSError: if the disk fails.
        """
        ...


@runtime_checkable
class TargetStore(Protocol):
    """A store that knows the targets of its images by their place, so that no list has to hold them."""

    def targets(self, place: Any) -> Mapping[str, NDArray[Any]]:
        """What is known of one image, by name; points in pixels of the upright image.

        Raises:
            Reject: if it is damaged.
        """
        ...


@runtime_checkable
class VersionedStore(Protocol):
    """A store that is one file, which somebody may replace while it is read if it lies in an object store."""

    @property
    def version(self) -> StoredFile | None:
        """Which file it was when it was listed; None on a disk."""
        ...


@runtime_checkable
class Stream(Protocol):
    """Encoded images that can only be read from the first to the last, such as those of a compressed tar."""

    @property
    def location(self) -> str:
        """Where it is: an absolute path."""
        ...

    def contents(self) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Place and bytes of every sound image, in ascending order of the places.

        A place is a tuple that begins with two whole numbers: which archive, and where in it.

        Raises:
            SourceError: if it cannot be read.
            OSError: if the disk fails.
        """
        ...


class Source(Protocol):
    """A layout of face images."""

    @property
    def store(self) -> Store | Stream:
        """Where the bytes are."""
        ...

    def candidates(self) -> Iterator[Candidate]:
        """List the faces, in an order that depends on nothing but the source. Reads no image.

        What cannot be used is listed too, with its fault, so that it is accounted for.

        Raises:
            SourceError: if the source cannot be listed.
        """
        ...


@runtime_checkable
class TargetSource(Protocol):
    """A source that knows more of a face than where it is and whose."""

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """What its candidates' targets, or its store's, are.

        Raises:
            SourceError: if the source cannot be listed.
        """
        ...


def versions(sources: Mapping[str, Source]) -> dict[str, StoredFile]:
    """The files of object stores that are sources, by name, as they were when they were listed."""
    stores = {name: source.store for name, source in sources.items()}
    known = {name: store.version for name, store in stores.items() if isinstance(store, VersionedStore)}
    return {name: version for name, version in known.items() if version is not None}


def file_stamps(sources: Mapping[str, Source]) -> dict[str, tuple[int, int]]:
    """Size and time of change, in bytes and nanoseconds, of the sources that are local files, by name."""
    stamps = {}
    for name, source in sources.items():
        location = getattr(source.store, "location", None)
        if isinstance(location, str) and os.path.isfile(location):
            found = os.stat(location)
            stamps[name] = (found.st_size, found.st_mtime_ns)
    return stamps


class Entry(NamedTuple):
    """An image of a tree: its path, with slashes; its place; why it cannot be used, if the listing showed it."""

    path: str
    place: Any
    fault: str | None = None


def nothing(path: str) -> bool:
    """What a source reads that reads images alone."""
    return False


class Tree(Protocol):
    """The part that folders and tars share: images that have paths."""

    @property
    def location(self) -> str:
        """Where it is: an absolute path."""
        ...

    def entries(self, is_read: Callable[[str], bool] = nothing) -> Iterator[Entry]:
        """The images: of folders by path, of archives in their own order. What else is found is counted as skipped.

        Args:
            is_read: whether the caller reads the file at a path by other ways, so that it is not skipped.

        Raises:
            SourceError: if it cannot be listed.
        """
        ...
