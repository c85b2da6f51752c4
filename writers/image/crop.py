"""Make a sample of an image: a square, upright RGB face as JPEG bytes, or the reason why not.

- A JPEG that is already what is wanted passes through byte for byte; where its headers are odd, these are put right.
- Grey JPEGs are encoded anew, so that every JPEG written has three components and no decoder has to be asked for RGB.
- Images are only ever shrunk, by Pillow's Hamming filter (anti-aliased: as sharp as bicubic, as quick as bilinear),
  and encoded once, with chroma at half resolution (4:2:0): the smallest and quickest to decode.
- A JPEG far larger than its sample is reduced while it is decoded; what is left is Pillow's.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from frl.images.photo import Photo, Raster
from frl.images.places import exchanged, misplaced
from frl.images.turbojpeg import JpegDecoder, JpegEncoder
from writers.curate.fingerprint import Fingerprint
from writers.image.planes import cut
from writers.reject import Reject
from writers.sources.source import Box

BAGGAGE_BYTES = 1 << 20
"""A JPEG beyond this is encoded anew: it carries previews or trailers, for a face takes some 20 kB."""

SPARE = 1.25
"""A JPEG is reduced while it is decoded to no less than this many times the sample's pixels along a line: with none to
spare, the two filters one after the other would blur (docs/writer_benchmark.md)."""


LEAST_INSIDE = 0.5
"""A source's box of which less lies in the image is no face: boxes of truncated faces reach over the border by less."""


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


class Square(NamedTuple):
    """A square inside an image, in whole pixels."""

    left: int
    top: int
    side: int


class Placement(NamedTuple):
    """Where a sample lies in its upright photograph.

    Attributes:
        square: what was cut, before it was turned.
        side: of the sample, in pixels.
        tilt: how far the square is turned about its centre, in radians, as ``eye_tilt``.
    """

    square: Square
    side: int
    tilt: float = 0.0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points of the photograph in the pixels of the sample.

        Args:
            points: (n, 2) or (n, 3) float64: x, y and depth; in either image the centre of the first pixel is (0, 0).

        Returns:
            the same shape; depth is scaled like the others.
        """
        left, top, side = self.square
        if self.tilt == 0 and self.side == side:  # only shifted: exactly
            return points - [left, top, 0][: points.shape[1]]
        scale, cosine, sine = self.side / side, math.cos(self.tilt), math.sin(self.tilt)
        x, y = points[:, 0] + 0.5 - left - side / 2, points[:, 1] + 0.5 - top - side / 2
        middle = (self.side - 1) / 2
        flat = [scale * (cosine * x + sine * y) + middle, scale * (cosine * y - sine * x) + middle]
        return np.column_stack([*flat, scale * points[:, 2:]])


class Face(NamedTuple):
    """A sample ready to be stored.

    Attributes:
        data: the JPEG.
        height: in pixels.
        width: in pixels.
        untouched: whether ``data`` are the source's own bytes.
        placement: where it lies in its photograph.
        fingerprint: by which copies of it are known, if they are to be.
        over_border: whether its box reached over the image's border.
        central: whether it is the central square of an image that is none, as nobody knows or looked where the face is.
        targets: what is known of it, by name; points in its own pixels.
    """

    data: bytes
    height: int
    width: int
    untouched: bool
    placement: Placement
    fingerprint: Fingerprint | None = None
    over_border: bool = False
    central: bool = False
    targets: Mapping[str, np.ndarray] | None = None


class FaceCropper:
    """Makes samples of images; one a thread.

    Raises:
        FrlError: if libturbojpeg is not installed.
    """

    def __init__(self, spec: CropSpec) -> None:
        self._spec = spec
        self._jpegs = JpegDecoder()
        self._encoder = JpegEncoder()

    def open(self, data: bytes) -> Photo:
        """Read the header of an encoded image.

        Raises:
            UnusableImage: if there is none, or the image is too large.
        """
        return Photo(data, self._jpegs, self._spec.max_pixels)

    def __call__(self, photo: Photo, box: Box | None = None, eyes: Sequence[float] | None = None) -> Face:
        """Make the sample of one face.

        Args:
            photo: the image.
            box: the face in the upright image, or None for the image's largest central square.
            eyes: x and y of the eye on the image's left and of the other, to turn the face until they are level; or
                None to leave it as it is. Nose tip and corners of the mouth may follow, which show whether it is so.

        Raises:
            UnusableImage: if the image is damaged.
            Reject: if the box is outside, or the eyes are `exchanged`.
        """
        square = crop_square(photo.width, photo.height, box, self._spec.margin)
        if eyes is not None and len(eyes) == 10 and (fault := exchanged(np.reshape(eyes, (5, 2)))):
            raise Reject(fault)
        tilt = 0.0 if eyes is None else eye_tilt(eyes)
        if tilt == 0 and self._is_sample(photo, square):
            photo.check()
            whole = Placement(square, square.side)
            untouched = not photo.mended
            return Face(data=photo.data, height=photo.height, width=photo.width, untouched=untouched, placement=whole)
        side = min(square.side, self._spec.size)
        scale = SPARE * side / square.side
        data = None if tilt else self._without_conversion(photo, square, side, scale)
        if data is None:
            raster = photo.pixels(scale)
            face = _cut_level(raster, square, side, tilt) if tilt else _cut(raster, square, side)
            encoded = io.BytesIO()
            face.save(encoded, "JPEG", quality=self._spec.quality, subsampling="4:2:0")
            data = encoded.getvalue()
        return Face(data=data, height=side, width=side, untouched=False, placement=Placement(square, side, tilt))

    def _without_conversion(self, photo: Photo, square: Square, side: int, scale: float) -> bytes | None:
        """The sample of a JPEG that stores luma and chroma, made of these; None of other images."""
        planes = photo.planes(scale)
        if planes is None:
            return None
        half = (side + 1) // 2  # of an odd side, the last chroma sample reaches a pixel beyond
        luma = cut(planes[0], square.left, square.top, square.side, side)
        chroma = [cut(plane, square.left, square.top, square.side * 2 * half / side, half) for plane in planes[1:]]
        return self._encoder.encode([luma, *chroma], side, self._spec.quality)

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


def share_inside(width: int, height: int, box: Box) -> float:
    """How much of a box's area lies inside an image of ``width`` x ``height`` pixels, 0 to 1."""
    across = min(box.left + box.width, width) - max(box.left, 0)
    down = min(box.top + box.height, height) - max(box.top, 0)
    return max(0.0, across / box.width) * max(0.0, down / box.height)


