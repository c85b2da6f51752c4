"""A stored sample: a JPEG, and the size that the metadata promise."""

from __future__ import annotations

import numpy as np

from frl.images.markers import whole_frame
from frl.images.turbojpeg import DamagedJpegError, JpegDecoder


def fault(data: np.ndarray, height: int, width: int) -> str | None:
    """Why an engine would refuse a sample, or None.

    It is decoded as libffcv does it, which takes libjpeg-turbo's warnings for errors.

    Args:
        data: (n,) uint8, the JPEG.
        height, width: its size by the metadata, in pixels.

    Raises:
        FrlError: if libturbojpeg is not installed.
    """
    try:
        found = whole_frame(data)
    except ValueError as error:
        return str(error)
    if found[:2] != (height, width):
        return f"the JPEG is {found.height} x {found.width} pixels, the metadata says {height} x {width}"
    if found.channels not in (1, 3):
        return f"the JPEG has {found.channels} channels, ffcv decodes 1 or 3"
    try:
        JpegDecoder().decode(data.tobytes(), width, height)
    except DamagedJpegError as error:
        return f"the JPEG cannot be decoded ({error})"
    return None
