"""CK+ (Lucey et al., "The Extended Cohn-Kanade Dataset", 2010): the peak of each sequence, coded by FACS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.action_units import intensities, intensity, occurrences
from frl.tasks.layouts.affect import class_index, expressions
from frl.tasks.layouts.files import files, first_folder, folders, join, numbers, read_image, read_lines
from frl.tasks.layouts.folds import Folds, numbered_folds
from frl.tasks.layouts.layout import AnnotatedFace
from frl.tasks.layouts.schemes import IBUG68, bounds, points_fault

EXPRESSIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprise")
UNITS = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25, 26, 27, 28, 29),
    *(31, 34, 38, 39, 43),
)
"""Those that the authors count."""

FOLDS = 10
PRESENT = 0
"""The intensity of a unit that is there, but was not graded."""

REMEDY = "Give the folder that holds cohn-kanade-images and FACS; Emotion and Landmarks are used if they are there."


@dataclass(frozen=True)
class CKPlus:
    """``FACS/S005/001/S005_001_00000011_facs.txt`` of the last frame of each sequence: a unit and its intensity a line.

    A unit that is not listed is absent; one of intensity 0 is there but not graded, so that its strength is unknown.
    Folds: every tenth subject, in the order of their numbers.

    Attributes:
        location: holds ``cohn-kanade-images`` and ``FACS``, and perhaps ``Emotion`` and ``Landmarks``.
    """

    location: str

    published = {"all": 593}

    @property
    def splits(self) -> tuple[str, ...]:
        """Ten folds by subject, and ``all``."""
        if not self._subjects or self._images is None:
            raise SourceError(self.location, "lacks FACS/S005 or cohn-kanade-images", REMEDY)
        return self._folds.splits

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """Intensities, which units are there, the expression, and the points."""
        return intensities(UNITS), occurrences(UNITS), expressions(EXPRESSIONS), IBUG68.points()

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The peaks by subject and sequence; see ``Layout``."""
        for subject in self._subjects:
            if self._folds.has(split, subject):
                for sequence in folders(os.path.join(self.location, "FACS", subject)):
                    yield from self._peaks(subject, sequence)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    @cached_property
    def _subjects(self) -> list[str]:
        return folders(os.path.join(self.location, "FACS"))

    @cached_property
    def _folds(self) -> Folds:
        return numbered_folds(self._subjects, FOLDS)

    @property
    def _images(self) -> str | None:
        return first_folder(self.location, "cohn-kanade-images", "extended-cohn-kanade-images")

    def _peaks(self, subject: str, sequence: str) -> Iterator[AnnotatedFace]:
        folder = join("FACS", subject, sequence)
        for file in files(os.path.join(self.location, folder), frozenset({".txt"})):
            if file.endswith("_facs.txt"):
                stem = file.removesuffix("_facs.txt")
                yield self._face(join(subject, sequence, stem), join(folder, file), subject)

    def _face(self, stem: str, facs: str, subject: str) -> AnnotatedFace:
        place = join(self._images or "", f"{stem}.png")
        try:
            strength, present = self._units(facs)
            targets: dict[str, NDArray] = {"action_units": strength, "au_present": present}
            expression = os.path.join(self.location, "Emotion", f"{stem}_emotion.txt")
            if os.path.isfile(expression) and (said := " ".join(read_lines(expression, REMEDY)).split()):
                targets["expression"] = np.array(class_index(said[0], len(EXPRESSIONS)))
            points = self._points(os.path.join(self.location, "Landmarks", f"{stem}_landmarks.txt"))
            if points is not None:
                targets["landmarks"] = points
        except ValueError as error:
            return AnnotatedFace(name=place, place=place, fault=str(error))
        box = None if points is None else bounds(points)
        return AnnotatedFace(name=place, place=place, box=box, subject=subject, targets=targets)

    def _units(self, facs: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How strong each unit is, and whether it is there. Codes that are no units of ``UNITS`` are passed over."""
        strength, present = np.zeros(len(UNITS)), np.zeros(len(UNITS), np.int64)
        for line, text in enumerate(read_lines(os.path.join(self.location, facs), "Fetch it again."), 1):
            if not text.strip():
                continue
            where, said = f"{facs}, line {line}", text.split()
            if len(said) != 2:
                raise ValueError(f"{where}: {len(said)} numbers instead of a unit and its intensity")
            try:
                unit, grade = numbers(said[:1])[0], intensity(said[1])
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if unit in UNITS:
                present[UNITS.index(int(unit))] = 1
                strength[UNITS.index(int(unit))] = np.nan if grade == PRESENT else grade
        return strength, present

    def _points(self, path: str) -> NDArray[np.float64] | None:
        """The 68 points of a face, or None where there is no such file."""
        if not os.path.isfile(path):
            return None
        found = np.array([numbers(line.split()) for line in read_lines(path, REMEDY) if line.strip()], object)
        if found.shape != (IBUG68.count, 2):
            raise ValueError(f"{os.path.basename(path)} is no list of {IBUG68.count} points")
        points = found.astype(np.float64)
        if fault := points_fault(points):
            raise ValueError(f"{os.path.basename(path)} has {fault}")
        return points
