"""FER2013 (Goodfellow et al., 2013): grey faces of 48 x 48 pixels, as numbers in a CSV or as images in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError, blame_machine
from frl.tasks.layouts.affect import class_index, expressions
from frl.tasks.layouts.files import as_png, files, folders, join, read_image
from frl.tasks.layouts.layout import AnnotatedFace

EXPRESSIONS = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FOLDERS = {"angry": "anger"} | {name: name for name in EXPRESSIONS}
"""The expression of each folder, whose names are in lower case."""

USAGES = {"train": b"Training", "val": b"PublicTest", "test": b"PrivateTest"}
SETS = {"train": ("train", "Training"), "val": ("val", "validation", "PublicTest"), "test": ("test", "PrivateTest")}
"""How the folder of each split may be called."""

LIST = "fer2013.csv"
HEADER = [b"emotion", b"pixels", b"Usage"]
SIDE = 48
PUBLISHED = {"train": 28709, "val": 3589, "test": 3589}

REMEDY = f"Give the folder that holds {LIST}, or folders anger, disgust, fear, happy, sad, surprise and neutral."


@dataclass(frozen=True)
class Fer2013List:
    """``fer2013.csv``: expression, 2,304 grey values, and for what the face is used. ``test`` is the private test.

    Attributes:
        location: the folder that holds it.
    """

    location: str

    published = PUBLISHED

    @property
    def splits(self) -> tuple[str, ...]:
        """All three, for one list names them."""
        if not os.path.isfile(self._path):
            raise SourceError(self.location, f"holds no {LIST}", REMEDY)
        return tuple(USAGES)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The expression."""
        return (expressions(EXPRESSIONS),)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by line; see ``Layout``."""
        try:
            with open(self._path, "rb") as stream:
                if [cell.strip() for cell in stream.readline().split(b",")] != HEADER:
                    raise SourceError(f"{self._path}, line 1", "is not emotion,pixels,Usage", "Fetch it again.")
                place = stream.tell()
                for number, line in enumerate(stream, 2):
                    cells = line.strip().split(b",")
                    usage = cells[-1].strip()
                    if line.strip() and (usage == USAGES[split] or usage not in USAGES.values()):
                        yield self._face(number, place, cells)
                    place += len(line)
        except OSError as error:
            blame_machine(error, f"reading {self._path}")
            raise SourceError(self._path, f"cannot be read ({error})", "Check its permissions.") from error

    def read(self, place: int) -> bytes:
        """The face whose line begins at an offset, as a PNG; see ``Layout``."""
        with open(self._path, "rb") as stream:
            stream.seek(place)
            return as_png(_pixels(stream.readline().split(b",")[1]))

    @property
    def _path(self) -> str:
        return os.path.join(self.location, LIST)

    def _face(self, number: int, place: int, cells: list[bytes]) -> AnnotatedFace:
        name = f"{number:05}.png"
        try:
            if len(cells) != len(HEADER):
                raise ValueError(f"{len(cells)} cells instead of {len(HEADER)}")
            if cells[2].strip() not in USAGES.values():
                raise ValueError(f"its Usage {cells[2].decode(errors='replace')!r} is none of {len(USAGES)} known")
            index = class_index(cells[0].decode(errors="replace"), len(EXPRESSIONS))
            _pixels(cells[1])
        except ValueError as error:
            return AnnotatedFace(name=name, place=place, fault=f"{LIST}, line {number}: {error}")
        return AnnotatedFace(name=name, place=place, targets={"expression": np.array(index)})


@dataclass(frozen=True)
class Fer2013Folders:
    """A folder an expression, below ``train``, ``val`` and ``test`` or not.

    Attributes:
        location: holds them.
    """

    location: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that are there; ``all`` of folders of expressions alone."""
        there = tuple(split for split in SETS if self._folder(split))
        if not there and not set(map(str.lower, folders(self.location))) & FOLDERS.keys():
            raise SourceError(self.location, f"holds neither {LIST} nor folders of expressions", REMEDY)
        return there or ("all",)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The expression."""
        return (expressions(EXPRESSIONS),)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by folder and name; see ``Layout``."""
        root = self._folder(split) or ""
        for file in files(os.path.join(self.location, root)):
            yield AnnotatedFace(name=join(root, file), place=join(root, file), fault="in no folder of an expression")
        for folder in folders(os.path.join(self.location, root)):
            expression = FOLDERS.get(folder.lower())
            for file in files(os.path.join(self.location, root, folder)):
                place = join(root, folder, file)
                if expression is None:
                    yield AnnotatedFace(name=place, place=place, fault=f"{folder} is none of {', '.join(FOLDERS)}")
                    continue
                label = np.array(EXPRESSIONS.index(expression))
                yield AnnotatedFace(name=place, place=place, targets={"expression": label})

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _folder(self, split: str) -> str | None:
        return next((name for name in SETS.get(split, ()) if os.path.isdir(os.path.join(self.location, name))), None)


def _pixels(cell: bytes) -> np.ndarray:
    """The grey values (48, 48) uint8 of a cell.

    Raises:
        ValueError: they are not so many, or not between 0 and 255.
    """
    try:
        values = np.array(cell.strip(b' "').split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError("a grey value that is no whole number") from None
    if values.size != SIDE * SIDE:
        raise ValueError(f"{values.size} grey values instead of {SIDE * SIDE}")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("a grey value that is not between 0 and 255")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
