"""Image files as batches for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.errors import SourceError, explained
from frl.images.photo import Photo, UnusableImage
from frl.images.turbojpeg import JpegDecoder
from frl.pixels import normalised

DECODERS = 4

MAX_PIXELS = 100_000_000
"""Of an image: more are refused before anything is decoded, as by ``frl write``."""


def load_image(path: Path, size: int) -> np.ndarray:
    """The central square of an image, resized bilinearly with anti-aliasing: ``(size, size, 3)`` uint8.

    What its pixels are, upright and in RGB, and whether it is damaged, ``Photo`` says, as when a .beton is written.

    Raises:
        SourceError: if the file is missing, damaged, or none that is decoded; it names the file.
        MachineError: if the disk fails.
    """
    try:
        upright = Photo(path.read_bytes(), JpegDecoder(), MAX_PIXELS).pixels().image
    except FileNotFoundError as error:
        raise SourceError(path, "no such image", "Check the folder of images.") from error
    except UnusableImage as error:
        raise SourceError(path, f"cannot be decoded ({error})", "Replace the file.") from error
    except OSError as error:
        raise explained(error, "reading an image") from error
    return central_square(upright, size)


def central_square(upright: Image.Image, size: int) -> np.ndarray:
    """The central square of an RGB image, resized bilinearly with anti-aliasing: ``(size, size, 3)`` uint8."""
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def image_batches(
    paths: Sequence[Path],
    *,
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Batches of one view, ``(B, 3, size, size)``, channels-last, in the order of ``paths``; the last may be smaller.

    Args:
        paths: image files; ``Batch.samples`` are indices into them. Labels are unknown (-1).
        size: side of the view, in pixels.
        augment: gives the mean and the standard deviation.
        batch_size: images in a batch.
        device: where the batch is delivered.

    Raises:
        SourceError: on the first file that cannot be read.
    """
    with ThreadPoolExecutor(DECODERS) as decoders:
        for start in range(0, len(paths), batch_size):
            stop = min(start + batch_size, len(paths))
            images = np.stack(list(decoders.map(load_image, paths[start:stop], [size] * (stop - start))))
            yield Batch(
                views=[normalised(torch.from_numpy(images).to(device), augment)],
                samples=torch.arange(start, stop, device=device),
                targets={"identity": torch.full((stop - start,), -1, device=device)},
            )
