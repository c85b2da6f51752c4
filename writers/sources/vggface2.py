"""Identity folders, in the layout of VGGFace2 (Cao et al., "VGGFace2", FG 2018), unpacked or in its tars."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from frl.errors import SourceError
from frl.images.names import SPLITS
from writers.sources.annotations import Face, candidates
from writers.sources.bucket import Bucket, bucket_images
from writers.sources.directory import Directory, entries, is_folder, shows_image
from writers.sources.join import Table
from writers.sources.labels import person
from writers.sources.sidecars import Sidecars, is_sidecar
from writers.sources.skipped import OUTSIDE, UNREADABLE, Skipped
from writers.sources.source import Candidate, Entry, nothing
from writers.sources.tar import CompressedTars, Tars


@dataclass(frozen=True)
class VGGFace2:
    """One folder per identity, in ``train/``, ``val/`` and ``test/`` if there is such, else directly in the folder.

    In a tar they may lie deeper: the identity is the folder below the split, or else the folder of the image. Images
    beside the splits are skipped.

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
    parts = splits(folder.location)
    for prefix in parts or [""]:
        for found in entries(os.path.join(folder.location, prefix), folder.skipped):
            path = prefix + found.name
            if is_folder(found):
                for entry in folder.below(path, is_read):
                    yield entry, found.name, entry.path.removeprefix(f"{path}/")
            elif not is_read(path) and shows_image(found, folder.skipped):
                yield Entry(path, path), None, found.name
    if parts:
        _skip_others(folder, is_read)


def _skip_others(folder: Directory, is_read: Callable[[str], bool]) -> None:
    """Count the images beside the splits; what else lies there is nobody's concern, even if it cannot be listed."""
    others = Skipped()
    for found in entries(folder.location):
        if not is_folder(found):
            images = [found.name] if not is_read(found.name) and shows_image(found, others) else []
        elif found.name in SPLITS:
            continue
        else:
            try:
                images = [entry.path for entry in Directory(found.path).entries(is_read)]
            except SourceError:
                images = []
                folder.skipped.add(UNREADABLE, found.name)
        for image in images:
            folder.skipped.add(OUTSIDE, image)


def tar_images(tar: Tars | CompressedTars) -> Iterator[tuple[Entry, str | None, str]]:
    """The images of identity folders in a tar: entry, identity and path below the identity.

    Only at its end it is known whether a tar has splits: what is in none waits until then, on the disk.
    """
    has_splits, others = False, 0
    with tempfile.TemporaryFile() as waiting:
        for entry in tar.entries():
            *folders, file = entry.path.split("/")
            split = next((i for i, folder in enumerate(folders) if folder in SPLITS), None)
            if split is None:
                pickle.dump(entry, waiting, pickle.HIGHEST_PROTOCOL)
                others += 1
            elif split + 1 < len(folders):
                has_splits = True
                yield entry, folders[split + 1], "/".join([*folders[split + 2 :], file])
            else:
                yield entry, None, file
        waiting.seek(0)
        for _ in range(others):
            entry = pickle.load(waiting)
            folder, file = os.path.split(entry.path)
            if has_splits and not entry.fault:
                tar.skipped.add(OUTSIDE, entry.path)
            else:
                yield entry, os.path.basename(folder) or None, file


def splits(location: str) -> list[str]:
    """Which of ``test/``, ``train/`` and ``val/`` a folder holds, with the slash."""
    return [f"{split}/" for split in SPLITS if os.path.isdir(os.path.join(location, split))]


def has_identity_folders(location: str) -> bool:
    """Whether a folder looks like one of identities: splits, or sub-folders and no image beside them.

    Raises:
        SourceError: if it cannot be listed.
    """
    listing = entries(location)
    return bool(splits(location)) or (any(map(is_folder, listing)) and not any(shows_image(e) for e in listing))
