"""Pairs of faces that a benchmark asks about, whichever it is: who is compared with whom, and where the images are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError, blame_machine
from frl.images.names import IMAGE_SUFFIXES

SHOWN = 3
"""Names in a remark."""

OTHER_SUFFIXES = tuple(dict.fromkeys([".png", ".jpeg", ".JPG", ".PNG", *sorted(IMAGE_SUFFIXES)]))
"""Under which an image may lie that a list calls ``.jpg``, in the order in which they are looked for."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images and whether they show one person.

    Attributes:
        fold: index of the fold, from 0.
        first: file of one image, relative to the folder of images.
        second: file of the other.
        same: whether both show the same person.
    """

    fold: int
    first: Path
    second: Path
    same: bool


@dataclass(frozen=True, kw_only=True)
class FacePairs:
    """The pairs of a benchmark that can be judged with the images that are here.

    Attributes:
        names: of the N images, each once; errors and remarks use them.
        read: the encoded image of a row of ``names``. Raises ``OSError``.
        index: ``(P, 2)`` int64, the rows of both images of each pair.
        same: ``(P,)`` bool, whether they show one person.
        fold: ``(P,)`` int64, from 0, no number left out.
        folds: what the benchmark calls each fold.
        points: ``(N, 5, 2)`` float64, eyes, nose tip and corners of the mouth, those on the image's left first, in
            pixels of the upright image, the centre of whose first pixel is (0, 0); NaN where unknown. None: not known.
        remarks: what a reader of the figures has to know: what is missing.
    """

    names: tuple[str, ...]
    read: Callable[[int], bytes]
    index: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    folds: tuple[str, ...]
    points: NDArray[np.float64] | None = None
    remarks: tuple[str, ...] = ()

    def without(self, faults: Mapping[int, str]) -> FacePairs:
        """The pairs that need none of some images, with a remark that counts and names them.

        Args:
            faults: why an image cannot be used, by its row.

        Raises:
            SourceError: if fewer than two folds remain, or pairs of one kind alone.
        """
        if not faults:
            return self
        kept: NDArray[np.bool_] = np.array(~np.isin(self.index, list(faults)).any(axis=1))
        shown = [f"{self.names[row]}: {faults[row]}" for row in sorted(faults)[:SHOWN]]
        what = f"{len(faults):,} of {len(self.names):,} images cannot be used ({_some(shown, len(faults))})"
        remark = f"{what}: {int((~kept).sum()):,} of {len(kept):,} pairs are left out"
        left = replace(self, index=self.index[kept], same=self.same[kept], fold=self.fold[kept])
        return _renumbered(left, remark)


@dataclass(frozen=True)
class Files:
    """Reads images by their rows. Attributes: the files."""

    paths: tuple[Path, ...]

    def __call__(self, row: int) -> bytes:
        return self.paths[row].read_bytes()


def gather(
    pairs: Sequence[Pair], root: Path, *, folds: Sequence[str], where: object, remarks: Sequence[str] = ()
) -> FacePairs:
    """Look for the images of some pairs; those that lack one are left out, counted and named.

    An image that a list calls ``x.jpg`` may be ``x.png`` or have another suffix.

    Args:
        pairs: as listed.
        root: the folder of images.
        folds: what the benchmark calls each fold.
        where: what lists the pairs.
        remarks: made before.

    Raises:
        SourceError: if no image is there, fewer than two folds remain, or pairs of one kind alone.
    """
    listed = sorted({name for pair in pairs for name in (pair.first, pair.second)})
    found = {name: path for name in listed if (path := find_image(root / name)) is not None}
    if not found:
        cause = f"holds none of the {len(listed):,} images that {where} names, such as {listed[0] if listed else '-'}"
        raise SourceError(root, cause, "Give the folder in which the listed paths begin.")
    row = {name: number for number, name in enumerate(found)}
    kept = [pair for pair in pairs if pair.first in row and pair.second in row]
    faces = FacePairs(
        names=tuple(map(str, found)),
        read=Files(tuple(found.values())),
        index=np.array([(row[p.first], row[p.second]) for p in kept], np.int64).reshape(-1, 2),
        same=np.array([p.same for p in kept], bool),
        fold=np.array([p.fold for p in kept], np.int64),
        folds=tuple(folds),
        remarks=tuple(remarks),
    )
    missing = [str(name) for name in listed if name not in found]
    what = f"{len(missing):,} of {len(listed):,} images are missing ({_some(missing[:SHOWN], len(missing))})"
    remark = f"{what}: {len(pairs) - len(kept):,} of {len(pairs):,} pairs are left out" if missing else ""
    return _renumbered(faces, remark)


def find_image(path: Path) -> Path | None:
    """The image at a path, or the one beside it that differs in its suffix alone; None if there is none."""
    candidates = (path, *(path.with_suffix(suffix) for suffix in OTHER_SUFFIXES if suffix != path.suffix))
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def read_lines(path: Path, remedy: str) -> list[str]:
    """The lines of a list, without empty ones at its end.

    Raises:
        SourceError: if it cannot be read, with the ``remedy``.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"cannot be read ({error})", remedy) from error


def even_folds(count: int, folds: int) -> NDArray[np.int64]:
    """Consecutive folds of almost one size, the larger ones first, as scikit-learn's ``KFold``: ``(count,)``."""
    sizes = [count // folds + (number < count % folds) for number in range(folds)]
    return np.repeat(np.arange(folds), sizes)


def _renumbered(faces: FacePairs, remark: str) -> FacePairs:
    """Number the folds that have pairs left anew, and refuse what no accuracy can be had from."""
    sizes = Counter(faces.fold.tolist())
    gone = [name for number, name in enumerate(faces.folds) if number not in sizes]
    remarks = [*faces.remarks, *filter(None, [remark])]
    if gone:
        remarks.append(f"no pair is left of {len(gone)} of {len(faces.folds)} folds ({', '.join(gone)})")
    if len(sizes) < 2:
        cause = f"{len(sizes)} of {len(faces.folds)} folds have pairs whose images are here; two are needed"
        raise SourceError("pairs", f"{'; '.join([*faces.remarks, *remarks[-2:]])}; {cause}", "Complete the images.")
    if faces.same.all() or not faces.same.any():
        kind = "same person" if faces.same.all() else "different people"
        raise SourceError("pairs", f"all {len(faces.same):,} that are left are of the {kind}", "Complete the images.")
    numbers = sorted(sizes)
    return replace(
        faces,
        fold=np.searchsorted(numbers, faces.fold),
        folds=tuple(faces.folds[number] for number in numbers),
        remarks=tuple(remarks),
    )


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (", ..." if count > len(names) else "")
