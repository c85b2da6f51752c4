"""What the layout of a benchmark is: faces as its authors published them, with what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os.path import splitext
from typing import Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

from frl.beton.targets import TargetSpec
from frl.errors import SourceError


class Rectangle(NamedTuple):
    """A face in its upright image, in pixels; it may reach over the border."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class AnnotatedFace:
    """One face of a benchmark.

    Attributes:
        name: unique within the split: the image's path, with slashes, and ``#2`` for its second face.
        place: what the layout's ``read`` takes.
        box: where the face is; None: the benchmark cut its images to the face.
        subject: who it is, or None.
        targets: what is known of it, by the name of the spec and in its shape; points in pixels of the upright image,
            the centre of whose first pixel is (0, 0).
        fault: why it cannot be used, with the file and the line that say so; or None.
    """

    name: str
    place: Any = None
    box: Rectangle | None = None
    subject: str | None = None
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fault: str | None = None


class Layout(Protocol):
    """A benchmark on disk. Worker processes receive it pickled, so it holds paths rather than open files."""

    @property
    def location(self) -> str:
        """Where it is: an absolute path."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are there, by their published names.

        Raises:
            SourceError: the benchmark is not there.
        """
        ...

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """What the faces' targets are, the same in every split."""
        ...

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces of a split, in an order that depends on nothing but the files. Reads no image of a file of its own.

        Raises:
            SourceError: the annotations cannot be read; one that can be told apart is a face's ``fault`` instead.
        """
        ...

    def read(self, place: Any) -> bytes:
        """The encoded image of a face; what is stored as pixels comes as PNG.

        Raises:
            OSError: it is not there, or the disk fails.
            ValueError: it is damaged.
        """
        ...


@runtime_checkable
class Published(Protocol):
    """A layout of which it is known how many faces its authors published."""

    @property
    def published(self) -> Mapping[str, int]:
        """Faces by split."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A layout that says what it has found beside the faces."""

    def remarks(self) -> Iterator[str]:
        """Lines for the user, once the faces of a split are listed."""
        ...


def require_split(layout: Layout, split: str) -> str:
    """``split``, if the layout has it.

    Raises:
        SourceError: it has not.
    """
    if split not in layout.splits:
        cause = f"has no split {split!r}" if split else "has several splits, and none is named"
        raise SourceError(layout.location, cause, f"Its splits are {', '.join(layout.splits)}.")
    return split


class Counted:
    """Names for several faces of one photograph: ``photo.jpg``, ``photo#2.jpg``, ``photo#3.jpg``."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def __call__(self, path: str) -> str:
        """The name of the next face of a photograph."""
        self._times[path] += 1
        stem, suffix = splitext(path)
        return path if self._times[path] == 1 else f"{stem}#{self._times[path]}{suffix}"
