"""An encoded image: what its header says, and its upright pixels in RGB.

- Colours become RGB as PIL's ``convert("RGB")`` makes it: alpha is dropped, as by every ImageFolder, and colour
  profiles are ignored. The exception is 16-bit grey, which PIL clips to white: its high byte is taken. Pixels of
  32 bits have no fixed range and are rejected.
- Of several frames or pictures in a file, the first is taken.
- A JPEG of which libjpeg-turbo complains is damaged, unless all that is odd about it is known to harm no pixel.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from frl.errors import is_fault_of_machine
from frl.images.formats import DECODED, HEAD, why_not_decoded
from frl.images.markers import plain_size
from frl.images.mend import mendings
from frl.images.turbojpeg import EIGHTHS, DamagedJpegError, JpegDecoder

Decoded = TypeVar("Decoded")

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

FROM_THE_RIGHT = (2, 3, 6, 7)
"""Orientations whose upright image has the first stored pixel at its right."""

FROM_THE_BOTTOM = (3, 4, 7, 8)
"""Orientations whose upright image has the first stored pixel at its bottom."""


class UnusableImage(Exception):
    """An encoded image of which no pixels can be had; the message says what is wrong with it."""


class Raster(NamedTuple):
    """Upright RGB pixels: the point (x, y) of the photograph lies at (left + scale * x, top + scale * y).

    The origin of either is its upper left corner, and a pixel covers one unit: its centre lies at the halves.

    Attributes:
        image: the pixels.
        scale: 1 for the photograph's own pixels, less for fewer.
        left, top: what a reduced row and column, rounded up to whole pixels, hold before the photograph begins; not 0
            only if it was stored from the right or from the bottom.
    """

    image: Image.Image
    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0


class Plane(NamedTuple):
    """One colour of an upright photograph: its point (x, y) lies at (left + across * x, top + down * y).

    Attributes:
        pixels: (H, W) uint8.
        across, down: pixels of the plane for one of the photograph.
        left, top: as of ``Raster``.
    """

    pixels: np.ndarray
    across: float
    down: float
    left: float
    top: float


class Photo:
    """An image whose header has been read; of a JPEG no more than that.

    Pillow's own limit of pixels is lifted in this process: ``max_pixels`` takes its place.

    Attributes:
        data: the file; once it has been decoded, without what was odd about it, though no pixel changed.
        mended: whether there was such.
        width, height: of the upright image, in pixels.
        is_plain_jpeg: whether it is an upright JPEG in the colours that all decoders know: YCbCr.

    Raises:
        UnusableImage: if it is none, damaged, or larger than ``max_pixels``.
    """

    def __init__(self, data: bytes, jpegs: JpegDecoder, max_pixels: int) -> None:
        if not data:
            raise UnusableImage("empty file")
        self.data = data
        self.mended = False
        self._original = data
        self._jpegs = jpegs
        self._whole: Raster | None = None
        plain = plain_size(data)
        self._width, self._height = plain or self._image.size
        if self._width * self._height > max_pixels:
            raise UnusableImage(f"{self._width} x {self._height} pixels, more than {max_pixels / 1e6:g} megapixels")
        if plain:
            self.is_plain_jpeg = self._is_jpeg = self._is_rgb_jpeg = self._is_rgb_or_grey_jpeg = True
            self._orientation = 1
        else:
            self._look_closer()
        turned = self._orientation >= 5
        self.width, self.height = (self._height, self._width) if turned else (self._width, self._height)

    def _look_closer(self) -> None:
        """Learn from Pillow what a header of any kind says."""
        image = self._image
        self._is_jpeg = image.format in ("JPEG", "MPO")
        self._is_rgb_jpeg = self._is_jpeg and image.mode == "RGB"
        self._is_rgb_or_grey_jpeg = self._is_jpeg and image.mode in ("RGB", "L")
        if not self._is_jpeg:  # on loading, Pillow finds the orientation of a PNG, and turns a TIFF upright
            with _refusing_damage():
                image.load()
            self._width, self._height = image.size
        self._orientation = _orientation(image)
        ycbcr = "jfif" in image.info or image.info.get("adobe_transform", 1) == 1
        self.is_plain_jpeg = self._is_rgb_jpeg and image.format == "JPEG" and ycbcr and self._orientation == 1

    @cached_property
    def _image(self) -> Image.Image:
        """The image as Pillow opens it; raises like ``Photo``."""
        Image.MAX_IMAGE_PIXELS = None
        with _refusing_damage():
            try:
                return Image.open(io.BytesIO(self._original), formats=DECODED)
            except UnidentifiedImageError:
                raise UnusableImage(why_not_decoded(self._original[:HEAD])) from None

    def check(self) -> None:
        """Decode as little of a plain JPEG as shows whether it is whole.

        Raises:
            UnusableImage: if it is not.
        """
        self._decoded(lambda data: self._jpegs.check(data, self._width, self._height))

    def pixels(self, scale: float = 1.0) -> Raster:
        """The upright image in RGB. It is kept once it has been asked for whole, and then serves every scale.

        Args:
            scale: how many of the photograph's pixels are needed along a line, as a share. A JPEG far larger is reduced
                while it is decoded, to no less.

        Raises:
            UnusableImage: if it is damaged, or its colours have no range.
        """
        if self._whole is not None:
            return self._whole
        eighths = self._eighths(scale) if self._is_rgb_or_grey_jpeg else 8
        rgb = self._rgb(eighths)
        if self._orientation in TO_UPRIGHT:
            rgb = rgb.transpose(TO_UPRIGHT[self._orientation])
        scale = eighths / 8
        raster = Raster(rgb, scale, *self._before(rgb.width, rgb.height, scale, scale))
        if eighths == 8:
            self._whole = raster
        return raster

    def planes(self, scale: float = 1.0) -> tuple[Plane, Plane, Plane] | None:
        """Luma and both chromas of the upright image as a JPEG stores them, without the way through RGB and back.

        Args:
            scale: as of ``pixels``.

        Returns:
            None if it does not store these, or if its pixels are there in RGB already.

        Raises:
            UnusableImage: if it is damaged.
        """
        if self._whole is not None or not self._is_rgb_jpeg:
            return None
        eighths = self._eighths(scale)
        stored = self._decoded(lambda data: self._jpegs.decode_planes(data, self._width, self._height, eighths))
        if stored is None:
            return None
        luma, blue, red = stored.planes
        return (
            self._upright(luma, eighths / 8, (1, 1)),
            self._upright(blue, eighths / 8, stored.thinning),
            self._upright(red, eighths / 8, stored.thinning),
        )

    def _upright(self, stored: np.ndarray, scale: float, thinning: tuple[int, int]) -> Plane:
        across, down = (scale / pixels for pixels in thinning)
        pixels = stored
        if self._orientation in TO_UPRIGHT:
            pixels = np.asarray(Image.fromarray(stored).transpose(TO_UPRIGHT[self._orientation]))
        if self._orientation >= 5:
            across, down = down, across
        height, width = pixels.shape
        return Plane(pixels, across, down, *self._before(width, height, across, down))

    def _before(self, width: int, height: int, across: float, down: float) -> tuple[float, float]:
        """What ``Raster`` calls left and top, of so many upright pixels."""
        left = width - across * self.width if self._orientation in FROM_THE_RIGHT else 0.0
        top = height - down * self.height if self._orientation in FROM_THE_BOTTOM else 0.0
        return left, top

    def _eighths(self, scale: float) -> int:
        """The scale to decode at."""
        return next((n for n in EIGHTHS if n >= 8 * scale), 8) if max(self._width, self._height) >= 8 else 8

    def _rgb(self, eighths: int) -> Image.Image:
        size = self._width, self._height
        if self._is_rgb_or_grey_jpeg:
            return Image.fromarray(self._decoded(lambda data: self._jpegs.decode(data, *size, eighths)))
        if self._is_jpeg:
            self._decoded(lambda data: self._jpegs.check(data, *size, cmyk=True))
        return _in_rgb(self._image)

    def _decoded(self, decode: Callable[[bytes], Decoded]) -> Decoded:
        """What a decoder of JPEGs makes of the data, which are mended if it complains of them and that helps."""
        try:
            return decode(self.data)
        except DamagedJpegError as complaint:
            _ = self._image  # of what Pillow refuses as well, its reason is told
            for data in mendings(self.data):
                with suppress(DamagedJpegError):
                    decoded = decode(data)
                    self.data, self.mended = data, True
                    return decoded
            raise UnusableImage(f"damaged JPEG: {complaint}") from complaint


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image that Pillow has opened, as ``Photo`` gives the same file: upright and in RGB.

    Raises:
        UnusableImage: if it is damaged, or its colours have no range.
    """
    orientation = _orientation(image)
    rgb = _in_rgb(image)
    return rgb.transpose(TO_UPRIGHT[orientation]) if orientation in TO_UPRIGHT else rgb


def _in_rgb(image: Image.Image) -> Image.Image:
    """Its stored pixels; raises like ``upright_rgb``."""
    with _refusing_damage():
        image.load()
    stretched = image.format == "PPM" and image.mode == "I"  # to 16 bits by Pillow, from the range its header tells
    if stretched or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnusableImage("pixels of 32 bits, whose range is not known")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's parser lets many types through; metadata that cannot be read turn no image
        return 1
    return orientation if orientation in TO_UPRIGHT else 1


@contextmanager
def _refusing_damage() -> Iterator[None]:
    """Blame the file for what Pillow, and nothing else, raises within: of damaged ones that may be of any type."""
    try:
        yield
    except UnusableImage:
        raise
    except Exception as error:
        if is_fault_of_machine(error):
            raise
        raise UnusableImage(f"cannot be decoded: {error or type(error).__name__}") from error