def refuse_misplaced(width: int, height: int, box: Box | None, points: Sequence[float] | None) -> None:
    """Refuse a box or landmarks that cannot be meant for this image: no square of it would be what they say.

    Raises:
        Reject: if more of the box lies outside than ``LEAST_INSIDE`` allows, or the landmarks are `misplaced`.
    """
    if points is not None and (fault := misplaced(width, height, np.reshape(points, (-1, 2)))):
        raise Reject(fault)
    if box is not None and 0 < (inside := share_inside(width, height, box)) < LEAST_INSIDE:
        raise Reject(
            f"its box {tuple(box)} lies to {1 - inside:.0%} outside its {width} x {height} pixels: "
            "is it left, top, width, height, in pixels of this size of the image?"
        )


def eye_tilt(eyes: Sequence[float]) -> float:
    """How far the line through the eyes falls to the right, in radians; (x, y) of the left one, then of the other."""
    left_x, left_y, right_x, right_y = eyes[:4]
    return math.atan2(right_y - left_y, right_x - left_x)


def _cut(raster: Raster, square: Square, side: int) -> Image.Image:
    left, top, extent = _where(square, raster)
    box = (left, top, left + extent, top + extent)
    if extent == side and left.is_integer() and top.is_integer():
        return raster.image.crop(box)
    # From three times the size on, a cheap box filter first brings it near (reducing_gap).
    return raster.image.resize((side, side), Image.Resampling.HAMMING, box=box, reducing_gap=3.0)


def _cut_level(raster: Raster, square: Square, side: int, tilt: float) -> Image.Image:
    """Cut a square that is turned by ``tilt`` about its centre. Beyond the image, its border is repeated."""
    left, top, extent = _where(square, raster)
    level_side = round(extent)  # its own pixels, for the reduction to come after the turn
    reach = math.ceil((math.sqrt(2) - 1) / 2 * extent) + 2  # of the corners beyond the upright square, and a tap
    start_x, start_y = max(0, math.floor(left) - reach), max(0, math.floor(top) - reach)
    end_x, end_y = (math.ceil(start + extent) + reach for start in (left, top))
    image = raster.image
    around = np.asarray(image.crop((start_x, start_y, min(end_x, image.width), min(end_y, image.height))))
    middle = (level_side - 1) / 2  # OpenCV's pixel centres are whole numbers
    x, y = left - start_x + extent / 2 - 0.5, top - start_y + extent / 2 - 0.5
    pitch = extent / level_side
    cosine, sine = pitch * math.cos(tilt), pitch * math.sin(tilt)
    to_source = np.array(
        [[cosine, -sine, x - middle * cosine + middle * sine], [sine, cosine, y - middle * sine - middle * cosine]]
    )
    level = cv2.warpAffine(
        around,
        to_source,
        (level_side,) * 2,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _cut(Raster(Image.fromarray(level)), Square(0, 0, level_side), side)


def _where(square: Square, raster: Raster) -> tuple[float, float, float]:
    """Left, top and side of a photograph's square in the pixels of ``raster``."""
    scale = raster.scale
    return raster.left + scale * square.left, raster.top + scale * square.top, scale * square.side
