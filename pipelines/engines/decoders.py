"""Decoders of one JPEG, which run without Python's lock: those that need nothing but a wheel.

``simplejpeg_decoder`` is libjpeg-turbo with the fast DCT, as in libffcv: the same pixels, bit for bit, and the same
damage noticed. ``pil_decoder`` uses the accurate DCT: on 900 faces its pixels differ from those by 1.0 grey level on
average and 9 at most. PIL notices a damaged header and a file that ends early but not every damage in the middle of
the data; ``frl verify --deep`` does.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frl.errors import LoaderError, is_fault_of_machine
from pipelines.engines.broken import Undecodable, check_size

Decoder = Callable[[NDArray[np.uint8], int, int, NDArray[np.uint8]], None]
"""Decodes a JPEG, ``(nbytes,)`` uint8, of known height and width and one or three colours, to densely packed RGB at the
beginning of a flat uint8 buffer of at least that size. May be called from several threads. Raises ``Undecodable``."""

INSTALL = "Run pip install simplejpeg, or use --engine torch (PIL's decoder) or ffcv."


def simplejpeg_decoder() -> Decoder:
    """libjpeg-turbo out of simplejpeg's wheel: fast DCT, warnings are errors.

    Raises:
        LoaderError: if simplejpeg is not installed or does not load.
    """
    try:
        from simplejpeg import decode_jpeg
    except ImportError as error:
        raise LoaderError("simplejpeg", f"it is not installed or does not load ({error})", INSTALL) from error

    def decode(encoded: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> None:
        try:
            pixels = decode_jpeg(encoded, "RGB", fastdct=True, buffer=out)
        except ValueError as error:  # its only type
            if "memory" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise Undecodable(f"its JPEG data is damaged or cut off ({error})") from error
        check_size(pixels.shape[:2], height, width)

    return decode


def pil_decoder() -> Decoder:
    """PIL, with libjpeg-turbo's accurate DCT."""
    return decode_with_pil


def decode_with_pil(encoded: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> None:
    """See ``Decoder``."""
    try:
        with Image.open(io.BytesIO(encoded.data), formats=["JPEG"]) as image:
            pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except Exception as error:  # PIL raises many types on damaged files
        if is_fault_of_machine(error):
            raise
        raise Undecodable(f"its JPEG data is damaged or cut off ({error})") from error
    check_size(pixels.shape[:2], height, width)
    out[: pixels.size] = pixels.reshape(-1)
