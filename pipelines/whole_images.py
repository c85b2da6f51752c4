"""Whole images of a ``.beton`` as batches, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from frl.batch import Batch
from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec, DataConfig, EngineName
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import plan_whole
from pipelines.engines.engine import Request
from pipelines.loader import open_engine, targets_of, to_device


class WholeImages:
    """Every image, in file order, resized to one size: for evaluation. Iterates ``Batch``es of one view.

    Args:
        path: the ``.beton``.
        size: side of the view, in pixels; an image that is not square is stretched.
        batch_size: images of a batch; the last may hold fewer.
        device: where the view is normalised; it is resized while loading.
        augment: its mean and standard deviation normalise the view.
        limit: images used at most; None: all.
        engine: which engine decodes.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if the engine is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: int,
        batch_size: int,
        device: torch.device,
        augment: AugmentConfig,
        limit: int | None = None,
        engine: EngineName = "ffcv",
    ) -> None:
        self.beton = Beton(path)
        self.engine = open_engine(self.beton, DataConfig(data=(path,), engine=engine), device)
        self.samples = len(self.beton) if limit is None else min(limit, len(self.beton))
        self.spec = CropSpec(size=size, count=1, scale=(1, 1))
        self.batch_size = batch_size
        self.device = device
        self.normalise = NormaliseCrops(augment).to(device)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.engine.crops(self.requests(), (self.spec,), plan_whole):
            yield Batch(
                views=self.normalise([crops.to(self.device, non_blocking=True) for crops in batch.crops]),
                samples=to_device(batch.samples, self.device),
                targets=targets_of(self.beton, batch.samples, batch.labels, self.device),
            )

    def requests(self) -> Iterator[Request]:
        """The batches of the file, in order."""
        for first in range(0, self.samples, self.batch_size):
            samples = np.arange(first, min(first + self.batch_size, self.samples))
            yield Request(samples=samples, share=slice(0, len(samples)))

    def close(self) -> None:
        """Stop the engine and close the file."""
        self.engine.close()
        self.beton.close()
