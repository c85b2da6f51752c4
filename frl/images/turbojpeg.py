"""Decode and encode JPEGs with TurboJPEG; no damage goes unnoticed, by libjpeg-turbo's own warnings.

Pillow and OpenCV stay silent about most of them: a missing end marker, corrupt data, missing restart markers. The grey
of the missing part would go into the data set as if it were a face. TurboJPEG (https://libjpeg-turbo.org) reports them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from frl.errors import FrlError, InternalError
from frl.images.markers import frame

TJPF_RGB, TJPF_GRAY, TJPF_CMYK = 0, 6, 11
"""TurboJPEG's pixel formats."""

TJERR_WARNING = 0
"""TurboJPEG's number of an error after which there are pixels."""

TJCS_YCBCR = 1
"""TurboJPEG's number of the colour space of photographs."""

THINNING = {0: (1, 1), 1: (2, 1), 2: (2, 2), 4: (1, 2), 5: (4, 1)}
"""How many pixels across and down share a chroma sample, by TurboJPEG's number: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1."""

TJSAMP_420, TJFLAG_ACCURATEDCT, TJFLAG_NOREALLOC = 2, 4096, 1024

EIGHTHS = (1, 2, 3, 4, 8)
"""The scales of ``decode``. Those between a half and the whole are slower than the whole (docs/writer_benchmark.md)."""


class DamagedJpegError(Exception):
    """A JPEG that does not decode without a complaint, and the first complaint."""


class Planes(NamedTuple):
    """A JPEG's own colours, as they are stored: luma and the two chromas.

    Attributes:
        planes: three (h, w) uint8 arrays; the luma's last column and row may reach beyond the image.
        thinning: how many pixels of luma, across and down, share one of chroma.
    """

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    thinning: tuple[int, int]


class JpegDecoder:
    """Decodes JPEGs one after the other; one a thread, for TurboJPEG's handles are not shared.

    Raises:
        FrlError: if libturbojpeg is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._handle = self._library.tjInitDecompress()
        self._checked = np.empty(0, np.uint8)  # pixels that nobody looks at
        self._checked_address = 0

    def check(self, data: bytes, width: int, height: int, *, cmyk: bool = False) -> None:
        """Decode to an eighth of the size: all of the entropy-coded stream, but only the DC of each block.

        Args:
            data: the file.
            width: in pixels, as its header says.
            height: in pixels, as its header says.
            cmyk: whether it has the four colours of print, which turn into no other in TurboJPEG.

        Raises:
            DamagedJpegError: if it is not whole.
        """
        pixel_format, channels = (TJPF_CMYK, 4) if cmyk else (TJPF_GRAY, 1)
        width, height = _reduced(width, 1), _reduced(height, 1)
        if len(self._checked) < width * height * channels:
            self._checked = np.empty(width * height * channels, np.uint8)
            self._checked_address = self._checked.ctypes.data
        self._decompress_to(self._checked_address, data, width, height, pixel_format)

    def decode(self, data: bytes, width: int, height: int, eighths: int = 8) -> np.ndarray:
        """The RGB pixels of a JPEG of one or three colours, reduced by a smaller inverse DCT.

        All of the entropy-coded stream is read at any scale, so that damage shows all the same.

        Args:
            data: the file.
            width: in pixels, as its header says.
            height: in pixels, as its header says.
            eighths: the scale, one of ``EIGHTHS``; below 8 only for images of at least 8 pixels along a side, for of
                smaller ones several scales have the same size, by which TurboJPEG is asked for one.

        Returns:
            (ceil(height * eighths / 8), ceil(width * eighths / 8), 3) uint8. The upper left corner stays where it is;
            the last column and row reach beyond the image where its side times the scale is no whole number.

        Raises:
            DamagedJpegError: if it is not whole.
        """
        return self._decompress(data, _reduced(width, eighths), _reduced(height, eighths), TJPF_RGB, 3)

    def decode_planes(self, data: bytes, width: int, height: int, eighths: int = 8) -> Planes | None:
        """Luma and chroma of a JPEG in YCbCr, without conversion; None of any other. See ``decode`` for the rest."""
        subsampling, colours = ctypes.c_int(-1), ctypes.c_int(-1)
        own_width, own_height = ctypes.c_int(), ctypes.c_int()
        pointers = map(ctypes.byref, (own_width, own_height, subsampling, colours))
        unknown = self._library.tjDecompressHeader3(self._handle, data, len(data), *pointers)
        if unknown and self._library.tjGetErrorCode(self._handle) == TJERR_WARNING:
            raise self._damage()
        number = subsampling.value
        if not unknown and (own_width.value, own_height.value) != (width, height):
            raise DamagedJpegError("it states two sizes")  # and the planes would be of the other
        if unknown or colours.value != TJCS_YCBCR or number not in THINNING:
            return None
        width, height = _reduced(width, eighths), _reduced(height, eighths)
        across, down = THINNING[number]
        thin = -(-height // down), -(-width // across)
        planes = (
            np.empty((thin[0] * down, thin[1] * across), np.uint8), np.empty(thin, np.uint8), np.empty(thin, np.uint8)
        )  # fmt: skip
        rows_without_padding, flags = None, 0
        if self._library.tjDecompressToYUVPlanes(
            self._handle, data, len(data), _addresses(planes), width, rows_without_padding, height, flags
        ):
            raise self._damage()
        return Planes(planes, (across, down))

    def decode_grey(self, data: bytes) -> np.ndarray:
        """The (H, W) uint8 luminance of a JPEG of one or three colours.

        Raises:
            DamagedJpegError: if it is not whole.
        """
        height, width, _ = frame(data)
        return self._decompress(data, width, height, TJPF_GRAY, 1)[..., 0]

    def _decompress(self, data: bytes, width: int, height: int, pixel_format: int, channels: int) -> np.ndarray:
        pixels = np.empty((height, width, channels), np.uint8)
        self._decompress_to(pixels.ctypes.data, data, width, height, pixel_format)
        return pixels

    def _decompress_to(self, address: int, data: bytes, width: int, height: int, pixel_format: int) -> None:
        pitch, flags = 0, 0  # rows without padding; the decoder's most exact methods
        if self._library.tjDecompress2(
            self._handle, data, len(data), address, width, pitch, height, pixel_format, flags
        ):
            raise self._damage()

    def _damage(self) -> DamagedJpegError:
        return DamagedJpegError(self._library.tjGetErrorStr2(self._handle).decode(errors="replace"))

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.tjDestroy(self._handle)


class JpegEncoder:
    """Encodes JPEGs from their own colours; one a thread.

    Raises:
        FrlError: if libturbojpeg is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._handle = self._library.tjInitCompress()
        self._buffer = ctypes.create_string_buffer(0)

    def encode(self, planes: Sequence[np.ndarray], side: int, quality: int) -> bytes:
        """A square JPEG with chroma at half resolution (4:2:0).

        Args:
            planes: luma and both chromas, uint8: (side, side), and (ceil(side / 2), ceil(side / 2)) twice.
            side: in pixels.
            quality: 1 to 100.
        """
        luma, *chroma = planes
        if side % 2:  # the encoder takes whole pairs, and drops the last
            luma = np.pad(luma, ((0, 1), (0, 1)), "edge")
        whole = [np.ascontiguousarray(plane) for plane in (luma, *chroma)]
        room = self._library.tjBufSize(side, side, TJSAMP_420)
        if len(self._buffer) < room:
            self._buffer = ctypes.create_string_buffer(room)
        target, nbytes = ctypes.c_void_p(ctypes.addressof(self._buffer)), ctypes.c_ulong(room)
        rows_without_padding, flags = None, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC
        if self._library.tjCompressFromYUVPlanes(
            self._handle, _addresses(whole), side, rows_without_padding, side, TJSAMP_420,
            ctypes.byref(target), ctypes.byref(nbytes), quality, flags,
        ):  # fmt: skip
            raise InternalError("encoding a sample", self._library.tjGetErrorStr2(self._handle).decode())
        return ctypes.string_at(self._buffer, nbytes.value)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.tjDestroy(self._handle)


