"""DISFA (Mavadati et al., "A Spontaneous Facial Action Intensity Database", 2013): twelve action units a frame."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from frl.beton.targets import TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.action_units import intensities, intensity
from frl.tasks.layouts.files import files, first_folder, folders, join, read_image, read_lines
from frl.tasks.layouts.folds import Folds
from frl.tasks.layouts.frames import Frames, frames
from frl.tasks.layouts.layout import AnnotatedFace

UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
TESTED = (
    ("002", "010", "001", "026", "027", "032", "030", "009", "016"),
    ("013", "018", "011", "028", "012", "006", "031", "021", "024"),
    ("003", "029", "023", "025", "008", "005", "007", "017", "004"),
)
"""The subjects of each test part, as most papers since Zhao et al. (2015) part them."""

FOLDS = Folds([frozenset(f"SN{number}" for number in part) for part in TESTED])
LABELS = "ActionUnit_Labels"
IMAGES = ("img", "Images", "images", "Frames", "frames", "Video_LeftCamera", "Video_RightCamera")
"""Where the frames of ``SN001`` may lie, in a folder of that name."""

REMEDY = (
    f"Give the folder that holds {LABELS} and images/SN001/0.png and so on; of the videos: "
    "ffmpeg -i LeftVideoSN001_comp.avi -start_number 0 images/SN001/%d.png."
)


@dataclass(frozen=True)
class Disfa:
    """``ActionUnit_Labels/SN001/SN001_au1.txt`` with lines ``frame,intensity``, from frame 1; the frames as images.

    Programs that unpack videos count from 0 or from 1: if the images of any subject begin with 0, image N shows frame
    N + 1 for all subjects.

    Attributes:
        location: holds the labels, and the images in ``images/SN001`` and so on.
    """

    location: str
    _without: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """Three folds by subject, and ``all``."""
        if not self._subjects:
            raise SourceError(self.location, f"holds no {LABELS}/SN001", REMEDY)
        if self._images is None:
            raise SourceError(self.location, f"holds no frames beside {LABELS}", REMEDY)
        return FOLDS.splits

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The intensities."""
        return (intensities(UNITS),)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The frames by subject and number; see ``Layout``."""
        self._without.clear()
        for subject in self._subjects:
            if not FOLDS.knows(subject) and split != "all":
                yield AnnotatedFace(name=subject, fault=f"the published folds do not know {subject}; {LABELS} has it")
            elif FOLDS.has(split, subject):
                yield from self._frames(subject)

    def remarks(self) -> Iterator[str]:
        """How many labelled frames have no image: people leave out most, for they are alike. See ``Remarking``."""
        if count := self._without.total():
            subjects = sum(map(bool, self._without.values()))
            where = os.path.join(self.location, LABELS)
            yield f"{where}: {count:,} labelled frames of {subjects} subjects have no image in {self._images}"

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    @cached_property
    def _subjects(self) -> list[str]:
        return [name for name in folders(os.path.join(self.location, LABELS)) if name.startswith("SN")]

    @cached_property
    def _images(self) -> str | None:
        candidates = (name for name in IMAGES if folders(os.path.join(self.location, name)))
        return first_folder(self.location, *candidates)

    @cached_property
    def _first(self) -> int:
        """How the images count the first frame."""
        found = (self._numbered(subject) for subject in self._subjects)
        return 0 if any(0 in images or 0 in disputed for images, _, disputed in found) else 1

    def _numbered(self, subject: str) -> Frames:
        return frames(os.path.join(self.location, self._images or "", subject))

    def _frames(self, subject: str) -> Iterator[AnnotatedFace]:
        images, stray, disputed = self._numbered(subject)
        if not images and not stray:
            yield AnnotatedFace(name=subject, fault=f"there are no images of {subject} in {self._images}")
            return
        folder = join(self._images or "", subject)
        for file, reason in stray.items():
            yield AnnotatedFace(name=join(folder, file), place=join(folder, file), fault=reason)
        labels, faults = self._labels(subject)
        there = {number - self._first + 1 for number in images.keys() | disputed}
        self._without[subject] = len(labels.keys() - there)
        for number, file in images.items():
            frame, place = number - self._first + 1, join(folder, file)
            if fault := faults.get(frame):
                yield AnnotatedFace(name=place, place=place, fault=fault)
            elif frame not in labels:
                yield AnnotatedFace(name=place, place=place, fault=f"{LABELS}/{subject} says nothing of frame {frame}")
            else:
                row = {"action_units": labels[frame]}
                yield AnnotatedFace(name=place, place=place, subject=subject, targets=row)

    def _labels(self, subject: str) -> tuple[dict[int, np.ndarray], dict[int, str]]:
        """By frame, the intensities of all units, NaN where one is not coded; and what is wrong with a frame's."""
        folder = os.path.join(self.location, LABELS, subject)
        names = {name.lower(): name for name in files(folder, frozenset({".txt"}))}
        labels: dict[int, np.ndarray] = {}
        faults: dict[int, str] = {}
        for column, unit in enumerate(UNITS):
            file = names.get(f"{subject}_au{unit}.txt".lower())
            if file is None:
                raise SourceError(folder, f"holds no {subject}_au{unit}.txt", "Fetch it again.")
            for line, text in enumerate(read_lines(os.path.join(folder, file), "Fetch it again."), 1):
                if not text.strip():
                    continue
                said = text.split(",")
                if len(said) != 2 or not said[0].strip().isdecimal():
                    cause = f"is {text.strip()[:40]!r}, not frame,intensity"
                    raise SourceError(f"{os.path.join(folder, file)}, line {line}", cause, "Fetch it again.")
                frame = int(said[0])
                try:
                    row = labels.setdefault(frame, np.full(len(UNITS), np.nan))
                    row[column] = intensity(said[1])
                except ValueError as error:
                    faults.setdefault(frame, f"{file}, line {line}: {error}")
        return labels, faults
