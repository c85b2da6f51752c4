"""BP4D (Zhang et al., "BP4D-Spontaneous", 2014): which action units are there, and of five how strong, a frame."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.action_units import intensities, intensity, occurrence, occurrences
from frl.tasks.layouts.files import files, first_folder, folders, join, read_image, read_rows
from frl.tasks.layouts.folds import Folds, named_sets
from frl.tasks.layouts.frames import frames
from frl.tasks.layouts.layout import AnnotatedFace

OCCURRENCES = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
"""Those that papers detect."""

INTENSITIES = (6, 10, 12, 14, 17)
SUBJECTS = (*(f"F{i:03}" for i in range(1, 24)), *(f"M{i:03}" for i in range(1, 19)))
FIRST = frozenset({
    *("F001", "F002", "F008", "F009", "F010", "F016", "F018", "F023"),
    *("M001", "M004", "M007", "M008", "M012", "M014"),
})  # fmt: skip
SECOND = frozenset({
    *("F003", "F005", "F011", "F013", "F020", "F022"),
    *("M002", "M005", "M010", "M011", "M013", "M016", "M017", "M018"),
})  # fmt: skip
FOLDS = Folds([FIRST, SECOND, frozenset(SUBJECTS) - FIRST - SECOND])
FERA = {
    "fera-train": frozenset(name for name in SUBJECTS if int(name[1:]) % 2),
    "fera-devel": frozenset(name for name in SUBJECTS if int(name[1:]) % 2 == 0),
}
"""The parts of the FERA 2015 challenge (Valstar et al., 2015), by which intensity is judged: odd and even numbers."""

CODES = "AUCoding"
IMAGES = ("img", "Images", "images", "Sequences", "2D+3D", "BP4D-training", "")
REMEDY = f"Give the folder that holds {CODES}/AU_OCC, {CODES}/AU_INT and images/F001/T1/0001.jpg and so on."


@dataclass(frozen=True)
class Bp4d:
    """``AUCoding/AU_OCC/F001_T1.csv``, whose header numbers the units and whose first column is the frame;
    ``AUCoding/AU_INT/AU06/F001_T1_AU06.csv`` without a header, ``frame,intensity``. 9 and 999 are not coded.

    Attributes:
        location: holds the codes, and the images in ``images/F001/T1`` and so on, called after their frames.
    """

    location: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Three folds by subject, the parts of FERA 2015, and ``all``."""
        if not self._videos:
            raise SourceError(self.location, f"holds no {CODES}/AU_OCC/F001_T1.csv", REMEDY)
        if self._images is None:
            raise SourceError(self.location, f"holds no images/F001/T1 beside {CODES}", REMEDY)
        return (*FOLDS.splits[:-1], *FERA, "all")

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """Five intensities, and which of twelve units are there."""
        return intensities(INTENSITIES), occurrences(OCCURRENCES)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The coded frames by subject, task and number; see ``Layout``."""
        for subject, task in self._videos:
            if subject not in SUBJECTS and split != "all":
                where = f"{CODES}/AU_OCC/{subject}_{task}.csv"
                yield AnnotatedFace(name=f"{subject}/{task}", fault=f"no published fold knows {subject}; {where} does")
            elif named_sets(FERA, split, subject) if split in FERA else FOLDS.has(split, subject):
                yield from self._frames(subject, task)

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    @cached_property
    def _videos(self) -> list[tuple[str, str]]:
        """Subject and task of each coded video."""
        found = files(os.path.join(self.location, CODES, "AU_OCC"), frozenset({".csv"}))
        return [(name[:-4].partition("_")[0], name[:-4].partition("_")[2]) for name in found]

    @cached_property
    def _images(self) -> str | None:
        subjects = {subject for subject, _ in self._videos}
        candidates = (name for name in IMAGES if subjects & set(folders(os.path.join(self.location, name))))
        return first_folder(self.location, *candidates)

    def _frames(self, subject: str, task: str) -> Iterator[AnnotatedFace]:
        folder = join(self._images or "", subject, task)
        images, stray, disputed = frames(os.path.join(self.location, folder))
        for file, reason in stray.items():
            yield AnnotatedFace(name=join(folder, file), place=join(folder, file), fault=reason)
        if not images and not stray:
            yield AnnotatedFace(name=f"{subject}/{task}", fault=f"there are no images in {folder}")
            return
        present, faults = self._occurrences(subject, task)
        strength = {unit: self._intensities(subject, task, unit, faults) for unit in INTENSITIES}
        for frame, known in present.items():
            if frame in disputed:
                continue
            if frame not in images:
                name = join(folder, f"(frame {frame})")
                yield AnnotatedFace(name=name, fault=f"there is no image of frame {frame} in {folder}")
                continue
            place = join(folder, images[frame])
            if fault := faults.get(frame):
                yield AnnotatedFace(name=place, place=place, fault=fault)
                continue
            graded = np.array([strength[unit].get(frame, np.nan) for unit in INTENSITIES])
            targets: dict[str, Any] = {"action_units": graded, "au_present": known}
            yield AnnotatedFace(name=place, place=place, subject=subject, targets=targets)

    def _occurrences(self, subject: str, task: str) -> tuple[dict[int, np.ndarray], dict[int, str]]:
        """By frame, which units are there; and what is wrong with a frame's codes."""
        path = os.path.join(self.location, CODES, "AU_OCC", f"{subject}_{task}.csv")
        rows = read_rows(path, "Fetch it again.")
        line, header = next(rows, (1, []))
        columns = {cell.strip().upper().removeprefix("AU").lstrip("0"): i for i, cell in enumerate(header) if i}
        if missing := [unit for unit in OCCURRENCES if str(unit) not in columns]:
            raise SourceError(f"{path}, line {line}", f"has no column of AU {missing[0]}", "Fetch it again.")
        found: dict[int, np.ndarray] = {}
        faults: dict[int, str] = {}
        for line, row in rows:
            where = f"{os.path.basename(path)}, line {line}"
            frame = _frame(path, line, row, len(header))
            try:
                found[frame] = np.array([occurrence(row[columns[str(unit)]]) for unit in OCCURRENCES], np.int64)
            except ValueError as error:
                found[frame], faults[frame] = np.full(len(OCCURRENCES), -1), f"{where}: {error}"
        return found, faults

    def _intensities(self, subject: str, task: str, unit: int, faults: dict[int, str]) -> dict[int, float]:
        """By frame, how strong a unit is; empty where nobody graded it."""
        path = os.path.join(self.location, CODES, "AU_INT", f"AU{unit:02}", f"{subject}_{task}_AU{unit:02}.csv")
        found = {}
        for line, row in read_rows(path, "Fetch it again.") if os.path.isfile(path) else ():
            frame = _frame(path, line, row, 2)
            try:
                found[frame] = intensity(row[1])
            except ValueError as error:
                faults.setdefault(frame, f"{os.path.basename(path)}, line {line}: {error}")
        return found


def _frame(path: str, line: int, row: Sequence[str], cells: int) -> int:
    """The frame of a row.

    Raises:
        SourceError: the row has another form.
    """
    if len(row) != cells or not row[0].strip().isdecimal():
        cause = f"has {len(row)} cells and begins with {row[0][:20]!r}, not a frame and {cells - 1} values"
        raise SourceError(f"{path}, line {line}", cause, "Fetch it again.")
    return int(row[0])
