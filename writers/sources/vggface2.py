"""Identity folders, in the layout of VGGFace2 (Cao et al., "VGGFace2", FG 2018)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from writers.sources.boxes import read_boxes
from writers.sources.source import Box, Candidate
from writers.sources.walk import entries, image_paths, is_image

SPLITS = ("test", "train")


@dataclass(frozen=True)
class VGGFace2:
    """One folder per identity, in ``train/`` and ``test/`` if there are such, else directly in ``location``.

    Attributes:
        location: the folder.
        table: a CSV of boxes whose NAME_ID is identity/image without suffix. None: ``loose_bb_train.csv`` and
            ``loose_bb_test.csv``, where they lie in ``location`` or in its ``bb_landmark/``.
    """

    location: str
    table: Path | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the images by split, identity and path; see ``Source``."""
        boxes = self._boxes()
        for prefix in splits(self.location) or [""]:
            for entry in entries(os.path.join(self.location, prefix)):
                if entry.is_dir():
                    for path in image_paths(entry.path):
                        key = f"{entry.name}/{os.path.splitext(path)[0]}"
                        yield Candidate(f"{prefix}{entry.name}/{path}", entry.name, boxes.get(key))
                elif is_image(entry):
                    yield Candidate(prefix + entry.name)

    def read(self, candidate: Candidate) -> bytes:
        """The file's bytes; see ``Source``."""
        with open(os.path.join(self.location, candidate.name), "rb") as stream:
            return stream.read()

    def _boxes(self) -> dict[str, Box]:
        if self.table:
            return read_boxes(self.table)
        root = Path(self.location)
        places = [folder / f"loose_bb_{split}.csv" for folder in (root, root / "bb_landmark") for split in SPLITS]
        boxes: dict[str, Box] = {}
        for place in filter(Path.is_file, places):
            boxes |= read_boxes(place)
        return boxes


def splits(location: str) -> list[str]:
    """Which of ``train/`` and ``test/`` a folder holds, with the slash."""
    return [f"{split}/" for split in SPLITS if os.path.isdir(os.path.join(location, split))]


def has_identity_folders(location: str) -> bool:
    """Whether a folder looks like one of identities: splits, or sub-folders and no image beside them.

    Raises:
        SourceError: if it cannot be listed.
    """
    listing = entries(location)
    return bool(splits(location)) or (any(e.is_dir() for e in listing) and not any(is_image(e) for e in listing))
