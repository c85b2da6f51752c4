"""Several ``.beton`` files as one data set. Sample i of the set is the i-th of all files' samples, one after the other.

A sample keeps its number, and so its crops, when another file is appended.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from frl.beton import Beton
from frl.beton.targets import TargetSpec, describe
from frl.errors import ConfigError


class EncodedImages(Protocol):
    """What an engine reads: one ``Beton``, or a set of them. Arrays have one entry a sample.

    Attributes:
        path: the file or files, for messages.
        heights, widths: ``(N,)`` uint16, pixels.
        modes: ``(N,)`` uint8, ``ImageMode``.
        labels: ``(N,)`` int64, -1 where unknown.
        targets: what else is stored of each sample.
    """

    heights: NDArray[np.uint16]
    widths: NDArray[np.uint16]
    modes: NDArray[np.uint8]
    labels: NDArray[np.int64]
    targets: tuple[TargetSpec, ...]

    @property
    def path(self) -> object: ...

    def target(self, name: str, samples: NDArray[np.int64]) -> NDArray[Any]:
        """What is stored of some samples under one name, ``(B, *shape)``; see ``Beton.target``."""
        ...

    @property
    def max_side(self) -> int:
        """The largest height or width, in pixels."""
        ...

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> NDArray[np.uint8]:
        """The ``(nbytes,)`` uint8 of one encoded image, a read-only view into the mapped file."""
        ...

    def name(self, index: int) -> str:
        """The sample as people should see it."""
        ...


class Images(EncodedImages, Protocol):
    """A part of a data set: a ``Beton``, or what is read like one without being a file of ours.

    Attributes:
        fingerprint: for telling two data sets apart.
    """

    fingerprint: str

    def close(self) -> None:
        """Let go of what is open."""
        ...


Open = Callable[[Path], Images]
"""Opens what a path names."""


class BetonSet:
    """Open ``.beton`` files, one after the other; see ``EncodedImages``. Pickling keeps the paths.

    Args:
        paths: the files.
        open: opens each; what is no ``Beton`` has no pages.

    Attributes:
        betons: the files.
        starts: ``(F + 1,)`` int64, where each file's samples begin, and N.
        pages: ``(N,)`` int64, the page that each sample lies in; the files' pages are numbered one after the other too.
        first_pages: ``(F + 1,)`` int64, where each file's pages begin.
        labels: ``(N,)`` int64; the files' labels follow each other, so that no two files share one.
        fingerprint: of a single file its own; of several, SHA-256 of theirs.

    Raises:
        BetonError: naming the file that is missing or broken.
        ConfigError: if there is no file, or one comes twice.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], open: Open = Beton) -> None:
        if not paths:
            raise ConfigError("--data", "no file given", "Name at least one .beton.")
        self.open = open
        self.betons: list[Any] = [open(Path(path)) for path in paths]
        self._refuse_twins()
        self.heights, self.widths, self.modes = (
            _joined([getattr(beton, column) for beton in self.betons]) for column in ("heights", "widths", "modes")
        )
        self.starts = _starts(map(len, self.betons))
        self.first_pages = _starts(map(_page_count, self.betons))
        self.pages = _joined(
            [first + _pages(beton) for first, beton in zip(self.first_pages, self.betons, strict=False)]
        )
        self.labels = _apart([beton.labels for beton in self.betons])
        self.targets = _common(self.betons)
        prints = [_identity(beton) for beton in self.betons]
        self.fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()

    def _refuse_twins(self) -> None:
        known: dict[str, int] = {}
        for number, beton in enumerate(self.betons):
            twin = known.setdefault(_identity(beton), number)
            if twin != number:
                cause = f"it is the same data set as {self.betons[twin].path}"
                raise ConfigError(beton.path, cause, "Name each file once; --weights says how much of it to use.")

    @property
    def path(self) -> str:
        """The files as on a command line."""
        return " ".join(str(beton.path) for beton in self.betons)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(beton.data.size if isinstance(beton, Beton) else beton.nbytes for beton in self.betons)

    @property
    def max_side(self) -> int:
        """The largest height or width, in pixels."""
        return max(beton.max_side for beton in self.betons)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def encoded(self, index: int) -> NDArray[np.uint8]:
        """The ``(nbytes,)`` uint8 of one encoded image, a read-only view into its mapped file.

        Raises:
            IndexError: there is no such sample.
            ValueError: the files were closed.
        """
        beton, place = self._find(index)
        return beton.encoded(place)

    def target(self, name: str, samples: NDArray[np.int64]) -> NDArray[Any]:
        """What is stored of some samples under the name of a common target, ``(B, *shape)``; see ``Beton.target``.

        Raises:
            KeyError: it is not common to all files.
            IndexError: there is no such sample.
            ValueError: the files were closed.
        """
        spec = next((spec for spec in self.targets if spec.name == name), None)
        if spec is None:
            raise KeyError(f"{self.path} have no target {name!r} in common, but {[spec.name for spec in self.targets]}")
        if ((samples < 0) | (samples >= len(self))).any():
            raise IndexError(f"{self.path} has not all of the samples {samples}: it holds {len(self)}")
        files = np.searchsorted(self.starts, samples, side="right") - 1
        values = np.empty((len(samples), *spec.shape), spec.dtype)
        for file in np.unique(files).tolist():
            here = files == file
            values[here] = self.betons[file].target(name, samples[here] - self.starts[file])
        return values

    def name(self, index: int) -> str:
        """The sample as people should see it: its number in its file, its source, and the file if there are several."""
        beton, place = self._find(index)
        return beton.name(place) if len(self.betons) == 1 else f"{beton.path}: {beton.name(place)}"

    def _find(self, index: int) -> tuple[Any, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has no sample {index}: it holds {len(self)}")
        file = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.betons[file], index - int(self.starts[file])

    def page_bytes(self, page: int) -> tuple[int, int, int]:
        """The file that holds page number ``page`` of the set, and where in it the page begins and ends, in bytes."""
        file = int(np.searchsorted(self.first_pages, page, side="right")) - 1
        beton = self.betons[file]
        start = (page - int(self.first_pages[file])) * beton.page_size
        return file, start, min(start + beton.page_size, beton.data.size)

    def close(self) -> None:
        """Let go of the mappings."""
        for beton in self.betons:
            beton.close()

    def __reduce__(self) -> tuple[type[BetonSet], tuple[list[Path], Open]]:
        return type(self), ([beton.path for beton in self.betons], self.open)


def is_written(images: object) -> bool:
    """Whether what an engine reads are files of ours, rather than images where they are."""
    parts = images.betons if isinstance(images, BetonSet) else [images]
    return all(isinstance(part, Beton) for part in parts)


def _joined(parts: Sequence[NDArray]) -> NDArray:
    """The arrays one after the other; of a single one no copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _starts(lengths: Iterable[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _page_count(part: Any) -> int:
    """Pages of a file; what has none counts as one."""
    return -(-part.data.size // part.page_size) if isinstance(part, Beton) else 1


def _pages(part: Any) -> NDArray[np.int64]:
    """The page of each sample, counted from 0."""
    if isinstance(part, Beton):
        return (part.pointers // part.page_size).astype(np.int64)
    return np.zeros(len(part), np.int64)


def _identity(beton: Any) -> str:
    """What tells a data set apart: its fingerprint, and as that sees no arrays, with targets its content as well."""
    manifest = getattr(beton, "manifest", None)
    content = manifest.content_sha256 if manifest is not None and beton.targets else None
    return f"{beton.fingerprint}/{content}" if content else beton.fingerprint


def _common(betons: Sequence[Any]) -> tuple[TargetSpec, ...]:
    """The targets that all files hold in one shape and meaning; of the others the user is told."""
    common = []
    for spec in {spec.name: spec for beton in betons for spec in beton.targets}.values():
        found = {beton.path: next((s for s in beton.targets if s.name == spec.name), None) for beton in betons}
        if all(other == spec for other in found.values()):
            common.append(spec)
            continue
        there = "; ".join(f"{describe(s) if s else 'none'} in {path}" for path, s in found.items())
        warnings.warn(f"the target {spec.name} is not used, for the files do not agree on it: {there}", stacklevel=3)
    return tuple(common)


def _apart(labels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The files' labels one after the other, each file's above those of the files before it; -1 stays."""
    shift, parts = 0, []
    for of_file in labels:
        parts.append(np.where(of_file < 0, of_file, of_file + shift) if shift else of_file)
        shift += int(of_file.max(initial=-1)) + 1
    return _joined(parts)
