"""What a source of faces is: it lists candidates, and reads the bytes of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Box(NamedTuple):
    """A face in its upright image, in pixels; it may reach over the border."""

    left: float
    top: float
    width: float
    height: float


class Candidate(NamedTuple):
    """An image that may become a sample. A tuple, for lists of millions of them are held in memory.

    Attributes:
        name: unique within the source; a path relative to its root, say.
        identity: who it is, or None.
        box: where the face is, or None for the whole image.
    """

    name: str
    identity: str | None = None
    box: Box | None = None


class Source(Protocol):
    """A set of face images. Worker processes receive it pickled, so it holds a path rather than an open file."""

    @property
    def location(self) -> str:
        """Where it is: the absolute path that the user gave."""
        ...

    def candidates(self) -> Iterator[Candidate]:
        """List the images, in an order that depends on nothing but the source; reads no image.

        Raises:
            SourceError: if the source cannot be listed.
        """
        ...

    def read(self, candidate: Candidate) -> bytes:
        """The encoded image.

        Raises:
            OSError: if it cannot be read.
        """
        ...
