"""Make a sample of an image: a square, upright RGB face as JPEG bytes, or the reason why not.

- A JPEG that is already what is wanted passes through byte for byte.
- Grey JPEGs are encoded anew, so that every JPEG written has three components and no decoder has to be asked for RGB.
- Images are only ever shrunk, by Pillow's Hamming filter (anti-aliased: as sharp as bicubic, as quick as bilinear),
  and encoded once, with chroma at half resolution (4:2:0): the smallest and quickest to decode.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from writers.curate.fingerprint import Fingerprint
from writers.jpeg import JpegDecoder
from writers.photo import Photo
from writers.reject import Reject
from writers.sources.source import Box

BAGGAGE_BYTES = 1 << 20
"""A JPEG beyond this is encoded anew: it carries previews or trailers, for a face takes some 20 kB."""


@dataclass(frozen=True, kw_only=True)
class CropSpec:
    """What a sample looks like.

    Attributes:
        size: longest side, in pixels; larger squares are shrunk to it.
        margin: share of the box's longer side added to it, half on either side.
        quality: of the JPEG, 1 to 95.
        max_pixels: images of more are rejected before they are decoded.
    """

    size: int
    margin: float
    quality: int
    max_pixels: int


@dataclass(frozen=True, kw_only=True)
class Face:
    """A sample ready to be stored.

    Attributes:
        data: the JPEG.
        height: in pixels.
        width: in pixels.
        untouched: whether ``data`` are the source's own bytes.
        fingerprint: by which copies of it are known, if they are to be.
    """

    data: bytes
    height: int
    width: int
    untouched: bool
    fingerprint: Fingerprint | None = None


class Square(NamedTuple):
    """A square inside an image, in whole pixels."""

    left: int
    top: int
    side: int


class FaceCropper:
    """Makes samples of images; one a thread.

    Raises:
        WriteError: if libturbojpeg is not installed.
    """

    def __init__(self, spec: CropSpec) -> None:
        self._spec = spec
        self._jpegs = JpegDecoder()

    def open(self, data: bytes) -> Photo:
        """Read the header of an encoded image.

        Raises:
            Reject: if there is none, or the image is too large.
        """
        return Photo(data, self._jpegs, self._spec.max_pixels)

    def __call__(self, photo: Photo, box: Box | None = None, eyes: Sequence[float] | None = None) -> Face:
        """Make the sample of one face.

        Args:
            photo: the image.
            box: the face in the upright image, or None for the image's largest central square.
            eyes: x and y of the eye on the image's left and of the other, to turn the face until they are level; or
                None to leave it as it is.

        Raises:
            Reject: if the image is damaged, or the box outside.
        """
        square = crop_square(photo.width, photo.height, box, self._spec.margin)
        tilt = 0.0 if eyes is None else eye_tilt(eyes)
        if tilt == 0 and self._is_sample(photo, square):
            photo.check()
            return Face(data=photo.data, height=photo.height, width=photo.width, untouched=True)
        side = min(square.side, self._spec.size)
        encoded = io.BytesIO()
        face = _cut_level(photo.pixels, square, side, tilt) if tilt else _cut(photo.pixels, square, side)
        face.save(encoded, "JPEG", quality=self._spec.quality, subsampling="4:2:0")
        return Face(data=encoded.getvalue(), height=side, width=side, untouched=False)

    def grey(self, face: Face) -> np.ndarray:
        """The (height, width) uint8 luminance of a sample."""
        return self._jpegs.decode_grey(face.data)

    def _is_sample(self, photo: Photo, square: Square) -> bool:
        """Whether an undamaged image is already what a sample should be."""
        return (
            photo.width == photo.height == square.side <= self._spec.size
            and photo.is_plain_jpeg
            and len(photo.data) <= BAGGAGE_BYTES
        )


def crop_square(width: int, height: int, box: Box | None, margin: float) -> Square:
    """The square to cut from an upright image of ``width`` x ``height`` pixels.

    Without a box: the largest central one. With a box: the box's longer side and the margin, about the box's centre;
    shrunk to the image's shorter side if need be, then shifted inside.

    Raises:
        Reject: if the box lies outside the image.
    """
    if box is None:
        side = min(width, height)
        return Square((width - side) // 2, (height - side) // 2, side)
    if box.left >= width or box.top >= height or box.left + box.width <= 0 or box.top + box.height <= 0:
        raise Reject(f"its box {tuple(box)} lies outside its {width} x {height} pixels")
    side = min(max(1, round((1 + margin) * max(box.width, box.height))), width, height)
    left = round(box.left + (box.width - side) / 2)
    top = round(box.top + (box.height - side) / 2)
    return Square(min(max(left, 0), width - side), min(max(top, 0), height - side), side)


def eye_tilt(eyes: Sequence[float]) -> float:
    """How far the line through the eyes falls to the right, in radians; (x, y) of the left one, then of the other."""
    left_x, left_y, right_x, right_y = eyes[:4]
    return math.atan2(right_y - left_y, right_x - left_x)


def _cut(image: Image.Image, square: Square, side: int) -> Image.Image:
    box = (square.left, square.top, square.left + square.side, square.top + square.side)
    if side == square.side:
        return image.crop(box)
    # From three times the size on, a cheap box filter first brings it near (reducing_gap).
    return image.resize((side, side), Image.Resampling.HAMMING, box=box, reducing_gap=3.0)


def _cut_level(image: Image.Image, square: Square, side: int, tilt: float) -> Image.Image:
    """Cut a square that is turned by ``tilt`` about its centre. Beyond the image, its border is repeated."""
    reach = math.ceil((math.sqrt(2) - 1) / 2 * square.side) + 2  # of the corners beyond the upright square, and a tap
    left, top = max(0, square.left - reach), max(0, square.top - reach)
    right, bottom = square.left + square.side + reach, square.top + square.side + reach
    around = np.asarray(image.crop((left, top, min(right, image.width), min(bottom, image.height))))
    half = square.side / 2 - 0.5  # pixel centres are whole numbers
    cosine, sine = math.cos(tilt), math.sin(tilt)
    x, y = square.left - left + half, square.top - top + half
    to_source = np.array(
        [[cosine, -sine, x - half * cosine + half * sine], [sine, cosine, y - half * sine - half * cosine]]
    )
    level = cv2.warpAffine(
        around,
        to_source,
        (square.side,) * 2,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _cut(Image.fromarray(level), Square(0, 0, square.side), side)
