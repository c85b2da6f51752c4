"""AffectNet (Mollahosseini et al., 2017) as it was first published: two CSV lists, and images in numbered folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.affect import VALENCE_AROUSAL, class_index, expressions, valence_arousal
from frl.tasks.layouts.files import first_file, first_folder, join, numbers, read_image, read_rows
from frl.tasks.layouts.layout import AnnotatedFace, Rectangle
from frl.tasks.layouts.schemes import IBUG68, points_fault

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
OTHERS = ("none", "uncertain", "no face")
"""What follows the expressions: such images have no label that could be learnt."""

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
)
LISTS = {"train": "training.csv", "val": "validation.csv"}
FOLDERS = ("Manually_Annotated_file_lists", "")

REMEDY = (
    "Give the folder that holds Manually_Annotated_file_lists and Manually_Annotated_Images, or train_set and val_set."
)


@dataclass(frozen=True)
class AffectNet:
    """The lists ``training.csv`` and ``validation.csv``, which may lack their header.

    Attributes:
        location: holds ``Manually_Annotated_file_lists`` and ``Manually_Annotated_Images``, or the lists themselves.
    """

    location: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Those whose list is there."""
        there = tuple(split for split in LISTS if self._list(split))
        if not there:
            raise SourceError(self.location, "holds neither training.csv nor validation.csv", REMEDY)
        return there

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """Expression, valence and arousal, and the points, which were found by a program."""
        return expressions(EXPRESSIONS), VALENCE_AROUSAL, IBUG68.points()

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by line; see ``Layout``."""
        path = self._list(split)
        if path is None:
            raise SourceError(self.location, f"holds no {LISTS[split]}", REMEDY)
        root = first_folder(self.location, "Manually_Annotated_Images", "Manually_Annotated") or ""
        columns = list(COLUMNS)
        for number, (line, row) in enumerate(read_rows(os.path.join(self.location, path), REMEDY)):
            if number == 0 and COLUMNS[0] in row:
                columns = row
                if missing := [column for column in COLUMNS if column not in columns]:
                    raise SourceError(f"{path}, line {line}", f"lacks the column {missing[0]}", "Fetch it again.")
                continue
            yield self._face(f"{os.path.basename(path)}, line {line}", row, columns, root)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _list(self, split: str) -> str | None:
        return first_file(self.location, *(join(folder, LISTS[split]) for folder in FOLDERS))

    def _face(self, where: str, row: list[str], columns: list[str], root: str) -> AnnotatedFace:
        name, place = row[0], join(root, row[0])
        try:
            if len(row) != len(columns):
                raise ValueError(f"{len(row)} cells instead of {len(columns)}")
            cells = dict(zip(columns, row, strict=True))
            name = cells[COLUMNS[0]]
            place = join(root, name)
            index = class_index(cells["expression"], len(EXPRESSIONS) + len(OTHERS))
            if index >= len(EXPRESSIONS):
                raise ValueError(f"annotated as {OTHERS[index - len(EXPRESSIONS)]!r} (expression {index})")
            left, top, width, height = numbers([cells[f"face_{side}"] for side in ("x", "y", "width", "height")])
            if not (width > 0 and height > 0):
                raise ValueError("a face without an area")
            points = np.array(numbers(cells["facial_landmarks"].split(";")))
            if points.size != 2 * IBUG68.count:
                raise ValueError(f"{points.size} numbers of landmarks instead of {2 * IBUG68.count}")
            affect = valence_arousal(cells["valence"], cells["arousal"])
            if fault := points_fault(points):
                raise ValueError(fault)
        except ValueError as error:
            return AnnotatedFace(name=name, place=place, fault=f"{where}: {error}")
        targets = {"expression": np.array(index), "affect": affect, "landmarks": points.reshape(-1, 2)}
        return AnnotatedFace(name=name, place=place, box=Rectangle(left, top, width, height), targets=targets)
