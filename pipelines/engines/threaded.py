"""The threaded engine: JPEGs decoded and crops made on threads, straight out of the mapped file, by any decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from frl.beton.layout import ImageMode
from frl.config import CropSpec
from frl.images.markers import frame
from frl.images.photo import UnusableImage
from pipelines.augment.plan import PlanFor
from pipelines.engines.assemble import Assembler
from pipelines.engines.broken import OnBroken, Undecodable, check_size
from pipelines.engines.buffers import Buffers
from pipelines.engines.decoders import Decoder
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Request
from pipelines.engines.prefetch import overlapped, prefetch
from pipelines.engines.threads import Threads
from pipelines.sampling.beton_set import EncodedImages


class ThreadedImages:
    """Decodes steps of a ``.beton`` on threads, some of them ahead of the consumer; see ``Engine``.

    Args:
        beton: the data set; it must stay open.
        decoder: decodes one JPEG, without Python's lock if the threads are to be worth it.
        workers: decoding threads.
        ahead: decoded batches that may wait.
        on_broken: what to do with an image that does not decode.
        pin: decode into page-locked memory.
    """

    def __init__(
        self,
        beton: EncodedImages,
        decoder: Decoder,
        *,
        workers: int,
        ahead: int = 3,
        on_broken: OnBroken = "raise",
        pin: bool = False,
    ) -> None:
        self.beton = beton
        self.decoder = decoder
        self.ahead = ahead
        # A decoder may keep something for each thread, as libffcv does: the threads live as long as the engine.
        self.threads = Threads(workers, "frl-decode")
        self.assembler = Assembler(
            beton,
            self.decode_sample,
            on_broken=on_broken,
            for_each=self.threads.for_each,
            allocate=Buffers(pin).take,
        )

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield one batch of images per request, in order; see ``Engine``."""
        return prefetch(overlapped(self.assembler.images, requests), self.ahead)

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield one batch of crops per request, in order; see ``Engine``."""
        make = partial(self.assembler.crops, specs=specs, plan_for=plan_for)
        return prefetch(overlapped(make, requests), self.ahead)

    def decode_sample(self, sample: int, pixels: NDArray[np.uint8]) -> None:
        """Write the rows of image ``sample``, densely packed RGB, to the beginning of ``pixels``, flat.

        Raises:
            Undecodable: if the decoder refuses it, its colours are neither RGB nor grey, or its size is not the one in
                the metadata.
        """
        height, width = int(self.beton.heights[sample]), int(self.beton.widths[sample])
        try:
            encoded = self.beton.encoded(sample)
        except UnusableImage as error:  # of images that are no file of ours
            raise Undecodable(str(error)) from None
        if self.beton.modes[sample] != ImageMode.JPG:
            pixels[: height * width * 3] = encoded[: height * width * 3]
            return
        try:
            found = frame(encoded.data)
        except ValueError as error:
            raise Undecodable(str(error)) from None
        # A decoder would write beyond a smaller image's room, or leave a part of it as it was.
        check_size(found[:2], height, width)
        if found.channels not in (1, 3):
            raise Undecodable(f"its JPEG has {found.channels} colour channels, neither RGB nor grey")
        self.decoder(encoded, height, width, pixels)

    def close(self) -> None:
        """Stop the decoding threads."""
        self.threads.close()
