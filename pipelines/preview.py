"""A sheet of originals and their crops, to look at before days of training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from frl.beton import Beton
from frl.config import AugmentConfig
from pipelines.assemble import Assembler
from pipelines.decoded import Request
from pipelines.order import permutation
from pipelines.plan import draw
from pipelines.torch_loader import StepDataset

GAP = 4
HEADER = 18  # pixels above the pictures, for the captions
PAPER = 255


def contact_sheet(path: Path, augment: AugmentConfig, seed: int = 0, count: int = 8) -> NDArray[np.uint8]:
    """Draw the first samples of epoch 0, one a row: the image, then its crops.

    Args:
        path: the ``.beton``.
        augment: the recipe of the crops.
        seed: seed of the order and of the crops.
        count: rows, at most the samples of the file.

    Returns:
        ``(H, W, 3)`` uint8 RGB; every picture at its own scale, one screen pixel a pixel.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if one of the images does not decode.
    """
    with Beton(path) as beton:
        samples = permutation(len(beton), seed, 0)[:count]
        # Decoded in this process by PIL: a preview needs no ffcv.
        request = Request(samples=samples, share=slice(0, len(samples)))
        assembler = StepDataset(beton, "raise", Assembler.images).assembler
        decoded = assembler.images(request)
        cropped = assembler.crops(request, augment.crops, partial(draw, augment, seed, 0))
    rows = []
    for i, (height, width) in enumerate(decoded.sizes):
        crops = [crop.numpy() for crops in cropped.crops for crop in crops[i :: len(samples)]]
        rows.append([decoded.images[i, :height, :width].numpy(), *crops])
    captions = ["original"]
    captions += [f"{spec.size} px" if i == 0 else "" for spec in augment.crops for i in range(spec.count)]
    return arrange(rows, captions)


def arrange(rows: list[list[NDArray[np.uint8]]], captions: list[str]) -> NDArray[np.uint8]:
    """Paste pictures into a grid on white paper, columns as wide as their widest picture, captions on top."""
    widths = [max(row[column].shape[1] for row in rows) + GAP for column in range(len(captions))]
    heights = [max(picture.shape[0] for picture in row) + GAP for row in rows]
    lefts, tops = np.cumsum([GAP, *widths]), np.cumsum([HEADER, *heights])
    sheet = np.full((tops[-1], lefts[-1], 3), PAPER, dtype=np.uint8)
    for row, top in zip(rows, tops, strict=False):
        for picture, left in zip(row, lefts, strict=False):
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    for caption, left in zip(captions, lefts, strict=False):
        cv2.putText(sheet, caption, (int(left), HEADER - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet
