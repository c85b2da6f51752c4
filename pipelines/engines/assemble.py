"""A batch from a decoder of single images: its buffers, and what happens to a broken sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from frl.config import CropSpec
from frl.errors import explained
from pipelines.augment.cpu.crops import ThreadScratch, make_crops, sides_of
from pipelines.augment.plan import PlanFor
from pipelines.engines.broken import OnBroken, Undecodable, stand_in
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Request
from pipelines.sampling.beton_set import EncodedImages

Allocate = Callable[[int], torch.Tensor]
Decode = Callable[[int, NDArray[np.uint8]], None]
Fill = Callable[[int, int], None]
ForEach = Callable[[Callable[[int], None], Sequence[int]], None]


class Assembler:
    """Makes batches from a decoder of single images.

    Args:
        beton: the data set.
        decode: writes the rows of sample i, densely packed RGB, to the beginning of a flat uint8 buffer, or raises
            ``Undecodable``.
        on_broken: stop, or take the next sample of the step that decodes, and count.
        for_each: calls a function on every item, perhaps on threads.
        allocate: gives so many bytes, ``(n,)`` uint8, for a batch.
    """

    def __init__(
        self, beton: EncodedImages, decode: Decode, *, on_broken: OnBroken, for_each: ForEach, allocate: Allocate
    ) -> None:
        self.beton = beton
        self.decode = decode
        self.on_broken = on_broken
        self.for_each = for_each
        self.allocate = allocate
        self.scratch = ThreadScratch(beton.max_side)

    def images(self, request: Request) -> DecodedBatch:
        """Decode the wanted samples of a step into a fresh batch.

        Raises:
            LoaderError: naming the first sample that cannot be decoded, if it is not to be replaced.
            MachineError, InternalError: if memory, a disk or frl itself fails.
        """
        side = self.beton.max_side
        images = self.allocate(self.image_bytes(request)).view(-1, side, side, 3)
        canvases = images.numpy()

        def paint(position: int, sample: int) -> None:
            canvas, height, width = canvases[position], *self.size(sample)
            if width == side:
                self.decode(sample, canvas.reshape(-1))
            else:
                self.decode(sample, self.scratch.pixels)
                canvas[:height, :width] = self.scratch.pixels[: height * width * 3].reshape(height, width, 3)
                canvas[:height, width:] = 0
            canvas[height:] = 0

        samples, broken = self.fill(request, paint)
        return DecodedBatch(
            images=images, sizes=self.sizes(samples), samples=samples, labels=self.beton.labels[samples], broken=broken
        )

    def crops(self, request: Request, specs: tuple[CropSpec, ...], plan_for: PlanFor) -> CroppedBatch:
        """Decode the wanted samples of a step, and make their crops on the same thread while they are in its cache.

        Raises:
            LoaderError: as ``images``.
        """
        wanted, batch = request.wanted, len(request.wanted)
        sides = sides_of(specs)
        counts = [spec.count * batch * spec.size**2 * 3 for spec in specs]
        memory = self.allocate(self.crop_bytes(request, specs))
        out = memory.numpy()
        planned = plan_for(wanted, self.sizes(wanted))

        def crop(position: int, sample: int) -> None:
            height, width = self.size(sample)
            room, pixels = self.scratch.for_crops(int(sides.max())), self.scratch.pixels
            self.decode(sample, pixels)
            if sample == wanted[position]:
                plan, i = planned, position
            else:  # a replacement has a plan of its own
                chosen = np.array([sample])
                plan, i = plan_for(chosen, self.sizes(chosen)), 0
            make_crops(pixels, height, width, plan, i, sides, room, out, batch, position)

        samples, broken = self.fill(request, crop)
        parts = zip(memory.split(counts), specs, strict=True)
        crops = [part.view(-1, spec.size, spec.size, 3) for part, spec in parts]
        return CroppedBatch(crops=crops, samples=samples, labels=self.beton.labels[samples], broken=broken)

    def image_bytes(self, request: Request) -> int:
        """How much ``images`` allocates for a step."""
        return len(request.wanted) * self.beton.max_side**2 * 3

    def crop_bytes(self, request: Request, specs: tuple[CropSpec, ...]) -> int:
        """How much ``crops`` allocates for a step."""
        return len(request.wanted) * sum(spec.count * spec.size**2 * 3 for spec in specs)

    def size(self, sample: int) -> tuple[int, int]:
        """Height and width of one image, in pixels."""
        return int(self.beton.heights[sample]), int(self.beton.widths[sample])

    def sizes(self, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """``(B, 2)``: heights and widths, in pixels."""
        return np.stack([self.beton.heights[samples], self.beton.widths[samples]], axis=1).astype(np.int32)

    def fill(self, request: Request, fill: Fill) -> tuple[NDArray[np.int64], int]:
        """Call ``fill(position, sample)`` for every wanted sample, and for others in the place of broken ones.

        Returns:
            the samples that the batch is made of, and how many of them stand in for a broken one.
        """
        samples = request.wanted.copy()
        refused: dict[int, Undecodable] = {}

        def attempt(position: int) -> None:
            sample = int(samples[position])
            try:
                fill(position, sample)
            except Undecodable as error:
                refused[position] = error
            except Exception as error:  # not the sample's fault: nothing takes its place
                raise explained(error, f"decoding {self.beton.name(sample)}") from error

        self.for_each(attempt, range(len(samples)))
        for position in sorted(refused):
            error, attempt_at = refused[position], partial(fill, position)
            samples[position] = stand_in(self.beton, request, position, error, self.on_broken, attempt_at)
        return samples, len(refused)
