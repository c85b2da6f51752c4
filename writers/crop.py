"""Make a sample of an image: a square, upright RGB face as JPEG bytes, or the reason why not.

- A JPEG that is already what is wanted passes through byte for byte.
- Colours become RGB as PIL's ``convert("RGB")`` makes it: alpha is dropped, as by every ImageFolder, and colour
  profiles are ignored. The exception is 16-bit grey, which PIL clips to white: its high byte is taken. Pixels of
  32 bits have no fixed range and are rejected.
- Grey JPEGs are encoded anew, so that every JPEG written has three components and no decoder has to be asked for RGB.
- Images are only ever shrunk, by Pillow's Hamming filter (anti-aliased: as sharp as bicubic, as quick as bilinear),
  and encoded once, with chroma at half resolution (4:2:0): the smallest and quickest to decode.
- Of several frames or pictures in a file, the first is taken.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from writers.jpeg import DamagedJpegError, JpegDecoder
from writers.sources.source import Box, Reject

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
"""What is decoded, whatever the file's suffix says; Pillow would also run programs for some others."""

BAGGAGE_BYTES = 1 << 20
"""A JPEG beyond this is encoded anew: it carries previews or trailers, for a face takes some 20 kB."""

TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of the Exif standard (tag 0x0112)."""


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
    """

    data: bytes
    height: int
    width: int
    untouched: bool


class Square(NamedTuple):
    """A square inside an image, in whole pixels."""

    left: int
    top: int
    side: int


class FaceCropper:
    """Makes samples of encoded images; one a thread.

    Pillow's own limit of pixels is lifted in this process: that of the specification takes its place.

    Raises:
        WriteError: if libturbojpeg is not installed.
    """

    def __init__(self, spec: CropSpec) -> None:
        self._spec = spec
        self._jpegs = JpegDecoder()
        Image.MAX_IMAGE_PIXELS = None

    def __call__(self, data: bytes, box: Box | None = None) -> Face:
        """Make the sample of an encoded image.

        Args:
            data: the file.
            box: the face in the upright image, or None for the image's largest central square.

        Raises:
            Reject: if the image is damaged, too large, or none at all.
        """
        image = self._open(data)
        if self._is_sample(image, data, box):
            with _refusing_damage():
                self._jpegs.check(data, *image.size)
            return Face(data=data, height=image.height, width=image.width, untouched=True)
        with _refusing_damage():
            rgb = self._decode(image, data)
        orientation = _orientation(image)  # now, for on decoding a TIFF Pillow turns it and drops the tag
        upright = rgb.transpose(TO_UPRIGHT[orientation]) if orientation in TO_UPRIGHT else rgb
        square = crop_square(upright.width, upright.height, box, self._spec.margin)
        side = min(square.side, self._spec.size)
        encoded = io.BytesIO()
        _cut(upright, square, side).save(encoded, "JPEG", quality=self._spec.quality, subsampling="4:2:0")
        return Face(data=encoded.getvalue(), height=side, width=side, untouched=False)

    def _open(self, data: bytes) -> Image.Image:
        """Read the header, and refuse what must not be decoded."""
        if not data:
            raise Reject("empty file")
        with _refusing_damage():
            try:
                image = Image.open(io.BytesIO(data), formats=FORMATS)
            except UnidentifiedImageError:
                raise Reject(f"not an image: it begins with {data[:12]!r}") from None
        width, height = image.size
        if width * height > self._spec.max_pixels:
            raise Reject(f"{width} x {height} pixels, more than {self._spec.max_pixels / 1e6:g} megapixels")
        return image

    def _decode(self, image: Image.Image, data: bytes) -> Image.Image:
        """The pixels of an opened image as RGB."""
        if image.format in ("JPEG", "MPO"):
            if image.mode in ("RGB", "L"):
                return Image.fromarray(self._jpegs.decode(data, *image.size))
            self._jpegs.check(data, *image.size, cmyk=True)
        image.load()
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        if image.mode in ("I", "F"):
            raise Reject("pixels of 32 bits, whose range is not known")
        return image.convert("RGB")

    def _is_sample(self, image: Image.Image, data: bytes, box: Box | None) -> bool:
        """Whether an undamaged image is already what a sample should be."""
        width, height = image.size
        return (
            image.format == "JPEG"
            and image.mode == "RGB"
            and ("jfif" in image.info or image.info.get("adobe_transform", 1) == 1)  # YCbCr, which all decoders know
            and width == height <= self._spec.size
            and crop_square(width, height, box, self._spec.margin).side == width
            and len(data) <= BAGGAGE_BYTES
            and _orientation(image) not in TO_UPRIGHT
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


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's parser lets many types through; metadata that cannot be read turn no image
        return 1


def _cut(image: Image.Image, square: Square, side: int) -> Image.Image:
    box = (square.left, square.top, square.left + square.side, square.top + square.side)
    if side == square.side:
        return image.crop(box)
    # From three times the size on, a cheap box filter first brings it near (reducing_gap).
    return image.resize((side, side), Image.Resampling.HAMMING, box=box, reducing_gap=3.0)


@contextmanager
def _refusing_damage() -> Iterator[None]:
    """Turn what Pillow raises on damaged files, which may be of any type, into rejects."""
    try:
        yield
    except (MemoryError, Reject):
        raise
    except DamagedJpegError as error:
        raise Reject(f"damaged JPEG: {error}") from error
    except Exception as error:
        raise Reject(f"cannot be decoded: {error or type(error).__name__}") from error
