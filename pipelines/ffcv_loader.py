"""The FFCV engine: libffcv's JPEG decoder on threads, straight out of the mapped file.

The only file here that touches ffcv to read. It loads ffcv's compiled library and not its Python package, whose import
takes seconds and whose loader ignores the decoder's verdict, overwrites the buffers it gave, and hangs on an exception.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frl.beton.layout import ImageMode
from frl.config import CropSpec
from frl.errors import LoaderError
from pipelines.assemble import Assembler, OnBroken, Undecodable
from pipelines.beton_set import EncodedImages
from pipelines.decoded import CroppedBatch, DecodedBatch, Request
from pipelines.jpeg import frame_size
from pipelines.plan import PlanFor
from pipelines.prefetch import prefetch
from pipelines.threads import Threads

INSTALL = "Run bash scripts/setup.sh (it builds ffcv 1.0.2), or use --engine torch."


class FFCVImages:
    """Decodes steps of a ``.beton`` on threads, some of them ahead of the consumer.

    JPEGs are decoded with libjpeg-turbo's fast DCT, as ffcv does: the same pixels as ``ffcv.loader.Loader``.

    Args:
        beton: the data set; it must stay open.
        workers: decoding threads.
        ahead: decoded batches that may wait.
        on_broken: what to do with an image that does not decode.
        pin: decode into page-locked memory.

    Raises:
        LoaderError: if ffcv is not installed or its library does not load.
    """

    def __init__(
        self, beton: EncodedImages, *, workers: int, ahead: int = 3, on_broken: OnBroken = "raise", pin: bool = False
    ) -> None:
        self.beton = beton
        self.ahead = ahead
        self.imdecode = load_imdecode()
        # libffcv keeps one decoder per thread and never frees it: the threads must live as long as the engine.
        self.threads = Threads(workers, "frl-decode")
        self.assembler = Assembler(
            beton, self.decode_sample, on_broken=on_broken, for_each=self.threads.for_each, pin=pin
        )

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch of images per request, in order; see ``Engine``."""
        return prefetch(map(self.assembler.images, requests), self.ahead)

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield one batch of crops per request, in order; see ``Engine``."""
        return prefetch((self.assembler.crops(request, specs, plan_for) for request in requests), self.ahead)

    def decode_sample(self, sample: int, pixels: NDArray[np.uint8]) -> None:
        """Write the rows of image ``sample``, densely packed RGB, to the beginning of ``pixels``, flat.

        Raises:
            Undecodable: if libjpeg-turbo fails or warns, or the image's size is not the one in the metadata.
        """
        height, width = int(self.beton.heights[sample]), int(self.beton.widths[sample])
        encoded = self.beton.encoded(sample)
        if self.beton.modes[sample] == ImageMode.JPG:
            self.decode_jpeg(encoded, height, width, pixels)
        else:
            pixels[: height * width * 3] = encoded[: height * width * 3]

    def decode_jpeg(self, encoded: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> None:
        """Decode to ``height`` rows of ``width`` packed RGB pixels at the beginning of ``out``."""
        try:
            found = frame_size(encoded.data)
        except ValueError as error:
            raise Undecodable(str(error)) from None
        if found != (height, width):
            # The decoder would scale a larger image down, or leave a part of the buffer as it was.
            raise Undecodable(f"its JPEG is {found[1]} x {found[0]} pixels, its metadata says {width} x {height}")
        source, target = encoded.ctypes.data, out.ctypes.data
        if self.imdecode(source, encoded.size, height, width, target, height, width, 0, 0, 1, 1, False, False) != 0:
            raise Undecodable("its JPEG data is damaged or cut off")

    def close(self) -> None:
        """Stop the decoding threads."""
        self.threads.close()


def load_imdecode() -> ctypes._NamedFuncPointer:
    """libffcv's ``imdecode``: returns 0, or -1 if libjpeg-turbo fails or warns; runs without Python's lock.

    Its arguments: JPEG, bytes; source height, width; output; crop height, width, x, y; scale numerator, denominator;
    whether to crop; whether to mirror.

    Raises:
        LoaderError: if the library is missing or does not load.
    """
    spec = importlib.util.find_spec("ffcv")
    folders = spec.submodule_search_locations if spec is not None else None
    libraries = [path for folder in folders or [] for path in Path(folder).glob("_libffcv*.so")]
    if not libraries:
        raise LoaderError("ffcv", "it is not installed", INSTALL)
    try:
        imdecode = ctypes.CDLL(str(libraries[0])).imdecode
    except (OSError, AttributeError) as error:
        raise LoaderError(libraries[0], f"it does not load ({error})", INSTALL) from error
    imdecode.restype = ctypes.c_int
    imdecode.argtypes = [
        ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
        *[ctypes.c_uint32] * 6, ctypes.c_bool, ctypes.c_bool,
    ]  # fmt: skip
    return imdecode
