"""Identity folders, in the layout of VGGFace2 (Cao et al., "VGGFace2", FG 2018), unpacked or in its tars."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from writers.sources.annotations import Face, candidates, read_boxes, read_landmarks, with_landmarks
from writers.sources.directory import Directory, entries, shows_image
from writers.sources.source import Candidate, Entry
from writers.sources.tar import CompressedTars, Tars

SPLITS = ("test", "train")


@dataclass(frozen=True)
class VGGFace2:
    """One folder per identity, in ``train/`` and ``test/`` if there are such, else directly in the folder.

    In a tar they may lie deeper: the identity is the folder below the split, or else the folder of the image.

    Attributes:
        store: the folder or the tar, which may be compressed.
        table: a CSV of boxes whose NAME_ID is identity/image without suffix. None: ``loose_bb_train.csv`` and
            ``loose_bb_test.csv``, where they lie beside the images or in ``bb_landmark/`` there. Likewise
            ``loose_landmark_*.csv`` are found.
    """

    store: Directory | Tars | CompressedTars
    table: Path | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the images by split, identity and path, or in the tar's order; see ``Source``."""
        boxes, landmarks = self._boxes(), self._landmarks()
        images = folder_images(self.store) if isinstance(self.store, Directory) else tar_images(self.store)
        for entry, identity, path in images:
            key = f"{identity}/{os.path.splitext(path)[0]}"
            faces = with_landmarks(boxes.get(key, ()), landmarks.get(key))
            yield from candidates(entry, faces, identity)

    def _boxes(self) -> dict[str, tuple[Face, ...]]:
        if self.table:
            return read_boxes(self.table)
        return {name: faces for table in self._tables("bb") for name, faces in read_boxes(table).items()}

    def _landmarks(self) -> dict[str, array[float]]:
        return {name: points for table in self._tables("landmark") for name, points in read_landmarks(table).items()}

    def _tables(self, kind: str) -> Iterator[Path]:
        location = Path(self.store.location)
        root = location if location.is_dir() else location.parent
        for folder in (root, root / "bb_landmark"):
            yield from filter(Path.is_file, (folder / f"loose_{kind}_{split}.csv" for split in SPLITS))


def folder_images(folder: Directory) -> Iterator[tuple[Entry, str | None, str]]:
    """The images of identity folders: entry, identity and path below the identity."""
    folder.skipped.clear()
    for prefix in splits(folder.location) or [""]:
        for found in entries(os.path.join(folder.location, prefix), folder.skipped):
            path = prefix + found.name
            if found.is_dir():
                for entry in folder.below(path):
                    yield entry, found.name, entry.path.removeprefix(f"{path}/")
            elif shows_image(found, folder.skipped):
                yield Entry(path, path), None, found.name


def tar_images(tar: Tars | CompressedTars) -> Iterator[tuple[Entry, str | None, str]]:
    """The images of identity folders in a tar: entry, identity and path below the identity."""
    for entry in tar.entries():
        *folders, file = entry.path.split("/")
        below = next((i + 1 for i, folder in enumerate(folders) if folder in SPLITS), len(folders) - 1)
        if 0 <= below < len(folders):
            yield entry, folders[below], "/".join([*folders[below + 1 :], file])
        else:
            yield entry, None, file


def splits(location: str) -> list[str]:
    """Which of ``train/`` and ``test/`` a folder holds, with the slash."""
    return [f"{split}/" for split in SPLITS if os.path.isdir(os.path.join(location, split))]


def has_identity_folders(location: str) -> bool:
    """Whether a folder looks like one of identities: splits, or sub-folders and no image beside them.

    Raises:
        SourceError: if it cannot be listed.
    """
    listing = entries(location)
    return bool(splits(location)) or (any(e.is_dir() for e in listing) and not any(shows_image(e) for e in listing))
