"""Decode JPEGs so that no damage goes unnoticed, by libjpeg-turbo's own warnings.

Pillow and OpenCV stay silent about most of them: a missing end marker, corrupt data, missing restart markers. The grey
of the missing part would go into the data set as if it were a face. TurboJPEG (https://libjpeg-turbo.org) reports them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator

import numpy as np

from frl.beton.jpeg import frame
from frl.errors import WriteError

TJPF_RGB, TJPF_GRAY, TJPF_CMYK = 0, 6, 11
"""TurboJPEG's pixel formats."""

EIGHTHS = (1, 2, 3, 4, 8)
"""The scales of ``decode``. Those between a half and the whole are slower than the whole (docs/writer_benchmark.md)."""


class DamagedJpegError(Exception):
    """A JPEG that does not decode without a complaint, and the complaint."""


class JpegDecoder:
    """Decodes JPEGs one after the other; one a thread, for TurboJPEG's handles are not shared.

    Raises:
        WriteError: if libturbojpeg is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._handle = self._library.tjInitDecompress()

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
        self._decompress(data, _reduced(width, 1), _reduced(height, 1), pixel_format, channels)

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

    def decode_grey(self, data: bytes) -> np.ndarray:
        """The (H, W) uint8 luminance of a JPEG of one or three colours.

        Raises:
            DamagedJpegError: if it is not whole.
        """
        height, width, _ = frame(np.frombuffer(data, np.uint8))
        return self._decompress(data, width, height, TJPF_GRAY, 1)[..., 0]

    def _decompress(self, data: bytes, width: int, height: int, pixel_format: int, channels: int) -> np.ndarray:
        pixels = np.empty((height, width, channels), np.uint8)
        pitch, flags = 0, 0  # rows without padding; the decoder's most exact methods
        if self._library.tjDecompress2(
            self._handle, data, len(data), pixels.ctypes.data, width, pitch, height, pixel_format, flags
        ):
            raise DamagedJpegError(self._library.tjGetErrorStr2(self._handle).decode(errors="replace"))
        return pixels

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.tjDestroy(self._handle)


def _reduced(side: int, eighths: int) -> int:
    return (side * eighths + 7) // 8


def _load() -> ctypes.CDLL:
    for name in _names():
        try:
            return _declare(ctypes.CDLL(name))
        except OSError:
            continue
    raise WriteError("libturbojpeg", "is not installed", "Install it: apt-get install libturbojpeg0.")


def _names() -> Iterator[str]:
    yield "libturbojpeg.so.0"
    yield os.path.join(sys.prefix, "lib", "libturbojpeg.so.0")  # conda keeps it here, out of the linker's sight
    if found := ctypes.util.find_library("turbojpeg"):
        yield found


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    handle, integer = ctypes.c_void_p, ctypes.c_int
    library.tjInitDecompress.restype = handle
    library.tjInitDecompress.argtypes = []
    library.tjDestroy.argtypes = [handle]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjGetErrorStr2.argtypes = [handle]
    library.tjDecompress2.argtypes = [
        handle, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p, integer, integer, integer, integer, integer
    ]  # fmt: skip
    return library
