"""A batch from a decoder of single images: the canvas, the metadata and what happens to a broken sample."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from frl.errors import LoaderError
from pipelines.beton_set import EncodedImages
from pipelines.decoded import DecodedBatch, Request

Decode = Callable[[int, NDArray[np.uint8]], None]
ForEach = Callable[[Callable[[int], None], Sequence[int]], None]
OnBroken = Literal["raise", "replace"]

log = logging.getLogger("frl.pipelines")


class Undecodable(Exception):
    """An image that a decoder refuses; the message says why."""


def assemble(
    beton: EncodedImages, request: Request, decode: Decode, *, on_broken: OnBroken, for_each: ForEach, pin: bool = False
) -> DecodedBatch:
    """Decode the wanted samples of a step into a fresh batch.

    Args:
        beton: the data set.
        request: the step and this rank's share of it.
        decode: writes sample i into the upper left of its ``(S, S, 3)`` canvas, or raises ``Undecodable``.
        on_broken: stop, or take the next sample of the step that decodes, and count.
        for_each: calls a function on every item, perhaps on threads.
        pin: allocate page-locked memory, from which a GPU copies asynchronously.

    Raises:
        LoaderError: naming the first sample that cannot be decoded, if it is not to be replaced.
    """
    samples, side = request.wanted.copy(), beton.max_side
    images = torch.empty((len(samples), side, side, 3), dtype=torch.uint8, pin_memory=pin)
    canvases = images.numpy()
    refused: dict[int, Undecodable] = {}

    def paint(sample: int, canvas: NDArray[np.uint8]) -> None:
        decode(sample, canvas)
        canvas[beton.heights[sample] :] = 0
        canvas[:, beton.widths[sample] :] = 0

    def fill(position: int) -> None:
        sample = int(samples[position])
        try:
            paint(sample, canvases[position])
        except Undecodable as error:
            refused[position] = error
        except Exception as error:
            cause = f"reading it failed ({type(error).__name__}: {error})"
            raise LoaderError(beton.name(sample), cause, f"Check {beton.path} with frl verify --deep.") from error

    for_each(fill, range(len(samples)))
    for position in sorted(refused):
        if on_broken == "raise":
            raise _broken(beton, int(samples[position]), refused[position])
        samples[position] = _replace(beton, request, position, refused[position], paint, canvases[position])

    sizes = np.stack([beton.heights[samples], beton.widths[samples]], axis=1).astype(np.int32)
    return DecodedBatch(images=images, sizes=sizes, samples=samples, labels=beton.labels[samples], broken=len(refused))


def _replace(
    beton: EncodedImages, request: Request, position: int, error: Undecodable, paint: Decode, canvas: NDArray[np.uint8]
) -> int:
    broken = int(request.wanted[position])
    for candidate in request.successors(position):
        try:
            paint(candidate, canvas)
        except Undecodable:
            continue
        log.warning("%s: %s; replaced by %s", beton.name(broken), error, beton.name(candidate))
        return candidate
    raise LoaderError(
        beton.path, "no sample of a whole step decodes", "Check the file with frl verify --deep, or write it again."
    ) from error


def _broken(beton: EncodedImages, sample: int, error: Undecodable) -> LoaderError:
    remedy = f"Check {beton.path} with frl verify --deep, or go on without such samples: --on-broken replace."
    return LoaderError(beton.name(sample), str(error), remedy)