def _addresses(planes: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(planes))(*(plane.ctypes.data for plane in planes))


def _reduced(side: int, eighths: int) -> int:
    return (side * eighths + 7) // 8


@functools.cache
def _load() -> ctypes.CDLL:
    for name in _names():
        try:
            return _declare(ctypes.CDLL(name))
        except OSError:
            continue
    raise FrlError("libturbojpeg", "is not installed", "Install it: apt-get install libturbojpeg0.")


def _names() -> Iterator[str]:
    yield "libturbojpeg.so.0"
    yield os.path.join(sys.prefix, "lib", "libturbojpeg.so.0")  # conda keeps it here, out of the linker's sight
    if found := ctypes.util.find_library("turbojpeg"):
        yield found


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    handle, integer = ctypes.c_void_p, ctypes.c_int
    size, pointer = ctypes.c_ulong, ctypes.POINTER
    for start in (library.tjInitDecompress, library.tjInitCompress):
        start.restype, start.argtypes = handle, []
    library.tjDestroy.argtypes = [handle]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjGetErrorStr2.argtypes = [handle]
    library.tjGetErrorCode.argtypes = [handle]
    library.tjDecompress2.argtypes = [
        handle, ctypes.c_char_p, size, ctypes.c_void_p, integer, integer, integer, integer, integer
    ]  # fmt: skip
    library.tjDecompressHeader3.argtypes = [handle, ctypes.c_char_p, size, *[pointer(integer)] * 4]
    library.tjDecompressToYUVPlanes.argtypes = [
        handle, ctypes.c_char_p, size, pointer(ctypes.c_void_p), integer, pointer(integer), integer, integer
    ]  # fmt: skip
    library.tjBufSize.restype, library.tjBufSize.argtypes = size, [integer] * 3
    library.tjCompressFromYUVPlanes.argtypes = [
        handle, pointer(ctypes.c_void_p), integer, pointer(integer), integer, integer,
        pointer(ctypes.c_void_p), pointer(size), integer, integer,
    ]  # fmt: skip
    return library
