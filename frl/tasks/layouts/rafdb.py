"""RAF-DB's basic expressions (Li et al., "Reliable Crowdsourcing and Deep Locality-Preserving Learning", CVPR 2017)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.affect import class_index, expressions
from frl.tasks.layouts.files import first_file, first_folder, join, read_image, read_lines
from frl.tasks.layouts.layout import AnnotatedFace

EXPRESSIONS = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
"""Counted from 1 in the list."""

LIST = "list_patition_label.txt"
BEGINNINGS = ("train_", "test_")
ALIGNED = ("Image/aligned", "basic/Image/aligned", "aligned")

REMEDY = f"Give the folder 'basic', which holds EmoLabel/{LIST} and Image/aligned."


@dataclass(frozen=True)
class RafDb:
    """One list of ``train_00001.jpg 5``, whose names tell the split; images ``Image/aligned/train_00001_aligned.jpg``.

    Attributes:
        location: holds ``EmoLabel`` and ``Image``.
    """

    location: str

    published = {"train": 12271, "test": 3068}

    @property
    def splits(self) -> tuple[str, ...]:
        """Both, for one list names them."""
        if self._list is None or first_folder(self.location, *ALIGNED) is None:
            raise SourceError(self.location, f"lacks {LIST} or the aligned images", REMEDY)
        return tuple(self.published)

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The expression."""
        return (expressions(EXPRESSIONS),)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by line; see ``Layout``."""
        lines = read_lines(os.path.join(self.location, self._list or LIST), REMEDY)
        for number, line in enumerate(lines, 1):
            said = line.split()
            if said and (said[0].startswith(f"{split}_") or not said[0].startswith(BEGINNINGS)):
                yield self._face(f"{LIST}, line {number}", said)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    @property
    def _list(self) -> str | None:
        return first_file(self.location, f"EmoLabel/{LIST}", f"basic/EmoLabel/{LIST}", LIST)

    def _face(self, where: str, said: list[str]) -> AnnotatedFace:
        stem, suffix = os.path.splitext(said[0])
        place = join(first_folder(self.location, *ALIGNED) or "", f"{stem}_aligned{suffix}")
        try:
            if len(said) != 2:
                raise ValueError(f"{len(said)} columns instead of an image and a label")
            if not said[0].startswith(BEGINNINGS):
                raise ValueError(f"{said[0]} begins with neither train_ nor test_")
            index = class_index(said[1], len(EXPRESSIONS), first=1)
        except ValueError as error:
            return AnnotatedFace(name=said[0], place=place, fault=f"{where}: {error}")
        return AnnotatedFace(name=said[0], place=place, targets={"expression": np.array(index)})
