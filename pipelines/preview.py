"""A sheet of originals and their crops, to look at before days of training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton import Beton
from frl.config import AugmentConfig, DataConfig, EngineName
from pipelines.augment.plan import draw
from pipelines.engines.engine import Request
from pipelines.loader import open_engine
from pipelines.sampling.beton_set import EncodedImages, Open
from pipelines.sampling.order import permutation

GAP = 4
HEADER = 18  # pixels above the pictures, for the captions
PAPER = 255


def contact_sheet(
    path: str | PathLike[str],
    augment: AugmentConfig,
    seed: int = 0,
    count: int = 8,
    engines: Sequence[EngineName] = ("torch",),
    open: Open = Beton,
) -> NDArray[np.uint8]:
    """Draw the first samples of epoch 0: the image, then its crops; one row for each engine.

    Args:
        path: the ``.beton``.
        augment: what is done to make the crops.
        seed: seed of the order and of the crops.
        count: samples shown, at most those of the file.
        engines: who decodes and crops; the rows of an image are one below the other.
        open: opens ``path``.

    Returns:
        ``(H, W, 3)`` uint8 RGB; crops are magnified to the height of the highest image or crop, so that what is in them
        can be compared. The captions tell their own sizes.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if an engine is not installed, or one of the images does not decode.
    """
    with closing(open(Path(path))) as beton:
        samples = permutation(len(beton), seed, 0)[:count]
        of_engine = {name: pictures(beton, name, augment, seed, samples) for name in engines}
    tallest = max(picture.shape[0] for rows in of_engine.values() for row in rows for picture in row)
    of_engine = {
        name: [[original, *(magnified(crop, tallest) for crop in crops)] for original, *crops in rows]
        for name, rows in of_engine.items()
    }
    labelled = len(engines) > 1
    rows = [[label(name)] * labelled + of_engine[name][i] for i in range(len(samples)) for name in engines]
    captions = [""] * labelled + ["original"]
    captions += [f"{spec.size} px" if i == 0 else "" for spec in augment.crops for i in range(spec.count)]
    return arrange(rows, captions)


def pictures(
    beton: EncodedImages, engine: EngineName, augment: AugmentConfig, seed: int, samples: NDArray[np.int64]
) -> list[list[NDArray[np.uint8]]]:
    """For each sample the image and its crops, as the engine makes them without a GPU."""
    data = DataConfig(engine=engine, workers=1)
    with closing(open_engine(beton, data, torch.device("cpu"))) as source:
        request = Request(samples=samples, share=slice(0, len(samples)))
        (decoded,) = source.images([request])
        (cropped,) = source.crops([request], augment.crops, partial(draw, augment, seed, 0))
    found = []
    for i, (height, width) in enumerate(decoded.sizes):
        crops = [crop.numpy() for crops in cropped.crops for crop in crops[i :: len(samples)]]
        found.append([decoded.images[i, :height, :width].numpy(), *crops])
    return found


def magnified(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """A picture at another height, its shape kept; pixels stay squares, as nothing is made up between them."""
    width = round(picture.shape[1] * height / picture.shape[0])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def label(words: str) -> NDArray[np.uint8]:
    """A picture of a word."""
    picture = np.full((HEADER, 10 * len(words) + GAP, 3), PAPER, dtype=np.uint8)
    write(picture, words, 0, HEADER - 6)
    return picture


def write(picture: NDArray[np.uint8], words: str, left: int, base: int) -> None:
    """Put black words onto a picture."""
    cv2.putText(picture, words, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)


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
        write(sheet, caption, int(left), HEADER - 6)
    return sheet
