"""The tables of a command: each is read once, whichever of its sources use it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from frl import store
from frl.images.names import SPLITS
from writers.sources.annotations import Face, read_boxes, read_landmarks
from writers.sources.files import is_file
from writers.sources.join import Table

Row = TypeVar("Row")


class Tables:
    """Tables of boxes and landmarks.

    Args:
        given: the CSV of boxes that the user names, or None for those that lie beside VGGFace2's images.
    """

    def __init__(self, given: Path | None = None) -> None:
        self._given = given
        self._read: dict[tuple[Path, ...], Table] = {}

    @cached_property
    def boxes(self) -> Table[Face] | None:
        """The boxes that the user names.

        Raises:
            SourceError: if they cannot be read.
        """
        return None if self._given is None else self._once(read_boxes, self._given)

    def boxes_at(self, location: str) -> Table[Face] | None:
        """The boxes that the user names, else those in ``loose_bb_*.csv`` beside a folder's images or a tar."""
        return self.boxes or self._beside(location, "bb", read_boxes)

    def landmarks_at(self, location: str) -> Table[array[float]] | None:
        """The landmarks in ``loose_landmark_*.csv``, likewise."""
        return self._beside(location, "landmark", read_landmarks)

    def _beside(self, location: str, kind: str, read: Callable[..., Table[Row]]) -> Table[Row] | None:
        inside = Path(location).is_dir() or (store.address(location) and not is_file(location))
        root = Path(location) if inside else Path(location).parent
        names = [f"loose_{kind}_{split}.csv" for split in SPLITS]
        paths = [folder / name for folder in (root, root / "bb_landmark") for name in names]
        found = tuple(filter(is_file, paths))
        return self._once(read, *found) if found else None

    def _once(self, read: Callable[..., Table[Row]], *paths: Path) -> Table[Row]:
        if paths not in self._read:
            self._read[paths] = read(*paths)
        return self._read[paths]
