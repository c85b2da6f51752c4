"""Find damaged JPEGs, by libjpeg-turbo's own warnings.

Pillow and OpenCV stay silent about most of them: a missing end marker, corrupt data, missing restart markers. The grey
of the missing part would go into the data set as if it were a face. TurboJPEG (https://libjpeg-turbo.org) reports them,
and decoding to an eighth of the size (the whole entropy-coded stream, but only the DC of each block) halves the work.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator

from frl.errors import WriteError

TJPF_GRAY, TJPF_CMYK = 6, 11
"""TurboJPEG's pixel formats."""


class JpegChecker:
    """Checks JPEGs one after the other; one a thread, for TurboJPEG's handles are not shared.

    Raises:
        WriteError: if libturbojpeg is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._handle = self._library.tjInitDecompress()

    def fault(self, data: bytes, width: int, height: int, *, cmyk: bool = False) -> str | None:
        """What is wrong with a JPEG, or None when it is whole.

        Args:
            data: the file.
            width: in pixels, as the header says.
            height: in pixels, as the header says.
            cmyk: whether it has the four colours of print.
        """
        columns, rows = (width + 7) // 8, (height + 7) // 8
        layout = TJPF_CMYK if cmyk else TJPF_GRAY
        pixels = ctypes.create_string_buffer(columns * rows * (4 if cmyk else 1))
        # The pitch of 0 stands for rows without padding; no flags.
        status = self._library.tjDecompress2(self._handle, data, len(data), pixels, columns, 0, rows, layout, 0)
        return None if status == 0 else self._library.tjGetErrorStr2(self._handle).decode(errors="replace")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.tjDestroy(self._handle)


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
