"""What a loader hands to the trainer. Loaders implement these shapes; the trainer knows nothing else of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Batch:
    """One step's input on one rank, on the training device.

    Attributes:
        views: one tensor per crop size, ``(count * B, 3, size, size)``, normalised float, channels-last,
            crop-major: rows ``[c * B, (c + 1) * B)`` are crop ``c`` of the B samples.
        samples: ``(B,)`` int64, indices into the data set.
        targets: what is known of each sample, by name. ``identity``, ``(B,)`` int64, below the loader's ``identities``,
            -1 where unknown, is always there; the others are those of the files: ``(B, *shape)`` float32, int64 or
            int8, NaN or -1 where unknown. Points are in pixels of the stored image, not of a view: see
            ``pipelines.augment.points``.
    """

    views: list[torch.Tensor]
    samples: torch.Tensor
    targets: Mapping[str, torch.Tensor]

    @property
    def labels(self) -> torch.Tensor:
        """``(B,)`` int64, identity of each sample, -1 where unknown."""
        return self.targets["identity"]


@dataclass(frozen=True)
class LabelledBatch:
    """Faces of one rank with what is known of them, both in the same view, on the training device.

    Attributes:
        images: ``(B, 3, size, size)``, normalised float, channels-last.
        samples: ``(B,)`` int64, indices into the data set.
        targets: by name, ``(B, *shape)`` float32, int64 or int8, NaN or -1 where unknown. Points are in pixels of the
            view, and everything is what is to be said of the view: mirrored and turned with it.
        sides: ``(B, 2)`` float32, width and height of the view in pixels.
    """

    images: torch.Tensor
    samples: torch.Tensor
    targets: Mapping[str, torch.Tensor]
    sides: torch.Tensor


class LabelledLoader(Protocol):
    """A source of labelled training batches: a pure function of (seed, step), whatever the number of ranks.

    Attributes:
        fingerprint: identity of the data and of the samples that are used.
        targets: what is stored of all of these samples, ``(N, *shape)`` each, on the CPU; points in pixels of the
            stored images.
        sides: ``(N, 2)`` float32, width and height of the stored images in pixels.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def targets(self) -> Mapping[str, torch.Tensor]: ...

    @property
    def sides(self) -> torch.Tensor: ...

    def batches(self, start: int, stop: int) -> Iterator[LabelledBatch]:
        """Yield the batches of the steps from ``start`` to before ``stop``."""
        ...


class Placement(Protocol):
    """Where crops are made.

    Attributes:
        metrics: what was measured to decide it, by name.
    """

    @property
    def metrics(self) -> dict[str, float]: ...


class Loader(Protocol):
    """A source of training batches: a pure function of (seed, epoch, step), whatever the engine.

    Attributes:
        samples: samples in the data set.
        identities: distinct labels in it.
        dataset_fingerprint: identity of its content.
        sampling: the order in words; a run that goes on must have the same.
        placement: where the crops are made; None if there is nothing to tell.
    """

    samples: int
    identities: int
    dataset_fingerprint: str
    sampling: str

    @property
    def placement(self) -> Placement | None: ...

    def __len__(self) -> int:
        """Steps in an epoch; equal on every rank."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of ``epoch`` from step ``start`` on."""
        ...
