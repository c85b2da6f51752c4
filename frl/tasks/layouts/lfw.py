"""Lists of pairs like those of LFW's View 2 (Huang et al., 2007)."""

from __future__ import annotations

import os
from pathlib import Path

from frl.errors import SourceError
from frl.tasks.layouts.pairs import FacePairs, Pair, gather, read_lines


def open_lfw(images: str | os.PathLike[str], pairs: str | os.PathLike[str]) -> FacePairs:
    """The pairs of a list whose images are in a folder, as JPEG or PNG.

    Args:
        images: holds ``name/name_0001.jpg`` and so on.
        pairs: in the format of LFW's ``pairs.txt``.

    Raises:
        SourceError: if the list breaks its format, or too few of its images are here.
    """
    listed = read_pairs(pairs)
    folds = max(pair.fold for pair in listed) + 1
    return gather(listed, Path(images), folds=[str(fold + 1) for fold in range(folds)], where=pairs)


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Parse LFW's ``pairs.txt``.

    The header gives the number of folds and of pairs of each kind, ``folds n``. Every fold is n lines ``name i j`` of
    one person's images and n lines ``name1 i name2 j`` of two persons'. Image i of a name is ``name/name_000i.jpg``.

    Raises:
        SourceError: if the file cannot be read or breaks these rules; it names the line.
    """
    path = Path(path)
    lines = read_lines(path, "Give a file like LFW's pairs.txt.")
    header = lines[0].split() if lines else []
    if len(header) != 2 or not all(_is_count(text) for text in header) or int(header[0]) < 2:
        raise SourceError(f"{path}, line 1", "is not 'folds n' with two folds or more", "Use a View 2 list of pairs.")
    folds, per_kind = map(int, header)
    if len(lines) - 1 != 2 * folds * per_kind:
        raise SourceError(
            path,
            f"{len(lines) - 1} pairs where the header promises {2 * folds * per_kind}",
            "The file is cut off, or its header is wrong.",
        )
    return [
        _parse_pair(line, f"{path}, line {number + 2}", number // (2 * per_kind), number // per_kind % 2 == 0)
        for number, line in enumerate(lines[1:])
    ]


def _parse_pair(line: str, where: str, fold: int, same: bool) -> Pair:
    fields = line.split()
    numbers = fields[1:] if same else fields[1::2]
    if len(fields) != (3 if same else 4) or not all(_is_count(text) for text in numbers):
        form = "name i j" if same else "name1 i name2 j"
        raise SourceError(where, f"expected '{form}', found '{line}'", "Compare it with LFW's pairs.txt.")
    if same and int(numbers[0]) == int(numbers[1]):
        raise SourceError(where, f"a pair of an image with itself: '{line.strip()}'", "Correct the line.")
    other = fields[0] if same else fields[2]
    if not same and other == fields[0]:
        raise SourceError(where, f"a pair of different people that names {other} twice", "Correct the line.")
    return Pair(fold=fold, first=_file(fields[0], numbers[0]), second=_file(other, numbers[1]), same=same)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _file(name: str, number: str) -> Path:
    return Path(name) / f"{name}_{int(number):04d}.jpg"
