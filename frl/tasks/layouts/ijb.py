"""IJB-B and IJB-C, 1:1 verification of templates (Whitelam et al., 2017; Maze et al., 2018), in insightface's layout.

``loose_crop/N.jpg`` and, in ``meta/`` (with ijbb for IJB-B): ``ijbc_name_5pts_score.txt`` (image, x1 y1 ... x5 y5, the
detector's score), ``ijbc_face_tid_mid.txt`` (image, template, media) and ``ijbc_template_pair_label.txt`` (template,
template, 0 or 1). A template is a set of images of one person, a media one photograph or one video.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError, blame_machine
from frl.tasks.layouts.pairs import SHOWN, Files

LINES = 1 << 18
"""Of a list that are parsed at a time."""

REMEDY = "Give the folder that holds insightface's loose_crop and meta of IJB-B or IJB-C."


@dataclass(frozen=True, kw_only=True)
class Templates:
    """The images of a benchmark, the templates they belong to, and which of these are compared.

    Attributes:
        names: of the N images.
        read: the encoded image of a row of ``names``. Raises ``OSError``.
        points: ``(N, 5, 2)`` float64, eyes, nose tip and corners of the mouth, the image's left first, in pixels.
        weights: ``(N,)`` float64, the detector's score.
        images: ``(E,)`` int64, a row of ``names`` for every entry of an image in a template.
        template: ``(E,)`` int64, the row of its template, from 0.
        shares: ``(E,)`` float64, one over the number of images of that media in that template.
        pairs: ``(P, 2)`` int32, rows of templates.
        same: ``(P,)`` bool, whether both are of one person.
        count: of templates.
        remarks: what is missing.
    """

    names: tuple[str, ...]
    read: Files
    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    images: NDArray[np.int64]
    template: NDArray[np.int64]
    shares: NDArray[np.float64]
    pairs: NDArray[np.int32]
    same: NDArray[np.bool_]
    count: int
    remarks: tuple[str, ...] = ()


def open_ijb(root: str | os.PathLike[str]) -> Templates:
    """The templates of IJB-B or IJB-C whose images are here, and the pairs of these.

    Raises:
        SourceError: if a list is absent or breaks its format, naming the line, or no pair can be judged.
    """
    root = Path(root)
    meta, crops = root / "meta", root / "loose_crop"
    lists = {name: _list(meta, name) for name in ("name_5pts_score", "face_tid_mid", "template_pair_label")}
    faces = read_columns(lists["name_5pts_score"], 12, first_is_name=True)
    files = [crops / str(name) for name in faces.names]
    here = np.array([os.path.isfile(file) for file in files], bool)
    if not here.any():
        raise SourceError(crops, f"holds none of the {len(files):,} images of {lists['name_5pts_score'].name}", REMEDY)
    kept = [file for file, there in zip(files, here, strict=True) if there]
    row = {file.name: number for number, file in enumerate(kept)}

    members = read_columns(lists["face_tid_mid"], 3, first_is_name=True)
    images = np.array([row.get(name, -1) for name in members.names], np.int64)
    known = images >= 0
    templates, template = np.unique(members.numbers[:, 0].astype(np.int64), return_inverse=True)
    images, template, media = images[known], template[known], members.numbers[known, 1].astype(np.int64)
    _, group, sizes = np.unique(np.stack([template, media], 1), axis=0, return_inverse=True, return_counts=True)
    pairs, same, lost = _pairs(lists["template_pair_label"], templates, np.bincount(template, minlength=len(templates)))
    remarks = []
    if not known.all():
        missing = [name for name in members.names if name not in row]
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        remarks = [f"{len(missing):,} of {len(members.names):,} images are missing ({shown}): {lost:,} of "
                   f"{lost + len(same):,} pairs are left out, for a template of theirs is empty"]  # fmt: skip
    if same.all() or not same.any():
        raise SourceError(lists["template_pair_label"], f"of {len(same):,} pairs that are left all are of one kind",
                          "Complete the images.")  # fmt: skip
    return Templates(
        names=tuple(file.name for file in kept),
        read=Files(tuple(kept)),
        points=faces.numbers[here, :10].reshape(-1, 5, 2),
        weights=faces.numbers[here, 10],
        images=images,
        template=template,
        shares=1 / sizes[group.reshape(-1)],
        pairs=pairs,
        same=same,
        count=len(templates),
        remarks=tuple(remarks),
    )


def _list(meta: Path, name: str) -> Path:
    """The list of this name, of IJB-B or IJB-C."""
    found = sorted(meta.glob(f"ijb[bc]_{name}.txt"))
    if len(found) != 1:
        cause = f"holds {len(found)} files ijbb_{name}.txt or ijbc_{name}.txt, where one is wanted"
        raise SourceError(meta, cause, REMEDY)
    return found[0]


def _pairs(
    path: Path, templates: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.bool_], int]:
    """The pairs of templates that have images, as rows; whether they match; how many are left out."""
    numbers = read_columns(path, 3, dtype=np.int32).numbers
    if len(bad := np.flatnonzero((numbers[:, 2] != 0) & (numbers[:, 2] != 1))):
        cause = f"its label is {numbers[bad[0], 2]}, neither 0 nor 1"
        raise SourceError(f"{path}, line {bad[0] + 1}", cause, "Correct the line.")
    rows = np.searchsorted(templates, numbers[:, :2]).clip(max=len(templates) - 1)
    if len(bad := np.flatnonzero((templates[rows] != numbers[:, :2]).any(axis=1))):
        cause = f"names a template ({numbers[bad[0], 0]} or {numbers[bad[0], 1]}) that face_tid_mid does not"
        raise SourceError(f"{path}, line {bad[0] + 1}", cause, "Take both lists from one benchmark.")
    kept = (sizes[rows] > 0).all(axis=1)
    return rows[kept].astype(np.int32), numbers[kept, 2] == 1, int((~kept).sum())


@dataclass(frozen=True)
class Columns:
    """A list of numbers, some with a name before. Attributes: the names, if any; ``(lines, columns)``."""

    names: list[str]
    numbers: NDArray[Any]


def read_columns(
    path: Path, count: int, *, first_is_name: bool = False, dtype: type[np.number] = np.float64
) -> Columns:
    """Numbers separated by spaces, a line each; of 15 million lines in seconds, a piece at a time.

    Args:
        path: the list.
        count: columns, the name among them.
        first_is_name: whether the first is no number.
        dtype: of the numbers.

    Raises:
        SourceError: if it cannot be read, is empty, or a line has other columns or what is no finite number.
    """
    names: list[str] = []
    pieces, done = [], 0
    try:
        with open(path, encoding="ascii") as stream:
            while lines := list(islice(stream, LINES)):
                rests = lines
                if first_is_name:
                    split = [line.split(maxsplit=1) for line in lines]
                    names += [parts[0] if parts else "" for parts in split]
                    rests = [parts[1] if len(parts) > 1 else "" for parts in split]
                pieces.append(_numbers(path, rests, count - first_is_name, done, dtype))
                done += len(lines)
    except (OSError, UnicodeDecodeError) as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(path, f"cannot be read ({error})", REMEDY) from error
    if not done:
        raise SourceError(path, "is empty", REMEDY)
    return Columns(names, np.concatenate(pieces))


def _numbers(path: Path, lines: list[str], count: int, before: int, dtype: type[np.number]) -> NDArray[Any]:
    try:
        numbers = np.loadtxt(io.StringIO("".join(lines)), dtype, ndmin=2, comments=None)
        if numbers.shape == (len(lines), count) and np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass  # the line is looked for below
    for number, line in enumerate(lines, before + 1):
        fields = line.split()
        try:
            if len(fields) == count and np.isfinite([float(field) for field in fields]).all():
                continue
        except ValueError:
            pass
        cause = f"expected {count} numbers, found {line.strip()!r}"
        raise SourceError(f"{path}, line {number}", cause, "Correct the line, or fetch the list again.")
    raise SourceError(path, f"is no list of {count} numbers a line", REMEDY)
