"""Crop sizes that change over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from frl.batch import Batch
from frl.config import AugmentConfig
from pipelines.loader import MultiCropLoader


class StagedLoader:
    """Training batches of the stage that an epoch belongs to; see ``frl.batch.Loader``.

    Every stage has a loader of its own, opened at the start, so that a size that cannot work is refused then and not
    after days. They read the same samples in the same order; only the crops differ.

    Args:
        augment: the augmentation with its stages; without any there is one loader.
        open_loader: opens the loader of one stage's augmentation.

    Attributes:
        full: the loader of the full sizes.
        samples, identities, dataset_fingerprint, sampling, placement: as those of the full sizes' loader.
    """

    def __init__(self, augment: AugmentConfig, open_loader: Callable[[AugmentConfig], MultiCropLoader]) -> None:
        self.augment = augment
        self.loaders = {of_stage: open_loader(of_stage) for of_stage in augment.by_stage}
        self.full = self.loaders[augment.by_stage[-1]]
        self.samples = self.full.samples
        self.identities = self.full.identities
        self.dataset_fingerprint = self.full.dataset_fingerprint
        self.sampling = self.full.sampling
        self.placement = self.full.placement

    @property
    def broken(self) -> int:
        """Samples replaced so far by this rank because they did not decode."""
        return sum(loader.broken for loader in self.loaders.values())

    def __len__(self) -> int:
        return len(self.full)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of ``epoch`` from step ``start`` on.

        Raises:
            LoaderError: naming the sample that does not decode, or what no longer answers.
        """
        return self.loaders[self.augment.of_epoch(epoch)].epoch(epoch, start)

    def points(self, batch: Batch, epoch: int, name: str = "landmarks") -> list[torch.Tensor]:
        """Where a target's points lie in the views of a batch of ``epoch``; see ``MultiCropLoader.points``."""
        return self.loaders[self.augment.of_epoch(epoch)].points(batch, epoch, name)

    def close(self) -> None:
        """Stop the engines and close the files."""
        for loader in self.loaders.values():
            loader.close()
