"""Whether the bytes of a JPEG hold what the metadata promises, without trusting its decoder to say so."""

from __future__ import annotations

import cv2
import numpy as np

MAX_SCANS = 256
"""A progressive JPEG of a few bytes per scan could otherwise keep a decoder busy for hours."""

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # Within the frames' range of codes, but tables and extensions (T.81, table B.1).


def fault(data: np.ndarray, height: int, width: int) -> str | None:
    """What is wrong with an encoded image, or None.

    Args:
        data: (n,) uint8, the JPEG.
        height, width: its size by the metadata, in pixels.
    """
    try:
        found = frame(data)
    except ValueError as error:
        return str(error)
    if found[:2] != (height, width):
        return f"the JPEG is {found[0]} x {found[1]} pixels, the metadata says {height} x {width}"
    if found[2] not in (1, 3):
        return f"the JPEG has {found[2]} channels, ffcv decodes 1 or 3"
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        return f"the JPEG cannot be decoded ({error.err})"
    if image is None or image.shape != (height, width, 3):
        return "the JPEG cannot be decoded"
    return None


def frame(data: np.ndarray) -> tuple[int, int, int]:
    """Height, width and number of channels, from the markers of a complete JPEG (ITU T.81, annex B).

    Raises:
        ValueError: not a JPEG, or one that ends too early, in words.
    """
    if data.size < 4 or data[0] != 0xFF or data[1] != _SOI:
        raise ValueError("it is not a JPEG")
    # Inside entropy-coded data, 0xFF is followed by 0, by a restart marker or, as filling, by itself.
    after = data[1:]
    markers = np.flatnonzero((data[:-1] == 0xFF) & (after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7)))
    found, scans, place = None, 0, 2
    while (i := int(np.searchsorted(markers, place))) < len(markers):
        start = int(markers[i])
        code = int(data[start + 1])
        if code == _EOI:
            if found is None or scans == 0:
                raise ValueError("the JPEG ends before its image")
            return found
        segment = data[start + 2 : start + 10].tobytes()
        if code == _SOS:
            scans += 1
        elif 0xC0 <= code <= 0xCF and code not in _NO_FRAME:
            if len(segment) < 8:
                break
            found = int.from_bytes(segment[3:5]), int.from_bytes(segment[5:7]), segment[7]
        if scans > MAX_SCANS:
            raise ValueError(f"the JPEG has more than {MAX_SCANS} scans")
        place = start + 2 + int.from_bytes(segment[:2])
    raise ValueError("the JPEG is truncated: it has no end marker")
