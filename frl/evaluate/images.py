"""Image files as batches for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.errors import SourceError, blame_machine
from frl.images.photo import Photo, UnusableImage
from frl.images.turbojpeg import JpegDecoder
from frl.pixels import normalised

DECODERS = 4

MAX_PIXELS = 100_000_000
"""Of an image: more are refused before anything is decoded, as by ``frl write``."""


class Square(NamedTuple):
    """The largest square in the middle of an upright photograph, in pixels of that.

    Attributes:
        left, top: where its upper left corner lies.
        side: its width and height.
    """

    left: int
    top: int
    side: int

    @classmethod
    def of(cls, width: int, height: int) -> Square:
        """That of a photograph of such sides."""
        side = min(width, height)
        return cls((width - side) // 2, (height - side) // 2, side)


def load_image(path: Path, size: int) -> np.ndarray:
    """``load_square`` without where the square lies."""
    return load_square(path, size)[0]


def load_square(path: Path, size: int) -> tuple[np.ndarray, Square]:
    """The central square of an image, resized bilinearly with anti-aliasing: ``(size, size, 3)`` uint8, and its place.

    What its pixels are, upright and in RGB, and whether it is damaged, ``Photo`` says, as when a .beton is written.

    Raises:
        SourceError: if the file is missing, damaged, not to be read, no regular one, or none that is decoded; it names
            the file.
        MachineError: if the disk fails.
    """
    try:
        refuse_special(path)
        upright = decoded(path.read_bytes())
        return central_square(upright, size), Square.of(*upright.size)
    except FileNotFoundError as error:
        raise SourceError(path, "no such image", "Check the folder of images.") from error
    except UnusableImage as error:
        raise SourceError(path, f"cannot be decoded ({error})", "Replace the file.") from error
    except OSError as error:
        blame_machine(error, f"reading {path}")
        raise SourceError(
            path, f"cannot be read ({error.strerror or error})", "Check the path and its permissions."
        ) from error


def refuse_special(path: Path) -> None:
    """Refuse what is neither a file nor a folder: to read a pipe is to wait for somebody who writes into it.

    Raises:
        SourceError: it is there, and is such a thing.
        OSError: it cannot be looked at.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SourceError(path, "is no regular file", "Write the image to one.")


def decoded(data: bytes) -> Image.Image:
    """An encoded image, upright and in RGB.

    Raises:
        UnusableImage: if it is damaged, or none that is decoded.
    """
    return Photo(data, JpegDecoder(), MAX_PIXELS).pixels().image


def central_square(upright: Image.Image, size: int) -> np.ndarray:
    """The largest square in the middle, resized bilinearly with anti-aliasing: ``(size, size, 3)`` uint8."""
    left, top, side = Square.of(*upright.size)
    square = upright.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def image_batches(
    paths: Sequence[Path],
    *,
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    on_square: Callable[[int, Square], None] = lambda index, square: None,
    on_unusable: Callable[[int, SourceError], None] | None = None,
) -> Iterator[Batch]:
    """Batches of one view, ``(B, 3, size, size)``, channels-last, in the order of ``paths``; any may be smaller.

    Args:
        paths: image files; ``Batch.samples`` are indices into them. Labels are unknown (-1).
        size: side of the view, in pixels.
        augment: gives the mean and the standard deviation.
        batch_size: images in a batch.
        device: where the batch is delivered.
        on_square: told of each image which square of it is shown, before its batch is delivered.
        on_unusable: told of each that cannot be read, which is left out; None: that is an error.

    Raises:
        SourceError: on the first file that cannot be read.
    """

    def load(path: Path) -> tuple[np.ndarray, Square] | SourceError:
        try:
            return load_square(path, size)
        except SourceError as error:
            if on_unusable is None:
                raise
            return error

    with ThreadPoolExecutor(DECODERS) as decoders:
        for start in range(0, len(paths), batch_size):
            stop = min(start + batch_size, len(paths))
            shown: dict[int, np.ndarray] = {}
            for index, found in enumerate(decoders.map(load, paths[start:stop]), start):
                if isinstance(found, tuple):
                    shown[index], square = found
                    on_square(index, square)
                elif on_unusable is not None:
                    on_unusable(index, found)
            if not shown:
                continue
            images = np.stack(list(shown.values()))
            yield Batch(
                views=[normalised(torch.from_numpy(images).to(device), augment)],
                samples=torch.tensor(list(shown), device=device),
                targets={"identity": torch.full((len(shown),), -1, device=device)},
            )
