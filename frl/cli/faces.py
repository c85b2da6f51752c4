"""The faces that a command is to look at: image files, folders of them, or the samples of a ``.beton``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from frl.batch import Batch
from frl.beton import Beton
from frl.beton.manifest import SampleLines, samples_path
from frl.beton.samples import lines_fault
from frl.config import AugmentConfig
from frl.config.check import require, require_least, require_new_file
from frl.config.coerce import coerce
from frl.errors import BetonError, SourceError
from frl.evaluate.images import Square, image_batches, refuse_special
from frl.printable import printable
from frl.runtime.distributed import pick_device
from writers.sources.directory import Directory
from writers.sources.skipped import SPECIAL

SHOWN = 3
"""Files that are named of those left out."""


@dataclass(frozen=True)
class LookConfig:
    """What a network is to say of faces: the options of every command that writes a table of it."""

    weights: tyro.conf.Positional[Path]
    """The network."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Images, of which the central square is shown, folders of them, or one .beton."""
    out: Path | None = None
    """File to write, in place of an older one where it is not named."""
    batch_size: int = 64
    """Images in a batch."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    overwrite: bool = False
    """Replace the file if it exists."""

    usual: ClassVar[str]
    """What the file is called that is not named."""
    suffixes: ClassVar[tuple[str, ...]]
    """Of the files that can be written."""

    def __post_init__(self) -> None:
        coerce(self)

    @property
    def table(self) -> Path:
        """The file to write."""
        return self.out or Path(self.usual)

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        known = self.table.suffix.lower() in self.suffixes
        require(known, "out", f"{self.table} is none of {', '.join(self.suffixes)}", "Name one of them.")
        require_new_file(self.table, "out", overwrite=self.overwrite or self.out is None)
        require_least("batch_size", self.batch_size, 1, "The default is 64.")

    def opened(self, size: int, augment: AugmentConfig) -> tuple[Faces, torch.device]:
        """The faces, and the device where they are delivered; arguments and errors are those of ``open_faces``."""
        device = pick_device(self.device, local_rank=0)
        return open_faces(self.images, size=size, augment=augment, batch_size=self.batch_size, device=device), device


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Faces in their order.

    Attributes:
        names: of each: the path below the folder that was given, after the end of that one's path where it is not the
            only input; the path of a file that was given; or the name in the ``.beton``.
        sides: ``(N, 2)`` float64, width and height in pixels of what is shown to the network, before it is resized; of
            photographs NaN until their batch has been delivered.
        corners: ``(N, 2)`` float64, where the upper left corner of that lies in the upright photograph, in pixels;
            likewise.
        labels: ``(N,)`` int64, identities of a ``.beton``; -1 where unknown.
        batches: of one view each.
        left_out: why, of each file of a folder that turned out not to be usable.
    """

    names: list[str]
    sides: NDArray[np.float64]
    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    batches: Iterable[Batch]
    left_out: list[SourceError] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def delivered(self) -> Faces:
        """Those that were in the batches, which have all been delivered; says on stderr which were left out."""
        if self.left_out:
            shown = "; ".join(f"{error.subject}: {error.cause}" for error in self.left_out[:SHOWN])
            more = "; ..." if len(self.left_out) > SHOWN else ""
            print(printable(f"left out: {len(self.left_out):,} images ({shown}{more})"), file=sys.stderr)
        kept = np.flatnonzero(~np.isnan(self.sides[:, 0]))
        return replace(
            self,
            names=[self.names[index] for index in kept],
            sides=self.sides[kept],
            corners=self.corners[kept],
            labels=self.labels[kept],
        )


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
        SourceError: if a file is missing, no regular one or given twice, or a folder holds no image or cannot be
            listed. Of the batches: if a file that is named is no image, or none in the folders is usable; others there
            are left out.
        BetonError: if the ``.beton`` is broken.
    """
    require(len(inputs) > 0, "images", "nothing to look at was given", "Name images, a folder, or a .beton.")
    betons = [path for path in inputs if path.suffix == ".beton"]
    if betons:
        remedy = "Give it alone, and call the command once for each."
        require(len(inputs) == 1, "images", f"{betons[0]} is not alone", remedy)
        return _of_beton(betons[0], size, augment, batch_size, device)
    listed = list(_images(inputs))
    sides, corners = np.full((2, len(listed), 2), np.nan)

    def keep(index: int, square: Square) -> None:
        sides[index], corners[index] = square.side, (square.left, square.top)

    left_out: list[SourceError] = []

    def leave_out(index: int, error: SourceError) -> None:
        if listed[index][0] in inputs:
            raise error
        left_out.append(error)
        if len(left_out) == len(listed):
            raise SourceError(
                inputs[0], f"holds no usable image ({error.cause})", "Name a folder of images."
            ) from error

    return Faces(
        names=[name for _, name in listed],
        sides=sides,
        corners=corners,
        labels=np.full(len(listed), -1),
        batches=image_batches(
            [path for path, _ in listed],
            size=size,
            augment=augment,
            batch_size=batch_size,
            device=device,
            on_square=keep,
            on_unusable=leave_out,
        ),
        left_out=left_out,
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
    """As the writer's list beside the file has them; numbers where there is none.

    Raises:
        BetonError: if the list is not this file's.
    """
    if beton.manifest is None or not samples_path(beton.home).is_file():
        return [f"{index:08d}" for index in range(len(beton))]
    if fault := lines_fault(beton, beton.manifest):
        raise BetonError(beton.path, fault, "Put the list back that was written with it, or remove both.")
    return [line.name for line in SampleLines(samples_path(beton.home))]


def _images(inputs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files and their names, none of which comes twice."""
    ends, seen = _ends(inputs), set[str]()
    for path in inputs:
        for file, name in _of_input(path):
            if (place := os.path.abspath(file)) in seen:
                raise SourceError(file, "is given twice", "Name each file and each folder once.")
            seen.add(place)
            yield file, os.path.join(ends.get(path, ""), name)


