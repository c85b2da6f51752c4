"""Broken images under a decoder of whole batches, which fails without saying at which image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from frl.errors import LoaderError
from frl.images.markers import frame
from frl.images.sample import fault
from pipelines.engines.broken import OnBroken, Undecodable, check_size, stand_in
from pipelines.engines.engine import Request
from pipelines.sampling.beton_set import EncodedImages

T = TypeVar("T")


class DecoderFailed(Exception):
    """A decoder gave up a batch; the message is its own."""


class Recovery:
    """Runs steps; where one fails, finds the images at fault, and stops or goes on without them.

    A header that is not right is noticed before the decoder sees it. Samples found broken are remembered.

    Args:
        beton: the data set.
        on_broken: stop, or take the next sample of the step that decodes, and count.
        decodes: whether the decoder can decode one sample; called only after a step has failed.
    """

    def __init__(self, beton: EncodedImages, on_broken: OnBroken, decodes: Callable[[int], bool]) -> None:
        self.beton = beton
        self.on_broken = on_broken
        self.decodes = decodes
        self.broken: set[int] = set()

    def deliver(self, request: Request, run: Callable[[NDArray[np.int64]], T]) -> tuple[T, NDArray[np.int64], int]:
        """Run a step; as often as it fails because of broken images, replace them and run it again.

        Args:
            request: the step.
            run: works on samples ``(B,)``, or raises ``DecoderFailed``.

        Returns:
            What ``run`` gave, the samples it was given, and how many of them stand in for broken ones.

        Raises:
            LoaderError: naming the broken sample, if it is not to be replaced; or the decoder's own trouble.
        """
        while True:
            samples, replaced = self.choose(request)
            try:
                return run(samples), samples, replaced
            except DecoderFailed as error:
                found = self.at_fault(np.unique(samples).tolist())
                if not found:
                    raise LoaderError(
                        "the decoder", str(error), "Look above for its own words, then resume."
                    ) from error
                self.broken |= found

    def at_fault(self, samples: list[int]) -> set[int]:
        """Those of some samples that do not decode: a decoder that takes none of them may be at fault itself."""
        refused = {sample for sample in samples if not self.decodes(sample)}
        return refused if len(refused) < len(samples) else set(filter(self.is_damaged, refused))

    def is_damaged(self, sample: int) -> bool:
        """Whether libjpeg-turbo refuses a sample as well."""
        return (
            fault(self.beton.encoded(sample), int(self.beton.heights[sample]), int(self.beton.widths[sample]))
            is not None
        )

    def choose(self, request: Request) -> tuple[NDArray[np.int64], int]:
        """The samples of a step, each broken one replaced by the next of the step that is not, and their number."""
        samples, replaced = request.wanted.copy(), 0
        for position, sample in enumerate(request.wanted.tolist()):
            try:
                self.check(sample)
            except Undecodable as error:
                samples[position] = stand_in(self.beton, request, position, error, self.on_broken, self.check)
                replaced += 1
        return samples, replaced

    def check(self, sample: int) -> None:
        """Look at a sample's header and at what is remembered of it.

        Raises:
            Undecodable: saying what is wrong.
        """
        if sample in self.broken:
            raise Undecodable("its JPEG data is damaged or cut off")
        height, width = int(self.beton.heights[sample]), int(self.beton.widths[sample])
        try:
            found = frame(self.beton.encoded(sample).data)
        except ValueError as error:
            raise Undecodable(str(error)) from None
        check_size((found.height, found.width), height, width)
        if found.channels not in (1, 3):
            raise Undecodable(f"its JPEG has {found.channels} colour channels, neither RGB nor grey")
