"""The seam between engines and loaders: which step to decode, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from frl.config import CropSpec
from pipelines.augment.plan import PlanFor


@dataclass(frozen=True, kw_only=True)
class Request:
    """One step to decode: the samples at ``share`` of the global step's ``samples``.

    The whole step is named because a broken sample is replaced by the next of its step, whichever rank that belongs to:
    so the samples trained on do not depend on the number of ranks.
    """

    samples: NDArray[np.int64]
    share: slice

    @property
    def wanted(self) -> NDArray[np.int64]:
        """The samples to decode, ``(B,)``."""
        return self.samples[self.share]

    def successors(self, position: int) -> Iterator[int]:
        """The samples that may stand in for the one at ``position`` of ``wanted``: the others of the step, in turn."""
        place = self.share.start + position
        yield from np.roll(self.samples, -place - 1)[:-1].tolist()


@dataclass(frozen=True, kw_only=True)
class DecodedBatch:
    """Decoded images on the host, in buffers of their own: nothing overwrites them later.

    Attributes:
        images: ``(B, S, S, 3)`` uint8 RGB; image i fills the upper left ``sizes[i]`` of its canvas, the rest is zero.
        sizes: ``(B, 2)`` int32, height and width in pixels.
        samples: ``(B,)`` int64, indices into the data set.
        labels: ``(B,)`` int64, -1 where unknown.
        broken: samples of this batch that failed to decode and were replaced.
    """

    images: torch.Tensor
    sizes: NDArray[np.int32]
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    broken: int = 0


@dataclass(frozen=True, kw_only=True)
class CroppedBatch:
    """Crops made while loading, with every augmentation on, in buffers of their own: nothing overwrites them later.

    Attributes:
        crops: one contiguous ``(count * B, size, size, 3)`` uint8 RGB buffer per crop size, crop-major: rows
            ``[c * B, (c + 1) * B)`` are crop ``c`` of the B samples.
        samples: ``(B,)`` int64, indices into the data set.
        labels: ``(B,)`` int64, -1 where unknown.
        broken: samples of this batch that failed to decode and were replaced.
    """

    crops: list[torch.Tensor]
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    broken: int = 0


class Engine(Protocol):
    """Turns the requested steps into batches, in their order, some of them ahead."""

    def images(self, requests: Iterable[Request]) -> Iterator[DecodedBatch]:
        """Yield the decoded images of each request, to be augmented on the training device.

        Raises:
            LoaderError: naming the sample that cannot be decoded, or what no longer answers.
        """
        ...

    def crops(
        self, requests: Iterable[Request], specs: tuple[CropSpec, ...], plan_for: PlanFor
    ) -> Iterator[CroppedBatch]:
        """Yield the crops of each request, made while loading.

        Args:
            requests: the steps.
            specs: sizes and counts of the crops.
            plan_for: draws the plan of the samples.

        Raises:
            LoaderError: as ``images``.
        """
        ...

    def close(self) -> None:
        """Release the threads."""
        ...
