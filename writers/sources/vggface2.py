"""Identity folders, in the layout of VGGFace2 (Cao et al., "VGGFace2", FG 2018), unpacked or in its tars."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from writers.sources.annotations import Face, candidates
from writers.sources.bucket import Bucket, bucket_images
from writers.sources.directory import Directory, entries, is_folder, shows_image
from writers.sources.join import Table
from writers.sources.labels import person
from writers.sources.sidecars import Sidecars, is_sidecar
from writers.sources.source import Candidate, Entry, nothing
from writers.sources.tables import SPLITS
from writers.sources.tar import CompressedTars, Tars


@dataclass(frozen=True)
class VGGFace2:
    """One folder per identity, in ``train/`` and ``test/`` if there are such, else directly in the folder.

    In a tar they may lie deeper: the identity is the folder below the split, or else the folder of the image.

    Attributes:
        store: the folder or the tar, which may be compressed.
        boxes: a table of boxes whose NAME_ID is identity/image without suffix, or None.
        landmarks: a table of landmarks, likewise.

    In a folder without tables, here or in an object store, faces are looked for in ``ID.faces.json`` beside the images
    (see ``Sidecars``).
    """

    store: Directory | Bucket | Tars | CompressedTars
    boxes: Table[Face] | None = None
    landmarks: Table[array[float]] | None = None

    def candidates(self) -> Iterator[Candidate]:
        """List the images by split, identity and path, or in the tar's order; see ``Source``."""
        boxes = self.boxes and self.boxes.join(self.store.location)
        landmarks = self.landmarks and self.landmarks.join(self.store.location)
        beside = self._sidecars and self._sidecars.table.join(self.store.location)
        if isinstance(self.store, Directory):
            images = folder_images(self.store, is_sidecar if self._sidecars else nothing)
        elif isinstance(self.store, Bucket):
            images = bucket_images(self.store, is_sidecar if self._sidecars else nothing)
        else:
            images = tar_images(self.store)
        for entry, identity, path in images:
            key = f"{identity}/{os.path.splitext(path)[0]}" if boxes or landmarks else ""
            faces = boxes.rows(key, entry.path) if boxes and not entry.fault else ()
            if landmarks and not entry.fault and len(faces) < 2:  # the table knows one face a photograph
                for points in landmarks.rows(key, entry.path):
                    faces = ((faces[0] if faces else Face())._replace(points=points),)
            if self._sidecars and beside:
                faces = self._sidecars.faces(entry, beside)
            yield from candidates(entry, faces, person(identity))

    def tables(self) -> Iterator[Table]:
        """The tables of boxes and landmarks; see ``Tabled``."""
        yield from filter(None, (self.boxes, self.landmarks))
        if self._sidecars and self._sidecars.table.rows:
            yield self._sidecars.table

    @cached_property
    def _sidecars(self) -> Sidecars | None:
        known = self.boxes or self.landmarks
        return Sidecars(self.store) if isinstance(self.store, Directory | Bucket) and not known else None


def folder_images(
    folder: Directory, is_read: Callable[[str], bool] = nothing
) -> Iterator[tuple[Entry, str | None, str]]:
    """The images of identity folders: entry, identity and path below the identity; see ``Tree`` for ``is_read``."""
    folder.skipped.clear()
    for prefix in splits(folder.location) or [""]:
        for found in entries(os.path.join(folder.location, prefix), folder.skipped):
            path = prefix + found.name
            if is_folder(found):
                for entry in folder.below(path, is_read):
                    yield entry, found.name, entry.path.removeprefix(f"{path}/")
            elif not is_read(path) and shows_image(found, folder.skipped):
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
    return bool(splits(location)) or (any(map(is_folder, listing)) and not any(shows_image(e) for e in listing))