def _ends(inputs: Sequence[Path]) -> dict[Path, str]:
    """What tells images of one folder from those of the others: the end of its path, as long as it takes; of the only
    input nothing is needed."""
    folders = {path: Path(os.path.abspath(path)).parts for path in inputs if path.is_dir()} if len(inputs) > 1 else {}
    files = [str(path) for path in inputs if path not in folders]
    ends: dict[Path, str] = {}
    for length in range(1, max(map(len, folders.values()), default=0) + 1):
        ends = {path: os.path.join(*parts[-length:]) for path, parts in folders.items()}
        taken = any(file.startswith(f"{end}{os.sep}") for end in ends.values() for file in files)
        if len(set(ends.values())) == len(folders) and not taken:
            break
    return ends


def _of_input(path: Path) -> Iterator[tuple[Path, str]]:
    """The files of one input and their names; a file that is named is read whatever it is called."""
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        refuse_special(path)
        yield path, str(path)
    else:
        raise SourceError(path, "no such file or folder", "Check the path.")


def _in_folder(folder: Path) -> Iterator[tuple[Path, str]]:
    """The images of a folder as ``frl write`` lists them; says on stderr what else is there."""
    directory = Directory(str(folder.absolute()))
    found = []
    for entry in directory.entries():
        file = folder / entry.path
        if file.exists() and not file.is_file():  # to read a pipe is to wait for somebody who writes into it
            directory.skipped.add(SPECIAL, entry.path)
        else:
            found.append((file, entry.path))
    if not found:
        remedy = "Name a folder of images; what is hidden, and what does not begin as an image, is left out."
        but = f", but {directory.skipped}" if directory.skipped else ""
        raise SourceError(folder, f"holds no images{but}", remedy)
    if directory.skipped:
        print(printable(f"{folder}: skipped, and not among its images: {directory.skipped}"), file=sys.stderr)
    yield from found
