"""Turn a ``.beton`` back into a folder of images."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from frl.beton.partial import partial_path
from frl.beton.reader import Beton
from frl.beton.samples import StoredSample, identity_name, stored_samples
from frl.beton.target_list import TargetList
from frl.errors import WriteError
from frl.files import InUseError, fsync_folder, require_room_for_folder, try_lock
from frl.images.names import SPLITS

MAX_NAME_BYTES = 200
"""Of a file's or folder's name; file systems take 255."""


def extract(beton: Beton, target: str | os.PathLike[str]) -> int:
    """Write every image into ``target``, one folder per identity; those without identity directly into it.

    JPEGs keep their bytes; raw pixels become PNGs. The names come from the file's sidecar, which need not be trusted:
    whatever they are, nothing is written outside. Where two names are the same, the second gets its number as well. The
    folder appears when it is complete. Targets go into ``faces.csv`` and ``faces.targets.json`` there, a list that
    ``frl write`` reads back.

    Returns:
        the number of images.

    Raises:
        BetonError: an image is not what was written.
        WriteError: the folder holds something already, cannot be replaced, or cannot be written.
    """
    target = Path(target)
    require_room_for_folder(target)
    count = 0
    try:
        with _partial_folder(target) as folder:
            folders = _identity_folders(beton, folder)
            with TargetList(folder, beton.targets) as targets:
                for sample in stored_samples(beton):
                    within, person = folders[max(sample.label, -1)]
                    targets.add(_write(within, sample), person, sample.targets)
                    count += 1
    except InUseError as error:
        raise WriteError(target, f"could not be written ({error})", error.remedy) from error
    except OSError as error:
        cause = f"could not be written ({error.strerror or error})"
        raise WriteError(target, cause, "Free space, or check the folder; the temporary one was removed.") from error
    return count


@contextmanager
def _partial_folder(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that takes its name at the end, and goes when the block fails; one left over goes too.

    Raises:
        InUseError: another process is writing it.
    """
    folder = partial_path(target)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not try_lock(lock):
            raise InUseError
        for old in folder.iterdir():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        try:
            yield folder
            os.fsync(lock)
            folder.rename(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        fsync_folder(target.parent)
    finally:
        os.close(lock)


def _identity_folders(beton: Beton, target: Path) -> dict[int, tuple[Path, str | None]]:
    """Make a folder for each identity, by label, and its name; the source's in front goes where all have the same.

    A folder cannot be called by every name, and a list holds those that are text.
    """
    labels = np.unique(beton.labels[beton.labels >= 0]).tolist()
    names = [identity_name(beton, label) or "" for label in labels]
    prefixes = {name.rpartition("/")[0] for name in names}
    prefix = f"{prefixes.pop()}/" if len(prefixes) == 1 else ""
    folders: dict[int, tuple[Path, str | None]] = {-1: (target, None)}
    for label, name in zip(labels, names, strict=True):
        person = name.removeprefix(prefix)
        called = safe_name(person)
        folder = free(target / (f"{called}-{label}" if called in SPLITS else called), label)
        folder.mkdir()
        folders[label] = folder, person if person and is_text(person) else folder.name
    return folders


def is_text(name: str) -> bool:
    """Whether a name can be written in UTF-8."""
    return name.encode("utf-8", "replace").decode() == name


def _write(folder: Path, sample: StoredSample) -> Path:
    stem = safe_name(PurePosixPath(sample.name.replace("\\", "/")).stem)
    suffix, data = (".png", _as_png(sample)) if sample.raw else (".jpg", sample.encoded.data)
    path = free(folder / f"{stem}{suffix}", sample.index)
    path.write_bytes(data)
    return path


def free(path: Path, number: int) -> Path:
    """The path, or where it is taken, one with the number at the end."""
    while path.exists():
        path = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return path


def safe_name(text: str) -> str:
    """One name of a file or folder, neither hidden nor special: letters, digits and ``_-+@=#,.`` and spaces stay."""
    plain = re.sub(r"[^\w\-+@=#,. ]", "_", text).lstrip(". ").rstrip(". ")
    cut = plain.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore")
    return cut or "_"


def _as_png(sample: StoredSample) -> bytes:
    pixels = sample.encoded.reshape(sample.height, sample.width, 3)
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
