"""The faces that a command is to look at: image files, folders of them, or the samples of a ``.beton``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from frl.batch import Batch
from frl.beton import Beton
from frl.beton.manifest import SampleLines, samples_path
from frl.config import AugmentConfig
from frl.config.check import require
from frl.errors import SourceError
from frl.evaluate.images import MAX_PIXELS, image_batches
from frl.images.photo import Photo, UnusableImage
from frl.images.turbojpeg import JpegDecoder

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif")
"""Of the files in a folder that are taken for images; a file that is named is read whatever its suffix."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Faces in their order.

    Attributes:
        names: of each: the path below the folder that was given, or the name in the ``.beton``.
        sides: ``(N, 2)`` float64, width and height in pixels of what is shown to the network, before it is resized.
        corners: ``(N, 2)`` float64, where the upper left corner of that lies in the upright photograph, in pixels.
        labels: ``(N,)`` int64, identities of a ``.beton``; -1 where unknown.
        batches: of one view each.
    """

    names: list[str]
    sides: NDArray[np.float64]
    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    batches: Iterable[Batch]

    def __len__(self) -> int:
        return len(self.names)


def open_faces(
    inputs: Sequence[Path], *, size: int, augment: AugmentConfig, batch_size: int, device: torch.device
) -> Faces:
    """The faces of some files and folders; of a photograph its central square is shown.

    Args:
        inputs: image files and folders of them, or one ``.beton``.
        size: side of the views, in pixels.
        augment: its mean and standard deviation normalise them.
        batch_size: faces in a batch.
        device: where the batches are delivered.

    Raises:
        ConfigError: if nothing is given, or a ``.beton`` is not alone.
        SourceError: if a file is missing or no image, or a folder holds none.
        BetonError: if the ``.beton`` is broken.
    """
    require(len(inputs) > 0, "images", "nothing to look at was given", "Name images, a folder, or a .beton.")
    betons = [path for path in inputs if path.suffix == ".beton"]
    if betons:
        remedy = "Give it alone, and call the command once for each."
        require(len(inputs) == 1, "images", f"{betons[0]} is not alone", remedy)
        return _of_beton(betons[0], size, augment, batch_size, device)
    listed = list(_images(inputs))
    squares = np.array([_square(path) for path, _ in listed], np.float64)
    return Faces(
        names=[name for _, name in listed],
        sides=squares[:, [2, 2]],
        corners=squares[:, :2],
        labels=np.full(len(listed), -1),
        batches=image_batches(
            [path for path, _ in listed], size=size, augment=augment, batch_size=batch_size, device=device
        ),
    )


def _of_beton(path: Path, size: int, augment: AugmentConfig, batch_size: int, device: torch.device) -> Faces:
    from pipelines.whole_images import WholeImages  # takes seconds, which image files do not need

    images = WholeImages(path, size=size, batch_size=batch_size, device=device, augment=augment)
    beton = images.beton
    assert isinstance(beton, Beton)  # the path ends so
    return Faces(
        names=_names(beton),
        sides=np.stack([beton.widths, beton.heights], axis=1).astype(np.float64),
        corners=np.zeros((len(beton), 2)),
        labels=beton.labels,
        batches=images,
    )


def _names(beton: Beton) -> list[str]:
    """As the writer's list beside the file has them; numbers where there is none."""
    lines = SampleLines(samples_path(beton.path))
    if beton.manifest is None or not samples_path(beton.path).is_file():
        return [f"{index:08d}" for index in range(len(beton))]
    return [line.name for line, _ in zip(lines, range(len(beton)), strict=False)]


def _images(inputs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files and their names; those of a folder in the order of their paths."""
    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not found:
                raise SourceError(path, "holds no images", f"Known suffixes are {', '.join(SUFFIXES)}.")
            yield from ((file, file.relative_to(path).as_posix()) for file in found)
        elif path.exists():
            yield path, str(path)
        else:
            raise SourceError(path, "no such file or folder", "Check the path.")


def _square(path: Path) -> tuple[int, int, int]:
    """Left, top and side of the central square of an upright photograph, as ``load_image`` cuts it."""
    try:
        photo = Photo(path.read_bytes(), JpegDecoder(), MAX_PIXELS)
    except UnusableImage as error:
        raise SourceError(path, f"cannot be decoded ({error})", "Replace or remove the file.") from error
    side = min(photo.width, photo.height)
    return (photo.width - side) // 2, (photo.height - side) // 2, side
